#include "eval/metrics.h"

#include <math.h>

/* True when index a ranks before index b. NaN ranks last. */
static bool ranks_before(const float *scores, size_t a, size_t b) {
    if (isnan(scores[a]) || isnan(scores[b])) {
        return !isnan(scores[a]) || (isnan(scores[b]) && a < b);
    }
    return scores[a] > scores[b] || (scores[a] == scores[b] && a < b);
}

bool vit_in_top_k(size_t K, const float *scores, int label, size_t k) {
    size_t own = (size_t)label;
    if (isnan(scores[own])) {
        return false;
    }
    size_t before = 0;
    for (size_t i = 0; i < K; i++) {
        before += i != own && ranks_before(scores, i, own);
    }
    return before < k;
}

void vit_top_k(size_t K, const float *scores, size_t k, int *indices) {
    /* Insertion into a short sorted list: k is a handful. */
    size_t filled = 0;
    for (size_t i = 0; i < K; i++) {
        size_t place = filled;
        while (place > 0 && ranks_before(scores, i, (size_t)indices[place - 1])) {
            place--;
        }
        if (place >= k) {
            continue;
        }
        size_t last = filled < k ? filled++ : k - 1;
        for (size_t j = last; j > place; j--) {
            indices[j] = indices[j - 1];
        }
        indices[place] = (int)i;
    }
}
