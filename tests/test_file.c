/* Files: read up to a limit and in parts, written under another name until all of it is there, and
 * what is left when that fails; folders, links, standard input. */
#include "support/files.h"
#include "support/folder.h"
#include "support/pictures.h"
#include "support/support.h"

#include "vit/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[1024];

static void setup(void) {
    make_folder();
    temp_path(path, folder, "file");
}

static void check_holds(const char *name, const char *text) {
    vit_bytes bytes = {0};
    ck_vit_ok(vit_file_read(name, 1 << 20, &bytes));
    ck_assert_uint_eq(bytes.size, strlen(text));
    ck_assert(bytes.size == 0 || memcmp(bytes.data, text, bytes.size) == 0);
    vit_bytes_free(&bytes);
}

/* ---- reading ---- */

START_TEST(reads_up_to_the_limit) {
    ck_vit_ok(vit_file_replace(path, "0123456789", 10));
    vit_bytes bytes = {0};
    ck_vit_ok(vit_file_read(path, 10, &bytes));
    ck_assert_uint_eq(bytes.size, 10);
    ck_assert_mem_eq(bytes.data, "0123456789", 10);
    const unsigned char *memory = bytes.data;
    ck_vit_fails(vit_file_read(path, 9, &bytes), VIT_ERROR_LIMIT,
                 "larger than the limit of 9 bytes");
    ck_vit_ok(vit_file_replace(path, "abc", 3));
    ck_vit_ok(vit_file_read(path, 10, &bytes));
    ck_assert_uint_eq(bytes.size, 3);
    ck_assert_ptr_eq(bytes.data, memory); /* reused */
    ck_vit_ok(vit_file_replace(path, "", 0));
    ck_vit_ok(vit_file_read(path, 0, &bytes));
    ck_assert_uint_eq(bytes.size, 0);
    vit_bytes_free(&bytes);
}
END_TEST

START_TEST(bytes_grow_by_doubling) {
    vit_bytes bytes = {0};
    size_t moves = 0, room = 0;
    ck_vit_ok(vit_bytes_append(&bytes, NULL, 0, "nothing"));
    ck_assert_uint_eq(bytes.size, 0);
    for (uint32_t i = 0; i < 50000; i++) {
        ck_vit_ok(vit_bytes_append(&bytes, &i, sizeof i, "numbers"));
        moves += bytes.capacity != room;
        room = bytes.capacity;
    }
    ck_assert_uint_eq(bytes.size, 50000 * sizeof(uint32_t));
    ck_assert_uint_le(moves, 8);
    for (uint32_t i = 0; i < 50000; i++) {
        ck_assert_mem_eq(bytes.data + i * sizeof i, &i, sizeof i);
    }
    ck_vit_fails(vit_bytes_append(&bytes, &room, SIZE_MAX, "numbers"), VIT_ERROR_MEMORY,
                 "numbers: does not fit in memory");
    ck_assert_uint_eq(bytes.size, 50000 * sizeof(uint32_t));
    vit_bytes_free(&bytes);
}
END_TEST

START_TEST(reads_files_without_a_size) {
    /* /proc files say that they are empty. */
    vit_bytes bytes = {0};
    ck_vit_ok(vit_file_read("/proc/self/status", 1 << 20, &bytes));
    ck_assert_uint_gt(bytes.size, 100);
    ck_assert_mem_eq(bytes.data, "Name:", 5);
    ck_vit_fails(vit_file_read("/proc/self/status", 50, &bytes), VIT_ERROR_LIMIT, "50 bytes");
    vit_bytes_free(&bytes);
}
END_TEST

START_TEST(reads_standard_input) {
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    char text[3000];
    memset(text, 'x', sizeof text);
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(write(ends[1], text, sizeof text), sizeof text);
    }
    close(ends[1]);
    dup2(ends[0], STDIN_FILENO);
    close(ends[0]);
    vit_bytes bytes = {0};
    ck_vit_ok(vit_file_read("-", 100000, &bytes));
    ck_assert_uint_eq(bytes.size, 30000);
    vit_bytes_free(&bytes);
}
END_TEST

START_TEST(standard_input_is_bounded) {
    int zero = open("/dev/zero", O_RDONLY);
    dup2(zero, STDIN_FILENO);
    close(zero);
    vit_bytes bytes = {0};
    ck_vit_fails(vit_file_read("-", 100000, &bytes), VIT_ERROR_LIMIT, "standard input: larger");
    ck_assert_uint_lt(bytes.capacity, 500000);
    vit_bytes_free(&bytes);
}
END_TEST

START_TEST(only_files_are_read) {
    vit_bytes bytes = {0};
    vit_file file;
    ck_vit_fails(vit_file_read(folder, 10, &bytes), VIT_ERROR_IO, "is a folder (expected a file)");
    ck_vit_fails(vit_file_open(folder, &file), VIT_ERROR_IO, "is a folder");
    ck_vit_fails(vit_file_read("/dev/null", 10, &bytes), VIT_ERROR_IO, "/dev/null: is a device");
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_vit_fails(vit_file_read(path, 10, &bytes), VIT_ERROR_IO,
                 "is a pipe"); /* and does not wait */
    ck_vit_fails(vit_file_open(path, &file), VIT_ERROR_IO, "is a pipe");
    char missing[1024];
    temp_path(missing, folder, "missing");
    ck_vit_fails(vit_file_read(missing, 10, &bytes), VIT_ERROR_IO,
                 "missing: cannot open: No such file or directory");
    ck_assert_ptr_null(bytes.data);
}
END_TEST

START_TEST(reads_parts_of_what_is_there) {
    vit_file file;
    char bytes[16] = "";
    ck_vit_ok(vit_file_replace(path, "0123456789", 10));
    ck_vit_ok(vit_file_open(path, &file));
    ck_assert_uint_eq(file.size, 10);
    ck_vit_ok(vit_file_read_at(&file, 3, 4, bytes, "part"));
    ck_assert_mem_eq(bytes, "3456", 4);
    ck_vit_ok(vit_file_read_at(&file, 10, 0, bytes, "part"));
    ck_vit_fails(vit_file_read_at(&file, 10, 1, bytes, "part"), VIT_ERROR_ARGUMENT,
                 "part: 1 bytes at 10 (expected within its 10)");
    ck_vit_fails(vit_file_read_at(&file, SIZE_MAX, 2, bytes, "part"), VIT_ERROR_ARGUMENT, "within");
    /* A replaced file stays as it was for whoever has it open. */
    ck_vit_ok(vit_file_replace(path, "abcde", 5));
    ck_vit_ok(vit_file_read_at(&file, 0, 10, bytes, "part"));
    ck_assert_mem_eq(bytes, "0123456789", 10);
    vit_file_close(&file);
    vit_file_close(&file); /* none: fine */
    ck_vit_ok(vit_file_replace(path, "", 0));
    ck_vit_ok(vit_file_open(path, &file));
    ck_assert_uint_eq(file.size, 0);
    vit_file_close(&file);
}
END_TEST

/* A mapping would end the process. */
START_TEST(a_file_that_is_cut_short_meanwhile_is_an_error) {
    enum { SIZE = 100000 };
    static char bytes[SIZE];
    vit_file file;
    ck_vit_ok(vit_file_replace(path, bytes, SIZE));
    ck_vit_ok(vit_file_open(path, &file));
    ck_assert_int_eq(truncate(path, 10), 0);
    ck_vit_fails(vit_file_read_at(&file, 0, SIZE, bytes, path), VIT_ERROR_IO,
                 "became shorter while it was read");
    vit_file_close(&file);
}
END_TEST

START_TEST(what_has_a_name) {
    vit_path_kind kind;
    ck_vit_ok(vit_path_look(folder, &kind));
    ck_assert_int_eq(kind, VIT_PATH_FOLDER);
    ck_vit_ok(vit_file_replace(path, "x", 1));
    ck_vit_ok(vit_path_look(path, &kind));
    ck_assert_int_eq(kind, VIT_PATH_FILE);
    ck_vit_ok(vit_path_look("/dev/null", &kind));
    ck_assert_int_eq(kind, VIT_PATH_OTHER);
    char below[2048];
    snprintf(below, sizeof below, "%s/below", path);
    ck_vit_ok(vit_path_look(below, &kind));
    ck_assert_int_eq(kind, VIT_PATH_NONE);
    char link[1024];
    ck_assert_int_eq(symlink("loop", temp_path(link, folder, "loop")), 0);
    ck_vit_fails(vit_path_look(link, &kind), VIT_ERROR_IO,
                 "loop: cannot look at it: Too many levels");
}
END_TEST

/* ---- writing ---- */

START_TEST(writes_appear_at_commit) {
    ck_vit_ok(vit_file_replace(path, "old", 3));
    vit_file_writer *writer;
    ck_vit_ok(vit_file_begin(path, &writer));
    ck_assert_uint_eq(count_entries(folder), 2); /* the temporary is in the same folder */
    ck_vit_ok(vit_file_write(writer, "new ", 4));
    ck_vit_ok(vit_file_printf(writer, "%d%s", 42, "!"));
    check_holds(path, "old");
    ck_vit_ok(vit_file_commit(writer));
    check_holds(path, "new 42!");
    ck_assert_uint_eq(count_entries(folder), 1);
}
END_TEST

START_TEST(abort_leaves_the_old_file) {
    ck_vit_ok(vit_file_replace(path, "old", 3));
    vit_file_writer *writer;
    ck_vit_ok(vit_file_begin(path, &writer));
    ck_vit_ok(vit_file_write(writer, "new", 3));
    vit_file_abort(writer);
    vit_file_abort(NULL);
    check_holds(path, "old");
    ck_assert_uint_eq(count_entries(folder), 1);
}
END_TEST

START_TEST(large_and_small_pieces_keep_their_order) {
    size_t size = 300000;
    unsigned char *data = malloc(size);
    for (size_t i = 0; i < size; i++) {
        data[i] = (unsigned char)(i * 31 + i / 251);
    }
    static const size_t pieces[] = {1, 65536, 3, 65535, 65537, 0, 100000, 7};
    vit_file_writer *writer;
    ck_vit_ok(vit_file_begin(path, &writer));
    size_t done = 0;
    for (size_t i = 0; done < size; i++) {
        size_t piece = pieces[i % 8] < size - done ? pieces[i % 8] : size - done;
        ck_vit_ok(vit_file_write(writer, data + done, piece));
        done += piece;
    }
    ck_vit_ok(vit_file_commit(writer));
    vit_bytes bytes = {0};
    ck_vit_ok(vit_file_read(path, size, &bytes));
    ck_assert_uint_eq(bytes.size, size);
    ck_assert_mem_eq(bytes.data, data, size);
    vit_bytes_free(&bytes);
    free(data);
}
END_TEST

START_TEST(the_mode_follows_the_umask) {
    struct stat info;
    umask(027);
    ck_vit_ok(vit_file_replace(path, "x", 1));
    ck_assert_int_eq(stat(path, &info), 0);
    ck_assert_uint_eq(info.st_mode & 0777, 0640);
}
END_TEST

START_TEST(a_link_stays_a_link) {
    char link[1024];
    temp_path(link, folder, "link");
    ck_vit_ok(vit_file_replace(path, "old", 3));
    ck_assert_int_eq(symlink("file", link), 0);
    ck_vit_ok(vit_file_replace(link, "new", 3));
    struct stat info;
    ck_assert_int_eq(lstat(link, &info), 0);
    ck_assert(S_ISLNK(info.st_mode));
    check_holds(path, "new");
}
END_TEST

START_TEST(relative_and_long_names) {
    ck_assert_int_eq(chdir(folder), 0);
    ck_vit_ok(vit_file_replace("here", "x", 1));
    check_holds("here", "x");
    char name[NAME_MAX + 1];
    memset(name, 'n', NAME_MAX);
    name[NAME_MAX] = 0;
    ck_vit_ok(vit_file_replace(name, "y", 1));
    check_holds(name, "y");
    ck_assert_uint_eq(count_entries("."), 2);
    ck_assert_int_eq(chdir("/"), 0);
}
END_TEST

START_TEST(only_files_are_written) {
    vit_file_writer *writer;
    ck_vit_fails(vit_file_begin(folder, &writer), VIT_ERROR_IO, "is a folder (expected a file, or");
    ck_assert_ptr_null(writer);
    /* Renaming over a device would replace it by a file. */
    ck_vit_fails(vit_file_replace("/dev/full", "x", 1), VIT_ERROR_IO, "/dev/full: is a device");
    char other[1024];
    temp_path(other, folder, "no/such/folder");
    ck_vit_fails(vit_file_begin(other, &writer), VIT_ERROR_IO, "cannot create: No such file");
    ck_vit_fails(vit_file_begin("", &writer), VIT_ERROR_IO, "is not a file name");
    temp_path(other, folder, "new/");
    ck_vit_fails(vit_file_begin(other, &writer), VIT_ERROR_IO, "is not a file name");
    ck_vit_ok(vit_file_replace(path, "x", 1));
    temp_path(other, folder, "file/under");
    ck_vit_fails(vit_file_begin(other, &writer), VIT_ERROR_IO, "cannot create: Not a directory");
    ck_assert_uint_eq(count_entries(folder), 1);
}
END_TEST

START_TEST(a_failed_write_leaves_nothing) {
    ck_vit_ok(vit_file_replace(path, "old", 3));
    limit_files(100000);
    static const char block[40000];
    vit_file_writer *writer;
    ck_vit_ok(vit_file_begin(path, &writer));
    vit_status status = VIT_OK;
    int blocks = 0;
    while (status == VIT_OK && blocks < 20) {
        status = vit_file_write(writer, block, sizeof block);
        blocks++;
    }
    ck_vit_fails(status, VIT_ERROR_IO, "file: cannot write: File too large");
    ck_assert_uint_eq(count_entries(folder), 1); /* the temporary is gone at once */
    ck_vit_fails(vit_file_printf(writer, "more"), VIT_ERROR_IO, "cannot write");
    vit_fail(VIT_ERROR_MEMORY, "something else meanwhile");
    ck_vit_fails(vit_file_commit(writer), VIT_ERROR_IO, "file: cannot write: File too large");
    check_holds(path, "old");
    ck_assert_uint_eq(count_entries(folder), 1);
}
END_TEST

START_TEST(a_failed_flush_leaves_nothing) {
    limit_files(10);
    vit_file_writer *writer;
    ck_vit_ok(vit_file_begin(path, &writer));
    ck_vit_ok(vit_file_write(writer, "more than ten bytes", 19)); /* still in the buffer */
    ck_vit_fails(vit_file_commit(writer), VIT_ERROR_IO, "cannot write");
    ck_assert_uint_eq(count_entries(folder), 0);
}
END_TEST

/* A real full disk where mounting one is allowed. */
START_TEST(a_full_disk_leaves_the_old_file) {
    char disk[1024], name[1024];
    temp_path(disk, folder, "disk");
    ck_vit_ok(vit_folder_make(disk));
    if (mount("tmpfs", disk, "tmpfs", 0, "size=64k") != 0) {
        return; /* not root; the tests above cover the same path */
    }
    temp_path(name, disk, "file");
    vit_status first = vit_file_replace(name, "old", 3);
    static const char block[200000];
    vit_status second = vit_file_replace(name, block, sizeof block);
    char message[VIT_MESSAGE_MAX];
    snprintf(message, sizeof message, "%s", vit_last_error());
    size_t left = count_entries(disk);
    vit_bytes bytes = {0};
    vit_status third = vit_file_read(name, 100, &bytes);
    umount(disk);
    ck_assert_int_eq(first, VIT_OK);
    ck_assert_int_eq(second, VIT_ERROR_IO);
    ck_assert_ptr_nonnull(strstr(message, "file: cannot write: No space left on device"));
    ck_assert_uint_eq(left, 1);
    ck_assert_int_eq(third, VIT_OK);
    ck_assert_uint_eq(bytes.size, 3);
    vit_bytes_free(&bytes);
}
END_TEST

START_TEST(a_failed_rename_leaves_nothing) {
    vit_file_writer *writer;
    ck_vit_ok(vit_file_begin(path, &writer));
    ck_vit_ok(vit_folder_make(path)); /* someone else takes the name for a folder */
    ck_vit_fails(vit_file_commit(writer), VIT_ERROR_IO, "file: cannot rename: Is a directory");
    ck_assert_uint_eq(count_entries(folder), 1);
}
END_TEST

START_TEST(a_new_file_replaces_nothing) {
    for (int round = 0; round < 3; round++) {
        char text[16];
        vit_file_writer *writer;
        bool taken = round == 0;
        snprintf(text, sizeof text, "%d", round);
        ck_vit_ok(vit_file_begin(path, &writer));
        ck_vit_ok(vit_file_write(writer, text, strlen(text)));
        ck_vit_ok(vit_file_commit_new(writer, &taken));
        ck_assert_int_eq(taken, round > 0);
        check_holds(path, "0");
        ck_assert_uint_eq(count_entries(folder), 1); /* no temporary is left */
    }
    /* A link that leads nowhere has the name as well. */
    char link[1024];
    vit_file_writer *writer;
    bool taken;
    temp_path(link, folder, "link");
    ck_assert_int_eq(symlink("nowhere", link), 0);
    ck_vit_ok(vit_file_begin(link, &writer));
    ck_vit_ok(vit_file_commit_new(writer, &taken));
    ck_assert(taken);
    ck_assert_uint_eq(count_entries(folder), 2);
    ck_vit_ok(vit_folder_flush(folder));
    ck_vit_fails(vit_folder_flush(path), VIT_ERROR_IO, "file: cannot open: Not a directory");
}
END_TEST

/* ---- folders and paths ---- */

START_TEST(makes_folders) {
    char deep[1024];
    temp_path(deep, folder, "a//b/c/");
    ck_vit_ok(vit_folder_make(deep));
    ck_vit_ok(vit_folder_make(deep));
    temp_path(deep, folder, "a/b/c");
    struct stat info;
    ck_assert(stat(deep, &info) == 0 && S_ISDIR(info.st_mode));
    ck_vit_ok(vit_file_replace(path, "x", 1));
    ck_vit_fails(vit_folder_make(path), VIT_ERROR_IO, "file: is not a folder");
    temp_path(deep, folder, "file/b");
    ck_vit_fails(vit_folder_make(deep), VIT_ERROR_IO, "is not a folder");
    ck_vit_fails(vit_folder_make(""), VIT_ERROR_IO, "cannot make the folder");
    ck_vit_fails(vit_folder_make("/proc/nothing"), VIT_ERROR_IO, "/proc/nothing: cannot make");
}
END_TEST

START_TEST(joins_paths) {
    char buffer[12];
    ck_vit_ok(vit_path_join(buffer, sizeof buffer, "runs", "best"));
    ck_assert_str_eq(buffer, "runs/best");
    ck_vit_ok(vit_path_join(buffer, sizeof buffer, "runs/", "best"));
    ck_assert_str_eq(buffer, "runs/best");
    ck_vit_ok(vit_path_join(buffer, sizeof buffer, "/", "best"));
    ck_assert_str_eq(buffer, "/best");
    ck_vit_ok(vit_path_join(buffer, sizeof buffer, "", "best"));
    ck_assert_str_eq(buffer, "best");
    ck_vit_ok(vit_path_join(buffer, sizeof buffer, "runs", "123456"));
    ck_vit_fails(vit_path_join(buffer, sizeof buffer, "runs", "1234567"), VIT_ERROR_LIMIT,
                 "too long");
}
END_TEST

static Suite *suite(void) {
    Suite *s = suite_create("file");
    TCase *t = tcase_create("file");
    tcase_add_checked_fixture(t, setup, remove_folder);
    tcase_set_timeout(t, 30);
    tcase_add_test(t, bytes_grow_by_doubling);
    tcase_add_test(t, reads_up_to_the_limit);
    tcase_add_test(t, reads_files_without_a_size);
    tcase_add_test(t, reads_standard_input);
    tcase_add_test(t, standard_input_is_bounded);
    tcase_add_test(t, only_files_are_read);
    tcase_add_test(t, reads_parts_of_what_is_there);
    tcase_add_test(t, a_file_that_is_cut_short_meanwhile_is_an_error);
    tcase_add_test(t, what_has_a_name);
    tcase_add_test(t, writes_appear_at_commit);
    tcase_add_test(t, a_new_file_replaces_nothing);
    tcase_add_test(t, abort_leaves_the_old_file);
    tcase_add_test(t, large_and_small_pieces_keep_their_order);
    tcase_add_test(t, the_mode_follows_the_umask);
    tcase_add_test(t, a_link_stays_a_link);
    tcase_add_test(t, relative_and_long_names);
    tcase_add_test(t, only_files_are_written);
    tcase_add_test(t, a_failed_write_leaves_nothing);
    tcase_add_test(t, a_failed_flush_leaves_nothing);
    tcase_add_test(t, a_full_disk_leaves_the_old_file);
    tcase_add_test(t, a_failed_rename_leaves_nothing);
    tcase_add_test(t, makes_folders);
    tcase_add_test(t, joins_paths);
    suite_add_tcase(s, t);
    return s;
}

int main(void) {
    return test_run(suite());
}
