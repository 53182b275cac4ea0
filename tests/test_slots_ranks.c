/* A step that several ranks compute together has the bits of one rank's, whatever the number of
 * ranks, threads, and parts in which they sum the gradient. Ranks are threads of this process. */
#include "support/comm_local.h"
#include "support/models.h"
#include "support/support.h"

#include "train/slots.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 32, CLASSES = 7, SEED = 5, SLOTS = 8, PIXELS = 3 * 16 * 24, MOST = 8 };

typedef struct fixture {
    vit_model model;
    float *params;
    float *images; /* (BATCH,PIXELS) */
    uint32_t indices[BATCH];
    int labels[BATCH];
    size_t count;
    vit_mix_options mix;
    size_t part_floats;
    int threads;
    size_t bad; /* picture that is not a number, or SIZE_MAX */
} fixture;

static void set_up(fixture *f) {
    vit_config config = small_oblong_config(CLASSES);
    *f = (fixture){.count = BATCH, .threads = 1, .bad = SIZE_MAX};
    ck_vit_ok(vit_model_init(&f->model, &config));
    f->params = random_new(1, f->model.params.total, 0.3);
    f->images = random_new(2, BATCH * PIXELS, 1);
    for (unsigned i = 0; i < BATCH; i++) {
        f->indices[i] = (i * 17 + 3) % 101;
        f->labels[i] = (int)(i * 5 % CLASSES);
    }
}

static void tear_down(fixture *f) {
    vit_model_free(&f->model);
    free(f->params);
    free(f->images);
}

/* What a rank holds of the batch: its own pictures and their partners; the others are not numbers,
 * so that whoever looked at them would be seen. */
static float *held_images(const fixture *f, const vit_share *share) {
    vit_range own = vit_share_range(share, f->count);
    vit_range partners = vit_range_partners(own, f->count);
    float *images = malloc((size_t)BATCH * PIXELS * sizeof *images);
    for (size_t j = 0; j < f->count; j++) {
        bool held = vit_range_has(own, j) || (f->mix.mixup > 0 && vit_range_has(partners, j));
        for (size_t i = 0; i < PIXELS; i++) {
            images[j * PIXELS + i] = held && j != f->bad ? f->images[j * PIXELS + i] : (float)NAN;
        }
    }
    return images;
}

typedef struct rank {
    fixture *f;
    vit_comm *comm;
    float *grads;
    vit_step_result result;
    vit_status status;
    vit_status created;
} rank;

static void *rank_main(void *context) {
    rank *self = context;
    fixture *f = self->f;
    const vit_slots_config config = {
        .model = &f->model,
        .batch_size = BATCH,
        .slots = SLOTS,
        .chunk = 3,
        .threads = f->threads,
        .seed = SEED,
        .drop_path = 0.4,
        .smoothing = 0.1,
        .mix = f->mix,
        .comm = self->comm,
        .part_floats = f->part_floats,
    };
    const vit_share share = {vit_comm_rank(self->comm), vit_comm_size(self->comm), SLOTS};
    vit_batch batch = {.count = f->count,
                       .capacity = BATCH,
                       .number = 3,
                       .epoch = 2,
                       .indices = f->indices,
                       .labels = f->labels,
                       .images = held_images(f, &share)};
    vit_slots *slots = NULL;
    self->created = vit_slots_create(&config, &slots);
    self->grads = random_new(9, f->model.params.total, 100);
    for (int i = 0; i < 2 && self->created == VIT_OK; i++) { /* the second time as the first */
        self->status =
            vit_slots_step(slots, f->params, &batch, NULL, NULL, self->grads, &self->result);
    }
    vit_slots_free(slots);
    free(batch.images);
    vit_comm_free(self->comm);
    return NULL;
}

static void run_ranks(fixture *f, rank *ranks, size_t size) {
    vit_comm *comms[MOST];
    pthread_t threads[MOST];
    ck_vit_ok(local_ranks_open(size, comms));
    for (size_t r = 0; r < size; r++) {
        ranks[r] = (rank){.f = f, .comm = comms[r]};
        ck_assert_int_eq(pthread_create(&threads[r], NULL, rank_main, &ranks[r]), 0);
    }
    for (size_t r = 0; r < size; r++) {
        pthread_join(threads[r], NULL);
    }
}

static rank run_alone(fixture *f) {
    rank alone = {.f = f};
    rank_main(&alone);
    return alone;
}

static void check_ranks(fixture *f, size_t size) {
    rank alone = run_alone(f), ranks[MOST];
    run_ranks(f, ranks, size);
    for (size_t r = 0; r < size; r++) {
        ck_assert_int_eq(ranks[r].created, VIT_OK);
        ck_assert_int_eq(ranks[r].status, alone.status);
        ck_assert_mem_eq(ranks[r].grads, alone.grads, f->model.params.total * sizeof(float));
        ck_assert_mem_eq(&ranks[r].result.loss, &alone.result.loss, sizeof(double));
        ck_assert_uint_eq(ranks[r].result.correct, alone.result.correct);
        ck_assert_uint_eq(ranks[r].result.first_bad, alone.result.first_bad);
        free(ranks[r].grads);
    }
    free(alone.grads);
}

static const size_t sizes[] = {1, 2, 4, 8};

START_TEST(ranks_give_the_bits_of_one) {
    fixture f;
    set_up(&f);
    for (size_t part = 0; part <= 4000; part += 1999) { /* chosen; several; few */
        for (f.threads = 1; f.threads <= 3; f.threads += 2) {
            f.part_floats = part;
            check_ranks(&f, sizes[_i]);
        }
    }
    tear_down(&f);
}
END_TEST

START_TEST(batches_that_slots_do_not_divide) {
    static const size_t counts[] = {29, 9, 3, 1}; /* slots of unequal size, and empty ones */
    fixture f;
    set_up(&f);
    f.part_floats = 500;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        f.count = counts[i];
        check_ranks(&f, sizes[_i]);
    }
    tear_down(&f);
}
END_TEST

/* A rank looks at no picture but its own and their partners. */
START_TEST(mixed_batches) {
    fixture f;
    set_up(&f);
    f.mix = (vit_mix_options){.mixup = 0.8, .cutmix = 1, .prob = 1, .switch_prob = 0.5};
    f.part_floats = 500;
    for (f.count = 27; f.count <= BATCH; f.count += 5) {
        check_ranks(&f, sizes[_i]);
    }
    tear_down(&f);
}
END_TEST

/* Only one rank meets it; all are told the same. */
START_TEST(a_loss_that_is_no_number_on_one_rank) {
    fixture f;
    set_up(&f);
    rank ranks[MOST];
    f.bad = 21;
    run_ranks(&f, ranks, sizes[_i]);
    for (size_t r = 0; r < sizes[_i]; r++) {
        ck_assert_int_eq(ranks[r].status, VIT_ERROR_NUMERIC);
        ck_assert_uint_eq(ranks[r].result.first_bad, 21);
        ck_assert(isnan(ranks[r].result.loss));
        free(ranks[r].grads);
    }
    tear_down(&f);
}
END_TEST

START_TEST(numbers_of_ranks_that_do_not_divide_are_refused) {
    fixture f;
    set_up(&f);
    rank ranks[MOST];
    run_ranks(&f, ranks, 3);
    for (size_t r = 0; r < 3; r++) {
        ck_assert_int_eq(ranks[r].created, VIT_ERROR_ARGUMENT);
        free(ranks[r].grads);
    }
    tear_down(&f);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("slots_ranks");
    TCase *c = tcase_create("slots_ranks");
    tcase_add_loop_test(c, ranks_give_the_bits_of_one, 0, 4);
    tcase_add_loop_test(c, batches_that_slots_do_not_divide, 0, 4);
    tcase_add_loop_test(c, mixed_batches, 0, 4);
    tcase_add_loop_test(c, a_loss_that_is_no_number_on_one_rank, 0, 4);
    tcase_add_test(c, numbers_of_ranks_that_do_not_divide_are_refused);
    suite_add_tcase(s, c);
    return s;
}

int main(void) {
    return test_run(suite());
}
