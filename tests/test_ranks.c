/* What the ranks of a run compare before the first step. The ranks are threads. */
#include "support/allocator.h"
#include "support/comm_local.h"
#include "support/folder.h"
#include "support/models.h"
#include "support/pictures.h"
#include "support/support.h"

#include "train/ranks.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { CLASSES = 2, RANKS = 2 };
static const char *const classes[] = {"ant", "bee"};
static char floats[1024], int8[1024], other_floats[1024], other_int8[1024];

static void make_model(const char *path, const char *int8_path, float first_weight) {
    vit_model_bundle *bundle = small_model_new(&(small_model){.classes = classes,
                                                              .num_classes = CLASSES,
                                                              .embed_dim = 16,
                                                              .depth = 1,
                                                              .num_heads = 2,
                                                              .seed = 1});
    bundle->params[bundle->model.head_weight] = first_weight;
    ck_vit_ok(vit_model_bundle_save(bundle, NULL, NULL, 0, path));
    ck_vit_ok(vit_model_bundle_save_int8(bundle, int8_path));
    vit_model_bundle_free(bundle);
}

static void make_base(void) {
    make_folder();
    make_pictures(folder, "train", classes, CLASSES, 3, 20, 18, 1);
    make_pictures(folder, "fewer", classes, CLASSES, 2, 20, 18, 1);
    make_model(temp_path(floats, folder, "a.safetensors"), temp_path(int8, folder, "b.safetensors"),
               0);
    make_model(temp_path(other_floats, folder, "c.safetensors"),
               temp_path(other_int8, folder, "d.safetensors"), 1);
}

static void remove_base(void) {
    vit_set_allocator(NULL);
    remove_folder();
}

/* ---- two ranks ---- */

typedef struct rank {
    vit_run run;
    vit_status status;
    char message[VIT_MESSAGE_MAX];
} rank;

static void *check(void *context) {
    rank *self = context;
    self->status = vit_ranks_check(&self->run);
    snprintf(self->message, sizeof self->message, "%s", vit_last_error());
    vit_comm_free(self->run.comm);
    return NULL;
}

typedef struct difference {
    const char *teacher[RANKS];
    const char *split[RANKS];
    int epochs[RANKS];
} difference;

/* Both ranks fail, with this message, or none does: NULL. */
static void check_ranks(const difference *d, const char *message) {
    vit_comm *comms[RANKS];
    pthread_t threads[RANKS];
    rank ranks[RANKS] = {0};
    ck_vit_ok(local_ranks_open(RANKS, comms));
    for (int r = 0; r < RANKS; r++) {
        vit_run *run = &ranks[r].run;
        vit_option_group groups[VIT_SETTING_GROUPS];
        size_t count = vit_train_setting_groups(&run->settings, NULL, groups);
        for (size_t g = 0; g < count; g++) {
            ck_vit_ok(vit_options_defaults(&groups[g]));
        }
        run->settings.recipe.epochs = d->epochs[r];
        run->comm = comms[r];
        run->threads = 1;
        ck_vit_ok(vit_model_bundle_load(floats, &run->bundle));
        ck_vit_ok(vit_dataset_open(folder, d->split[r], classes, CLASSES, &run->train, NULL));
        if (d->teacher[r]) {
            ck_vit_ok(vit_model_bundle_load(d->teacher[r], &run->teacher_bundle));
        }
        ck_assert_int_eq(pthread_create(&threads[r], NULL, check, &ranks[r]), 0);
    }
    for (int r = 0; r < RANKS; r++) {
        pthread_join(threads[r], NULL);
        vit_model_bundle_free(ranks[r].run.bundle);
        vit_model_bundle_free(ranks[r].run.teacher_bundle);
        vit_dataset_free(ranks[r].run.train);
        ck_assert_msg((ranks[r].status == VIT_OK) == (message == NULL), "rank %d: %s", r,
                      ranks[r].message);
        ck_assert_msg(!message || strstr(ranks[r].message, message), "rank %d: %s", r,
                      ranks[r].message);
    }
}

START_TEST(equal_ranks_are_equal) {
    const difference none = {{NULL, NULL}, {"train", "train"}, {3, 3}};
    const difference taught = {{floats, floats}, {"train", "train"}, {3, 3}};
    check_ranks(&none, NULL);
    check_ranks(&taught, NULL);
}
END_TEST

START_TEST(what_differs_is_named) {
    const difference teacher = {{floats, other_floats}, {"train", "train"}, {3, 3}};
    const difference missing = {{NULL, floats}, {"train", "train"}, {3, 3}};
    const difference data = {{NULL, NULL}, {"train", "fewer"}, {3, 3}};
    const difference setting = {{NULL, NULL}, {"train", "train"}, {3, 4}};
    check_ranks(&teacher, "rank 1: --distill: other weights");
    check_ranks(&missing, "rank 1: --distill: other weights");
    check_ranks(&data, "rank 1: DATA: 4 pictures in 2 classes that are not rank 0's 6 in 2");
    check_ranks(&setting, "rank 1: --epochs: 4, but rank 0 has 3");
}
END_TEST

/* Of an int8 teacher the block of floats holds only what is not in 8 bits. */
START_TEST(int8_teachers_are_compared_by_what_they_hold) {
    counting c = {0}; /* memory that nobody has written to differs between the ranks */
    const difference same = {{int8, int8}, {"train", "train"}, {3, 3}};
    const difference other = {{int8, other_int8}, {"train", "train"}, {3, 3}};
    const difference kinds = {{floats, int8}, {"train", "train"}, {3, 3}};
    counting_install(&c);
    check_ranks(&same, NULL);
    check_ranks(&other, "rank 1: --distill: other weights");
    check_ranks(&kinds, "rank 1: --distill: other weights");
    counting_remove(&c, "ranks");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("ranks");
    TCase *tcase = tcase_create("ranks");
    tcase_add_checked_fixture(tcase, make_base, remove_base);
    tcase_add_test(tcase, equal_ranks_are_equal);
    tcase_add_test(tcase, what_differs_is_named);
    tcase_add_test(tcase, int8_teachers_are_compared_by_what_they_hold);
    suite_add_tcase(suite, tcase);
    return test_run(suite);
}
