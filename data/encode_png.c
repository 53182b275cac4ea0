/* PNG through libpng, whose errors come back by longjmp. */
#include "data/encode.h"

#include <setjmp.h>
#include <string.h>

#include <png.h>

typedef struct png_job {
    png_structp png;
    png_infop info;
    vit_file_writer *writer; /* where it goes: a file, or */
    vit_bytes *bytes;        /* memory */
    jmp_buf escape;
    const char *path; /* what messages call it */
    vit_status status;
} png_job;

static void on_error(png_structp png, png_const_charp reason) {
    png_job *job = png_get_error_ptr(png);
    if (job->status == VIT_OK) {
        job->status =
            strstr(reason, "emory")
                ? vit_fail(VIT_ERROR_MEMORY, "%s: no memory to write the PNG", job->path)
                : vit_fail(VIT_ERROR_LIMIT, "%s: cannot be written as PNG: %s", job->path, reason);
    }
    longjmp(job->escape, 1);
}

static void on_warning(png_structp png, png_const_charp reason) {
    (void)png;
    (void)reason;
}

static void write_bytes(png_structp png, png_bytep data, size_t count) {
    png_job *job = png_get_io_ptr(png);
    if (job->bytes) {
        job->status = vit_bytes_append(job->bytes, data, count, job->path);
    } else {
        job->status = vit_file_write(job->writer, data, count);
    }
    if (job->status != VIT_OK) {
        png_error(png, "write");
    }
}

/* vit_file_commit flushes. */
static void flush_nothing(png_structp png) {
    (void)png;
}

/* Everything that may longjmp. What it changes lives in *job, so nothing is clobbered. */
static vit_status encode_guarded(png_job *job, const vit_image *image) {
    if (setjmp(job->escape)) {
        return job->status;
    }
    png_set_user_limits(job->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_write_fn(job->png, job, write_bytes, flush_nothing);
    png_set_IHDR(job->png, job->info, (png_uint_32)image->width, (png_uint_32)image->height, 8,
                 PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(job->png, job->info);
    for (size_t y = 0; y < image->height; y++) {
        png_write_row(job->png, image->pixels + y * image->width * 3);
    }
    png_write_end(job->png, job->info);
    return VIT_OK;
}

/* To job's writer or memory. */
static vit_status encode(png_job *job, const vit_image *image) {
    vit_status status = VIT_OK;
    if (image->width == 0 || image->height == 0 || image->width > PNG_UINT_31_MAX ||
        image->height > PNG_UINT_31_MAX) {
        return vit_fail(VIT_ERROR_LIMIT, "%s: %zu x %zu pixels (a PNG has 1 to 2^31 - 1 a side)",
                        job->path, image->width, image->height);
    }
    job->png = png_create_write_struct(PNG_LIBPNG_VER_STRING, job, on_error, on_warning);
    job->info = job->png ? png_create_info_struct(job->png) : NULL;
    if (!job->info) {
        VIT_TRY(vit_fail(VIT_ERROR_MEMORY, "%s: no memory to write the PNG", job->path));
    }
    VIT_TRY(encode_guarded(job, image));
cleanup:
    png_destroy_write_struct(&job->png, &job->info);
    return status;
}

vit_status vit_png_write(const char *path, const vit_image *image) {
    png_job job = {.path = path};
    vit_status status = VIT_OK;
    VIT_TRY(vit_file_begin(path, &job.writer));
    VIT_TRY(encode(&job, image));
    status = vit_file_commit(job.writer);
    job.writer = NULL;
cleanup:
    vit_file_abort(job.writer);
    return status;
}

vit_status vit_png_encode(const vit_image *image, const char *what, vit_bytes *out) {
    png_job job = {.path = what, .bytes = out};
    out->size = 0;
    return encode(&job, image);
}
