#include "train/keeper.h"

#include "train/ranks.h"
#include "vit/arena.h"
#include "vit/clock.h"

#include <pthread.h>

#define LOOK_SECONDS 0.05
#define STEP_SECONDS 0.2 /* that a step is given to end by itself */

struct vit_keeper {
    vit_run *run;
    pthread_t thread;
    pthread_mutex_t mutex; /* for what follows */
    pthread_cond_t changed;
    bool lent, writing, leaving;
};

/* Nothing finished, or weights that no model file may hold, are not kept. */
static bool is_worth_keeping(const vit_run *r) {
    return r->finished.step > 0 && vit_all_finite(r->bundle->model.params.total, r->bundle->params);
}

/* A failure is met again, and told, by the run's own checkpoint. */
static void keep(vit_run *r) {
    float *blocks[VIT_STATE_BLOCKS];
    if (is_worth_keeping(r) && vit_saver_wait(r->saver) == VIT_OK) {
        vit_run_blocks(r, blocks);
        vit_run_folder_save(r->folder, r->bundle, (const float *const *)blocks, &r->finished, NULL);
    }
}

static void nap(vit_keeper *k) {
    const struct timespec until = vit_seconds_from_now(LOOK_SECONDS);
    pthread_cond_clockwait(&k->changed, &k->mutex, CLOCK_MONOTONIC, &until);
}

static void *keeper_main(void *context) {
    vit_keeper *k = context;
    const vit_train_callbacks *c = &k->run->callbacks;
    double asked = 0; /* when; 0: not yet */
    bool kept = false;
    pthread_mutex_lock(&k->mutex);
    while (!k->leaving && !kept) {
        nap(k);
        if (asked == 0 && c->should_stop(c->context)) {
            asked = vit_seconds();
        }
        if (asked > 0 && k->lent && !k->leaving && vit_seconds() - asked >= STEP_SECONDS) {
            k->writing = true;
            pthread_mutex_unlock(&k->mutex);
            keep(k->run);
            pthread_mutex_lock(&k->mutex);
            k->writing = false;
            kept = true;
            pthread_cond_broadcast(&k->changed);
        }
    }
    pthread_mutex_unlock(&k->mutex);
    return NULL;
}

vit_status vit_keeper_create(vit_run *run, vit_keeper **out) {
    vit_status status = VIT_OK;
    vit_keeper *k = NULL;
    *out = NULL;
    if (!run->comm || !run->folder || !run->callbacks.should_stop) {
        return VIT_OK;
    }
    VIT_TRY(vit_alloc((void **)&k, 1, sizeof *k, "checkpoint"));
    k->run = run;
    pthread_mutex_init(&k->mutex, NULL);
    pthread_cond_init(&k->changed, NULL);
    if (pthread_create(&k->thread, NULL, keeper_main, k) != 0) {
        pthread_cond_destroy(&k->changed);
        pthread_mutex_destroy(&k->mutex);
        vit_free(k);
        VIT_TRY(vit_fail(VIT_ERROR_MEMORY, "no thread that saves a run which is stopped"));
    }
    *out = k;
cleanup:
    return status;
}

void vit_keeper_free(vit_keeper *k) {
    if (!k) {
        return;
    }
    pthread_mutex_lock(&k->mutex);
    k->leaving = true;
    pthread_cond_broadcast(&k->changed);
    pthread_mutex_unlock(&k->mutex);
    pthread_join(k->thread, NULL);
    pthread_cond_destroy(&k->changed);
    pthread_mutex_destroy(&k->mutex);
    vit_free(k);
}

void vit_keeper_lend(vit_keeper *k) {
    if (k) {
        pthread_mutex_lock(&k->mutex);
        k->lent = true;
        pthread_mutex_unlock(&k->mutex);
    }
}

void vit_keeper_take_back(vit_keeper *k) {
    if (k) {
        pthread_mutex_lock(&k->mutex);
        k->lent = false;
        while (k->writing) {
            pthread_cond_wait(&k->changed, &k->mutex);
        }
        pthread_mutex_unlock(&k->mutex);
    }
}
