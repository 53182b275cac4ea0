/* The attention variants, one row each. The enum, the names on the command line and in model files,
 * the presets (FAMILY_tiny_patch16_224, ...) and every choice by variant come from this table and
 * from the members of the cores that it names; nothing else lists them. To add a variant: a file
 * with its core (core.h) in this folder, a row at the end, a test (CONTRIBUTING.md). Model files
 * hold names, not numbers. */
#ifndef VIT_ATTENTION_VARIANTS_H
#define VIT_ATTENTION_VARIANTS_H

/* VIT_ATTENTION_..., name, family, core */
#define VIT_ATTENTION_VARIANTS(ROW)                                                                \
    ROW(ZEROS, "zeros", "zeros", vit_zeros_core)             /* linear in N, the default */        \
    ROW(ZEROS_SM, "zeros-sm", "zeros_sm", vit_zeros_sm_core) /* its quadratic sibling */           \
    ROW(SOFTMAX, "softmax", "vit", vit_softmax_core)                                               \
    ROW(LINEAR, "linear", "linear", vit_linear_core) /* elu(x) + 1, Katharopoulos et al. 2020 */   \
    /* A new row goes above this line. */

#endif
