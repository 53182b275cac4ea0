/* Parts of pictures: the same pixels as the same rectangle of the whole, and little else when
 * shrunk. */
#include "data/decode.h"
#include "data/resize.h"
#include "support/support.h"
#include "vit/rng.h"

#include <dirent.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static vit_request ask(void *context, size_t width, size_t height) {
    (void)width;
    (void)height;
    return *(const vit_request *)context;
}

static vit_window random_window(vit_rng *rng, size_t width, size_t height) {
    vit_window w;
    w.width = 1 + vit_rng_below(rng, (uint32_t)width);
    w.height = 1 + vit_rng_below(rng, (uint32_t)height);
    w.x = vit_rng_below(rng, (uint32_t)(width - w.width + 1));
    w.y = vit_rng_below(rng, (uint32_t)(height - w.height + 1));
    return w;
}

/* The largest difference between a part and that window of the whole. */
static int window_difference(const vit_part *part, const vit_image *whole, const vit_window *w) {
    int most = 0;
    ck_assert_uint_eq(part->view.width, w->width);
    ck_assert_uint_eq(part->view.height, w->height);
    ck_assert(part->box.x0 == 0 && part->box.y0 == 0 && part->box.x1 == (double)w->width &&
              part->box.y1 == (double)w->height);
    for (size_t y = 0; y < w->height; y++) {
        const uint8_t *a = part->view.pixels + y * part->view.stride;
        const uint8_t *b = whole->pixels + ((w->y + y) * whole->width + w->x) * 3;
        for (size_t i = 0; i < w->width * 3; i++) {
            int d = abs(a[i] - b[i]);
            most = d > most ? d : most;
        }
    }
    return most;
}

static void check_parts(const char *path, int count) {
    vit_bytes file = {0};
    vit_image whole = {0}, image = {0};
    vit_decode_options options = vit_decode_defaults();
    ck_vit_ok(vit_image_load(path, &options, &file, &whole));
    vit_rng rng = vit_rng_make(1, 0, vit_hash_string(path), VIT_RNG_TEST);
    for (int i = 0; i < count; i++) {
        vit_request request = {.window = random_window(&rng, whole.width, whole.height)};
        const vit_window *w = &request.window;
        vit_part part;
        ck_vit_ok(vit_image_decode_part(file.data, file.size, path, &options, ask, &request, &image,
                                        &part));
        int most = window_difference(&part, &whole, w);
        ck_assert_msg(most == 0, "%s: %zu x %zu at (%zu, %zu): differs by %d", path, w->width,
                      w->height, w->x, w->y, most);
    }
    vit_bytes_free(&file);
    vit_image_free(&whole);
    vit_image_free(&image);
}

START_TEST(a_part_is_that_part_of_the_whole) {
    char path[1024];
    int files = 0;
    DIR *dir = opendir(golden_path("formats", path));
    ck_assert(dir != NULL);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        char name[512];
        if (entry->d_name[0] == '.' || strncmp(entry->d_name, "bad_", 4) == 0) {
            continue;
        }
        snprintf(name, sizeof name, "formats/%s", entry->d_name);
        check_parts(golden_path(name, path), 60);
        files++;
    }
    closedir(dir);
    ck_assert_int_ge(files, 24);
}
END_TEST

START_TEST(a_part_of_a_photograph) {
    char path[1024];
    check_parts(golden_path("china_420.jpg", path), 40);
    check_parts(golden_path("flower_420.jpg", path), 40);
}
END_TEST

/* The window at 2/3 of 1/shrink, from pixels that the decoder shrank and from all of them: the mean
 * difference in levels. */
static double shrunk_difference(const char *path, const vit_window *w, size_t shrink) {
    vit_bytes file = {0};
    vit_image whole = {0}, image = {0}, fast = {0}, exact = {0};
    vit_resize_scratch scratch = {0};
    vit_decode_options options = vit_decode_defaults();
    vit_request request = {
        .window = *w, .least_width = w->width / shrink, .least_height = w->height / shrink};
    size_t width = w->width / shrink * 2 / 3, height = w->height / shrink * 2 / 3;
    vit_part part;
    ck_vit_ok(vit_image_load(path, &options, &file, &whole));
    ck_vit_ok(
        vit_image_decode_part(file.data, file.size, path, &options, ask, &request, &image, &part));
    ck_assert_uint_le(part.view.width, w->width / shrink + 2);
    ck_assert_uint_le(part.view.height, w->height / shrink + 2);
    ck_vit_ok(
        vit_resize_view(&part.view, &part.box, width, height, NULL, VIT_BICUBIC, &scratch, &fast));
    vit_view view = vit_view_of(&whole, w->x, w->y, w->width, w->height);
    ck_vit_ok(vit_resize_view(&view, NULL, width, height, NULL, VIT_BICUBIC, &scratch, &exact));
    double sum = 0;
    for (size_t i = 0; i < width * height * 3; i++) {
        sum += abs(fast.pixels[i] - exact.pixels[i]);
    }
    vit_bytes_free(&file);
    vit_image_free(&whole);
    vit_image_free(&image);
    vit_image_free(&fast);
    vit_image_free(&exact);
    vit_resize_scratch_free(&scratch);
    return sum / (double)(width * height * 3);
}

START_TEST(shrinking_changes_little) {
    static const char *const names[] = {"china_420.jpg", "flower_420.jpg"};
    static const vit_window windows[] = {
        {0, 0, 401, 301}, {101, 33, 201, 190}, {40, 5, 300, 290}, {203, 127, 198, 174}};
    char path[1024];
    for (size_t i = 0; i < 8; i++) {
        for (size_t shrink = 2; shrink <= 8; shrink *= 2) {
            double mean =
                shrunk_difference(golden_path(names[i / 4], path), &windows[i % 4], shrink);
            if (getenv("ZVIT_TEST_VERBOSE")) {
                printf("%s 1/%zu: mean %.3f\n", names[i / 4], shrink, mean);
            }
            ck_assert_msg(mean <= 3, "%s at 1/%zu: %g levels", names[i / 4], shrink, mean);
        }
    }
}
END_TEST

/* A box that came from the wrong corner would differ by tens of levels. */
START_TEST(shrinking_follows_the_orientation) {
    char name[64], path[1024];
    for (int orientation = 1; orientation <= 8; orientation++) {
        snprintf(name, sizeof name, "formats/exif_orientation_%d.jpg", orientation);
        const vit_window w = {3, 5, 30, 24};
        double mean = shrunk_difference(golden_path(name, path), &w, 2);
        if (getenv("ZVIT_TEST_VERBOSE")) {
            printf("%s: mean %.3f\n", name, mean);
        }
        ck_assert_msg(mean <= 4, "%s: %g levels", name, mean);
    }
}
END_TEST

START_TEST(boxes_turn_as_pictures_do) {
    enum { W = 5, H = 3 };
    for (int orientation = 1; orientation <= 8; orientation++) {
        vit_image image = {0};
        ck_vit_ok(vit_image_reserve(&image, W, H, "test"));
        memset(image.pixels, 0, W * H * 3);
        image.pixels[(1 * W + 3) * 3] = 255; /* one pixel at (3, 1) */
        vit_box box = vit_box_orient((vit_box){3, 1, 4, 2}, W, H, orientation);
        ck_vit_ok(vit_image_orient(&image, orientation, "test"));
        size_t at = ((size_t)box.y0 * image.width + (size_t)box.x0) * 3;
        ck_assert_int_eq(image.pixels[at], 255);
        vit_box back =
            vit_box_orient(box, image.width, image.height, vit_orientation_inverse(orientation));
        ck_assert(back.x0 == 3 && back.y0 == 1 && back.x1 == 4 && back.y1 == 2);
        vit_image_free(&image);
    }
}
END_TEST

START_TEST(a_part_outside_is_refused) {
    static const vit_window windows[] = {
        {0, 0, 0, 1}, {0, 0, 1, 0}, {401, 0, 1, 1}, {1, 0, 401, 1}, {0, 1, 1, SIZE_MAX}};
    char path[1024];
    vit_bytes file = {0};
    vit_image image = {0};
    vit_part part;
    vit_decode_options options = vit_decode_defaults();
    ck_vit_ok(vit_file_read(golden_path("china_420.jpg", path), 1 << 24, &file));
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        vit_request request = {.window = windows[i]};
        ck_vit_fails(vit_image_decode_part(file.data, file.size, "a.jpg", &options, ask, &request,
                                           &image, &part),
                     VIT_ERROR_ARGUMENT, "a.jpg");
    }
    vit_bytes_free(&file);
    vit_image_free(&image);
}
END_TEST

/* The rows that are missing lie below the part: it is refused all the same. */
START_TEST(a_file_cut_short_is_refused) {
    char path[1024];
    vit_bytes file = {0};
    vit_image image = {0};
    vit_part part;
    vit_decode_options options = vit_decode_defaults();
    vit_request request = {.window = {10, 10, 50, 20}};
    ck_vit_ok(vit_file_read(golden_path("china_420.jpg", path), 1 << 24, &file));
    for (size_t size = file.size - 2; size > 100; size = size * 9 / 10) {
        ck_assert_int_eq(
            vit_image_decode_part(file.data, size, "a.jpg", &options, ask, &request, &image, &part),
            VIT_ERROR_FORMAT);
    }
    vit_bytes_free(&file);
    vit_image_free(&image);
}
END_TEST

/* Any prefix of any file gives an error or a part, and what the sanitizers see. */
START_TEST(prefixes_do_no_harm) {
    char path[1024], name[512];
    vit_bytes file = {0};
    vit_image image = {0};
    vit_part part;
    vit_decode_options options = vit_decode_defaults();
    DIR *dir = opendir(golden_path("formats", path));
    ck_assert(dir != NULL);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.' || strncmp(entry->d_name, "bad_empty", 9) == 0) {
            continue;
        }
        snprintf(name, sizeof name, "formats/%s", entry->d_name);
        ck_vit_ok(vit_file_read(golden_path(name, path), 1 << 24, &file));
        for (size_t size = 1; size < file.size; size += 1 + file.size / 97) {
            unsigned char *prefix = malloc(size); /* so that reading past its end is seen */
            memcpy(prefix, file.data, size);
            vit_request request = {.window = {3, 5, 20, 8},
                                   .least_width = size % 2 * 10,
                                   .least_height = size % 2 * 4};
            uint64_t pixels;
            (void)vit_image_pixels(prefix, size, path, &options, &pixels);
            vit_status status =
                vit_image_decode_part(prefix, size, path, &options, ask, &request, &image, &part);
            ck_assert(status != VIT_ERROR_MEMORY);
            free(prefix);
        }
    }
    closedir(dir);
    vit_bytes_free(&file);
    vit_image_free(&image);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("decode_part");
    TCase *exact = tcase_create("exact");
    tcase_set_timeout(exact, 120);
    tcase_add_test(exact, a_part_is_that_part_of_the_whole);
    tcase_add_test(exact, a_part_of_a_photograph);
    tcase_add_test(exact, boxes_turn_as_pictures_do);
    tcase_add_test(exact, a_part_outside_is_refused);
    tcase_add_test(exact, a_file_cut_short_is_refused);
    tcase_add_test(exact, prefixes_do_no_harm);
    suite_add_tcase(suite, exact);
    TCase *shrunk = tcase_create("shrunk");
    tcase_add_test(shrunk, shrinking_changes_little);
    tcase_add_test(shrunk, shrinking_follows_the_orientation);
    suite_add_tcase(suite, shrunk);
    return test_run(suite);
}
