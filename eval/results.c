#include "eval/results.h"

#include "data/csv_write.h"
#include "vit/file.h"
#include "vit/heap.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

const char vit_results_columns[] =
    "model,top1,top1_err,top5,top5_err,param_count,img_size,crop_pct,interpolation";

static vit_status fail_errno(const char *path, const char *what) {
    return vit_fail(VIT_ERROR_IO, "%s: cannot %s: %s", path, what, strerror(errno));
}

/* An open table: its size, and whether its last line is not ended. */
typedef struct table {
    int fd;
    off_t size;
    bool cut;
} table;

static vit_status check_columns(const char *path, const vit_file *file) {
    enum { LENGTH = sizeof vit_results_columns - 1 };
    char head[LENGTH + 1];
    size_t got = file->size < sizeof head ? file->size : sizeof head;
    vit_status status = vit_file_read_at(file, 0, got, head, path);
    if (status != VIT_OK) {
        return status;
    }
    if (got < LENGTH || memcmp(head, vit_results_columns, LENGTH) != 0 ||
        (got > LENGTH && !strchr("\r\n", head[LENGTH]))) {
        return vit_fail(VIT_ERROR_FORMAT, "%s: is another table (expected the columns %s)", path,
                        vit_results_columns);
    }
    return VIT_OK;
}

/* Locked until it is closed. */
static vit_status open_table(const char *path, int flags, table *out) {
    struct stat info;
    vit_status status = VIT_OK;
    *out = (table){.fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC | O_NONBLOCK | flags, 0666)};
    if (out->fd < 0) {
        return fail_errno(path, "write");
    }
    if (fstat(out->fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        VIT_TRY(vit_fail(VIT_ERROR_IO, "%s: is no regular file (expected a CSV table)", path));
    }
    /* A file system without locks is no reason not to append. */
    while (flock(out->fd, LOCK_EX) != 0 && errno == EINTR) {
    }
    out->size = lseek(out->fd, 0, SEEK_END);
    if (out->size > 0) {
        char last = '\n';
        const vit_file file = {.size = (size_t)out->size, .handle = out->fd + 1};
        VIT_TRY(check_columns(path, &file));
        VIT_TRY(vit_file_read_at(&file, file.size - 1, 1, &last, path));
        out->cut = last != '\n';
    }
cleanup:
    if (status != VIT_OK) {
        close(out->fd);
    }
    return status;
}

static vit_status check_folder(const char *path) {
    const char *slash = strrchr(path, '/');
    char *folder = slash ? vit_strndup(path, (size_t)(slash - path) + 1) : vit_strdup(".");
    if (!folder) {
        return vit_fail(VIT_ERROR_MEMORY, "%s: out of memory", path);
    }
    vit_status status = access(folder, W_OK | X_OK) == 0 ? VIT_OK : fail_errno(path, "create");
    vit_free(folder);
    return status;
}

vit_status vit_results_check(const char *path) {
    struct stat info;
    if (stat(path, &info) != 0) {
        return errno == ENOENT ? check_folder(path) : fail_errno(path, "write");
    }
    table t;
    vit_status status = open_table(path, 0, &t);
    if (status == VIT_OK) {
        close(t.fd);
    }
    return status;
}

static double round_to(double value, double steps) {
    return round(value * steps) / steps;
}

static void fill_row(const char *name, const vit_model_bundle *bundle, double top1, double top5,
                     vit_csv *csv) {
    vit_csv_text(csv, name);
    vit_csv_number(csv, round_to(top1, 1e4));
    vit_csv_number(csv, round_to(100 - top1, 1e4));
    vit_csv_number(csv, round_to(top5, 1e4));
    vit_csv_number(csv, round_to(100 - top5, 1e4));
    vit_csv_number(csv, round_to((double)bundle->model.params.total / 1e6, 1e2));
    vit_csv_number(csv, bundle->model.config.img_size[1]);
    vit_csv_number(csv, bundle->preprocess.crop_pct);
    vit_csv_text(csv, vit_interpolation_names[bundle->preprocess.interpolation]);
    vit_csv_end_line(csv);
}

static vit_status append(const char *path, const table *t, const vit_csv *csv) {
    if (csv->status != VIT_OK) {
        return csv->status;
    }
    size_t done = vit_fd_write(t->fd, csv->text.data, csv->text.size);
    if (done == csv->text.size && vit_fd_sync(t->fd) == 0) {
        return VIT_OK;
    }
    vit_status status = fail_errno(path, "write");
    if (done > 0 && ftruncate(t->fd, t->size) != 0) {
        vit_fail_context(status, "a part of a row is left in it");
    }
    return status;
}

vit_status vit_results_append(const char *path, const char *name, const vit_model_bundle *bundle,
                              double top1, double top5) {
    table t;
    vit_csv csv = {0};
    vit_status status = open_table(path, O_CREAT, &t);
    if (status != VIT_OK) {
        return status;
    }
    if (t.size == 0) {
        vit_csv_raw(&csv, vit_results_columns);
    }
    if (t.size == 0 || t.cut) {
        vit_csv_end_line(&csv);
    }
    fill_row(name, bundle, top1, top5, &csv);
    status = append(path, &t, &csv);
    vit_csv_free(&csv);
    close(t.fd);
    return status;
}
