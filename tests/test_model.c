/* The whole network against timm and the authors' layer: logits, loss and every gradient. */
#include "tests/support/golden_model.h"
#include "tests/support/guarded.h"
#include "tests/support/support.h"
#include "vit/model.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A model with its weights and, for training, gradients and a workspace. */
typedef struct fixture {
    vit_model model;
    vit_workspace *workspace;
    float *params, *grads;
} fixture;

static void fixture_make(fixture *f, const vit_config *config, size_t batch, bool training) {
    ck_vit_ok(vit_model_init(&f->model, config));
    f->params = calloc(f->model.params.total, sizeof(float));
    f->grads = calloc(f->model.params.total, sizeof(float));
    vit_params_init(&f->model.params, 7, f->params);
    ck_vit_ok(vit_workspace_create(&f->model, batch, training, &f->workspace));
}

static void fixture_free(fixture *f) {
    vit_workspace_free(f->workspace);
    free(f->params);
    free(f->grads);
    vit_model_free(&f->model);
}

/* Without rotary position a key's bias shifts all logits of a row alike, and softmax does not see
 * it: its gradient is zero but for rounding, in the reference too. There the error is held against
 * the largest gradient instead. */
static void check_parameter_gradient(const vit_param *param, const float *grads,
                                     const double *expected, double largest) {
    double norm = 0, error = 0;
    for (size_t i = 0; i < param->size; i++) {
        double difference = grads[param->offset + i] - expected[i];
        norm += expected[i] * expected[i];
        error += difference * difference;
    }
    if (sqrt(norm) > 1e-12) {
        check_close(param->name, param->size, grads + param->offset, expected, 2e-4);
    } else {
        ck_assert_msg(sqrt(error) <= 1e-6 * largest, "%s: %g beside %g", param->name, sqrt(error),
                      largest);
    }
}

/* The largest norm of any parameter's gradient. */
static double largest_gradient(const vit_model *model, const float *grads) {
    double largest = 0;
    for (size_t i = 0; i < model->params.count; i++) {
        const vit_param *param = &model->params.items[i];
        double norm = 0;
        for (size_t j = 0; j < param->size; j++) {
            norm += (double)grads[param->offset + j] * grads[param->offset + j];
        }
        largest = sqrt(norm) > largest ? sqrt(norm) : largest;
    }
    return largest;
}

static void check_golden(const char *name) {
    vit_safetensors *file = golden_open(name);
    vit_config config = golden_model_config(file);
    size_t K = (size_t)config.num_classes, images_count, B;
    float *images = golden_f32(file, "images_nchw", &images_count);
    double *labels = golden_f64(file, "labels", &B);
    double *expected_loss = golden_f64(file, "loss_label_smoothing_0.1", NULL);
    double *expected_logits = golden_f64(file, "logits", NULL);
    fixture f;
    fixture_make(&f, &config, B, true);
    golden_model_params(&f.model, file, "param.", f.params);

    float *logits = calloc(B * K, sizeof(float)), *dlogits = calloc(B * K, sizeof(float));
    float *targets = calloc(B * K, sizeof(float));
    int *label_ints = calloc(B, sizeof(int));
    double *losses = calloc(B, sizeof(double)), loss = 0;
    for (size_t b = 0; b < B; b++) {
        label_ints[b] = (int)labels[b];
    }
    vit_model_forward(&f.model, f.params, f.workspace, B, images, NULL, logits);
    check_close("logits", B * K, logits, expected_logits, 2e-5);
    vit_smooth_targets(B, K, label_ints, 0.1, targets);
    vit_cross_entropy(B, K, logits, targets, 1.0f / (float)B, losses, dlogits);
    for (size_t b = 0; b < B; b++) {
        loss += losses[b] / (double)B;
    }
    ck_assert_double_le(fabs(loss - expected_loss[0]), 2e-5 * fabs(expected_loss[0]));
    vit_model_backward(&f.model, f.params, f.grads, f.workspace, B, NULL, dlogits, NULL);
    double largest = largest_gradient(&f.model, f.grads);
    for (size_t i = 0; i < f.model.params.count; i++) {
        const vit_param *param = &f.model.params.items[i];
        char key[128];
        snprintf(key, sizeof key, "grad.%s", param->name);
        double *expected = golden_f64(file, key, NULL);
        check_parameter_gradient(param, f.grads, expected, largest);
        free(expected);
    }
    free(images), free(labels), free(expected_loss), free(expected_logits), free(logits);
    free(dlogits), free(targets), free(label_ints), free(losses);
    fixture_free(&f);
    vit_safetensors_close(file);
}

static const char *const golden_models[] = {
    "vit_softmax_avg.safetensors", "vit_softmax_cls.safetensors",  "vit_zeros_avg.safetensors",
    "vit_zeros_cls.safetensors",   "vit_zeros_sm_cls.safetensors",
};

START_TEST(golden_logits_loss_and_every_gradient) {
    check_golden(golden_models[_i]);
}
END_TEST

START_TEST(timm_weights_give_timms_logits) {
    vit_safetensors *weights = golden_open(GOLDEN_TIMM);
    vit_config config = golden_timm_config();
    fixture f;
    fixture_make(&f, &config, 2, false);
    golden_model_params(&f.model, weights, "", f.params);
    golden_timm_check(&f.model, f.params, 2e-5);
    fixture_free(&f);
    vit_safetensors_close(weights);
}
END_TEST

/* Odd on purpose: the picture is not square, the patch does not divide it, a class token, two kinds
 * of blocks. */
static vit_config odd_config(int attn) {
    vit_config config;
    ck_vit_ok(vit_config_preset("zeros_micro_patch4_28", &config));
    config.img_size[0] = 23;
    config.img_size[1] = 17;
    config.patch_size = 5;
    config.embed_dim = 24;
    config.depth = 2;
    config.num_heads = 3;
    config.num_classes = 5;
    config.mlp_ratio = 2.5;
    config.global_pool = VIT_POOL_TOKEN;
    config.attn = attn;
    config.zero_order = vit_attention_has_zero_order((vit_attention_kind)attn);
    return config;
}

static void forward(const vit_config *config, bool training, int threads, size_t B,
                    const float *images, float *logits) {
    omp_set_num_threads(threads);
    fixture f;
    fixture_make(&f, config, B, training);
    vit_model_forward(&f.model, f.params, f.workspace, B, images, NULL, logits);
    fixture_free(&f);
}

START_TEST(inference_workspace_and_threads_change_no_bit) {
    vit_config config = odd_config(_i);
    float *images = random_new(1, 3 * 3 * 23 * 17, 1.0);
    float expected[15], actual[15];
    forward(&config, true, 1, 3, images, expected);
    for (int threads = 1; threads <= 3; threads++) {
        forward(&config, false, threads, 3, images, actual);
        ck_assert_mem_eq(actual, expected, sizeof expected);
    }
    free(images);
}
END_TEST

/* Sum of logits * cotangent, in the float32 model. */
static double objective(fixture *f, size_t B, const float *images, const float *drop,
                        const float *cotangent) {
    float logits[64];
    double sum = 0;
    size_t K = (size_t)f->model.config.num_classes;
    vit_model_forward(&f->model, f->params, f->workspace, B, images, drop, logits);
    for (size_t i = 0; i < B * K; i++) {
        sum += (double)logits[i] * cotangent[i];
    }
    return sum;
}

/* The derivative along a random direction of n values, measured by moving them: the fourth-order
 * central difference, so that the step can be large enough for float32. */
static double directional(fixture *f, size_t B, const float *images, const float *drop,
                          const float *cotangent, float *moved, size_t n, const float *direction,
                          float step) {
    const float steps[4] = {step, -step, 2 * step, -2 * step};
    double at[4];
    float *start = malloc(n * sizeof(float));
    memcpy(start, moved, n * sizeof(float));
    for (int s = 0; s < 4; s++) {
        for (size_t i = 0; i < n; i++) {
            moved[i] = start[i] + steps[s] * direction[i];
        }
        at[s] = objective(f, B, images, drop, cotangent);
    }
    memcpy(moved, start, n * sizeof(float));
    free(start);
    return (8 * (at[0] - at[1]) - (at[2] - at[3])) / (12 * (double)step);
}

static double inner(size_t n, const float *a, const float *b) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)a[i] * b[i];
    }
    return sum;
}

/* With drop-path scales in play: the gradient of the weights and of the pictures, along random
 * directions. */
START_TEST(gradients_with_drop_path_and_of_the_pictures) {
    enum { B = 3, PIXELS = 3 * 23 * 17 };
    vit_config config = odd_config(_i);
    fixture f;
    fixture_make(&f, &config, B, true);
    size_t total = f.model.params.total;
    float *noise = random_new(11, total, 0.1);
    for (size_t i = 0; i < total; i++) {
        f.params[i] += noise[i]; /* away from the fresh model's zeros */
    }
    float *images = random_new(1, B * PIXELS, 1.0), *cotangent = random_new(2, B * 5, 1.0);
    float drop[2 * 2 * B] = {0, 1.25f, 1.25f, 1, 0, 1, 1.5f, 1.5f, 0, 0, 1, 2};
    float *dimages = calloc(B * PIXELS, sizeof(float));
    objective(&f, B, images, drop, cotangent);
    vit_model_backward(&f.model, f.params, f.grads, f.workspace, B, drop, cotangent, dimages);

    for (unsigned trial = 0; trial < 4; trial++) {
        float *direction = random_new(20 + trial, total, 1.0);
        double analytic = inner(total, f.grads, direction);
        double numeric =
            directional(&f, B, images, drop, cotangent, f.params, total, direction, 5e-4f);
        ck_assert_msg(fabs(analytic - numeric) <= 2e-3 * (fabs(numeric) + 1), "weights: %g, %g",
                      analytic, numeric);
        analytic = inner(B * PIXELS, dimages, direction);
        numeric = directional(&f, B, images, drop, cotangent, images, B * PIXELS, direction, 4e-3f);
        ck_assert_msg(fabs(analytic - numeric) <= 5e-3 * (fabs(numeric) + 0.1), "pictures: %g, %g",
                      analytic, numeric);
        free(direction);
    }
    free(noise), free(images), free(cotangent), free(dimages);
    fixture_free(&f);
}
END_TEST

/* Gradients of weights and pictures, one after the other, of a fresh model with noise. */
static float *gradients(const vit_config *config, vit_workspace_kind kind, int threads) {
    enum { B = 3, PIXELS = 3 * 23 * 17 };
    fixture f;
    fixture_make(&f, config, B, false);
    vit_workspace_free(f.workspace);
    ck_vit_ok(vit_workspace_create(&f.model, B, kind, &f.workspace));
    size_t total = f.model.params.total, depth = (size_t)config->depth;
    float *noise = random_new(11, total, 0.1), *images = random_new(1, B * PIXELS, 1.0);
    float *drop = random_new(3, 2 * depth * B, 1.0), *cotangent = random_new(2, B * 5, 1.0);
    float *grads = calloc(total + B * PIXELS, sizeof *grads), logits[B * 5];
    for (size_t i = 0; i < total; i++) {
        f.params[i] += noise[i];
    }
#pragma omp parallel num_threads(threads)
#pragma omp master
    {
        vit_model_forward(&f.model, f.params, f.workspace, B, images, drop, logits);
        vit_model_backward(&f.model, f.params, grads, f.workspace, B, drop, cotangent,
                           grads + total);
    }
    free(noise), free(images), free(drop), free(cotangent);
    fixture_free(&f);
    return grads;
}

START_TEST(checkpointed_gradients_have_the_same_bits) {
    vit_config config = odd_config(_i);
    config.depth = 3;
    float *whole = gradients(&config, VIT_TRAINING, 1);
    float *again = gradients(&config, VIT_TRAINING_CHECKPOINTED, 2);
    vit_model model;
    ck_vit_ok(vit_model_init(&model, &config));
    check_same_bits("gradients", model.params.total + 3 * 3 * 23 * 17, again, whole);
    vit_model_free(&model);
    free(whole), free(again);
}
END_TEST

START_TEST(blocks_share_rotary_tables) {
    vit_config config = odd_config(VIT_ATTENTION_ZEROS);
    vit_model model;
    ck_vit_ok(vit_model_init(&model, &config));
    ck_assert_ptr_nonnull(model.blocks[0].attention.cosine);
    ck_assert_ptr_eq(model.blocks[1].attention.cosine, model.blocks[0].attention.cosine);
    ck_assert_ptr_eq(model.blocks[1].attention.sine, model.blocks[0].attention.sine);
    vit_model_free(&model);
}
END_TEST

START_TEST(dropped_branches_leave_the_residual_stream) {
    /* With every branch of a picture dropped, its logits do not depend on the blocks' weights. */
    vit_config config = odd_config(VIT_ATTENTION_ZEROS);
    fixture f;
    fixture_make(&f, &config, 1, true);
    float *images = random_new(1, 3 * 23 * 17, 1.0), before[5], after[5];
    float drop[4] = {0};
    vit_model_forward(&f.model, f.params, f.workspace, 1, images, drop, before);
    for (size_t i = 0; i < f.model.params.count; i++) {
        const vit_param *param = &f.model.params.items[i];
        if (strncmp(param->name, "blocks.", 7) == 0) {
            random_floats(i, param->size, 0.3, f.params + param->offset);
        }
    }
    vit_model_forward(&f.model, f.params, f.workspace, 1, images, drop, after);
    ck_assert_mem_eq(before, after, sizeof before);
    free(images);
    fixture_free(&f);
}
END_TEST

/* Attention and MLP of a block each have a row of scales. */
START_TEST(each_branch_has_its_own_scales) {
    vit_config config = odd_config(VIT_ATTENTION_ZEROS);
    fixture f;
    fixture_make(&f, &config, 1, true);
    random_floats(5, f.model.params.total, 0.3, f.params);
    float *images = random_new(1, 3 * 23 * 17, 1.0), logits[4][5];
    for (int which = 0; which < 4; which++) {
        float attn = (float)(which & 1), mlp = (float)(which >> 1);
        float drop[4] = {attn, mlp, attn, mlp};
        vit_model_forward(&f.model, f.params, f.workspace, 1, images, drop, logits[which]);
        for (int before = 0; before < which; before++) {
            ck_assert_mem_ne(logits[before], logits[which], sizeof logits[which]);
        }
    }
    free(images);
    fixture_free(&f);
}
END_TEST

/* Matrices, those of one column too, decay; biases and norms do not. */
START_TEST(what_decays) {
    vit_config config = odd_config(VIT_ATTENTION_SOFTMAX);
    config.embed_dim = 4; /* an MLP of one channel */
    config.num_heads = 1;
    config.mlp_ratio = 0.25;
    vit_model model;
    ck_vit_ok(vit_model_init(&model, &config));
    for (size_t i = 0; i < model.params.count; i++) {
        const vit_param *param = &model.params.items[i];
        if (strncmp(param->name, "blocks.", 7) == 0) {
            bool matrix = !strstr(param->name, "norm") && strstr(param->name, ".weight");
            ck_assert_msg(!(param->flags & VIT_PARAM_DECAY) == !matrix, "%s", param->name);
            ck_assert_msg(param->ndim == (matrix ? 2 : 1), "%s", param->name);
        }
    }
    vit_model_free(&model);
}
END_TEST

static size_t training_bytes(int depth) {
    vit_config config = odd_config(VIT_ATTENTION_ZEROS);
    config.depth = depth;
    vit_model model;
    size_t bytes;
    ck_vit_ok(vit_model_init(&model, &config));
    ck_vit_ok(vit_workspace_bytes(&model, 1, true, &bytes));
    vit_model_free(&model);
    return bytes;
}

/* What a block makes of x in exactly the scratch that it asked for, the caller's to free. */
static float *block_output(const vit_block *block, const float *params, size_t B, bool training,
                           const float *x) {
    size_t n = B * block->tokens * block->dim, floats = vit_block_scratch(block, B, training);
    vit_arena arena = {0};
    vit_block_saved saved;
    vit_block_plan(block, B, training, &arena, &saved);
    ck_vit_ok(vit_arena_allocate(&arena, "block test"));
    vit_block_plan(block, B, training, &arena, &saved);
    float *scratch = guarded_new(floats), *y = filled_new(n, NAN);
    vit_block_forward(block, params, B, training, x, NULL, NULL, &saved, scratch, y);
    guard_check("scratch of a block", scratch, floats);
    free(scratch);
    vit_arena_free(&arena);
    return y;
}

/* In inference a block has less scratch; it is enough, and the bits are those of training. */
START_TEST(scratch_of_a_block) {
    vit_config config = odd_config(_i);
    fixture f;
    fixture_make(&f, &config, 1, false);
    const vit_block *block = &f.model.blocks[0];
    size_t n = 3 * block->tokens * block->dim;
    random_floats(9, f.model.params.total, 0.3, f.params);
    float *x = random_new(8, n, 1);
    float *trained = block_output(block, f.params, 3, true, x);
    float *inferred = block_output(block, f.params, 3, false, x);
    check_same_bits("y", n, inferred, trained);
    ck_assert(isfinite(inferred[0]) && isfinite(inferred[n - 1]));
    ck_assert_uint_lt(vit_block_scratch(block, 3, false), vit_block_scratch(block, 3, true));
    free(x);
    free(trained);
    free(inferred);
    fixture_free(&f);
}
END_TEST

/* One block has scratch as any number has: each further one takes as much as the one before. */
START_TEST(workspace_grows_by_the_block) {
    size_t one = training_bytes(1), two = training_bytes(2), three = training_bytes(3);
    ck_assert_uint_eq(three - two, two - one);
}
END_TEST

START_TEST(training_takes_more_than_inference) {
    vit_config config;
    ck_vit_ok(vit_config_preset("zeros_tiny_patch16_224", &config));
    vit_model model;
    ck_vit_ok(vit_model_init(&model, &config));
    size_t inference, training, checkpointed, twice;
    ck_vit_ok(vit_workspace_bytes(&model, 1, false, &inference));
    ck_vit_ok(vit_workspace_bytes(&model, 1, true, &training));
    ck_vit_ok(vit_workspace_bytes(&model, 2, true, &twice));
    ck_vit_ok(vit_workspace_bytes(&model, 1, VIT_TRAINING_CHECKPOINTED, &checkpointed));
    ck_assert_uint_lt(4 * inference, training);
    ck_assert_uint_lt(3 * checkpointed, training);
    ck_assert_uint_lt(inference, checkpointed);
    ck_assert_uint_lt(training, twice);
    ck_assert_uint_le(twice, 2 * training + 65536);
    vit_model_free(&model);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("model");
    TCase *t = tcase_create("model");
    tcase_set_timeout(t, 120);
    tcase_add_loop_test(t, golden_logits_loss_and_every_gradient, 0,
                        (int)(sizeof golden_models / sizeof *golden_models));
    tcase_add_test(t, timm_weights_give_timms_logits);
    tcase_add_loop_test(t, inference_workspace_and_threads_change_no_bit, 0, VIT_ATTENTION_KINDS);
    tcase_add_loop_test(t, gradients_with_drop_path_and_of_the_pictures, 0, VIT_ATTENTION_KINDS);
    tcase_add_loop_test(t, checkpointed_gradients_have_the_same_bits, 0, VIT_ATTENTION_KINDS);
    tcase_add_test(t, blocks_share_rotary_tables);
    tcase_add_test(t, dropped_branches_leave_the_residual_stream);
    tcase_add_test(t, each_branch_has_its_own_scales);
    tcase_add_test(t, what_decays);
    tcase_add_loop_test(t, scratch_of_a_block, 0, VIT_ATTENTION_KINDS);
    tcase_add_test(t, workspace_grows_by_the_block);
    tcase_add_test(t, training_takes_more_than_inference);
    suite_add_tcase(s, t);
    return s;
}

int main(void) {
    return test_run(suite());
}
