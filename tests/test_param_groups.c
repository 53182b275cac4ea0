/* Frozen parameters by pattern, and learning rates that fall from layer to layer. */
#include "support/support.h"

#include "train/param_groups.h"
#include "vit/model.h"

#include <math.h>
#include <string.h>

static vit_model model;

static void setup(void) {
    vit_config config;
    ck_vit_ok(vit_config_preset("zeros_micro_patch4_28", &config));
    config.depth = 12;
    ck_vit_ok(vit_model_init(&model, &config));
}

static void teardown(void) {
    vit_model_free(&model);
}

static bool is_frozen(const char *name) {
    const vit_param *param = vit_params_find(&model.params, name);
    ck_assert_msg(param != NULL, "no parameter %s", name);
    return param->flags & VIT_PARAM_FROZEN;
}

static size_t frozen_count(void) {
    size_t count = 0;
    for (size_t i = 0; i < model.params.count; i++) {
        count += (model.params.items[i].flags & VIT_PARAM_FROZEN) != 0;
    }
    return count;
}

START_TEST(patterns_freeze) {
    ck_vit_ok(vit_freeze(&model.params, "patch_embed.*,pos_embed"));
    ck_assert(is_frozen("patch_embed.proj.weight"));
    ck_assert(is_frozen("patch_embed.proj.bias"));
    ck_assert(is_frozen("pos_embed"));
    ck_assert_uint_eq(frozen_count(), 3);
    ck_vit_ok(vit_freeze(&model.params, "blocks.1.*"));
    ck_assert(is_frozen("blocks.1.norm1.weight"));
    ck_assert(!is_frozen("blocks.10.norm1.weight"));
    ck_assert(!is_frozen("head.weight"));
}
END_TEST

START_TEST(wrong_patterns_are_refused) {
    ck_vit_fails(vit_freeze(&model.params, "pos_embed,heads.*"), VIT_ERROR_ARGUMENT,
                 "--freeze heads.*");
    ck_vit_fails(vit_freeze(&model.params, "*"), VIT_ERROR_ARGUMENT, "every parameter");
}
END_TEST

/* timm's param_groups_layer_decay of a ViT. */
START_TEST(layers_as_timm) {
    const struct {
        const char *name;
        int power;
    } cases[] = {{"head.weight", 0},
                 {"head.bias", 0},
                 {"fc_norm.weight", 0},
                 {"blocks.11.norm1.weight", 1},
                 {"blocks.10.mlp.fc1.bias", 2},
                 {"blocks.1.norm2.bias", 11},
                 {"blocks.0.norm1.weight", 12},
                 {"pos_embed", 13},
                 {"patch_embed.proj.weight", 13}};
    float scales[1000];
    ck_assert_uint_le(model.params.count, 1000);
    vit_layer_scales(&model.params, 12, 0.75, scales);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const vit_param *param = vit_params_find(&model.params, cases[i].name);
        ck_assert_msg(param != NULL, "no parameter %s", cases[i].name);
        double scale = (double)scales[param - model.params.items];
        ck_assert_msg(fabs(scale - pow(0.75, cases[i].power)) < 1e-7, "%s: %g", cases[i].name,
                      scale);
    }
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("param_groups");
    TCase *tc = tcase_create("param_groups");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, patterns_freeze);
    tcase_add_test(tc, wrong_patterns_are_refused);
    tcase_add_test(tc, layers_as_timm);
    suite_add_tcase(s, tc);
    return s;
}

int main(void) {
    return test_run(suite());
}
