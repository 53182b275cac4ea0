/* Evaluation by several ranks against one: the same bits, every picture once, also where some
 * cannot be read. The ranks are threads. */
#include "eval/evaluate.h"
#include "support/comm_local.h"
#include "support/files.h"
#include "support/folder.h"
#include "support/pictures.h"
#include "support/support.h"
#include "train/eval_ranks.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLASSES = 5, IMAGES = 27, SIDE = 56, MOST_RANKS = 9 };
static const char *const classes[] = {"a", "b", "c", "d", "e"};
static const vit_preprocess preprocess = {
    .crop_pct = 0.9, .mean = {0.5, 0.4, 0.3}, .std = {0.2, 0.3, 0.25}};

static void make_base(void) {
    char path[1024];
    make_folder();
    make_pictures(folder, "val", classes, CLASSES, 6, 30, 26, 3);
    remove(temp_path(path, folder, "val/a/001.png"));
    remove(temp_path(path, folder, "val/e/003.png"));
    remove(temp_path(path, folder, "val/e/005.png"));
}

typedef struct fixture {
    vit_model model;
    float *params;
    vit_dataset *dataset;
    vit_data_options reading;
    bool with_logits;
    vit_tta tta;
} fixture;

/* 197 tokens: chunks of two pictures, 14 in all. */
static void set_up(fixture *f) {
    vit_config config;
    ck_vit_ok(vit_config_preset("zeros_micro_patch4_28", &config));
    config.img_size[0] = config.img_size[1] = SIDE;
    config.num_classes = CLASSES;
    config.embed_dim = 24;
    config.depth = 1;
    config.num_heads = 2;
    *f = (fixture){.reading = {.background = {255, 255, 255}, .on_error = VIT_ON_ERROR_SKIP},
                   .with_logits = true};
    ck_vit_ok(vit_model_init(&f->model, &config));
    f->params = random_new(1, f->model.params.total, 0.3);
    ck_vit_ok(vit_dataset_open(folder, "val", classes, CLASSES, &f->dataset, NULL));
    ck_assert_uint_eq(f->dataset->count, IMAGES);
    ck_assert_uint_eq(vit_evaluation_chunk(&f->model), 2);
}

static void tear_down(fixture *f) {
    vit_model_free(&f->model);
    free(f->params);
    vit_dataset_free(f->dataset);
}

/* One rank's evaluation, of two with the same evaluator. */
typedef struct rank_run {
    const fixture *fixture;
    vit_comm *comm;
    vit_status status;
    char message[VIT_MESSAGE_MAX];
    vit_eval_result result;
    float *logits;
    size_t rows, done, total;
} rank_run;

static void on_progress(void *context, size_t done, size_t total) {
    rank_run *r = context;
    r->done = done;
    r->total = total;
}

static void *run_rank(void *context) {
    rank_run *r = context;
    const fixture *f = r->fixture;
    vit_evaluator *evaluator = NULL;
    const vit_eval_ranks ranks = vit_comm_eval_ranks(r->comm);
    vit_status status;
    VIT_TRY(vit_evaluator_create_share(&f->model, &preprocess, f->dataset, 4, 1, &f->reading,
                                       &ranks, &evaluator));
    VIT_TRY(vit_evaluator_set_tta(evaluator, f->tta));
    r->rows = vit_evaluator_rows(evaluator);
    if (f->with_logits) {
        r->logits = malloc((r->rows + 1) * CLASSES * sizeof(float));
        r->logits[r->rows * CLASSES] = 77; /* none may write here */
    }
    for (int i = 0; i < 2; i++) {
        VIT_TRY(vit_evaluate(evaluator, f->params, on_progress, r, r->logits, &r->result));
    }
cleanup:
    r->status = status;
    snprintf(r->message, sizeof r->message, "%s", vit_last_error());
    vit_evaluator_free(evaluator);
    vit_comm_free(r->comm);
    return NULL;
}

static void run_ranks(const fixture *f, size_t ranks, rank_run *runs) {
    vit_comm *comms[MOST_RANKS] = {NULL};
    pthread_t threads[MOST_RANKS];
    if (ranks > 1) {
        ck_vit_ok(local_ranks_open(ranks, comms));
    }
    for (size_t r = 0; r < ranks; r++) {
        runs[r] = (rank_run){.fixture = f, .comm = comms[r]};
        ck_assert_int_eq(pthread_create(&threads[r], NULL, run_rank, &runs[r]), 0);
    }
    for (size_t r = 0; r < ranks; r++) {
        pthread_join(threads[r], NULL);
    }
}

static void free_runs(rank_run *runs, size_t ranks) {
    for (size_t r = 0; r < ranks; r++) {
        free(runs[r].logits);
    }
}

static void check_same_result(const vit_eval_result *a, const vit_eval_result *b) {
    ck_assert_uint_eq(a->images, b->images);
    ck_assert_uint_eq(a->skipped, b->skipped);
    ck_assert_uint_eq(a->classes, b->classes);
    ck_assert_mem_eq(&a->top1, &b->top1, sizeof a->top1);
    ck_assert_mem_eq(&a->top5, &b->top5, sizeof a->top5);
    ck_assert_mem_eq(&a->loss, &b->loss, sizeof a->loss);
    ck_assert_str_eq(a->first_skipped, b->first_skipped);
}

/* Rank counts 1 to 5, and 9 whose shares of 14 chunks differ in size. */
static void check_ranks(const fixture *f, size_t skipped) {
    rank_run alone, runs[MOST_RANKS];
    run_ranks(f, 1, &alone);
    ck_assert_int_eq(alone.status, VIT_OK);
    ck_assert_uint_eq(alone.result.images, IMAGES - skipped);
    ck_assert_uint_eq(alone.result.skipped, skipped);
    ck_assert_uint_eq(alone.rows, IMAGES);
    for (size_t ranks = 2; ranks <= MOST_RANKS; ranks += ranks == 5 ? 4 : 1) {
        size_t computed = 0;
        run_ranks(f, ranks, runs);
        for (size_t r = 0; r < ranks; r++) {
            ck_assert_msg(runs[r].status == VIT_OK, "%s", runs[r].message);
            check_same_result(&runs[r].result, &alone.result);
            ck_assert_uint_eq(runs[r].done, runs[r].total);
            ck_assert_uint_eq(runs[r].rows, r == 0 ? IMAGES : runs[r].done);
            computed += runs[r].done;
            if (f->with_logits) {
                ck_assert(runs[r].logits[runs[r].rows * CLASSES] == 77);
            }
        }
        ck_assert_uint_eq(computed, IMAGES);
        if (f->with_logits) {
            ck_assert_mem_eq(runs[0].logits, alone.logits, IMAGES * CLASSES * sizeof(float));
        }
        free_runs(runs, ranks);
    }
    free_runs(&alone, 1);
}

START_TEST(any_number_of_ranks_is_as_one) {
    fixture f;
    set_up(&f);
    check_ranks(&f, 0);
    f.tta = VIT_TTA_FLIP;
    check_ranks(&f, 0);
    f.with_logits = false;
    check_ranks(&f, 0);
    tear_down(&f);
}
END_TEST

static void spoil(const fixture *f, size_t i) {
    write_text(f->dataset->samples[i].path, "no picture");
}

START_TEST(unreadable_pictures_count_once) {
    static const size_t broken[] = {26, 13, 14, 8, 0};
    fixture f;
    set_up(&f);
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        spoil(&f, broken[i]);
        check_ranks(&f, i + 1);
    }
    tear_down(&f);
}
END_TEST

/* Told by every rank, whoever met it: the first rank's. */
START_TEST(an_error_is_every_ranks) {
    rank_run runs[MOST_RANKS];
    fixture f;
    set_up(&f);
    spoil(&f, 20);
    f.reading.on_error = VIT_ON_ERROR_FAIL;
    for (size_t ranks = 2; ranks <= 4; ranks++) {
        run_ranks(&f, ranks, runs);
        for (size_t r = 0; r < ranks; r++) {
            ck_assert_int_eq(runs[r].status, VIT_ERROR_FORMAT);
            ck_assert_ptr_nonnull(strstr(runs[r].message, f.dataset->samples[20].path));
        }
        free_runs(runs, ranks);
    }
    tear_down(&f);
}
END_TEST

START_TEST(nothing_left_is_an_error) {
    rank_run runs[MOST_RANKS];
    fixture f;
    set_up(&f);
    for (size_t i = 0; i < IMAGES; i++) {
        spoil(&f, i);
    }
    run_ranks(&f, 3, runs);
    for (size_t r = 0; r < 3; r++) {
        ck_assert_int_eq(runs[r].status, VIT_ERROR_FORMAT);
        ck_assert_ptr_nonnull(strstr(runs[r].message, f.dataset->samples[0].path));
    }
    free_runs(runs, 3);
    tear_down(&f);
}
END_TEST

START_TEST(wrong_ranks_are_refused) {
    fixture f;
    vit_evaluator *evaluator;
    set_up(&f);
    const vit_eval_ranks bad[] = {{.rank = 2, .ranks = 2}, {.rank = 0, .ranks = 0}};
    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_eq(vit_evaluator_create_share(&f.model, &preprocess, f.dataset, 4, 1, NULL,
                                                    &bad[i], &evaluator),
                         VIT_ERROR_ARGUMENT);
        ck_assert_ptr_null(evaluator);
    }
    tear_down(&f);
}
END_TEST

int main(void) {
    Suite *s = suite_create("evaluate_ranks");
    TCase *tc = tcase_create("evaluate_ranks");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, make_base, remove_folder);
    tcase_add_test(tc, any_number_of_ranks_is_as_one);
    tcase_add_test(tc, unreadable_pictures_count_once);
    tcase_add_test(tc, an_error_is_every_ranks);
    tcase_add_test(tc, nothing_left_is_an_error);
    tcase_add_test(tc, wrong_ranks_are_refused);
    suite_add_tcase(s, tc);
    return test_run(s);
}
