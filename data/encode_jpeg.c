/* JPEG files through libjpeg-turbo, for packs. */
#include "data/image.h"

#include <setjmp.h>
#include <stdio.h> /* jpeglib.h needs it before itself */
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

typedef struct encode_job {
    struct jpeg_error_mgr errors;
    struct jpeg_compress_struct cinfo;
    jmp_buf escape;
    vit_status status;
    unsigned char *bytes; /* malloc'ed by libjpeg */
    unsigned long size;
} encode_job;

static void on_encode_error(j_common_ptr cinfo) {
    encode_job *job = cinfo->client_data;
    char reason[JMSG_LENGTH_MAX];
    cinfo->err->format_message(cinfo, reason);
    job->status =
        vit_fail(cinfo->err->msg_code == JERR_OUT_OF_MEMORY ? VIT_ERROR_MEMORY : VIT_ERROR_FORMAT,
                 "encoding a JPEG: %s", reason);
    longjmp(job->escape, 1);
}

static void on_encode_message(j_common_ptr cinfo, int level) {
    (void)cinfo;
    (void)level;
}

static vit_status encode_guarded(encode_job *job, const vit_image *image, int quality) {
    struct jpeg_compress_struct *cinfo = &job->cinfo;
    if (setjmp(job->escape)) {
        return job->status;
    }
    jpeg_create_compress(cinfo);
    jpeg_mem_dest(cinfo, &job->bytes, &job->size);
    cinfo->image_width = (JDIMENSION)image->width;
    cinfo->image_height = (JDIMENSION)image->height;
    cinfo->input_components = 3;
    cinfo->in_color_space = JCS_RGB;
    jpeg_set_defaults(cinfo);
    jpeg_set_quality(cinfo, quality, TRUE);
    cinfo->optimize_coding = TRUE;
    cinfo->dct_method = JDCT_ISLOW;
    jpeg_start_compress(cinfo, TRUE);
    while (cinfo->next_scanline < cinfo->image_height) {
        JSAMPROW row = image->pixels + (size_t)cinfo->next_scanline * image->width * 3;
        jpeg_write_scanlines(cinfo, &row, 1);
    }
    jpeg_finish_compress(cinfo);
    return VIT_OK;
}

vit_status vit_image_encode_jpeg(const vit_image *image, int quality, vit_bytes *out) {
    encode_job job = {.bytes = NULL};
    if (image->width == 0 || image->height == 0 || image->width > JPEG_MAX_DIMENSION ||
        image->height > JPEG_MAX_DIMENSION) {
        return vit_fail(VIT_ERROR_LIMIT,
                        "encoding a JPEG of %zu x %zu pixels (expected sides of 1 to %ld)",
                        image->width, image->height, JPEG_MAX_DIMENSION);
    }
    job.cinfo.err = jpeg_std_error(&job.errors);
    job.cinfo.client_data = &job;
    job.errors.error_exit = on_encode_error;
    job.errors.emit_message = on_encode_message;
    vit_status status;
    VIT_TRY(encode_guarded(&job, image, quality));
    VIT_TRY(vit_bytes_reserve(out, job.size, "encoded picture"));
    memcpy(out->data, job.bytes, job.size);
    out->size = job.size;
cleanup:
    jpeg_destroy_compress(&job.cinfo);
    free(job.bytes);
    return status;
}
