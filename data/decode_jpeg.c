/* JPEG through libjpeg-turbo, whose errors come back by longjmp: its example.c shows the pattern.
 * Settings are those of Pillow, so that pixels are the same: accurate integer IDCT, fancy
 * upsampling, four-channel files taken as Adobe's inverted ones. */
#include "data/decode.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h> /* jpeglib.h needs it before itself */
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

#define MAX_SCANS 100 /* more than any encoder writes; each costs time over all pixels */
#define MIN_WORKING_MEMORY (64L << 20)

typedef struct jpeg_job {
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    struct jpeg_decompress_struct cinfo;
    jmp_buf escape;
    const char *what;
    vit_status status;
} jpeg_job;

static void on_error(j_common_ptr cinfo) {
    jpeg_job *job = cinfo->client_data;
    int code = cinfo->err->msg_code;
    char reason[JMSG_LENGTH_MAX];
    cinfo->err->format_message(cinfo, reason);
    if (code == JWRN_JPEG_EOF) {
        job->status = vit_fail(VIT_ERROR_FORMAT, "%s: the JPEG file is cut short", job->what);
    } else if (code == JERR_OUT_OF_MEMORY) {
        job->status = vit_fail(VIT_ERROR_MEMORY, "%s: no memory to decode the JPEG", job->what);
    } else if (code == JERR_NO_BACKING_STORE) {
        job->status = vit_fail(VIT_ERROR_LIMIT,
                               "%s: decoding this JPEG takes more memory than its size in pixels "
                               "explains",
                               job->what);
    } else {
        job->status = vit_fail(VIT_ERROR_FORMAT, "%s: damaged JPEG: %s", job->what, reason);
    }
    longjmp(job->escape, 1);
}

/* libjpeg warns and goes on with grey pixels where data is missing. That must not be trained on:
 * a warning is an error, unless all pixels are there regardless. */
static void on_message(j_common_ptr cinfo, int level) {
    if (level >= 0) {
        return; /* trace output */
    }
    switch (cinfo->err->msg_code) {
    case JWRN_EXTRANEOUS_DATA: /* padding between segments; common in cameras' files */
    case JWRN_ADOBE_XFORM:
    case JWRN_JFIF_MAJOR:
    case JWRN_BOGUS_ICC:
    case JWRN_NOT_SEQUENTIAL: /* parameters that a sequential file does not use */
        return;
    default:
        on_error(cinfo);
    }
}

/* Called for every row of blocks: a progressive file of a few kilobytes can hold thousands of
 * scans. */
static void on_progress(j_common_ptr cinfo) {
    jpeg_job *job = cinfo->client_data;
    if (job->cinfo.input_scan_number > MAX_SCANS) {
        job->status =
            vit_fail(VIT_ERROR_LIMIT, "%s: the JPEG has more than %d scans", job->what, MAX_SCANS);
        longjmp(job->escape, 1);
    }
}

/* libjpeg keeps all coefficients of a progressive file. Their size follows from the dimensions,
 * which were checked; this bounds what else a crafted file could make it ask for. */
static long working_memory(const struct jpeg_decompress_struct *cinfo) {
    uint64_t width = ((uint64_t)cinfo->image_width + 63) & ~(uint64_t)63;
    uint64_t height = ((uint64_t)cinfo->image_height + 63) & ~(uint64_t)63;
    uint64_t bytes = width * height * (uint64_t)cinfo->num_components * sizeof(JCOEF);
    return MIN_WORKING_MEMORY + (long)bytes;
}

static int find_orientation(const struct jpeg_decompress_struct *cinfo) {
    for (jpeg_saved_marker_ptr m = cinfo->marker_list; m; m = m->next) {
        if (m->marker == JPEG_APP0 + 1 && m->data_length >= 6 &&
            memcmp(m->data, "Exif\0\0", 6) == 0) {
            return vit_exif_orientation(m->data, m->data_length);
        }
    }
    return 1;
}

static vit_status choose_colors(struct jpeg_decompress_struct *cinfo, const char *what) {
    switch (cinfo->jpeg_color_space) {
    case JCS_GRAYSCALE:
    case JCS_RGB:
    case JCS_YCbCr:
        cinfo->out_color_space = JCS_RGB;
        return VIT_OK;
    case JCS_CMYK:
    case JCS_YCCK:
        cinfo->out_color_space = JCS_CMYK;
        return VIT_OK;
    default:
        return vit_fail(VIT_ERROR_UNSUPPORTED,
                        "%s: a JPEG of %d channels in an unknown colour space (expected grey, "
                        "RGB, YCbCr, CMYK or YCCK)",
                        what, cinfo->num_components);
    }
}

/* x * y / 255, rounded */
static int scale255(int x, int y) {
    int t = x * y + 128;
    return (t + (t >> 8)) >> 8;
}

/* Adobe stores 255 - ink. As Pillow: r = (255 - k) - c (255 - k) / 255. */
static void inverted_cmyk_to_rgb(const uint8_t *cmyk, size_t width, uint8_t *rgb) {
    for (size_t x = 0; x < width; x++) {
        int light = cmyk[4 * x + 3];
        for (size_t c = 0; c < 3; c++) {
            rgb[3 * x + c] = (uint8_t)(light - scale255(255 - cmyk[4 * x + c], light));
        }
    }
}

static void read_rows(struct jpeg_decompress_struct *cinfo, vit_image *image) {
    bool cmyk = cinfo->out_color_space == JCS_CMYK;
    JSAMPROW row = NULL;
    if (cmyk) {
        row = (*cinfo->mem->alloc_sarray)((j_common_ptr)cinfo, JPOOL_IMAGE, cinfo->output_width * 4,
                                          1)[0];
    }
    while (cinfo->output_scanline < cinfo->output_height) {
        uint8_t *to = image->pixels + (size_t)cinfo->output_scanline * image->width * 3;
        if (cmyk) {
            jpeg_read_scanlines(cinfo, &row, 1);
            inverted_cmyk_to_rgb(row, image->width, to);
        } else {
            jpeg_read_scanlines(cinfo, &to, 1);
        }
    }
}

/* libjpeg fills what a file of several scans leaves out with grey or with coarse values, and says
 * nothing. Complete is a file whose scans give every coefficient of every component to its last bit
 * (T.81 G.1.1.1); in a sequential one, a component that came holds its table of quantisers. */
static vit_status check_scans(const struct jpeg_decompress_struct *cinfo, const char *what) {
    for (int c = 0; c < cinfo->num_components; c++) {
        if (cinfo->progressive_mode) {
            for (int k = 0; k < DCTSIZE2; k++) {
                if (cinfo->coef_bits[c][k] != 0) {
                    return vit_fail(VIT_ERROR_FORMAT,
                                    "%s: the progressive JPEG lacks its last scans (coefficient "
                                    "%d of component %d is not complete after %d scans)",
                                    what, k, c + 1, cinfo->input_scan_number);
                }
            }
        } else if (!cinfo->comp_info[c].quant_table) {
            return vit_fail(VIT_ERROR_FORMAT, "%s: the JPEG lacks the scan of component %d of %d",
                            what, c + 1, cinfo->num_components);
        }
    }
    return VIT_OK;
}

/* Everything that may longjmp. What it changes lives in *job and *image, so nothing is clobbered.
 */
static vit_status decode_guarded(jpeg_job *job, const void *bytes, size_t size,
                                 const vit_decode_options *options, vit_image *image,
                                 int *orientation) {
    struct jpeg_decompress_struct *cinfo = &job->cinfo;
    if (setjmp(job->escape)) {
        return job->status;
    }
    jpeg_create_decompress(cinfo);
    job->progress.progress_monitor = on_progress;
    cinfo->progress = &job->progress;
    jpeg_save_markers(cinfo, JPEG_APP0 + 1, 0xffff);
    jpeg_mem_src(cinfo, bytes, (unsigned long)size);
    jpeg_read_header(cinfo, TRUE);

    job->status = vit_check_pixels(cinfo->image_width, cinfo->image_height, options, job->what);
    if (job->status == VIT_OK) {
        job->status = choose_colors(cinfo, job->what);
    }
    if (job->status != VIT_OK) {
        return job->status;
    }
    *orientation = find_orientation(cinfo);
    cinfo->mem->max_memory_to_use = working_memory(cinfo);
    cinfo->dct_method = JDCT_ISLOW;
    cinfo->do_fancy_upsampling = TRUE;
    jpeg_start_decompress(cinfo); /* reads all scans when there are several */
    if (jpeg_has_multiple_scans(cinfo)) {
        job->status = check_scans(cinfo, job->what);
        if (job->status != VIT_OK) {
            return job->status;
        }
    }
    job->status = vit_image_reserve(image, cinfo->output_width, cinfo->output_height, job->what);
    if (job->status != VIT_OK) {
        return job->status;
    }
    read_rows(cinfo, image);
    jpeg_finish_decompress(cinfo);
    return VIT_OK;
}

vit_status vit_decode_jpeg(const void *bytes, size_t size, const char *what,
                           const vit_decode_options *options, vit_image *image) {
    jpeg_job job = {.what = what};
    job.cinfo.err = jpeg_std_error(&job.errors);
    job.cinfo.client_data = &job; /* jpeg_create_decompress keeps both */
    job.errors.error_exit = on_error;
    job.errors.emit_message = on_message;
    int orientation = 1;
    vit_status status = decode_guarded(&job, bytes, size, options, image, &orientation);
    jpeg_destroy_decompress(&job.cinfo);
    return status == VIT_OK ? vit_image_orient(image, orientation, what) : status;
}
