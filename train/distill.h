/* Knowledge distillation (Hinton et al. 2015): a student learns from a teacher's softened
 * probabilities beside the labels. */
#ifndef VIT_DISTILL_H
#define VIT_DISTILL_H

#include "vit/model_file.h"

typedef struct vit_teacher {
    const vit_model *model;
    const float *params;
    double alpha, temperature;
} vit_teacher;

/* Checks that the teacher answers the student's question: the same classes in the same order, the
 * same picture size, pictures normalised alike. path names the teacher in messages. */
vit_status vit_teacher_check(const vit_model_bundle *teacher, const vit_model_bundle *student,
                             const char *path);

/* losses[b] = (1 - alpha) * cross-entropy(targets, logits)
 *           + alpha * T^2 * KL(softmax(teacher / T) || softmax(logits / T)),
 * dlogits = scale * d losses[b] / d logits. T^2 keeps the gradient's size as T grows. */
void vit_distill_loss(double alpha, double temperature, size_t B, size_t K,
                      const float *logits /* (B,K) */, const float *targets /* (B,K) */,
                      const float *teacher /* (B,K) logits */, float scale,
                      double *losses /* (B) */, float *dlogits /* (B,K) */);

#endif
