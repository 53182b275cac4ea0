/* Small models with random weights. */
#ifndef VIT_TEST_MODELS_H
#define VIT_TEST_MODELS_H

#include "vit/model_file.h"

/* What a test wants otherwise than zeros_micro_patch4_28 has it; fields left at 0 keep that. */
typedef struct small_model {
    const char *const *classes;
    int num_classes;
    int img_size, embed_dim, depth, num_heads;
    int attn;      /* vit_attention_kind, of which 0 is the preset's */
    uint64_t seed; /* of the initial weights, and of the random ones */
    double scale;  /* of random weights in place of the initial ones */
    double crop_pct;
} small_model;

vit_model_bundle *small_model_new(const small_model *wanted);
/* Writes it there. */
void small_model_save(const small_model *wanted, const char *path);

#endif
