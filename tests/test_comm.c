/* Ranks as threads of one process: what they tell each other, and the order in which they sum. */
#include "support/allocator.h"
#include "support/comm_local.h"
#include "support/support.h"

#include "train/comm.h"
#include "vit/rng.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 8 };

typedef struct rank {
    vit_comm *comm;
    size_t size, n;
    float *data; /* (n) */
    void (*work)(struct rank *self);
    vit_status status;
    char message[VIT_MESSAGE_MAX];
    char bytes[64];
    bool flag;
} rank;

static void *rank_main(void *context) {
    rank *self = context;
    self->work(self);
    snprintf(self->message, sizeof self->message, "%s", vit_last_error());
    vit_comm_free(self->comm);
    return NULL;
}

static void run_ranks(rank *ranks, size_t size, void (*work)(rank *self)) {
    vit_comm *comms[MOST];
    pthread_t threads[MOST];
    ck_assert_int_eq(local_ranks_open(size, comms), VIT_OK);
    for (size_t r = 0; r < size; r++) {
        ranks[r].comm = comms[r];
        ranks[r].size = size;
        ranks[r].work = work;
        ck_assert_int_eq(pthread_create(&threads[r], NULL, rank_main, &ranks[r]), 0);
    }
    for (size_t r = 0; r < size; r++) {
        pthread_join(threads[r], NULL);
    }
}

/* ---- sums ---- */

/* Node by node, as the slots of one rank are summed. */
static float tree(const rank *ranks, size_t size, size_t i) {
    if (size == 1) {
        return ranks->data[i];
    }
    volatile float left = tree(ranks, size / 2, i), right = tree(ranks + size / 2, size / 2, i);
    return left + right;
}

static void sum(rank *self) {
    vit_comm_times times = {0};
    vit_comm_start_sum(self->comm, self->data, self->n / 3);
    vit_comm_start_sum(self->comm, self->data + self->n / 3, self->n - self->n / 3);
    self->status = vit_comm_finish(self->comm, &times);
}

static void check_sum(size_t size, size_t n) {
    rank ranks[MOST] = {0};
    float *expected = malloc((n + 1) * sizeof *expected);
    for (size_t r = 0; r < size; r++) {
        vit_rng rng = vit_rng_make(7, 0, r, VIT_RNG_MIX);
        ranks[r].n = n;
        ranks[r].data = malloc((n + 1) * sizeof(float));
        for (size_t i = 0; i < n; i++) { /* of very different sizes: the order shows */
            ranks[r].data[i] = (float)(vit_rng_normal(&rng) * (i % 3 ? 1 : 1e6 / (double)(r + 1)));
        }
    }
    for (size_t i = 0; i < n; i++) {
        expected[i] = tree(ranks, size, i);
    }
    run_ranks(ranks, size, sum);
    for (size_t r = 0; r < size; r++) {
        ck_assert_int_eq(ranks[r].status, VIT_OK);
        ck_assert_mem_eq(ranks[r].data, expected, n * sizeof(float));
        free(ranks[r].data);
    }
    free(expected);
}

START_TEST(sum_is_the_tree_over_the_ranks) {
    static const size_t sizes[] = {1, 2, 4, 8}, counts[] = {0, 1, 3, 7, 1000, 200003, 1100003};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        check_sum(sizes[_i], counts[i]);
    }
}
END_TEST

/* ---- the rest ---- */

static void broadcast(rank *self) {
    memset(self->bytes, (int)vit_comm_rank(self->comm) + 'a', sizeof self->bytes);
    self->status = vit_comm_broadcast(self->comm, self->size - 1, self->bytes, sizeof self->bytes);
}

START_TEST(broadcast_from_the_last) {
    for (size_t size = 1; size <= 5; size++) {
        rank ranks[MOST] = {0};
        char expected[64];
        memset(expected, (int)size - 1 + 'a', sizeof expected);
        run_ranks(ranks, size, broadcast);
        for (size_t r = 0; r < size; r++) {
            ck_assert_int_eq(ranks[r].status, VIT_OK);
            ck_assert_mem_eq(ranks[r].bytes, expected, sizeof expected);
        }
    }
}
END_TEST

/* Rank r has r bytes, rank 0 none. */
static void gather(rank *self) {
    size_t offsets[MOST + 1] = {0}, r = vit_comm_rank(self->comm);
    for (size_t i = 0; i < self->size; i++) {
        offsets[i + 1] = offsets[i] + i;
    }
    memset(self->bytes + offsets[r], (int)r + 'a', r);
    self->status = vit_comm_all_gather(self->comm, self->bytes, offsets);
}

START_TEST(all_gather_of_unequal_shares) {
    rank ranks[MOST] = {0};
    run_ranks(ranks, 5, gather);
    for (size_t r = 0; r < 5; r++) {
        ck_assert_int_eq(ranks[r].status, VIT_OK);
        ck_assert_str_eq(ranks[r].bytes, "bccdddeeee");
    }
}
END_TEST

/* On a failure of some, on none, and again on a failure. */
static void agree(rank *self) {
    size_t r = vit_comm_rank(self->comm);
    bool fails = r >= 2;
    vit_status first = vit_comm_agree(
        self->comm, fails ? vit_fail(VIT_ERROR_FORMAT, "file %zu is broken", r) : VIT_OK);
    vit_status second = vit_comm_agree(self->comm, VIT_OK);
    self->flag = first == VIT_ERROR_FORMAT && second == VIT_OK;
    vit_fail(VIT_ERROR_MEMORY, "something else meanwhile");
    self->status =
        vit_comm_agree(self->comm, fails ? vit_fail(VIT_ERROR_FORMAT, "file %zu", r) : VIT_OK);
}

START_TEST(every_rank_fails_with_the_first_ones_message) {
    rank ranks[MOST] = {0};
    run_ranks(ranks, 4, agree);
    for (size_t r = 0; r < 4; r++) {
        ck_assert(ranks[r].flag);
        ck_assert_int_eq(ranks[r].status, VIT_ERROR_FORMAT);
        ck_assert_str_eq(ranks[r].message, "rank 2: file 2");
    }
}
END_TEST

static void any(rank *self) {
    uint64_t bits = (uint64_t)1 << 5 * vit_comm_rank(self->comm), none = 0;
    self->status = vit_comm_any(self->comm, &bits);
    vit_comm_any(self->comm, &none);
    self->flag = bits == (1 | 1 << 5 | 1 << 10) && none == 0;
}

START_TEST(any_of_them) {
    rank ranks[MOST] = {0};
    run_ranks(ranks, 3, any);
    for (size_t r = 0; r < 3; r++) {
        ck_assert_int_eq(ranks[r].status, VIT_OK);
        ck_assert(ranks[r].flag);
    }
}
END_TEST

/* The others see that rank 1 is gone, and fail. */
static void leave_early(rank *self) {
    if (vit_comm_rank(self->comm) != 1) {
        uint64_t bits = 0;
        self->status = vit_comm_any(self->comm, &bits);
    }
}

START_TEST(a_rank_that_ends_breaks_the_others) {
    rank ranks[MOST] = {0};
    run_ranks(ranks, 3, leave_early);
    ck_assert_int_eq(ranks[0].status, VIT_ERROR_IO);
    ck_assert_int_eq(ranks[2].status, VIT_ERROR_IO);
    ck_assert_str_eq(ranks[2].message, "rank 1 has ended");
}
END_TEST

/* ---- memory ---- */

static void agree_and_sum(rank *self) {
    vit_comm_times times = {0};
    uint64_t bits = 1;
    self->status = vit_comm_agree(self->comm, VIT_OK);
    self->status = self->status == VIT_OK ? vit_comm_any(self->comm, &bits) : self->status;
    if (self->status == VIT_OK) {
        vit_comm_start_sum(self->comm, self->data, self->n);
        self->status = vit_comm_finish(self->comm, &times);
    }
}

/* Whatever is not there, every rank gets on or fails with a message, and nothing is left. */
START_TEST(lack_of_memory_is_an_error) {
    counting c = {.fail_at = _i + 1};
    vit_comm *comms[3];
    rank ranks[3] = {0};
    float data[3][5] = {{0}};
    pthread_t threads[3];
    counting_install(&c);
    vit_status status = local_ranks_open(2, comms);
    for (size_t r = 0; status == VIT_OK && r < 2; r++) {
        ranks[r] =
            (rank){.comm = comms[r], .size = 2, .n = 5, .data = data[r], .work = agree_and_sum};
        ck_assert_int_eq(pthread_create(&threads[r], NULL, rank_main, &ranks[r]), 0);
    }
    for (size_t r = 0; status == VIT_OK && r < 2; r++) {
        pthread_join(threads[r], NULL);
        ck_assert(ranks[r].status == VIT_OK || *ranks[r].message);
    }
    ck_assert(status == VIT_OK || status == VIT_ERROR_MEMORY);
    counting_remove(&c, "ranks");
}
END_TEST

START_TEST(no_comm_is_one_rank) {
    uint64_t flag = 1;
    size_t offsets[2] = {0, 0};
    vit_comm_times times = {0};
    ck_assert_uint_eq(vit_comm_rank(NULL), 0);
    ck_assert_uint_eq(vit_comm_size(NULL), 1);
    ck_assert_int_eq(vit_comm_gather_equal(NULL, NULL, 0), VIT_OK);
    ck_assert_int_eq(vit_comm_broadcast(NULL, 0, NULL, 0), VIT_OK);
    ck_assert_int_eq(vit_comm_all_gather(NULL, NULL, offsets), VIT_OK);
    ck_assert_int_eq(vit_comm_any(NULL, &flag), VIT_OK);
    ck_assert_uint_eq(flag, 1);
    ck_assert_int_eq(vit_comm_agree(NULL, VIT_ERROR_IO), VIT_ERROR_IO);
    vit_comm_start_sum(NULL, NULL, 0);
    ck_assert_int_eq(vit_comm_finish(NULL, &times), VIT_OK);
    vit_comm_free(NULL);
}
END_TEST

/* Without a launcher there is nobody to join; a launcher that started one process neither. */
START_TEST(one_process_has_no_comm) {
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"};
    vit_comm *comm = NULL;
    for (int i = 0; i < 3; i++) {
        unsetenv(names[i]);
    }
    ck_assert(!vit_comm_look().launched);
    ck_assert_int_eq(vit_comm_open(&comm), VIT_OK);
    ck_assert_ptr_null(comm);
    setenv("OMPI_COMM_WORLD_RANK", "0", 1);
    setenv("OMPI_COMM_WORLD_SIZE", "1", 1);
    ck_assert(vit_comm_look().launched);
    ck_assert_int_eq(vit_comm_open(&comm), VIT_OK);
    ck_assert_ptr_null(comm);
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("comm");
    TCase *c = tcase_create("comm");
    tcase_set_timeout(c, 60);
    tcase_add_loop_test(c, sum_is_the_tree_over_the_ranks, 0, 4);
    tcase_add_test(c, broadcast_from_the_last);
    tcase_add_test(c, all_gather_of_unequal_shares);
    tcase_add_test(c, every_rank_fails_with_the_first_ones_message);
    tcase_add_test(c, any_of_them);
    tcase_add_test(c, a_rank_that_ends_breaks_the_others);
    tcase_add_loop_test(c, lack_of_memory_is_an_error, 0, 40);
    tcase_add_test(c, no_comm_is_one_rank);
    tcase_add_test(c, one_process_has_no_comm);
    suite_add_tcase(s, c);
    return s;
}

int main(void) {
    return test_run(suite());
}
