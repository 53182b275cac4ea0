/* Choosing what a report shows of an outcome. */
#include "eval/report_parts.h"

#include "vit/arena.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct rank {
    double value;
    size_t index;
} rank;

/* The largest value first, then the lowest index: the same on every machine. */
static int compare_ranks(const void *a, const void *b) {
    const rank *x = a, *y = b;
    if (x->value != y->value) {
        return x->value > y->value ? -1 : 1;
    }
    return x->index < y->index ? -1 : x->index > y->index;
}

static int compare_sizes(const void *a, const void *b) {
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return x < y ? -1 : x > y;
}

/* Errors that a class has part in, as label or as prediction. */
static size_t errors_of(const vit_metrics *m, size_t k) {
    return m->per_class[k].support + m->per_class[k].predicted - 2 * m->per_class[k].right;
}

static vit_status find_matrix_classes(vit_report_view *view) {
    const vit_metrics *m = &view->report->outcome->metrics;
    rank *ranks = NULL;
    vit_status status = VIT_OK;
    size_t count = m->classes;
    if (!m->confusion) {
        return VIT_OK;
    }
    VIT_TRY(vit_alloc((void **)&ranks, count, sizeof *ranks, "report"));
    for (size_t k = 0; k < count; k++) {
        ranks[k] = (rank){(double)errors_of(m, k), k};
    }
    if (count > VIT_REPORT_MATRIX_WHOLE) {
        qsort(ranks, count, sizeof *ranks, compare_ranks);
        count = VIT_REPORT_MATRIX_MOST;
    }
    VIT_TRY(vit_alloc((void **)&view->matrix_classes, count, sizeof(size_t), "report"));
    for (size_t i = 0; i < count; i++) {
        view->matrix_classes[i] = ranks[i].index;
    }
    qsort(view->matrix_classes, count, sizeof(size_t), compare_sizes);
    view->matrix_count = count;
cleanup:
    vit_free(ranks);
    return status;
}

/* Keeps the pair if it is among the most frequent so far. */
static void offer_pair(vit_report_view *view, vit_confused_pair pair) {
    size_t place = view->pair_count;
    while (place > 0 && pair.count > view->pairs[place - 1].count) {
        place--;
    }
    if (place == VIT_REPORT_PAIRS) {
        return;
    }
    size_t last = view->pair_count < VIT_REPORT_PAIRS ? view->pair_count++ : VIT_REPORT_PAIRS - 1;
    memmove(&view->pairs[place + 1], &view->pairs[place], (last - place) * sizeof pair);
    view->pairs[place] = pair;
}

static void find_pairs(vit_report_view *view) {
    const vit_metrics *m = &view->report->outcome->metrics;
    size_t K = m->classes;
    for (size_t i = 0; m->confusion && i < K * K; i++) {
        if (m->confusion[i] > 0 && i / K != i % K) {
            offer_pair(view, (vit_confused_pair){i / K, i % K, m->confusion[i]});
        }
    }
}

/* The wrong pictures, the surest first, and of each pair its surest. */
static vit_status find_mistakes(vit_report_view *view) {
    const vit_outcome *o = view->report->outcome;
    rank *ranks = NULL;
    size_t wrong = 0;
    vit_status status = VIT_OK;
    VIT_TRY(vit_alloc((void **)&ranks, o->count, sizeof *ranks, "report"));
    for (size_t i = 0; i < o->count; i++) {
        int best = o->top[i * o->topk];
        double sure = o->top_probability[i * o->topk];
        if (best >= 0 && best != o->dataset->samples[i].label && isfinite(sure)) {
            ranks[wrong++] = (rank){sure, i};
        }
    }
    qsort(ranks, wrong, sizeof *ranks, compare_ranks);
    for (size_t i = 0; i < wrong; i++) {
        size_t picture = ranks[i].index;
        if (view->mistake_count < VIT_REPORT_MISTAKES) {
            view->mistakes[view->mistake_count++] = picture;
        }
        for (size_t p = 0; p < view->pair_count; p++) {
            size_t *count = &view->pair_picture_counts[p];
            if (view->pairs[p].label == (size_t)o->dataset->samples[picture].label &&
                view->pairs[p].prediction == (size_t)o->top[picture * o->topk] &&
                *count < VIT_REPORT_PAIR_PICTURES) {
                view->pair_pictures[p][(*count)++] = picture;
            }
        }
    }
cleanup:
    vit_free(ranks);
    return status;
}

vit_status vit_report_find(vit_report_view *view) {
    vit_status status = VIT_OK;
    if (!view->report->outcome) {
        return VIT_OK;
    }
    VIT_TRY(find_matrix_classes(view));
    find_pairs(view);
    VIT_TRY(find_mistakes(view));
cleanup:
    return status;
}
