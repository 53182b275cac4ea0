/* What a model is: its shape, and how pictures are prepared for it. Declared once in a table that
 * makes the command-line flags, the JSON of a model file, and the help. */
#ifndef VIT_CONFIG_H
#define VIT_CONFIG_H

#include "vit/attention/attention.h"
#include "vit/options.h"

typedef enum vit_pool { VIT_POOL_AVG = 0, VIT_POOL_TOKEN = 1 } vit_pool;
typedef enum vit_interpolation { VIT_BICUBIC = 0, VIT_BILINEAR = 1 } vit_interpolation;
extern const char *const vit_pool_names[];          /* "avg", "token" */
extern const char *const vit_interpolation_names[]; /* "bicubic", "bilinear" */

typedef struct vit_config {
    char architecture[64]; /* the preset's name, or "custom" */
    int img_size[2];       /* height, width in pixels */
    int patch_size;
    int num_classes;
    int embed_dim;
    int depth;
    int num_heads;
    double mlp_ratio;
    int global_pool; /* vit_pool */
    int attn;        /* vit_attention_kind */
    int rope;        /* vit_rope_kind */
    bool head_norm;
    bool zero_order; /* in the first block */
    bool causal;
} vit_config;

/* The evaluation transform: timm's pretrained_cfg. Input size is the model's img_size. */
typedef struct vit_preprocess {
    int interpolation; /* vit_interpolation */
    double crop_pct; /* short side is resized to img_size / crop_pct, then the centre is cropped */
    double mean[3], std[3];
} vit_preprocess;
/* Whether both make the same numbers of a pixel. */
bool vit_same_normalisation(const vit_preprocess *a, const vit_preprocess *b);

/* One row a field: name with '-' on the command line, with '_' in JSON; range, default and help. */
#define VIT_CONFIG_MAX_FIELDS 64 /* of either table */
extern const vit_option vit_config_options[];
extern const size_t vit_config_option_count;
extern const vit_option vit_preprocess_options[];
extern const size_t vit_preprocess_option_count;

/* Fills config with a preset ("zeros_tiny_patch16_224", ...; num_classes 1000). An unknown name
 * fails, and the message lists the presets. */
vit_status vit_config_preset(const char *name, vit_config *config);
/* The preset names in order; NULL past the end. */
const char *vit_config_preset_name(size_t index);
/* The same for vit_option.names. */
const char *vit_config_preset_names(size_t index, const char **help);

/* Checks every range and combination (heads divide dim, head width a multiple of 4 for 2-D RoPE,
 * patch fits the picture, sizes that fit in memory); the message names the field, its value and
 * what was expected. */
vit_status vit_config_check(const vit_config *config);

/* The config object of a model file, in the form of timm's config.json: architecture, num_classes
 * and global_pool on top, the other fields in model_args, the preprocessing with input_size and
 * label_names (num_classes of them) in pretrained_cfg. base (may be NULL) is an object whose other
 * keys are kept. The caller frees the result; memory that ran out shows in vit_json_print. */
vit_json *vit_config_to_json(const vit_config *config, const vit_preprocess *preprocess,
                             const char *const *label_names, const vit_json *base);
/* Reads it back and checks it as vit_config_check does; what names the source in messages. Every
 * field must be there. *label_names is the array with num_classes strings, in object. */
vit_status vit_config_from_json(const vit_json *object, const char *what, vit_config *config,
                                vit_preprocess *preprocess, const vit_json **label_names);

/* Derived sizes of a config that passed the check. */
size_t vit_config_grid_h(const vit_config *config);
size_t vit_config_grid_w(const vit_config *config);
size_t vit_config_prefix(const vit_config *config); /* 1 with a class token, else 0 */
size_t vit_config_tokens(const vit_config *config);
size_t vit_config_hidden(const vit_config *config); /* MLP width */
/* The attention of block 0 .. depth-1. */
vit_attention_config vit_config_attention(const vit_config *config, int block);
/* Floating-point operations of one picture's forward pass (a multiply-add counts 2), products only.
 */
double vit_config_flops(const vit_config *config);

#endif
