/* JPEG through libjpeg-turbo, whose errors come back by longjmp: its example.c shows the pattern.
 * Settings are those of Pillow, so that pixels are the same: accurate integer IDCT, fancy
 * upsampling, four-channel files taken as Adobe's inverted ones. */
#include "data/decode.h"

#include <math.h>
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

/* What a sound file may have and libjpeg does not decode: 12 bits, lossless, hierarchical. */
static bool is_unsupported(int code) {
    return code == JERR_BAD_PRECISION || code == JERR_SOF_UNSUPPORTED ||
           code == JERR_CONVERSION_NOTIMPL || code == JERR_FRACT_SAMPLE_NOTIMPL ||
           code == JERR_CCIR601_NOTIMPL || code == JERR_NOT_COMPILED;
}

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
    } else if (is_unsupported(code)) {
        job->status = vit_fail(VIT_ERROR_UNSUPPORTED,
                               "%s: this kind of JPEG cannot be decoded: %s (expected baseline or "
                               "progressive with 8 bits)",
                               job->what, reason);
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

/* Scanlines up to `end` into rows of image, its first row being the next scanline. */
static void read_rows(struct jpeg_decompress_struct *cinfo, JDIMENSION end, vit_image *image) {
    bool cmyk = cinfo->out_color_space == JCS_CMYK;
    JDIMENSION first = cinfo->output_scanline;
    JSAMPROW row = NULL;
    if (cmyk) {
        row = (*cinfo->mem->alloc_sarray)((j_common_ptr)cinfo, JPOOL_IMAGE, cinfo->output_width * 4,
                                          1)[0];
    }
    while (cinfo->output_scanline < end) {
        uint8_t *to = image->pixels + (size_t)(cinfo->output_scanline - first) * image->width * 3;
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

/* ---- a part of the picture ---- */

/* Pixels on the left and the rows above that are decoded and not used: chroma is interpolated
 * between neighbours, and where the decoded columns and rows begin it has none. */
#define MARGIN 4
#define TAIL 1024 /* bytes at the end of a file among which its last marker is looked for */

/* Which rectangle of the (scaled) picture, as it is stored, is decoded, and which box of it is
 * wanted. */
typedef struct region {
    JDIMENSION x, y, width, height;
    vit_box box; /* from the picture's corner */
} region;

static vit_box box_of(const vit_window *w) {
    return (vit_box){(double)w->x, (double)w->y, (double)(w->x + w->width),
                     (double)(w->y + w->height)};
}

/* Inside a scan no byte ff is followed by d9, so that this pair near the end is the end of the
 * picture: the file was not cut short. */
static bool has_end_marker(const uint8_t *bytes, size_t size) {
    for (size_t i = size < TAIL ? 0 : size - TAIL; i + 1 < size; i++) {
        if (bytes[i] == 0xff && bytes[i + 1] == JPEG_EOI) {
            return true;
        }
    }
    return false;
}

/* The largest power of two that leaves the window large enough. */
static unsigned choose_shrink(const vit_request *request) {
    unsigned shrink = 8;
    while (shrink > 1 && (request->least_width == 0 || request->least_height == 0 ||
                          request->window.width / shrink < request->least_width ||
                          request->window.height / shrink < request->least_height)) {
        shrink /= 2;
    }
    return shrink;
}

/* Asks which part is wanted; sets the decoder's scale and where the part lies in what it will put
 * out. */
static vit_status choose_region(jpeg_job *job, vit_chooser choose, void *context, int orientation,
                                region *r) {
    struct jpeg_decompress_struct *cinfo = &job->cinfo;
    bool turned = orientation >= 5;
    size_t width = turned ? cinfo->image_height : cinfo->image_width;
    size_t height = turned ? cinfo->image_width : cinfo->image_height;
    vit_request request = choose(context, width, height);
    vit_status status = vit_check_request(&request, width, height, job->what);
    if (status != VIT_OK) {
        return status;
    }
    unsigned shrink = choose_shrink(&request);
    cinfo->scale_num = 8 / shrink; /* the IDCT of turbo is vectorised for these sizes */
    cinfo->scale_denom = 8;
    r->box = vit_box_orient(box_of(&request.window), width, height,
                            vit_orientation_inverse(orientation));
    r->box.x0 /= shrink;
    r->box.y0 /= shrink;
    r->box.x1 /= shrink;
    r->box.y1 /= shrink;
    return VIT_OK;
}

static JDIMENSION less(JDIMENSION x, JDIMENSION margin) {
    return x > margin ? x - margin : 0;
}

/* Sets r's rectangle; narrows the decoder to its columns and skips the rows above it. Rows and
 * columns can be left out of a single scan only: several are held in memory whole anyhow. */
static void narrow(struct jpeg_decompress_struct *cinfo, bool may_skip, region *r) {
    r->x = r->y = 0;
    r->width = cinfo->output_width;
    r->height = cinfo->output_height;
    if (!may_skip) {
        return;
    }
    JDIMENSION end = (JDIMENSION)ceil(r->box.x1);
    r->x = less((JDIMENSION)r->box.x0, MARGIN);
    r->width = (r->width - end > MARGIN ? end + MARGIN : r->width) - r->x;
    jpeg_crop_scanline(cinfo, &r->x, &r->width); /* widens it to whole blocks on the left */
    JDIMENSION above = less((JDIMENSION)r->box.y0, MARGIN);
    if (above > 0) {
        jpeg_skip_scanlines(cinfo, above);
    }
    r->y = cinfo->output_scanline;
    r->height = (JDIMENSION)ceil(r->box.y1) - r->y;
}

/* The part in the picture that was decoded, once that was turned upright. width, height: its size
 * as it was stored. */
static vit_part upright_part(const region *r, size_t width, size_t height, int orientation,
                             const vit_image *image) {
    vit_box box = {r->box.x0 - r->x, r->box.y0 - r->y, r->box.x1 - r->x, r->box.y1 - r->y};
    box = vit_box_orient(box, width, height, orientation);
    size_t x = (size_t)box.x0, y = (size_t)box.y0;
    vit_part part = {
        .view = vit_view_of(image, x, y, (size_t)ceil(box.x1) - x, (size_t)ceil(box.y1) - y),
        .box = {box.x0 - (double)x, box.y0 - (double)y, box.x1 - (double)x, box.y1 - (double)y}};
    return part;
}

/* ---- putting it together ---- */

/* What is decoded and where to. */
typedef struct jpeg_input {
    const void *bytes;
    size_t size;
    const vit_decode_options *options;
    vit_chooser choose;
    void *context;
    bool header_only;
} jpeg_input;

/* The header: size, colours, orientation, and which part is wanted. May longjmp, as may those
 * below. */
static vit_status read_header(jpeg_job *job, const jpeg_input *in, region *r, int *orientation) {
    struct jpeg_decompress_struct *cinfo = &job->cinfo;
    jpeg_create_decompress(cinfo);
    job->progress.progress_monitor = on_progress;
    cinfo->progress = &job->progress;
    jpeg_save_markers(cinfo, JPEG_APP0 + 1, 0xffff);
    jpeg_mem_src(cinfo, in->bytes, (unsigned long)in->size);
    jpeg_read_header(cinfo, TRUE);

    vit_status status;
    VIT_TRY(vit_check_pixels(cinfo->image_width, cinfo->image_height, in->options, job->what));
    VIT_TRY(choose_colors(cinfo, job->what));
    *orientation = find_orientation(cinfo);
    if (in->choose) {
        VIT_TRY(choose_region(job, in->choose, in->context, *orientation, r));
    }
    cinfo->mem->max_memory_to_use = working_memory(cinfo);
    cinfo->dct_method = JDCT_ISLOW;
    cinfo->do_fancy_upsampling = TRUE;
cleanup:
    return status;
}

static vit_status read_pixels(jpeg_job *job, const jpeg_input *in, region *r, vit_image *image) {
    struct jpeg_decompress_struct *cinfo = &job->cinfo;
    bool several = jpeg_has_multiple_scans(cinfo);
    vit_status status;
    jpeg_start_decompress(cinfo); /* reads all scans when there are several */
    if (several) {
        VIT_TRY(check_scans(cinfo, job->what));
    }
    narrow(cinfo, in->choose && !several && has_end_marker(in->bytes, in->size), r);
    VIT_TRY(vit_image_reserve(image, cinfo->output_width, r->height, job->what));
    read_rows(cinfo, r->y + r->height, image);
    if (cinfo->output_scanline == cinfo->output_height) {
        jpeg_finish_decompress(cinfo);
    }
cleanup:
    return status;
}

/* Everything that may longjmp. What it changes lives behind its arguments, so nothing is clobbered.
 */
static vit_status decode_guarded(jpeg_job *job, const jpeg_input *in, region *r, vit_image *image,
                                 int *orientation) {
    if (setjmp(job->escape)) {
        return job->status;
    }
    job->status = read_header(job, in, r, orientation);
    if (job->status == VIT_OK && !in->header_only) {
        job->status = read_pixels(job, in, r, image);
    }
    return job->status;
}

static void set_handlers(jpeg_job *job) {
    job->cinfo.err = jpeg_std_error(&job->errors);
    job->cinfo.client_data = job; /* jpeg_create_decompress keeps both */
    job->errors.error_exit = on_error;
    job->errors.emit_message = on_message;
}

vit_status vit_decode_jpeg(const void *bytes, size_t size, const char *what,
                           const vit_decode_options *options, vit_chooser choose, void *context,
                           vit_image *image, vit_part *part) {
    const jpeg_input in = {bytes, size, options, choose, context, false};
    jpeg_job job = {.what = what};
    set_handlers(&job);
    int orientation = 1;
    region r = {0};
    vit_status status = decode_guarded(&job, &in, &r, image, &orientation);
    jpeg_destroy_decompress(&job.cinfo);
    if (status == VIT_OK) {
        size_t width = image->width, height = image->height;
        status = vit_image_orient(image, orientation, what);
        if (status == VIT_OK && choose) {
            *part = upright_part(&r, width, height, orientation, image);
        }
    }
    return status;
}

vit_status vit_jpeg_pixels(const void *bytes, size_t size, const char *what,
                           const vit_decode_options *options, uint64_t *pixels) {
    const jpeg_input in = {bytes, size, options, NULL, NULL, true};
    jpeg_job job = {.what = what};
    region r;
    int orientation;
    set_handlers(&job);
    vit_status status = decode_guarded(&job, &in, &r, NULL, &orientation);
    *pixels = (uint64_t)job.cinfo.image_width * job.cinfo.image_height;
    jpeg_destroy_decompress(&job.cinfo);
    return status;
}
