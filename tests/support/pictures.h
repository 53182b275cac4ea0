/* Folders that vanish again, and made-up data sets of PNG pictures in them. */
#ifndef VIT_TEST_PICTURES_H
#define VIT_TEST_PICTURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A fresh folder, malloc'ed name; and its removal with all that is in it (frees the name; NULL is
 * fine). In unchecked fixtures the folder goes away even when a test fails. */
char *temp_folder(void);
void temp_folder_remove(char *folder);

/* "FOLDER/NAME" from printf-like parts, in buffer. */
const char *temp_path(char buffer[1024], const char *folder, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Makes a folder and its parents. */
void make_folders(const char *path);

/* An 8-bit RGB PNG, written without any library: stored, not compressed. */
void write_png(const char *path, size_t width, size_t height, const uint8_t *rgb);

/* width x height noise over a pattern that tells the class. The same for the same (label, seed). */
void draw_picture(int label, uint64_t seed, size_t width, size_t height, uint8_t *rgb);

/* FOLDER/SPLIT/CLASS/N.png: per_class pictures of each class; class i is named classes[i]. */
void make_pictures(const char *folder, const char *split, const char *const *classes,
                   size_t class_count, size_t per_class, size_t width, size_t height,
                   uint64_t seed);
/* The repository's own digits that tar's wildcards name, in a fresh folder; and the path of digit i
 * among every fifth of val, the classes 0 to 9 taking turns. */
char *digits_unpack(const char *wildcards);
const char *digit_path(char buffer[1024], const char *digits, size_t i);

/* Whether vit_dataset_has finds the split. */
bool has_split(const char *data, const char *split);

/* The names in a folder, but for "." and "..". */
size_t count_entries(const char *folder);

#endif
