/* Shares of batches and lists: each picture comes once, a rank holds what it computes with, and
 * what several ranks hold together has the bits of one rank's. */
#include "data/loader.h"
#include "data/pack.h"
#include "support/files.h"
#include "support/folder.h"
#include "support/pictures.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PER_CLASS = 17, CLASSES = 3, PICTURES = PER_CLASS * CLASSES, H = 6, W = 8 };
enum { FLOATS = 3 * H * W, BATCH = 19, SLOTS = 8 };

static void setup(void) {
    static const char *const classes[CLASSES] = {"ant", "bee", "cat"};
    make_folder();
    make_pictures(folder, "train", classes, CLASSES, PER_CLASS, 11, 9, 1);
}

/* ---- the arithmetic ---- */

START_TEST(slots_and_shares_cover_a_batch) {
    for (size_t slots = 1; slots <= 32; slots *= 2) {
        for (size_t count = 0; count <= 100; count++) {
            size_t at = 0;
            for (size_t slot = 0; slot < slots; slot++) {
                vit_range range = vit_slot_range(slots, slot, count);
                ck_assert_uint_eq(range.first, at);
                ck_assert_uint_ge(range.end, range.first);
                at = range.end;
                ck_assert_uint_le(range.end - range.first, (count + slots - 1) / slots);
            }
            ck_assert_uint_eq(at, count);
            for (size_t ranks = 1; ranks <= slots; ranks *= 2) {
                at = 0;
                for (size_t rank = 0; rank < ranks; rank++) {
                    const vit_share share = {rank, ranks, slots};
                    vit_range range = vit_share_range(&share, count);
                    ck_assert_uint_eq(range.first, at);
                    at = range.end;
                    size_t each = slots / ranks;
                    ck_assert_uint_eq(range.first, vit_slot_range(slots, rank * each, count).first);
                    ck_assert_uint_eq(range.end,
                                      vit_slot_range(slots, rank * each + each - 1, count).end);
                }
                ck_assert_uint_eq(at, count);
            }
        }
    }
}
END_TEST

START_TEST(partners_are_those_that_mix) {
    for (size_t count = 1; count <= 40; count++) {
        for (size_t first = 0; first <= count; first++) {
            for (size_t end = first; end <= count; end++) {
                vit_range own = {first, end}, partners = vit_range_partners(own, count);
                for (size_t i = 0; i < count; i++) {
                    ck_assert_int_eq(vit_range_has(own, i), vit_range_has(partners, count - 1 - i));
                }
            }
        }
    }
}
END_TEST

/* What a rank needs room for, also of a batch that has shrunk. */
START_TEST(the_most_that_a_rank_holds) {
    for (size_t slots = 1; slots <= 16; slots *= 2) {
        for (size_t ranks = 1; ranks <= slots; ranks *= 2) {
            for (size_t count = slots; count <= 60; count++) {
                size_t worst[2] = {0, 0};
                for (size_t left = 0; left <= count; left++) {
                    for (size_t rank = 0; rank < ranks; rank++) {
                        const vit_share share = {rank, ranks, slots};
                        vit_range own = vit_share_range(&share, left);
                        vit_range partners = vit_range_partners(own, left);
                        size_t held[2] = {0, 0};
                        for (size_t i = 0; i < left; i++) {
                            held[0] += vit_range_has(own, i);
                            held[1] += vit_range_has(own, i) || vit_range_has(partners, i);
                        }
                        worst[0] = held[0] > worst[0] ? held[0] : worst[0];
                        worst[1] = held[1] > worst[1] ? held[1] : worst[1];
                    }
                }
                const vit_share share = {0, ranks, slots};
                ck_assert_uint_ge(vit_share_most(&share, count, false), worst[0]);
                ck_assert_uint_ge(vit_share_most(&share, count, true), worst[1]);
                ck_assert_uint_eq(vit_share_most(&share, count, false),
                                  (count + ranks - 1) / ranks);
            }
        }
    }
    const vit_share alone = {0};
    ck_assert_uint_eq(vit_share_most(&alone, 7, true), 7);
    vit_range all = vit_share_range(&alone, 7);
    ck_assert(all.first == 0 && all.end == 7);
}
END_TEST

START_TEST(shares_of_a_list_are_whole_units) {
    for (size_t unit = 1; unit <= 5; unit++) {
        for (size_t count = 0; count <= 50; count++) {
            for (size_t ranks = 1; ranks <= 7; ranks++) {
                size_t at = 0, units = (count + unit - 1) / unit;
                for (size_t rank = 0; rank < ranks; rank++) {
                    vit_range range = vit_share_of_list(rank, ranks, count, unit);
                    ck_assert_uint_eq(range.first, at);
                    ck_assert_uint_ge(range.end, range.first);
                    ck_assert(range.end == count || range.end % unit == 0);
                    ck_assert_uint_le(range.end - range.first, (units + ranks - 1) / ranks * unit);
                    at = range.end;
                }
                ck_assert_uint_eq(at, count);
            }
        }
    }
}
END_TEST

/* ---- loaders of several ranks ---- */

typedef struct fixture {
    vit_dataset *dataset;
    vit_augment augment;
    vit_loader_config config;
} fixture;

static void fixture_open(fixture *f, bool mixed) {
    ck_vit_ok(vit_dataset_open(folder, "train", NULL, 0, &f->dataset, NULL));
    vit_option_group group = {
        .options = vit_augment_options, .count = vit_augment_option_count, .target = &f->augment};
    ck_vit_ok(vit_options_defaults(&group));
    f->config = (vit_loader_config){
        .dataset = f->dataset,
        .batch_size = BATCH,
        .height = H,
        .width = W,
        .preprocess = {.crop_pct = 1, .mean = {0.5, 0.5, 0.5}, .std = {0.5, 0.5, 0.5}},
        .augment = &f->augment,
        .shuffle = true,
        .skip = true,
        .seed = 5,
        .decode = vit_decode_defaults()};
    if (mixed) {
        f->config.mix =
            (vit_mix_options){.mixup = 0.5, .cutmix = 1, .prob = 0.6, .switch_prob = 0.5};
    }
}

typedef struct reader {
    vit_loader *loader;
    vit_batch *batch;
} reader;

static reader reader_open(const fixture *f, size_t rank, size_t ranks) {
    reader r;
    vit_loader_config config = f->config;
    config.share = (vit_share){rank, ranks, SLOTS};
    ck_vit_ok(vit_loader_create(&config, 1, &r.loader));
    ck_vit_ok(vit_batch_create(r.loader, &r.batch));
    return r;
}

static void reader_close(reader *r) {
    vit_batch_free(r->batch);
    vit_loader_free(r->loader);
}

static void read_batch(const reader *r, uint32_t epoch, size_t number) {
    vit_loader_start_epoch(r->loader, epoch);
    vit_loader_prepare(r->loader, number, r->batch);
    for (size_t i = 0; i < r->batch->wanted_count; i++) {
        vit_loader_fetch(r->loader, r->batch, i);
    }
    ck_vit_ok(vit_first_error_raise(&r->batch->error));
}

static bool batch_mixes(const fixture *f, const vit_batch *b) {
    vit_mix mix = vit_mix_draw(&f->config.mix, f->config.seed, b->epoch, b->number, H, W);
    return vit_mix_is_on(&mix);
}

/* A rank holds its own pictures in order from row 0, the partners that it needs, and no other; all
 * have the bits that the only rank has. Returns how many it holds. */
static size_t check_held(const fixture *f, const vit_batch *part, size_t rank, size_t ranks,
                         const vit_batch *whole) {
    const vit_share share = {rank, ranks, SLOTS};
    vit_range own = vit_share_range(&share, whole->count);
    vit_range partners = vit_range_partners(own, whole->count);
    size_t held = 0;
    ck_assert_uint_eq(part->count, whole->count);
    for (size_t j = 0; j < whole->count; j++) {
        ck_assert_uint_eq(part->indices[j], whole->indices[j]);
        ck_assert_uint_eq(vit_batch_key(part, j), vit_batch_key(whole, j));
        ck_assert_int_eq(part->labels[j], whole->labels[j]);
        bool needed =
            vit_range_has(own, j) || (batch_mixes(f, whole) && vit_range_has(partners, j));
        ck_assert_int_eq(part->rows[j] != VIT_NO_ROW, needed || ranks == 1);
        if (vit_range_has(own, j)) {
            ck_assert_uint_eq(part->rows[j], j - own.first);
        }
        if (needed) {
            check_same_bits("held", FLOATS, vit_batch_image(part, j, FLOATS),
                            whole->images + j * FLOATS);
            held++;
        }
    }
    return held;
}

START_TEST(ranks_hold_what_they_compute_with) {
    fixture f;
    size_t mixed = 0, fetched = 0, repeats = (size_t)_i / 2 * 2; /* 0, 0, 2, 2 */
    fixture_open(&f, _i % 2);
    f.config.repeats = repeats;
    reader whole = reader_open(&f, 0, 1);
    for (size_t ranks = 2; ranks <= SLOTS; ranks *= 2) {
        for (size_t rank = 0; rank < ranks; rank++) {
            reader part = reader_open(&f, rank, ranks);
            for (uint32_t epoch = 0; epoch < 3; epoch++) {
                for (size_t n = 0; n < vit_loader_batches(whole.loader); n++) {
                    read_batch(&whole, epoch, n);
                    read_batch(&part, epoch, n);
                    size_t held = check_held(&f, part.batch, rank, ranks, whole.batch);
                    ck_assert_uint_eq(part.batch->wanted_count, held);
                    mixed += batch_mixes(&f, whole.batch);
                    fetched += held;
                }
            }
            reader_close(&part);
        }
    }
    if (_i % 2) {
        ck_assert_uint_gt(mixed, 0);
    } else {
        ck_assert_uint_eq(fetched, 3 * 3 * PICTURES); /* 2, 4, 8 ranks; 3 epochs: each once */
    }
    reader_close(&whole);
    vit_dataset_free(f.dataset);
}
END_TEST

/* Pictures that cannot be read: once all ranks know which, each holds its part of the batch that is
 * left, whose bits are those of one rank. */
START_TEST(what_is_left_is_dealt_anew) {
    fixture f;
    size_t late = 0, lost = 0;
    for (int i = 0; i < PER_CLASS; i += 3) {
        char path[1024];
        write_text(temp_path(path, folder, "train/bee/%03d.png", i), "no picture");
    }
    fixture_open(&f, _i % 2);
    reader whole = reader_open(&f, 0, 1), parts[SLOTS];
    for (size_t ranks = 2; ranks <= SLOTS; ranks *= 2) {
        for (size_t rank = 0; rank < ranks; rank++) {
            parts[rank] = reader_open(&f, rank, ranks);
        }
        for (size_t n = 0; n < vit_loader_batches(whole.loader); n++) {
            bool failed[BATCH] = {false};
            read_batch(&whole, 1, n);
            size_t dropped = vit_loader_drop_failed(whole.loader, whole.batch);
            ck_assert_uint_eq(whole.batch->wanted_count, 0);
            for (size_t rank = 0; rank < ranks; rank++) {
                read_batch(&parts[rank], 1, n);
                for (size_t j = 0; j < parts[rank].batch->count; j++) {
                    failed[j] |= parts[rank].batch->failed[j];
                }
            }
            for (size_t rank = 0; rank < ranks; rank++) {
                vit_batch *batch = parts[rank].batch;
                memcpy(batch->failed, failed, batch->count * sizeof *failed);
                ck_assert_uint_eq(vit_loader_drop_failed(parts[rank].loader, batch), dropped);
                late += batch->wanted_count;
                for (size_t i = 0; i < batch->wanted_count; i++) {
                    vit_loader_fetch(parts[rank].loader, batch, i);
                }
                ck_vit_ok(vit_first_error_raise(&batch->error));
                check_held(&f, batch, rank, ranks, whole.batch);
            }
            lost += dropped;
        }
        for (size_t rank = 0; rank < ranks; rank++) {
            reader_close(&parts[rank]);
        }
    }
    ck_assert_uint_ge(lost, 3 * PER_CLASS / 3);
    ck_assert_uint_gt(late, 0);
    reader_close(&whole);
    vit_dataset_free(f.dataset);
}
END_TEST

/* A picture that another rank could read, and this one cannot, is no picture to leave out: the
 * others would count it. */
START_TEST(a_late_failure_is_an_error) {
    fixture f;
    fixture_open(&f, false);
    reader r = reader_open(&f, 1, 2);
    read_batch(&r, 0, 0);
    r.batch->failed[0] = r.batch->failed[1] = r.batch->failed[BATCH - 1] = true;
    ck_assert_uint_eq(vit_loader_drop_failed(r.loader, r.batch), 3);
    r.batch->failed[0] = false;
    ck_assert_uint_eq(r.batch->wanted_count, 0);
    r.batch->wanted[r.batch->wanted_count++] = 8;
    ck_assert_uint_ne(r.batch->rows[8], VIT_NO_ROW);
    ck_assert_int_eq(unlink(f.dataset->samples[r.batch->indices[8]].path), 0);
    vit_loader_fetch(r.loader, r.batch, 0);
    ck_assert_int_eq(vit_first_error_raise(&r.batch->error), VIT_ERROR_IO);
    reader_close(&r);
    vit_dataset_free(f.dataset);
}
END_TEST

START_TEST(shares_that_cannot_be_are_refused) {
    static const vit_share bad[] = {{2, 2, 8}, {0, 3, 8}, {0, 2, 0}, {0, 2, 32}, {0, 16, 8}};
    fixture f;
    fixture_open(&f, false);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        vit_loader *loader;
        f.config.share = bad[i];
        ck_assert_int_eq(vit_loader_create(&f.config, 1, &loader), VIT_ERROR_ARGUMENT);
        ck_assert_ptr_null(loader);
        check_message("slots");
    }
    vit_dataset_free(f.dataset);
}
END_TEST

/* ---- the same data elsewhere ---- */

static uint64_t hash_of(const char *data, int threads) {
    vit_dataset *dataset;
    ck_vit_ok(vit_dataset_open(data, "train", NULL, 0, &dataset, NULL));
    uint64_t hash = vit_dataset_hash(dataset, threads);
    vit_dataset_free(dataset);
    return hash;
}

START_TEST(data_is_known_by_names_and_sizes) {
    static const char *const classes[CLASSES] = {"ant", "bee", "cat"};
    char *copy = temp_folder(), *packs = temp_folder(), path[1024], data[1024], pack[1024];
    make_pictures(copy, "train", classes, CLASSES, PER_CLASS, 11, 9, 2); /* other pixels */
    uint64_t hash = hash_of(folder, 1);
    ck_assert_uint_eq(hash, hash_of(folder, 3));
    ck_assert_uint_eq(hash, hash_of(temp_path(data, folder, "/"), 2));
    ck_assert_uint_eq(hash, hash_of(copy, 2));
    const vit_pack_options options = {.decode = vit_decode_defaults(), .threads = 1};
    vit_pack_result packed;
    ck_vit_ok(vit_pack_write(folder, temp_path(pack, packs, "a.zpk"), &options, &packed));
    ck_assert_uint_eq(hash, hash_of(pack, 2));
    /* a byte more, another name, one less, another class */
    FILE *file = fopen(temp_path(path, copy, "train/cat/003.png"), "a");
    ck_assert_ptr_nonnull(file);
    fputc(0, file);
    fclose(file);
    uint64_t longer = hash_of(copy, 1);
    ck_assert_uint_ne(longer, hash);
    char other[1024];
    ck_assert_int_eq(rename(path, temp_path(other, copy, "train/cat/3.png")), 0);
    uint64_t renamed = hash_of(copy, 1);
    ck_assert_uint_ne(renamed, longer);
    unlink(other);
    uint64_t fewer = hash_of(copy, 1);
    ck_assert(fewer != renamed && fewer != hash);
    ck_assert_int_eq(
        rename(temp_path(path, copy, "train/cat"), temp_path(other, copy, "train/cow")), 0);
    ck_assert_uint_ne(hash_of(copy, 1), fewer);
    temp_folder_remove(copy);
    temp_folder_remove(packs);
}
END_TEST

int main(void) {
    Suite *s = suite_create("share");
    TCase *c = tcase_create("share");
    tcase_set_timeout(c, 60);
    tcase_add_checked_fixture(c, setup, remove_folder);
    tcase_add_test(c, slots_and_shares_cover_a_batch);
    tcase_add_test(c, partners_are_those_that_mix);
    tcase_add_test(c, the_most_that_a_rank_holds);
    tcase_add_test(c, shares_of_a_list_are_whole_units);
    tcase_add_loop_test(c, ranks_hold_what_they_compute_with, 0, 4);
    tcase_add_loop_test(c, what_is_left_is_dealt_anew, 0, 2);
    tcase_add_test(c, a_late_failure_is_an_error);
    tcase_add_test(c, shares_that_cannot_be_are_refused);
    tcase_add_test(c, data_is_known_by_names_and_sizes);
    suite_add_tcase(s, c);
    return test_run(s);
}
