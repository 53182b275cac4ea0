/* A run of several ranks that is asked to stop while a step, or a measurement, goes on: what was
 * finished before it is saved at once, and can be gone on from. The ranks are threads. */
#include "support/comm_local.h"
#include "support/files.h"
#include "support/pictures.h"
#include "support/runs.h"
#include "support/support.h"

#include "train/comm.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { RANKS = 2 };

typedef struct party {
    vit_train_settings settings;
    vit_comm *comms[RANKS];
    char out[1024], state[1100], kept[1100];
    atomic_bool asked; /* to stop */
    atomic_bool saved; /* while the run stood still */
    int calls;         /* of rank 1's should_stop */
    int still_at;      /* the call in which it stands still; 0: rank 0 does, when it measures */
    vit_status status[RANKS];
    char message[VIT_MESSAGE_MAX];
} party;

/* Whoever calls this keeps its rank from going on until the other has saved. */
static void stand_still(party *p) {
    atomic_store(&p->asked, true);
    for (int i = 0; i < 600 && !file_exists(p->state); i++) {
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    atomic_store(&p->saved, link(p->state, p->kept) == 0); /* the next is a file of its own */
}

static bool first_asks(void *context) {
    return atomic_load(&((party *)context)->asked);
}

static bool second_asks(void *context) {
    party *p = context;
    if (++p->calls == p->still_at) {
        stand_still(p);
    }
    return false;
}

static void first_measures(void *context, size_t done, size_t total) {
    party *p = context;
    (void)done;
    (void)total;
    if (p->still_at == 0 && !atomic_load(&p->asked)) {
        stand_still(p);
    }
}

static vit_status train(party *p, size_t rank, bool resume) {
    vit_train_result ignored;
    const vit_train_callbacks callbacks = {.context = p,
                                           .should_stop = rank == 0 ? first_asks : second_asks,
                                           .evaluating = first_measures};
    const vit_train_request request = {.settings = &p->settings,
                                       .data = run_data,
                                       .out = p->out,
                                       .resume = resume,
                                       .comm = resume ? NULL : p->comms[rank]};
    return vit_train(&request, &callbacks, &ignored);
}

static void *second_main(void *context) {
    party *p = context;
    p->status[1] = train(p, 1, false);
    vit_comm_free(p->comms[1]);
    return NULL;
}

/* Stopped where it stands still, gone on with by one process from what was kept then, it ends as if
 * nothing had happened. */
static void check_kept(const char *name, int still_at) {
    party p = {.still_at = still_at, .settings = wide_run_settings()};
    run_watch watch = {0};
    char undisturbed[1100];
    pthread_t second;
    temp_path(p.out, run_base, "%s", name);
    snprintf(p.state, sizeof p.state, "%s/last.state.safetensors", p.out);
    snprintf(p.kept, sizeof p.kept, "%s.kept", p.out);
    snprintf(undisturbed, sizeof undisturbed, "%s.undisturbed", p.out);
    ck_vit_ok(local_ranks_open(RANKS, p.comms));
    ck_assert_int_eq(pthread_create(&second, NULL, second_main, &p), 0);
    p.status[0] = train(&p, 0, false);
    snprintf(p.message, sizeof p.message, "%s", vit_last_error());
    vit_comm_free(p.comms[0]);
    pthread_join(second, NULL);
    ck_assert_msg(p.status[0] == VIT_ERROR_STOPPED, "%s", p.message);
    ck_assert_int_eq(p.status[1], VIT_ERROR_STOPPED);
    ck_assert(atomic_load(&p.saved));
    ck_assert_int_eq(rename(p.kept, p.state), 0);
    atomic_store(&p.asked, false);
    p.still_at = -1;
    ck_vit_ok(train(&p, 0, true));
    ck_vit_ok(run_train(&p.settings, NULL, run_data, undisturbed, &watch, NULL));
    check_same_in(undisturbed, p.out, "last.safetensors");
    check_same_in(undisturbed, p.out, "best.safetensors");
}

START_TEST(a_step_that_goes_on) {
    check_kept("step", 3); /* after the second */
}
END_TEST

START_TEST(a_measurement_that_goes_on) {
    check_kept("measurement", 0);
}
END_TEST

int main(void) {
    Suite *s = suite_create("keeper");
    TCase *c = tcase_create("keeper");
    tcase_set_timeout(c, 120);
    tcase_add_unchecked_fixture(c, run_base_make, run_base_remove);
    tcase_add_test(c, a_step_that_goes_on);
    tcase_add_test(c, a_measurement_that_goes_on);
    suite_add_tcase(s, c);
    return test_run(s);
}
