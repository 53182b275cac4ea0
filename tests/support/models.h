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

/* Pictures of 16 x 16, two blocks of width 12, a class token, five classes. */
vit_config small_token_config(int attn);
/* Of a configuration of up to ten classes, "a" to "j", with its initial weights. */
vit_model_bundle *lettered_model_new(const vit_config *config, uint64_t seed);

/* Pictures of 16 x 24, three narrow blocks: what steps in slots are computed with. */
vit_config small_oblong_config(int num_classes);

/* Random weights for pictures of 24 x 32; names that a file has to quote, numbers that are exact.
 */
extern const char *const quoted_names[3];
vit_model_bundle *quoted_model_new(int attn, int pool, int rope);

/* Random weights of a size that matters, for each parameter from a seed of its own; the gains of
 * norms lie near 1. */
void random_weights(const vit_param_table *table, unsigned long long seed, double scale,
                    float *params);

#endif
