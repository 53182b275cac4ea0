/* Gradient x input (Shrikumar et al. 2016), summed over each patch. */
#include "eval/explain_job.h"

#include "vit/arena.h"

void vit_patch_products(const vit_explain_job *job, const float *gradient) {
    const vit_patch_shape *s = &job->bundle->model.patch;
    size_t P = s->patch, columns = s->width / P;
    for (size_t patch = 0; patch < vit_patch_count(s); patch++) {
        double sum = 0;
        for (size_t row = 0; row < s->channels * P; row++) {
            size_t y = (row / P) * s->height + patch / columns * P + row % P;
            size_t at = y * s->width + patch % columns * P;
            for (size_t x = at; x < at + P; x++) {
                sum += (double)gradient[x] * (double)job->input[x];
            }
        }
        job->values[patch] = (float)sum;
    }
}

vit_status vit_explain_gradient(const vit_explain_job *job) {
    const vit_model *model = &job->bundle->model;
    float *grads = NULL, *dinput = NULL;
    size_t pixels = model->patch.channels * model->patch.height * model->patch.width;
    vit_status status = VIT_OK;
    VIT_TRY(vit_alloc((void **)&grads, model->params.total, sizeof *grads, "gradients"));
    VIT_TRY(vit_alloc((void **)&dinput, pixels, sizeof *dinput, "the picture's gradient"));
    vit_model_backward(model, job->bundle->params, grads, job->workspace, 1, NULL, job->dlogits,
                       dinput);
    vit_patch_products(job, dinput);
cleanup:
    vit_free(grads);
    vit_free(dinput);
    return status;
}
