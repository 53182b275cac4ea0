#include "files.h"

#include "pictures.h"
#include "support.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void write_text(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    ck_assert_msg(file != NULL, "%s: %s", path, strerror(errno));
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

void write_text_below(const char *folder, const char *name, const char *text) {
    char path[1024];
    temp_path(path, folder, "%s", name);
    char *slash = strrchr(path, '/');
    *slash = 0;
    make_folders(path);
    *slash = '/';
    write_text(path, text);
}

void replace_text(char **text, const char *from, const char *to) {
    const char *at = strstr(*text, from);
    ck_assert_msg(at != NULL, "no %s in: %s", from, *text);
    char *out = malloc(strlen(*text) + strlen(to) + 1);
    ck_assert_ptr_nonnull(out);
    sprintf(out, "%.*s%s%s", (int)(at - *text), *text, to, at + strlen(from));
    free(*text);
    *text = out;
}

static vit_bytes read_path(const char *path) {
    vit_bytes bytes = {0};
    ck_vit_ok(vit_file_read(path, 1u << 30, &bytes));
    ck_vit_ok(vit_bytes_reserve(&bytes, bytes.size + 1, "text"));
    bytes.data[bytes.size] = 0;
    return bytes;
}

vit_bytes read_file(const char *folder, const char *name) {
    char path[1024];
    return read_path(temp_path(path, folder, "%s", name));
}

void check_same_file(const char *one, const char *other) {
    vit_bytes a = read_path(one), b = read_path(other);
    ck_assert_msg(a.size == b.size && memcmp(a.data, b.data, a.size) == 0, "%s and %s differ", one,
                  other);
    vit_bytes_free(&a);
    vit_bytes_free(&b);
}

void check_same_in(const char *one, const char *other, const char *name) {
    char paths[2][1024];
    check_same_file(temp_path(paths[0], one, "%s", name), temp_path(paths[1], other, "%s", name));
}

bool file_exists(const char *path) {
    struct stat info;
    return lstat(path, &info) == 0;
}

void limit_files(rlim_t bytes) {
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit){bytes, RLIM_INFINITY}), 0);
}
