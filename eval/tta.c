#include "eval/tta.h"

#include "vit/layers.h"

#include <math.h>

const char *const vit_tta_names[] = {"none", "flip", NULL};

void vit_mirror_rows(size_t rows, size_t width, float *pixels) {
    for (size_t y = 0; y < rows; y++) {
        float *row = pixels + y * width;
        for (size_t left = 0, right = width - 1; left < right; left++, right--) {
            float t = row[left];
            row[left] = row[right];
            row[right] = t;
        }
    }
}

void vit_mean_of_two(size_t n, float *a, const float *b) {
    for (size_t i = 0; i < n; i++) {
        a[i] = 0.5f * (a[i] + b[i]);
    }
}

void vit_mean_of_two_logits(size_t K, float *a, const float *b) {
    double sum_a = vit_log_sum_exp(K, a, 1), sum_b = vit_log_sum_exp(K, b, 1);
    for (size_t k = 0; k < K; k++) {
        double x = a[k] - sum_a, y = b[k] - sum_b;
        double most = x < y ? y : x, least = x < y ? x : y;
        a[k] = (float)(most == -INFINITY ? most : most + log1p(exp(least - most)) - log(2));
    }
}
