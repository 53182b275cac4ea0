/* Files that a test makes, and what it reads of those that the code under test left. */
#ifndef VIT_TEST_FILES_H
#define VIT_TEST_FILES_H

#include "vit/file.h"

#include <stdbool.h>
#include <sys/resource.h>

/* A file with that text; its folder is there. */
void write_text(const char *path, const char *text);
/* FOLDER/NAME with that text, and the folders on the way. */
void write_text_below(const char *folder, const char *name, const char *text);
/* The first `from` in a malloc'ed text made `to`; fails the test where there is none. */
void replace_text(char **text, const char *from, const char *to);

/* FOLDER/NAME with a zero behind it; vit_bytes_free. */
vit_bytes read_file(const char *folder, const char *name);

/* Fails the test unless two files, or those of one name in two folders, hold the same bytes. */
void check_same_file(const char *one, const char *other);
void check_same_in(const char *one, const char *other, const char *name);

/* Files larger than that fail to be written from here on, as on a full disk. */
void limit_files(rlim_t bytes);

/* Whether anything has that name, a dangling link too. */
bool file_exists(const char *path);

#endif
