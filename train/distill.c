#include "train/distill.h"

#include "vit/layers.h"

#include <math.h>
#include <string.h>

static vit_status check_classes(const vit_model_bundle *teacher, const vit_model_bundle *student,
                                const char *path) {
    int classes = student->model.config.num_classes;
    if (teacher->model.config.num_classes != classes) {
        return vit_fail(VIT_ERROR_ARGUMENT, "--distill %s: %d classes (expected %d, as the data)",
                        path, teacher->model.config.num_classes, classes);
    }
    for (int i = 0; i < classes; i++) {
        if (strcmp(teacher->class_names[i], student->class_names[i]) != 0) {
            return vit_fail(VIT_ERROR_ARGUMENT,
                            "--distill %s: class %d is \"%.100s\" (expected \"%.100s\", as the "
                            "data)",
                            path, i, teacher->class_names[i], student->class_names[i]);
        }
    }
    return VIT_OK;
}

vit_status vit_teacher_check(const vit_model_bundle *teacher, const vit_model_bundle *student,
                             const char *path) {
    const int *size = teacher->model.config.img_size;
    const int *expected = student->model.config.img_size;
    if (size[0] != expected[0] || size[1] != expected[1]) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "--distill %s: pictures of %d x %d (expected %d x %d, --img-size)", path,
                        size[0], size[1], expected[0], expected[1]);
    }
    const vit_preprocess *a = &teacher->preprocess, *b = &student->preprocess;
    if (!vit_same_normalisation(a, b)) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "--distill %s: it was trained with --mean %g %g %g --std %g %g %g "
                        "(expected the same here, found %g %g %g and %g %g %g)",
                        path, a->mean[0], a->mean[1], a->mean[2], a->std[0], a->std[1], a->std[2],
                        b->mean[0], b->mean[1], b->mean[2], b->std[0], b->std[1], b->std[2]);
    }
    return check_classes(teacher, student, path);
}

void vit_distill_loss(double alpha, double temperature, size_t B, size_t K, const float *logits,
                      const float *targets, const float *teacher, float scale, double *losses,
                      float *dlogits) {
    double T = temperature;
    vit_cross_entropy(B, K, logits, targets, scale, losses, dlogits);
    for (size_t b = 0; b < B; b++) {
        const float *x = logits + b * K, *y = teacher + b * K;
        double log_x = vit_log_sum_exp(K, x, T), log_y = vit_log_sum_exp(K, y, T);
        double divergence = 0;
        for (size_t k = 0; k < K; k++) {
            double log_p = y[k] / T - log_y, log_q = x[k] / T - log_x;
            double p = exp(log_p);
            divergence += p > 0 ? p * (log_p - log_q) : 0;
            dlogits[b * K + k] =
                (float)((1 - alpha) * dlogits[b * K + k] + alpha * scale * T * (exp(log_q) - p));
        }
        losses[b] = (1 - alpha) * losses[b] + alpha * T * T * divergence;
    }
}
