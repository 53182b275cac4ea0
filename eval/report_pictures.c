/* The pictures of a report: thumbnails as JPEG in the page, and the sections that show them. */
#include "eval/report_parts.h"

#include "vit/arena.h"

#include <math.h>
#include <omp.h>
#include <string.h>

enum { QUALITY = 82 };

/* ---- drawing ---- */

typedef struct artist {
    vit_bytes file;
    vit_image picture, small;
    vit_resize_scratch scratch;
} artist;

static void artist_free(artist *a) {
    vit_bytes_free(&a->file);
    vit_image_free(&a->picture);
    vit_image_free(&a->small);
    vit_resize_scratch_free(&a->scratch);
}

static vit_status make_thumbnail(artist *a, const vit_image *image, vit_thumbnail *out) {
    vit_status status = VIT_OK;
    VIT_TRY(vit_image_fit(image, VIT_REPORT_SIDE, VIT_REPORT_SIDE, &a->scratch, &a->small));
    VIT_TRY(vit_image_encode_jpeg(&a->small, QUALITY, &out->jpeg));
    out->width = a->small.width;
    out->height = a->small.height;
cleanup:
    return status;
}

/* A picture that cannot be read any more leaves its place empty. */
static void draw_one(const vit_report_view *view, artist *a, size_t picture, vit_thumbnail *out) {
    const vit_sample *sample = &view->report->outcome->dataset->samples[picture];
    const void *bytes;
    size_t size;
    vit_status status = VIT_OK;
    VIT_TRY(vit_sample_read(sample, &a->file, &bytes, &size));
    VIT_TRY(vit_image_decode(bytes, size, sample->path, &view->report->decode, &a->picture));
    VIT_TRY(make_thumbnail(a, &a->picture, out));
cleanup:
    if (status != VIT_OK) {
        vit_bytes_free(&out->jpeg);
    }
}

/* Mistakes, then the pairs' pictures. */
static void draw_all(vit_report_view *view) {
    enum { PAIRS = VIT_REPORT_PAIRS * VIT_REPORT_PAIR_PICTURES };
#pragma omp parallel
    {
        artist a = {0};
#pragma omp for schedule(dynamic, 1)
        for (size_t i = 0; i < VIT_REPORT_MISTAKES + PAIRS; i++) {
            if (i < VIT_REPORT_MISTAKES) {
                if (i < view->mistake_count) {
                    draw_one(view, &a, view->mistakes[i], &view->mistake_thumbs[i]);
                }
                continue;
            }
            size_t pair = (i - VIT_REPORT_MISTAKES) / VIT_REPORT_PAIR_PICTURES;
            size_t place = (i - VIT_REPORT_MISTAKES) % VIT_REPORT_PAIR_PICTURES;
            if (pair < view->pair_count && place < view->pair_picture_counts[pair]) {
                draw_one(view, &a, view->pair_pictures[pair][place],
                         &view->pair_thumbs[pair][place]);
            }
        }
        artist_free(&a);
    }
}

typedef struct sample_sink {
    vit_report_view *view;
    artist artist;
} sample_sink;

static vit_status take_sample(void *context, size_t picture, size_t version, const vit_image *image,
                              const char *class_name) {
    sample_sink *sink = context;
    vit_report_view *view = sink->view;
    view->sample_names[picture] = class_name;
    return make_thumbnail(&sink->artist, image,
                          &view->samples[picture * (view->sample_versions + 1) + version]);
}

static vit_status draw_samples(vit_report_view *view) {
    const vit_samples_config *config = view->report->samples;
    sample_sink sink = {.view = view};
    vit_status status = VIT_OK;
    size_t count = vit_samples_count(config);
    view->sample_versions = config->versions;
    VIT_TRY(vit_alloc((void **)&view->samples, count * (config->versions + 1),
                      sizeof *view->samples, "report"));
    VIT_TRY(vit_alloc((void **)&view->sample_names, count, sizeof *view->sample_names, "report"));
    view->sample_count = count;
    VIT_TRY(vit_samples_draw(config, take_sample, &sink));
cleanup:
    artist_free(&sink.artist);
    return status;
}

vit_status vit_report_draw_thumbnails(vit_report_view *view) {
    if (view->report->outcome) {
        draw_all(view);
    }
    return view->report->samples ? draw_samples(view) : VIT_OK;
}

void vit_report_free_thumbnails(vit_report_view *view) {
    for (size_t i = 0; i < VIT_REPORT_MISTAKES; i++) {
        vit_bytes_free(&view->mistake_thumbs[i].jpeg);
    }
    for (size_t p = 0; p < VIT_REPORT_PAIRS; p++) {
        for (size_t i = 0; i < VIT_REPORT_PAIR_PICTURES; i++) {
            vit_bytes_free(&view->pair_thumbs[p][i].jpeg);
        }
    }
    for (size_t i = 0; view->samples && i < view->sample_count * (view->sample_versions + 1); i++) {
        vit_bytes_free(&view->samples[i].jpeg);
    }
    vit_free(view->samples);
    vit_free(view->sample_names);
}

/* ---- sections ---- */

/* <img ... alt=" up to and without the text of alt, which the caller adds with `">`. Small pictures
 * are shown larger, pixel by pixel. */
static void begin_image(vit_text *page, const vit_thumbnail *thumb) {
    size_t side = thumb->width > thumb->height ? thumb->width : thumb->height;
    size_t zoom = side * 2 <= VIT_REPORT_SIDE ? VIT_REPORT_SIDE / side : 1;
    vit_text_printf(page, "<img%s width=\"%zu\" height=\"%zu\" src=\"data:image/jpeg;base64,",
                    zoom > 1 ? " class=\"pixels\"" : "", thumb->width * zoom, thumb->height * zoom);
    vit_text_base64(page, thumb->jpeg.data, thumb->jpeg.size);
    vit_text_put(page, "\" alt=\"");
}

static const char *path_of(const vit_outcome *o, size_t picture) {
    const char *path = o->dataset->samples[picture].path;
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void put_picture(const vit_report_view *view, vit_text *page, size_t picture,
                        const vit_thumbnail *thumb) {
    const vit_outcome *o = view->report->outcome;
    if (!thumb->jpeg.data) {
        vit_text_put(page, "<span class=\"gone\">not readable</span>");
        return;
    }
    begin_image(page, thumb);
    vit_text_html(page, path_of(o, picture));
    vit_text_put(page, "\" title=\"");
    vit_text_html(page, o->dataset->samples[picture].path);
    vit_text_put(page, "\">");
}

void vit_report_mistakes(const vit_report_view *view, vit_text *page) {
    const vit_outcome *o = view->report->outcome;
    vit_text_put(page, "<ul class=\"pictures\">\n");
    for (size_t i = 0; i < view->mistake_count; i++) {
        size_t picture = view->mistakes[i];
        vit_text_put(page, "<li><figure>");
        put_picture(view, page, picture, &view->mistake_thumbs[i]);
        vit_text_put(page, "<figcaption><span class=\"said\">");
        vit_report_name(page, o->class_names[o->top[picture * o->topk]]);
        vit_text_printf(page, " <span class=\"num\">%.0f\xe2\x80\xaf%%</span></span>",
                        100 * o->top_probability[picture * o->topk]);
        vit_text_put(page, "<span class=\"true\">is ");
        vit_report_name(page, o->class_names[o->dataset->samples[picture].label]);
        vit_text_printf(page, " <span class=\"num\">%.1f\xe2\x80\xaf%%</span>",
                        100 * o->label_probability[picture]);
        vit_text_put(page, "</span></figcaption></figure></li>\n");
    }
    vit_text_put(page, "</ul>\n");
}

void vit_report_pairs(const vit_report_view *view, vit_text *page) {
    const vit_outcome *o = view->report->outcome;
    vit_text_put(page, "<ol class=\"pairs\">\n");
    for (size_t p = 0; p < view->pair_count; p++) {
        const vit_confused_pair *pair = &view->pairs[p];
        size_t support = o->metrics.per_class[pair->label].support;
        vit_text_put(page, "<li><p>");
        vit_report_name(page, o->class_names[pair->label]);
        vit_text_put(page, " <span class=\"arrow\">taken for</span> ");
        vit_report_name(page, o->class_names[pair->prediction]);
        vit_text_printf(page, "<span class=\"count\">%zu of %zu (%.1f\xe2\x80\xaf%%)</span></p>",
                        pair->count, support, 100 * (double)pair->count / (double)support);
        vit_text_put(page, "<div class=\"strip\">");
        for (size_t i = 0; i < view->pair_picture_counts[p]; i++) {
            put_picture(view, page, view->pair_pictures[p][i], &view->pair_thumbs[p][i]);
        }
        vit_text_put(page, "</div></li>\n");
    }
    vit_text_put(page, "</ol>\n");
}

void vit_report_samples(const vit_report_view *view, vit_text *page) {
    vit_text_put(page, "<ul class=\"samples\">\n");
    for (size_t j = 0; j < view->sample_count; j++) {
        if (!view->sample_names[j]) { /* could not be read */
            continue;
        }
        vit_text_put(page, "<li><p>");
        vit_report_name(page, view->sample_names[j]);
        vit_text_put(page, "</p><div class=\"strip\">");
        for (size_t v = 0; v <= view->sample_versions; v++) {
            const vit_thumbnail *thumb = &view->samples[j * (view->sample_versions + 1) + v];
            if (!thumb->jpeg.data) {
                continue;
            }
            begin_image(page, thumb);
            vit_text_html(page, view->sample_names[j]);
            if (v == 0) {
                vit_text_put(page, ", as it is\">");
            } else {
                vit_text_printf(page, ", as in epoch %zu\">", v);
            }
        }
        vit_text_put(page, "</div></li>\n");
    }
    vit_text_put(page, "</ul>\n");
}
