/* The deletion curve, and by it that the maps tell the truth: on digits, with small models that
 * were trained on others (tests/models), every method's order beats random orders and its own
 * reverse. */
#include "support/explain_case.h"
#include "support/pictures.h"
#include "support/support.h"

#include "data/sampler.h"
#include "eval/deletion.h"
#include "vit/arena.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATCHES = 12 };

/* ---- the curve ---- */

START_TEST(order_by_value) {
    float values[] = {1, -3, 5, 1, 0, 5};
    const uint32_t expected[] = {2, 5, 0, 3, 4, 1};
    const vit_heat_map map = {.grid_h = 2, .grid_w = 3, .values = values};
    uint32_t order[6];
    ck_vit_ok(vit_deletion_order(&map, order));
    ck_assert_mem_eq(order, expected, sizeof order);
    vit_deletion_reverse(5, order);
    const uint32_t reversed[] = {4, 3, 0, 5, 2, 1};
    ck_assert_mem_eq(order, reversed, sizeof order);
}
END_TEST

/* The probability with some patches at 0, by a forward of its own. */
static double plain(const explain_case *e, const uint32_t *order, size_t hidden, int class_index) {
    const vit_patch_shape *s = &e->bundle->model.patch;
    float *input = explain_input(e), logits[EXPLAIN_CLASSES];
    for (size_t i = 0; i < s->channels * s->height * s->width; i++) {
        size_t x = i % s->width, y = i / s->width % s->height;
        for (size_t j = 0; j < hidden; j++) {
            if (y / s->patch * (s->width / s->patch) + x / s->patch == order[j]) {
                input[i] = 0;
            }
        }
    }
    vit_model_forward(&e->bundle->model, e->bundle->params, e->workspace, 1, input, NULL, logits);
    double sum = 0;
    for (int k = 0; k < EXPLAIN_CLASSES; k++) {
        sum += exp((double)logits[k]);
    }
    free(input);
    return exp((double)logits[class_index]) / sum;
}

START_TEST(curve_and_area) {
    explain_case e;
    explain_open(&e, VIT_ATTENTION_ZEROS, false);
    uint32_t orders[2 * PATCHES];
    float curves[2 * (PATCHES + 1)];
    double areas[2];
    vit_shuffle(3, 0, orders, PATCHES);
    memcpy(orders + PATCHES, orders, PATCHES * sizeof *orders);
    vit_deletion_reverse(PATCHES, orders + PATCHES);
    ck_vit_ok(vit_deletion_curve(e.bundle, &e.picture, 2, 2, orders, curves, areas));
    for (size_t i = 0; i < 2; i++) {
        double expected[PATCHES + 1], area = 0;
        for (size_t n = 0; n <= PATCHES; n++) {
            expected[n] = plain(&e, orders + i * PATCHES, n, 2);
            area += expected[n] / PATCHES * (n == 0 || n == PATCHES ? 0.5 : 1);
        }
        check_close("curve", PATCHES + 1, curves + i * (PATCHES + 1), expected, 1e-5);
        ck_assert_double_eq_tol(areas[i], area, 1e-6);
    }
    explain_close(&e);
}
END_TEST

START_TEST(random_orders) {
    explain_case e;
    explain_open(&e, VIT_ATTENTION_SOFTMAX, true);
    uint32_t orders[3 * PATCHES];
    double areas[3], mean, again;
    for (uint32_t i = 0; i < 3; i++) {
        vit_shuffle(7, i, orders + i * PATCHES, PATCHES);
    }
    ck_vit_ok(vit_deletion_curve(e.bundle, &e.picture, 0, 3, orders, NULL, areas));
    ck_vit_ok(vit_deletion_random(e.bundle, &e.picture, 0, 3, 7, &mean));
    ck_assert_double_eq_tol(mean, (areas[0] + areas[1] + areas[2]) / 3, 1e-12);
    ck_vit_ok(vit_deletion_random(e.bundle, &e.picture, 0, 3, 8, &again));
    ck_assert(mean != again);
    explain_close(&e);
}
END_TEST

START_TEST(wrong_orders) {
    explain_case e;
    explain_open(&e, VIT_ATTENTION_ZEROS, false);
    uint32_t order[PATCHES];
    double area;
    vit_shuffle(1, 0, order, PATCHES);
    ck_assert_int_eq(vit_deletion_curve(e.bundle, &e.picture, -1, 1, order, NULL, &area),
                     VIT_ERROR_ARGUMENT);
    ck_assert_int_eq(
        vit_deletion_curve(e.bundle, &e.picture, EXPLAIN_CLASSES, 1, order, NULL, &area),
        VIT_ERROR_ARGUMENT);
    ck_assert_int_eq(vit_deletion_random(e.bundle, &e.picture, 0, 0, 1, &area), VIT_ERROR_ARGUMENT);
    order[3] = order[4]; /* twice */
    ck_assert_int_eq(vit_deletion_curve(e.bundle, &e.picture, 0, 1, order, NULL, &area),
                     VIT_ERROR_ARGUMENT);
    order[3] = PATCHES;
    ck_assert_int_eq(vit_deletion_curve(e.bundle, &e.picture, 0, 1, order, NULL, &area),
                     VIT_ERROR_ARGUMENT);
    explain_close(&e);
}
END_TEST

/* ---- digits ---- */

enum { DIGITS = 20, ORDERS = 3 }; /* two of each class */
static char *digits;

static void unpack_digits(void) {
    digits = digits_unpack("'val/*/?_0004.png' 'val/*/?_0009.png'");
}

static void remove_digits(void) {
    temp_folder_remove(digits);
    digits = NULL;
}

static void load_digit(size_t i, vit_image *image) {
    char path[1024];
    vit_bytes bytes = {0};
    const vit_decode_options decode = vit_decode_defaults();
    ck_vit_ok(vit_image_load(digit_path(path, digits, i), &decode, &bytes, image));
    vit_bytes_free(&bytes);
}

typedef struct mean_areas {
    double map, reversed, random;
} mean_areas;

static void add_areas(const vit_model_bundle *bundle, const vit_image *image, int method,
                      mean_areas *mean) {
    const vit_explain_options options = {method, -1};
    vit_heat_map map = {0};
    uint32_t orders[2 * 49];
    double areas[2], random;
    ck_vit_ok(vit_explain(bundle, image, &options, &map));
    ck_vit_ok(vit_deletion_order(&map, orders));
    memcpy(orders + 49, orders, 49 * sizeof *orders);
    vit_deletion_reverse(49, orders + 49);
    ck_vit_ok(vit_deletion_curve(bundle, image, map.class_index, 2, orders, NULL, areas));
    ck_vit_ok(vit_deletion_random(bundle, image, map.class_index, ORDERS, 1, &random));
    mean->map += areas[0] / DIGITS;
    mean->reversed += areas[1] / DIGITS;
    mean->random += random / DIGITS;
    vit_heat_map_free(&map);
}

static const struct {
    const char *model;
    int method;
} claims[] = {{"zeros", VIT_EXPLAIN_ZEROS_ROLLOUT},    {"zeros", VIT_EXPLAIN_GRADIENT},
              {"zeros-sm", VIT_EXPLAIN_ZEROS_ROLLOUT}, {"zeros-sm", VIT_EXPLAIN_GRADIENT},
              {"softmax", VIT_EXPLAIN_ZEROS_ROLLOUT},  {"softmax", VIT_EXPLAIN_GRADIENT},
              {"softmax", VIT_EXPLAIN_ROLLOUT},        {"linear", VIT_EXPLAIN_ZEROS_ROLLOUT},
              {"linear", VIT_EXPLAIN_GRADIENT},        {"linear", VIT_EXPLAIN_ROLLOUT}};
enum { CLAIMS = sizeof claims / sizeof *claims };

START_TEST(hiding_the_top_patches_lowers_the_probability_fastest) {
    char path[1024];
    vit_model_bundle *bundle;
    vit_image image = {0};
    mean_areas mean = {0, 0, 0};
    snprintf(path, sizeof path, "%s/models/digits-%s.safetensors", ZVIT_TEST_DIR, claims[_i].model);
    ck_vit_ok(vit_model_bundle_load(path, &bundle));
    for (size_t i = 0; i < DIGITS; i++) {
        load_digit(i, &image);
        add_areas(bundle, &image, claims[_i].method, &mean);
    }
    printf("%-9s %-14s map %.4f  random %.4f  reversed %.4f\n", claims[_i].model,
           vit_explain_method_names[claims[_i].method], mean.map, mean.random, mean.reversed);
    ck_assert_double_lt(mean.map, mean.random);
    ck_assert_double_lt(mean.map, mean.reversed);
    vit_image_free(&image);
    vit_model_bundle_free(bundle);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("deletion");
    TCase *curve = tcase_create("curve");
    tcase_set_timeout(curve, 60);
    tcase_add_test(curve, order_by_value);
    tcase_add_test(curve, curve_and_area);
    tcase_add_test(curve, random_orders);
    tcase_add_test(curve, wrong_orders);
    suite_add_tcase(s, curve);
    TCase *tc = tcase_create("digits");
    tcase_set_timeout(tc, 120);
    tcase_add_unchecked_fixture(tc, unpack_digits, remove_digits);
    tcase_add_loop_test(tc, hiding_the_top_patches_lowers_the_probability_fastest, 0, CLAIMS);
    suite_add_tcase(s, tc);
    return s;
}

int main(void) {
    return test_run(suite());
}
