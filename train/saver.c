#include "train/saver.h"

#include "vit/arena.h"

#include <pthread.h>
#include <string.h>

struct vit_saver {
    pthread_t thread;
    bool busy;
    float *copies[VIT_STATE_BLOCKS];
    const float *blocks[VIT_STATE_BLOCKS]; /* the copies of those that are there */
    vit_run_folder *folder;
    const vit_model_bundle *bundle;
    vit_position position;
    vit_first_error error;
};

vit_status vit_saver_create(vit_saver **out) {
    return vit_alloc((void **)out, 1, sizeof **out, "checkpoint");
}

void vit_saver_free(vit_saver *saver) {
    if (!saver) {
        return;
    }
    if (saver->busy) {
        pthread_join(saver->thread, NULL);
    }
    for (size_t b = 0; b < VIT_STATE_BLOCKS; b++) {
        vit_free(saver->copies[b]);
    }
    vit_free(saver);
}

static void *write_checkpoint(void *context) {
    vit_saver *s = context;
    vit_status status = vit_run_folder_save(s->folder, s->bundle, s->blocks, &s->position, NULL);
    if (status != VIT_OK) {
        vit_first_error_note(&s->error, 0, status);
    }
    return NULL;
}

vit_status vit_saver_start(vit_saver *saver, vit_run_folder *folder, const vit_model_bundle *bundle,
                           const float *const blocks[VIT_STATE_BLOCKS], size_t total,
                           const vit_position *position) {
    vit_status status = VIT_OK;
    for (size_t b = 0; b < VIT_STATE_BLOCKS; b++) {
        saver->blocks[b] = NULL;
        if (!blocks[b]) {
            continue;
        }
        if (!saver->copies[b]) {
            VIT_TRY(vit_alloc_raw((void **)&saver->copies[b], total, sizeof(float),
                                  "copy for a checkpoint"));
        }
        memcpy(saver->copies[b], blocks[b], total * sizeof(float));
        saver->blocks[b] = saver->copies[b];
    }
    saver->folder = folder;
    saver->bundle = bundle;
    saver->position = *position;
    saver->error = (vit_first_error){0};
    if (pthread_create(&saver->thread, NULL, write_checkpoint, saver) != 0) {
        VIT_TRY(vit_fail(VIT_ERROR_MEMORY, "no thread to write a checkpoint"));
    }
    saver->busy = true;
cleanup:
    return status;
}

vit_status vit_saver_wait(vit_saver *saver) {
    if (!saver || !saver->busy) {
        return VIT_OK;
    }
    pthread_join(saver->thread, NULL);
    saver->busy = false;
    return vit_first_error_raise(&saver->error);
}
