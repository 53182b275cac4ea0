/* Distillation: the loss and its gradient in double, the teacher in a slot, and teachers that
 * answer another question. */
#include "support/models.h"
#include "support/support.h"

#include "train/slots.h"
#include "vit/layers.h"

#include <math.h>
#include <stdlib.h>

/* ---- the loss, by its definition ---- */

typedef struct reference {
    size_t B, K;
    const double *targets, *teacher;
    double alpha, T, scale;
} reference;

/* log softmax(x / T)_k, without a shift: right for moderate logits. */
static double log_probability(size_t K, const double *x, double T, size_t k) {
    double sum = 0;
    for (size_t j = 0; j < K; j++) {
        sum += exp(x[j] / T);
    }
    return x[k] / T - log(sum);
}

static double row_loss(const reference *r, size_t b, const double *logits) {
    const double *x = logits + b * r->K, *y = r->teacher + b * r->K;
    double hard = 0, soft = 0;
    for (size_t k = 0; k < r->K; k++) {
        double log_p = log_probability(r->K, y, r->T, k);
        hard -= r->targets[b * r->K + k] * log_probability(r->K, x, 1, k);
        soft += exp(log_p) * (log_p - log_probability(r->K, x, r->T, k));
    }
    return (1 - r->alpha) * hard + r->alpha * r->T * r->T * soft;
}

static double scaled_loss(void *context, const double *logits) {
    const reference *r = context;
    double sum = 0;
    for (size_t b = 0; b < r->B; b++) {
        sum += row_loss(r, b, logits);
    }
    return r->scale * sum;
}

static void check_loss(size_t B, size_t K, double alpha, double T) {
    float *logits = random_new(1, B * K, 2), *targets = random_new(2, B * K, 1);
    float *teacher = random_new(3, B * K, 3), *dlogits = filled_new(B * K, NAN);
    double *logits64 = to_double(logits, B * K), *targets64 = to_double(targets, B * K);
    double *teacher64 = to_double(teacher, B * K), *losses = calloc(B, sizeof *losses);
    reference r = {B, K, targets64, teacher64, alpha, T, 0.25};
    vit_distill_loss(alpha, T, B, K, logits, targets, teacher, 0.25f, losses, dlogits);
    for (size_t b = 0; b < B; b++) {
        double expected = row_loss(&r, b, logits64);
        ck_assert_double_eq_tol(losses[b], expected, 1e-12 * (1 + fabs(expected) * T * T));
    }
    check_gradient("dlogits", scaled_loss, &r, B * K, logits64, dlogits, 200, 1e-6);
    free(logits), free(targets), free(teacher), free(dlogits);
    free(logits64), free(targets64), free(teacher64), free(losses);
}

START_TEST(loss_and_gradient) {
    const double alphas[] = {0, 0.3, 1}, temperatures[] = {0.7, 1, 4};
    for (size_t a = 0; a < 3; a++) {
        for (size_t t = 0; t < 3; t++) {
            check_loss(1, 2, alphas[a], temperatures[t]);
            check_loss(3, 17, alphas[a], temperatures[t]);
        }
    }
}
END_TEST

START_TEST(nothing_to_learn_from_an_equal_teacher) {
    float *logits = random_new(1, 30, 5), targets[30] = {0}, dlogits[30];
    double losses[3];
    vit_distill_loss(1, 3, 3, 10, logits, targets, logits, 1, losses, dlogits);
    for (int i = 0; i < 3; i++) {
        ck_assert_double_eq_tol(losses[i], 0, 1e-12);
    }
    for (int i = 0; i < 30; i++) {
        ck_assert_double_eq_tol(dlogits[i], 0, 1e-7);
    }
    free(logits);
}
END_TEST

START_TEST(large_logits_stay_finite) {
    const float logits[4] = {1e4f, -1e4f, 300, 0}, teacher[4] = {-1e4f, 1e4f, 0, 9};
    const float targets[4] = {1, 0, 0, 0};
    float dlogits[4];
    double loss;
    vit_distill_loss(0.5, 2, 1, 4, logits, targets, teacher, 1, &loss, dlogits);
    /* The teacher is sure of class 1, the student gives it e^-10000: (20000 / T) T^2 alpha. */
    ck_assert_double_eq_tol(loss, 20000, 1e-6);
    const float expected[4] = {1, -1, 0, 0};
    for (int i = 0; i < 4; i++) {
        ck_assert_double_eq_tol(dlogits[i], expected[i], 1e-6);
    }
}
END_TEST

/* ---- in a slot ---- */

enum { BATCH = 16, CLASSES = 7, PIXELS = 3 * 16 * 24 };

static vit_config small_config(int attn, int depth, int dim) {
    vit_config config = small_oblong_config(CLASSES);
    config.attn = attn;
    config.embed_dim = dim;
    config.depth = depth;
    return config;
}

typedef struct pair {
    vit_model student, teacher;
    float *params, *teacher_params;
    vit_batch batch;
} pair;

static void open_pair(pair *p) {
    vit_config student = small_config(VIT_ATTENTION_ZEROS, 2, 16);
    vit_config teacher = small_config(VIT_ATTENTION_SOFTMAX, 3, 32);
    ck_vit_ok(vit_model_init(&p->student, &student));
    ck_vit_ok(vit_model_init(&p->teacher, &teacher));
    p->params = random_new(1, p->student.params.total, 0.3);
    p->teacher_params = random_new(2, p->teacher.params.total, 0.3);
    p->batch = (vit_batch){.count = BATCH, .capacity = BATCH};
    p->batch.indices = calloc(BATCH, sizeof *p->batch.indices);
    p->batch.labels = calloc(BATCH, sizeof *p->batch.labels);
    p->batch.images = random_new(3, BATCH * PIXELS, 1);
    ck_assert(p->batch.indices && p->batch.labels);
    for (int i = 0; i < BATCH; i++) {
        p->batch.labels[i] = i * 5 % CLASSES;
    }
}

static void close_pair(pair *p) {
    free(p->batch.indices), free(p->batch.labels), free(p->batch.images);
    free(p->params), free(p->teacher_params);
    vit_model_free(&p->student);
    vit_model_free(&p->teacher);
}

static float *step(const pair *p, const vit_teacher *teacher, int threads, double *loss) {
    vit_slots_config config = {.model = &p->student,
                               .batch_size = BATCH,
                               .slots = 4,
                               .chunk = 3,
                               .threads = threads,
                               .smoothing = 0.1,
                               .teacher = teacher};
    vit_slots *slots;
    vit_step_result result;
    float *grads = filled_new(p->student.params.total, NAN);
    ck_vit_ok(vit_slots_create(&config, &slots));
    ck_vit_ok(vit_slots_step(slots, p->params, &p->batch, NULL, NULL, grads, &result));
    vit_slots_free(slots);
    *loss = result.loss;
    return grads;
}

/* Logits of the whole batch, which the caller frees. */
static float *logits_of(const vit_model *model, const float *params, const vit_batch *batch,
                        vit_workspace **workspace) {
    float *logits = calloc((size_t)BATCH * CLASSES, sizeof *logits);
    ck_vit_ok(vit_workspace_create(model, BATCH, true, workspace));
    vit_model_forward(model, params, *workspace, BATCH, batch->images, NULL, logits);
    return logits;
}

START_TEST(the_teacher_works_in_the_slot) {
    enum { N = BATCH * CLASSES };
    pair p;
    open_pair(&p);
    const vit_teacher teacher = {&p.teacher, p.teacher_params, 0.4, 3};
    vit_workspace *student_space, *teacher_space;
    float *student = logits_of(&p.student, p.params, &p.batch, &student_space);
    float *answers = logits_of(&p.teacher, p.teacher_params, &p.batch, &teacher_space);
    float targets[N], dlogits[N], *expected = calloc(p.student.params.total, sizeof *expected);
    double losses[BATCH], mean = 0, loss;
    vit_smooth_targets(BATCH, CLASSES, p.batch.labels, 0.1, targets);
    vit_distill_loss(0.4, 3, BATCH, CLASSES, student, targets, answers, 1.0f / BATCH, losses,
                     dlogits);
    vit_model_backward(&p.student, p.params, expected, student_space, BATCH, NULL, dlogits, NULL);
    for (int b = 0; b < BATCH; b++) {
        mean += losses[b] / BATCH;
    }
    float *grads = step(&p, &teacher, 1, &loss);
    ck_assert_double_eq_tol(loss, mean, 1e-5 * mean);
    double *expected64 = to_double(expected, p.student.params.total);
    check_close("gradient", p.student.params.total, grads, expected64, 1e-5);
    for (int threads = 2; threads <= 3; threads++) {
        double again;
        float *other = step(&p, &teacher, threads, &again);
        check_same_bits("gradient", p.student.params.total, other, grads);
        ck_assert(again == loss);
        free(other);
    }
    free(student), free(answers), free(expected), free(expected64), free(grads);
    vit_workspace_free(student_space);
    vit_workspace_free(teacher_space);
    close_pair(&p);
}
END_TEST

/* ---- teachers that do not fit ---- */

static const char *const names[CLASSES] = {"a", "b", "c", "d", "e", "f", "g"};

static vit_model_bundle *bundle_new(const vit_config *config, const char *const *class_names) {
    vit_preprocess preprocess = {.crop_pct = 0.9, .mean = {0.5, 0.5, 0.5}, .std = {1, 1, 1}};
    vit_model_bundle *bundle;
    ck_vit_ok(vit_model_bundle_new(config, &preprocess, class_names, 1, &bundle));
    return bundle;
}

static void check_refused(vit_model_bundle *teacher, const vit_model_bundle *student,
                          const char *part) {
    ck_vit_fails(vit_teacher_check(teacher, student, "t.safetensors"), VIT_ERROR_ARGUMENT,
                 "--distill t.safetensors: ");
    check_message(part);
    vit_model_bundle_free(teacher);
}

START_TEST(teachers_that_do_not_fit) {
    vit_config config = small_config(VIT_ATTENTION_ZEROS, 1, 16), other = config;
    vit_model_bundle *student = bundle_new(&config, names);
    vit_model_bundle *teacher = bundle_new(&config, names);
    ck_vit_ok(vit_teacher_check(teacher, student, "t"));
    teacher->preprocess.std[2] = 2;
    check_refused(teacher, student, "--std 1 1 2");
    other.num_classes = 5;
    check_refused(bundle_new(&other, names), student, "5 classes (expected 7");
    other = config;
    other.img_size[0] = 24;
    check_refused(bundle_new(&other, names), student, "24 x 24 (expected 16 x 24");
    const char *const swapped[CLASSES] = {"a", "c", "b", "d", "e", "f", "g"};
    check_refused(bundle_new(&config, swapped), student, "class 1 is \"c\" (expected \"b\"");
    vit_model_bundle_free(student);
}
END_TEST

/* Each of the six figures by itself. */
START_TEST(teachers_of_other_pixels) {
    vit_config config = small_config(VIT_ATTENTION_ZEROS, 1, 16);
    vit_model_bundle *student = bundle_new(&config, names);
    for (int c = 0; c < 3; c++) {
        vit_model_bundle *teacher = bundle_new(&config, names);
        teacher->preprocess.mean[c] = 0.25;
        check_refused(teacher, student, "--mean");
        teacher = bundle_new(&config, names);
        teacher->preprocess.std[c] = 0.25;
        check_refused(teacher, student, "--std");
    }
    vit_model_bundle *teacher = bundle_new(&config, names);
    for (int c = 0; c < 3; c++) {
        student->preprocess.mean[c] = 0.1 * (c + 1);
        student->preprocess.std[c] = 0.1 * (c + 4);
        teacher->preprocess.mean[c] = c + 1;
        teacher->preprocess.std[c] = c + 4;
    }
    check_refused(teacher, student,
                  "--mean 1 2 3 --std 4 5 6 (expected the same here, found 0.1 0.2 0.3 and 0.4 0.5 "
                  "0.6)");
    vit_model_bundle_free(student);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("distill");
    TCase *t = tcase_create("distill");
    tcase_add_test(t, loss_and_gradient);
    tcase_add_test(t, nothing_to_learn_from_an_equal_teacher);
    tcase_add_test(t, large_logits_stay_finite);
    tcase_add_test(t, the_teacher_works_in_the_slot);
    tcase_add_test(t, teachers_that_do_not_fit);
    tcase_add_test(t, teachers_of_other_pixels);
    suite_add_tcase(s, t);
    return s;
}

int main(void) {
    return test_run(suite());
}
