/* Heat maps: every method against a plain computation of its own, what suits which model, where a
 * map lies on its picture, and how it is drawn. */
#include "support/explain_case.h"
#include "support/support.h"

#include "vit/arena.h"
#include "vit/attention/weights.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- gradient: the log-odds when a patch is made a little stronger ---- */

static double log_odds(const explain_case *e, const float *input, int class_index) {
    size_t K = e->bundle->model.head_shape.classes;
    float logits[EXPLAIN_CLASSES];
    vit_model_forward(&e->bundle->model, e->bundle->params, e->workspace, 1, input, NULL, logits);
    double sum = 0;
    for (size_t k = 0; k < K; k++) {
        sum += (int)k != class_index ? exp((double)logits[k]) : 0;
    }
    return (double)logits[class_index] - log(sum);
}

/* (log-odds with patch p times 1 + h) - (times 1 - h), over 2 h. */
static double slope(const explain_case *e, size_t patch, int class_index) {
    const vit_patch_shape *s = &e->bundle->model.patch;
    const double h = 3e-3;
    double sides[2];
    for (int side = 0; side < 2; side++) {
        float *input = explain_input(e);
        for (size_t i = 0; i < s->channels * s->height * s->width; i++) {
            size_t x = i % s->width, y = i / s->width % s->height;
            if (y / s->patch * (s->width / s->patch) + x / s->patch == patch) {
                input[i] *= (float)(side ? 1 - h : 1 + h);
            }
        }
        sides[side] = log_odds(e, input, class_index);
        free(input);
    }
    return (sides[0] - sides[1]) / (2 * h);
}

static void check_gradient_map(int kind, int class_index) {
    explain_case e;
    explain_open(&e, kind, false);
    vit_heat_map map = {0};
    const vit_explain_options options = {VIT_EXPLAIN_GRADIENT, class_index};
    ck_vit_ok(vit_explain(e.bundle, &e.picture, &options, &map));
    size_t patches = map.grid_h * map.grid_w;
    double expected[64];
    for (size_t p = 0; p < patches; p++) {
        expected[p] = slope(&e, p, map.class_index);
    }
    check_close(vit_attention_names[kind], patches, map.values, expected, 5e-3);
    vit_heat_map_free(&map);
    explain_close(&e);
}

START_TEST(gradient_is_the_slope) {
    check_gradient_map(_i, -1);
    check_gradient_map(_i, 2);
}
END_TEST

/* ---- zeros-rollout: the network with its weights, denominators and gates held, run forwards in
 * double ---- */

typedef struct frozen {
    const explain_case *e;
    const float *params;
    size_t N, D, F, d, H;
    bool biases; /* with them it is the network itself */
} frozen;

/* y (N,out) = x W^T (+ b) */
static double *apply(const frozen *f, size_t in, size_t out, const double *x, size_t weight,
                     size_t bias) {
    double *y = calloc(f->N * out, sizeof *y);
    for (size_t t = 0; t < f->N; t++) {
        for (size_t j = 0; j < out; j++) {
            y[t * out + j] = f->biases ? (double)f->params[bias + j] : 0;
            for (size_t i = 0; i < in; i++) {
                y[t * out + j] += x[t * in + i] * (double)f->params[weight + j * in + i];
            }
        }
    }
    return y;
}

static void center(size_t n, double scale, const double *x, double *y) {
    double mean = 0;
    for (size_t j = 0; j < n; j++) {
        mean += x[j] / (double)n;
    }
    for (size_t j = 0; j < n; j++) {
        y[j] = scale * (x[j] - mean);
    }
}

static double *norm(const frozen *f, const double *x, const float *rstd, size_t gamma,
                    size_t beta) {
    double *y = calloc(f->N * f->D, sizeof *y);
    for (size_t t = 0; t < f->N; t++) {
        center(f->D, (double)rstd[t], x + t * f->D, y + t * f->D);
        for (size_t j = 0; j < f->D; j++) {
            y[t * f->D + j] = y[t * f->D + j] * (double)f->params[gamma + j] +
                              (f->biases ? (double)f->params[beta + j] : 0);
        }
    }
    return y;
}

static void add_to(size_t n, double *y, double *x) {
    for (size_t i = 0; i < n; i++) {
        y[i] += x[i];
    }
    free(x);
}

static double variance_of(size_t n, const double *x) {
    double mean = 0, variance = 0;
    for (size_t j = 0; j < n; j++) {
        mean += x[j] / (double)n;
    }
    for (size_t j = 0; j < n; j++) {
        variance += (x[j] - mean) * (x[j] - mean) / (double)n;
    }
    return variance;
}

/* One head: W v, scaled as the head norm scaled the network's own W v. */
static void mix(const frozen *f, const vit_attention *a, const vit_attention_saved *saved, size_t h,
                const double *v, double *mixed) {
    float *W = filled_new(f->N * f->N, NAN);
    float *scratch = filled_new(vit_attention_weights_scratch(a), NAN);
    double *own = calloc(f->d, sizeof *own);
    vit_attention_weights(a, f->params, saved, 0, h, scratch, W);
    for (size_t t = 0; t < f->N; t++) {
        double *o = mixed + t * f->D + h * f->d;
        memset(own, 0, f->d * sizeof *own);
        for (size_t i = 0; i < f->N; i++) {
            for (size_t j = 0; j < f->d; j++) {
                double w = (double)W[t * f->N + i];
                o[j] += w * v[i * f->D + h * f->d + j];
                own[j] += w * (double)saved->packed[i * a->columns + 2 * f->D + h * f->d + j];
            }
        }
        if (a->config.head_norm && vit_attention_has_head_norm(a->config.kind)) {
            center(f->d, 1 / sqrt(variance_of(f->d, own) + (double)VIT_HEAD_NORM_EPS), o, o);
        }
    }
    free(W);
    free(scratch);
    free(own);
}

static void block_forward(const frozen *f, size_t index, double *x) {
    const vit_block *block = &f->e->bundle->model.blocks[index];
    const vit_block_saved *saved = vit_workspace_block(f->e->workspace, index);
    const vit_attention *a = &block->attention;
    double *n = norm(f, x, saved->rstd1, block->norm1_weight, block->norm1_bias);
    double *v = apply(f, f->D, f->D, n, a->in_weight + 2 * f->D * f->D, a->in_bias + 2 * f->D);
    double *mixed = calloc(f->N * f->D, sizeof *mixed);
    for (size_t h = 0; h < f->H; h++) {
        mix(f, a, &saved->attention, h, v, mixed);
    }
    add_to(f->N * f->D, x, apply(f, f->D, f->D, mixed, a->out_weight, a->out_bias));
    free(n);
    free(v);
    free(mixed);
    n = norm(f, x, saved->rstd2, block->norm2_weight, block->norm2_bias);
    double *hidden = apply(f, f->D, f->F, n, block->fc1_weight, block->fc1_bias);
    for (size_t i = 0; i < f->N * f->F; i++) {
        hidden[i] *= 0.5 * erfc(-(double)saved->hidden[i] / sqrt(2)); /* Phi */
    }
    add_to(f->N * f->D, x, apply(f, f->F, f->D, hidden, block->fc2_weight, block->fc2_bias));
    free(n);
    free(hidden);
}

/* Logits (K) of the tokens x (N,D), which are overwritten. */
static void frozen_logits(const frozen *f, double *x, double *logits) {
    const vit_model *model = &f->e->bundle->model;
    const vit_head_shape *s = &model->head_shape;
    for (int i = 0; i < model->config.depth; i++) {
        block_forward(f, (size_t)i, x);
    }
    size_t first = s->mean_pool ? s->prefix : 0, last = s->mean_pool ? f->N : 1;
    double *pooled = calloc(f->D, sizeof *pooled);
    for (size_t t = first; t < last; t++) {
        for (size_t j = 0; j < f->D; j++) {
            pooled[j] += x[t * f->D + j] / (double)(last - first);
        }
    }
    frozen one = *f;
    one.N = 1;
    double *features = norm(&one, pooled, vit_workspace_head(f->e->workspace)->rstd,
                            model->norm_weight, model->norm_bias);
    double *y = apply(&one, f->D, s->classes, features, model->head_weight, model->head_bias);
    memcpy(logits, y, s->classes * sizeof *y);
    free(pooled);
    free(features);
    free(y);
}

/* What patch p put into the tokens: its pixels through the patch embedding, no bias. */
static double *patch_token(const frozen *f, size_t p) {
    const vit_model *model = &f->e->bundle->model;
    const vit_patch_shape *s = &model->patch;
    size_t P = s->patch, columns = s->width / P;
    double *x = calloc(f->N * f->D, sizeof *x);
    for (size_t j = 0; j < f->D; j++) {
        double sum = 0;
        for (size_t i = 0; i < s->channels * P * P; i++) {
            size_t c = i / (P * P), row = i / P % P, column = i % P;
            size_t pixel =
                (c * s->height + p / columns * P + row) * s->width + p % columns * P + column;
            sum += (double)f->e->input[pixel] *
                   (double)f->params[model->patch_weight + j * s->channels * P * P + i];
        }
        x[(s->prefix + p) * f->D + j] = sum;
    }
    return x;
}

static frozen freeze(const explain_case *e) {
    const vit_model *model = &e->bundle->model;
    const vit_attention *a = &model->blocks[0].attention;
    return (frozen){.e = e,
                    .params = e->bundle->params,
                    .N = model->tokens,
                    .D = model->patch.dim,
                    .F = model->hidden,
                    .d = a->d,
                    .H = a->config.heads};
}

/* Held as they are, weights, denominators and gates still give the network's own logits. */
static void check_frozen_is_the_network(const explain_case *e, frozen f) {
    const float *tokens = vit_workspace_tokens(e->workspace, 0);
    double *x = to_double(tokens, f.N * f.D), logits[EXPLAIN_CLASSES];
    f.biases = true;
    frozen_logits(&f, x, logits);
    check_close("frozen", e->bundle->model.head_shape.classes, e->logits, logits, 1e-5);
    free(x);
}

static double contribution(const explain_case *e, const frozen *f, size_t p, int class_index) {
    double *x = patch_token(f, p), logits[EXPLAIN_CLASSES], sum = 0, others = 0;
    frozen_logits(f, x, logits);
    for (int k = 0; k < EXPLAIN_CLASSES; k++) {
        double weight = k != class_index ? exp((double)e->logits[k]) : 0;
        sum += weight * logits[k];
        others += weight;
    }
    free(x);
    return logits[class_index] - sum / others;
}

static void check_contributions(int kind, bool token) {
    explain_case e;
    explain_open(&e, kind, token);
    frozen f = freeze(&e);
    check_frozen_is_the_network(&e, f);
    vit_heat_map map = {0};
    const vit_explain_options options = {VIT_EXPLAIN_ZEROS_ROLLOUT, 1};
    ck_vit_ok(vit_explain(e.bundle, &e.picture, &options, &map));
    size_t patches = map.grid_h * map.grid_w;
    double expected[64];
    for (size_t p = 0; p < patches; p++) {
        expected[p] = contribution(&e, &f, p, 1);
    }
    check_close(vit_attention_names[kind], patches, map.values, expected, 1e-4);
    vit_heat_map_free(&map);
    explain_close(&e);
}

START_TEST(contributions_are_those_of_the_frozen_network) {
    check_contributions(_i, false);
    check_contributions(_i, true);
}
END_TEST

/* ---- rollout ---- */

/* A = (mean W + I) / 2, and R = A_last ... A_first, whole. */
static void check_rollout(int kind, bool token) {
    explain_case e;
    explain_open(&e, kind, token);
    const vit_model *model = &e.bundle->model;
    size_t N = model->tokens, H = model->blocks[0].attention.config.heads;
    double *R = calloc(N * N, sizeof *R), *next = calloc(N * N, sizeof *next);
    float *W = filled_new(N * N, NAN);
    float *scratch = filled_new(vit_attention_weights_scratch(&model->blocks[0].attention), NAN);
    for (size_t t = 0; t < N; t++) {
        R[t * N + t] = 1;
    }
    for (int b = 0; b < model->config.depth; b++) {
        double *A = calloc(N * N, sizeof *A);
        for (size_t h = 0; h < H; h++) {
            vit_attention_weights(&model->blocks[b].attention, e.bundle->params,
                                  &vit_workspace_block(e.workspace, (size_t)b)->attention, 0, h,
                                  scratch, W);
            for (size_t i = 0; i < N * N; i++) {
                A[i] += 0.5 * (double)W[i] / (double)H + (h == 0 && i % (N + 1) == 0 ? 0.5 : 0);
            }
        }
        for (size_t i = 0; i < N * N; i++) {
            next[i] = 0;
            for (size_t k = 0; k < N; k++) {
                next[i] += A[i / N * N + k] * R[k * N + i % N];
            }
        }
        memcpy(R, next, N * N * sizeof *R);
        free(A);
    }
    vit_heat_map map = {0};
    const vit_explain_options options = {VIT_EXPLAIN_ROLLOUT, -1};
    ck_vit_ok(vit_explain(e.bundle, &e.picture, &options, &map));
    size_t prefix = model->patch.prefix, patches = N - prefix;
    double expected[64], sum = 0;
    for (size_t p = 0; p < patches; p++) {
        expected[p] = 0;
        for (size_t t = token ? 0 : prefix; t < (token ? 1 : N); t++) {
            expected[p] += R[t * N + prefix + p];
        }
        sum += expected[p];
    }
    for (size_t p = 0; p < patches; p++) {
        expected[p] = expected[p] / sum * (double)patches - 1;
    }
    check_close(vit_attention_names[kind], patches, map.values, expected, 1e-4);
    free(R);
    free(next);
    free(W);
    free(scratch);
    vit_heat_map_free(&map);
    explain_close(&e);
}

START_TEST(rollout_is_the_product) {
    for (int kind = 0; kind < VIT_ATTENTION_KINDS; kind++) {
        if (vit_attention_has_shares((vit_attention_kind)kind)) {
            check_rollout(kind, _i);
        }
    }
}
END_TEST

/* ---- choices and refusals ---- */

START_TEST(class_and_probability) {
    explain_case e;
    explain_open(&e, VIT_ATTENTION_ZEROS, false);
    double sum = 0;
    int best = 0;
    for (int k = 0; k < EXPLAIN_CLASSES; k++) {
        sum += exp((double)e.logits[k]);
        best = e.logits[k] > e.logits[best] ? k : best;
    }
    vit_heat_map map = {0};
    for (int k = -1; k < EXPLAIN_CLASSES; k++) {
        const vit_explain_options options = {VIT_EXPLAIN_AUTO, k};
        ck_vit_ok(vit_explain(e.bundle, &e.picture, &options, &map));
        int expected = k < 0 ? best : k;
        ck_assert_int_eq(map.class_index, expected);
        ck_assert_double_eq_tol(map.probability, exp((double)e.logits[expected]) / sum, 1e-6);
        ck_assert_uint_eq(map.grid_h, 3);
        ck_assert_uint_eq(map.grid_w, 4);
        ck_assert_int_eq((int)map.method, VIT_EXPLAIN_ZEROS_ROLLOUT);
    }
    vit_heat_map_free(&map);
    ck_assert_int_eq(vit_class_find(e.bundle, "bee"), 1);
    ck_assert_int_eq(vit_class_find(e.bundle, "2"), 2);
    ck_assert_int_eq(vit_class_find(e.bundle, "0"), 3); /* a class of that name goes first */
    ck_assert_int_eq(vit_class_find(e.bundle, "4"), -1);
    ck_assert_int_eq(vit_class_find(e.bundle, "1x"), -1);
    ck_assert_int_eq(vit_class_find(e.bundle, "-1"), -1);
    ck_assert_int_eq(vit_class_find(e.bundle, ""), -1);
    explain_close(&e);
}
END_TEST

START_TEST(what_does_not_suit_is_refused) {
    for (int kind = 0; kind < VIT_ATTENTION_KINDS; kind++) {
        explain_case e;
        explain_open(&e, kind, false);
        bool shares = vit_attention_has_shares((vit_attention_kind)kind);
        for (int method = VIT_EXPLAIN_AUTO; method <= VIT_EXPLAIN_ROLLOUT; method++) {
            vit_heat_map map = {0};
            const vit_explain_options options = {method, -1};
            vit_status status = vit_explain(e.bundle, &e.picture, &options, &map);
            if (method != VIT_EXPLAIN_ROLLOUT || shares) {
                ck_vit_ok(status);
            } else {
                ck_vit_fails(status, VIT_ERROR_UNSUPPORTED, vit_attention_names[kind]);
                check_message("zeros-rollout, gradient)");
                ck_assert_ptr_null(map.values);
            }
            vit_heat_map_free(&map);
        }
        explain_close(&e);
    }
}
END_TEST

START_TEST(wrong_arguments) {
    explain_case e;
    explain_open(&e, VIT_ATTENTION_ZEROS, false);
    vit_heat_map map = {0};
    const vit_explain_options wrong[] = {{VIT_EXPLAIN_AUTO, -2},
                                         {VIT_EXPLAIN_AUTO, EXPLAIN_CLASSES},
                                         {-1, 0},
                                         {VIT_EXPLAIN_ROLLOUT + 1, 0}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        ck_assert_int_eq(vit_explain(e.bundle, &e.picture, &wrong[i], &map), VIT_ERROR_ARGUMENT);
        ck_assert_ptr_null(map.values);
    }
    const vit_explain_options options = {VIT_EXPLAIN_AUTO, -1};
    e.bundle->params[e.bundle->model.head_bias] = NAN;
    ck_assert_int_eq(vit_explain(e.bundle, &e.picture, &options, &map), VIT_ERROR_NUMERIC);
    explain_close(&e);
}
END_TEST

/* ---- where the map lies ---- */

/* A picture whose pixels say where they are: what the network gets tells the crop. */
START_TEST(box_is_the_crop) {
    static const struct {
        size_t width, height, model_w, model_h;
        double crop_pct;
    } cases[] = {{64, 64, 32, 32, 1},    {120, 48, 32, 32, 0.9}, {50, 131, 32, 32, 0.875},
                 {90, 60, 24, 40, 0.95}, {33, 47, 32, 32, 1},    {200, 150, 32, 24, 1},
                 {400, 300, 48, 32, 0.8}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t w = cases[i].width, h = cases[i].height;
        size_t mw = cases[i].model_w, mh = cases[i].model_h, plane = mw * mh;
        const vit_preprocess preprocess = {
            .interpolation = VIT_BILINEAR, .crop_pct = cases[i].crop_pct, .std = {1, 1, 1}};
        vit_image image = {0};
        vit_transform_scratch scratch = {0};
        ck_vit_ok(vit_image_reserve(&image, w, h, "picture"));
        for (size_t p = 0; p < w * h; p++) {
            image.pixels[3 * p] = (uint8_t)(255 * (p % w) / w);
            image.pixels[3 * p + 1] = (uint8_t)(255 * (p / w) / h);
            image.pixels[3 * p + 2] = 0;
        }
        float *out = filled_new(3 * plane, NAN);
        ck_vit_ok(vit_transform_eval(&preprocess, mh, mw, &image, &scratch, out));
        vit_box box = vit_eval_box(&preprocess, mh, mw, &image);
        for (size_t corner = 0; corner < 4; corner++) {
            size_t x = corner % 2 ? mw - 3 : 2, y = corner / 2 ? mh - 3 : 2;
            double at_x = box.x0 + (box.x1 - box.x0) * ((double)x + 0.5) / (double)mw - 0.5;
            double at_y = box.y0 + (box.y1 - box.y0) * ((double)y + 0.5) / (double)mh - 0.5;
            /* Two levels of the ramp, and half a pixel. */
            ck_assert_double_eq_tol((double)out[y * mw + x] * (double)w, at_x,
                                    0.6 + 2.0 * (double)w / 255);
            ck_assert_double_eq_tol((double)out[plane + y * mw + x] * (double)h, at_y,
                                    0.6 + 2.0 * (double)h / 255);
        }
        free(out);
        vit_image_free(&image);
        vit_transform_scratch_free(&scratch);
    }
}
END_TEST

/* With crop_pct above 1 the picture is smaller than the crop, which reaches beyond it. */
START_TEST(box_of_a_padded_picture) {
    const vit_preprocess preprocess = {.crop_pct = 2, .std = {1, 1, 1}};
    const vit_image image = {.width = 80, .height = 80};
    vit_box box = vit_eval_box(&preprocess, 32, 32, &image);
    ck_assert_double_eq(box.x0, -40);
    ck_assert_double_eq(box.y0, -40);
    ck_assert_double_eq(box.x1, 120);
    ck_assert_double_eq(box.y1, 120);
}
END_TEST

/* The pixels right and below the last whole patch belong to no patch. */
START_TEST(box_covers_whole_patches) {
    explain_case e;
    explain_open_size(&e, VIT_ATTENTION_ZEROS, false, 14, 19);
    vit_heat_map map = {0};
    const vit_explain_options options = {VIT_EXPLAIN_AUTO, -1};
    ck_vit_ok(vit_explain(e.bundle, &e.picture, &options, &map));
    vit_box crop = vit_eval_box(&e.bundle->preprocess, 14, 19, &e.picture);
    ck_assert_uint_eq(map.grid_h, 3);
    ck_assert_uint_eq(map.grid_w, 4);
    ck_assert_double_eq_tol(map.box.x0, crop.x0, 1e-9);
    ck_assert_double_eq_tol(map.box.x1 - map.box.x0, (crop.x1 - crop.x0) * 16 / 19, 1e-9);
    ck_assert_double_eq_tol(map.box.y1 - map.box.y0, (crop.y1 - crop.y0) * 12 / 14, 1e-9);
    vit_heat_map_free(&map);
    explain_close(&e);
}
END_TEST

/* ---- the overlay ---- */

START_TEST(overlay_colours) {
    float values[] = {2, -4, 0, 1};
    uint8_t grey[3 * 12 * 4];
    memset(grey, 100, sizeof grey);
    const vit_image picture = {.width = 12, .height = 4, .pixels = grey};
    /* Two by two patches in the middle third, two pixels each. */
    const vit_heat_map map = {.grid_h = 2, .grid_w = 2, .values = values, .box = {4, 0, 8, 4}};
    vit_image out = {0};
    ck_vit_ok(vit_heat_overlay(&map, &picture, 0.5, &out));
    ck_assert_uint_eq(out.width, 12);
    ck_assert_uint_eq(out.height, 4);
    double plain = 60 + 0.65 * 100;
    for (size_t y = 0; y < 4; y++) {
        for (size_t x = 0; x < 12; x++) {
            const uint8_t *rgb = out.pixels + 3 * (y * 12 + x);
            bool inside = x >= 4 && x < 8;
            double value = inside ? values[y / 2 * 2 + (x - 4) / 2] / 4.0 : 0;
            const uint8_t *color = value > 0 ? vit_heat_for : vit_heat_against;
            for (int c = 0; c < 3; c++) {
                double a = 0.5 * fabs(value);
                double expected = inside ? (1 - a) * plain + a * color[c] : 0.45 * plain;
                ck_assert_double_eq_tol(rgb[c], expected, 0.51);
            }
        }
    }
    ck_assert_double_eq(vit_heat_scale(&map), 4);
    memset(values, 0, sizeof values); /* nothing to colour, nothing to divide by */
    ck_vit_ok(vit_heat_overlay(&map, &picture, 1, &out));
    ck_assert_uint_eq(out.pixels[3 * 5], 125);
    ck_assert_int_eq(vit_heat_overlay(&map, &picture, 1.5, &out), VIT_ERROR_ARGUMENT);
    ck_assert_int_eq(vit_heat_overlay(&map, &picture, (double)NAN, &out), VIT_ERROR_ARGUMENT);
    vit_image_free(&out);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("explain");
    TCase *methods = tcase_create("methods");
    tcase_set_timeout(methods, 60);
    tcase_add_loop_test(methods, gradient_is_the_slope, 0, VIT_ATTENTION_KINDS);
    tcase_add_loop_test(methods, contributions_are_those_of_the_frozen_network, 0,
                        VIT_ATTENTION_KINDS);
    tcase_add_loop_test(methods, rollout_is_the_product, 0, 2);
    tcase_add_test(methods, class_and_probability);
    tcase_add_test(methods, what_does_not_suit_is_refused);
    tcase_add_test(methods, wrong_arguments);
    suite_add_tcase(s, methods);
    TCase *place = tcase_create("place");
    tcase_add_test(place, box_is_the_crop);
    tcase_add_test(place, box_of_a_padded_picture);
    tcase_add_test(place, box_covers_whole_patches);
    tcase_add_test(place, overlay_colours);
    suite_add_tcase(s, place);
    return s;
}

int main(void) {
    return test_run(suite());
}
