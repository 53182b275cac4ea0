#include "vit/config.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

const char *const vit_pool_names[] = {"avg", "token", NULL};
const char *const vit_interpolation_names[] = {"bicubic", "bilinear", NULL};

/* The defaults are the preset zeros_tiny_patch16_224. */
const vit_option vit_config_options[] = {
    {.name = "img-size",
     .type = VIT_OPT_INT,
     .offset = offsetof(vit_config, img_size),
     .count = 2,
     .min_count = 1,
     .min = 1,
     .max = 8192,
     .value = "224",
     .metavar = "H [W]",
     .help = "picture height and width in pixels; one number for a square"},
    {.name = "patch-size",
     .type = VIT_OPT_INT,
     .offset = offsetof(vit_config, patch_size),
     .min = 1,
     .max = 512,
     .value = "16",
     .help = "side of a patch in pixels"},
    {.name = "num-classes",
     .type = VIT_OPT_INT,
     .offset = offsetof(vit_config, num_classes),
     .min = 1,
     .max = 1000000,
     .value = "1000",
     .help = "number of classes; training takes it from the data"},
    {.name = "embed-dim",
     .type = VIT_OPT_INT,
     .offset = offsetof(vit_config, embed_dim),
     .min = 1,
     .max = 16384,
     .value = "192",
     .help = "width of the model"},
    {.name = "depth",
     .type = VIT_OPT_INT,
     .offset = offsetof(vit_config, depth),
     .min = 1,
     .max = 256,
     .value = "12",
     .help = "number of blocks"},
    {.name = "num-heads",
     .type = VIT_OPT_INT,
     .offset = offsetof(vit_config, num_heads),
     .min = 1,
     .max = 1024,
     .value = "3",
     .help = "number of attention heads; divides --embed-dim"},
    {.name = "mlp-ratio",
     .type = VIT_OPT_DOUBLE,
     .offset = offsetof(vit_config, mlp_ratio),
     .min = 0.01,
     .max = 64,
     .value = "4",
     .help = "hidden width of the MLP, as a multiple of --embed-dim"},
    {.name = "global-pool",
     .type = VIT_OPT_ENUM,
     .offset = offsetof(vit_config, global_pool),
     .choices = vit_pool_names,
     .value = "avg",
     .help = "what the head reads: the mean of the patches, or a class token"},
    {.name = "attn",
     .type = VIT_OPT_ENUM,
     .offset = offsetof(vit_config, attn),
     .choices = vit_attention_names,
     .value = "zeros",
     .help = "attention"},
    {.name = "rope",
     .type = VIT_OPT_ENUM,
     .offset = offsetof(vit_config, rope),
     .choices = vit_rope_names,
     .value = "2d",
     .help = "rotary position embedding of queries and keys"},
    {.name = "head-norm",
     .type = VIT_OPT_BOOL,
     .offset = offsetof(vit_config, head_norm),
     .value = "true",
     .help = "normalise each head's output (zeros and zeros-sm)"},
    {.name = "zero-order",
     .type = VIT_OPT_BOOL,
     .offset = offsetof(vit_config, zero_order),
     .value = "false",
     .help = "add the zero-order term in the first block (zeros)"},
    {.name = "causal",
     .type = VIT_OPT_BOOL,
     .offset = offsetof(vit_config, causal),
     .value = "false",
     .help = "each token sees itself and those before it (zeros)"},
};
const size_t vit_config_option_count = sizeof vit_config_options / sizeof *vit_config_options;

const vit_option vit_preprocess_options[] = {
    {.name = "interpolation",
     .type = VIT_OPT_ENUM,
     .offset = offsetof(vit_preprocess, interpolation),
     .choices = vit_interpolation_names,
     .value = "bicubic",
     .help = "filter for resizing"},
    {.name = "crop-pct",
     .type = VIT_OPT_DOUBLE,
     .offset = offsetof(vit_preprocess, crop_pct),
     .min = 0.01,
     .max = 1,
     .value = "0.9",
     .help = "share of the resized short side that the centre crop keeps"},
    {.name = "mean",
     .type = VIT_OPT_DOUBLE,
     .offset = offsetof(vit_preprocess, mean),
     .count = 3,
     .min = -1000,
     .max = 1000,
     .value = "0.485 0.456 0.406",
     .metavar = "R G B",
     .help = "subtracted from each channel; pixels run from 0 to 1"},
    {.name = "std",
     .type = VIT_OPT_DOUBLE,
     .offset = offsetof(vit_preprocess, std),
     .count = 3,
     .min = 0.0001,
     .max = 1000,
     .value = "0.229 0.224 0.225",
     .metavar = "R G B",
     .help = "each channel is divided by it"},
};
const size_t vit_preprocess_option_count =
    sizeof vit_preprocess_options / sizeof *vit_preprocess_options;

_Static_assert(sizeof vit_config_options / sizeof *vit_config_options <= VIT_CONFIG_MAX_FIELDS &&
                   sizeof vit_preprocess_options / sizeof *vit_preprocess_options <=
                       VIT_CONFIG_MAX_FIELDS,
               "VIT_CONFIG_MAX_FIELDS");

/* ---- presets ---- */

typedef struct preset {
    const char *name;
    int attn; /* vit_attention_kind */
    int img_size, patch_size;
    int embed_dim, depth, num_heads;
} preset;

/* The same shapes for every attention, so that they compare. tiny, small and base are DeiT's
 * (Touvron et al. 2021); mini and micro are for small pictures. */
#define SHAPES(family, attn)                                                                       \
    {family "_tiny_patch16_224", attn, 224, 16, 192, 12, 3},                                       \
        {family "_small_patch16_224", attn, 224, 16, 384, 12, 6},                                  \
        {family "_base_patch16_224", attn, 224, 16, 768, 12, 12},                                  \
        {family "_mini_patch8_64", attn, 64, 8, 192, 6, 3}, {                                      \
        family "_micro_patch4_28", attn, 28, 4, 96, 4, 3                                           \
    }

#define ROW(kind, name, family, core) SHAPES(family, VIT_ATTENTION_##kind),
static const preset presets[] = {VIT_ATTENTION_VARIANTS(ROW)};
#undef ROW
enum { PRESETS = sizeof presets / sizeof *presets };

const char *vit_config_preset_name(size_t index) {
    return index < PRESETS ? presets[index].name : NULL;
}

const char *vit_config_preset_names(size_t index, const char **help) {
    *help = "";
    return vit_config_preset_name(index);
}

static vit_status fail_preset(const char *name) {
    char list[VIT_MESSAGE_MAX] = "";
    size_t used = 0;
    for (size_t i = 0; i < PRESETS && used < sizeof list; i++) {
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "",
                                 presets[i].name);
    }
    return vit_fail(VIT_ERROR_ARGUMENT, "model: %.100s (expected one of %s)", name, list);
}

bool vit_same_normalisation(const vit_preprocess *a, const vit_preprocess *b) {
    for (int c = 0; c < 3; c++) {
        if (a->mean[c] != b->mean[c] || a->std[c] != b->std[c]) {
            return false;
        }
    }
    return true;
}

vit_status vit_config_preset(const char *name, vit_config *config) {
    for (size_t i = 0; i < PRESETS; i++) {
        const preset *p = &presets[i];
        if (strcmp(name, p->name) != 0) {
            continue;
        }
        *config = (vit_config){0};
        vit_option_group group = {.title = "Model",
                                  .options = vit_config_options,
                                  .count = vit_config_option_count,
                                  .target = config};
        vit_status status = vit_options_defaults(&group);
        snprintf(config->architecture, sizeof config->architecture, "%s", p->name);
        config->attn = p->attn;
        config->img_size[0] = config->img_size[1] = p->img_size;
        config->patch_size = p->patch_size;
        config->embed_dim = p->embed_dim;
        config->depth = p->depth;
        config->num_heads = p->num_heads;
        return status;
    }
    return fail_preset(name);
}

/* ---- checks ---- */

static vit_status check_ranges(const vit_config *config) {
    for (size_t i = 0; i < vit_config_option_count; i++) {
        const vit_option *option = &vit_config_options[i];
        vit_status status = vit_option_check(option, config, "");
        if (status != VIT_OK) {
            return status;
        }
    }
    size_t length = strnlen(config->architecture, sizeof config->architecture);
    return length > 0 && length < sizeof config->architecture
               ? VIT_OK
               : vit_fail(VIT_ERROR_ARGUMENT,
                          "architecture: %zu bytes (expected a name of 1 to %zu)", length,
                          sizeof config->architecture - 1);
}

static vit_status check_heads(const vit_config *config) {
    if (config->embed_dim % config->num_heads != 0) {
        return vit_fail(VIT_ERROR_ARGUMENT, "num-heads: %d (expected a divisor of embed-dim, %d)",
                        config->num_heads, config->embed_dim);
    }
    int width = config->embed_dim / config->num_heads;
    int factor = config->rope == VIT_ROPE_2D ? 4 : config->rope == VIT_ROPE_1D ? 2 : 1;
    if (width % factor != 0) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "rope: %s with heads of width %d, embed-dim %d / num-heads %d (expected a "
                        "width that is a multiple of %d)",
                        vit_rope_names[config->rope], width, config->embed_dim, config->num_heads,
                        factor);
    }
    return VIT_OK;
}

static vit_status check_attention_has(const vit_config *config, const char *flag, bool value,
                                      bool (*has)(vit_attention_kind kind)) {
    if (!value || has((vit_attention_kind)config->attn)) {
        return VIT_OK;
    }
    char names[256];
    vit_attention_names_with(has, names, sizeof names);
    return vit_fail(VIT_ERROR_ARGUMENT, "%s: true with attn %s (expected attn %s)", flag,
                    vit_attention_names[config->attn], names);
}

static vit_status check_flags(const vit_config *config) {
    vit_status status = VIT_OK;
    VIT_TRY(check_attention_has(config, "causal", config->causal, vit_attention_has_causal));
    VIT_TRY(check_attention_has(config, "zero-order", config->zero_order,
                                vit_attention_has_zero_order));
    if (config->causal && config->global_pool == VIT_POOL_TOKEN) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "causal: true with global-pool token (expected global-pool avg: the class "
                        "token comes first and would see nothing but itself)");
    }
cleanup:
    return status;
}

static bool product_fits(size_t a, size_t b) {
    size_t bytes;
    return !__builtin_mul_overflow(a, b, &bytes) &&
           !__builtin_mul_overflow(bytes, sizeof(float), &bytes) && bytes <= PTRDIFF_MAX;
}

enum { MAX_TOKENS = 1 << 24 }; /* float32 counts tokens exactly up to here */

/* The largest single tensors; sums are checked where they are made. */
static vit_status check_sizes(const vit_config *config) {
    for (int i = 0; i < 2; i++) {
        if (config->img_size[i] < config->patch_size) {
            return vit_fail(VIT_ERROR_ARGUMENT,
                            "patch-size: %d (expected at most the picture, %d x %d)",
                            config->patch_size, config->img_size[0], config->img_size[1]);
        }
    }
    if (vit_config_tokens(config) > MAX_TOKENS) {
        return vit_fail(VIT_ERROR_LIMIT,
                        "patch-size: %d (expected at most %d patches, %d x %d has more)",
                        config->patch_size, MAX_TOKENS, config->img_size[0], config->img_size[1]);
    }
    if (vit_config_hidden(config) < 1) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "mlp-ratio: %g (expected at least 1 / embed-dim, 1 / %d)",
                        config->mlp_ratio, config->embed_dim);
    }
    size_t dim = (size_t)config->embed_dim, patch = (size_t)config->patch_size;
    if (!product_fits(vit_config_tokens(config), dim) ||
        !product_fits(vit_config_hidden(config), dim) || !product_fits(5 * dim, dim) ||
        !product_fits((size_t)config->num_classes, dim) || !product_fits(3 * patch * patch, dim) ||
        !product_fits(3 * (size_t)config->img_size[0], (size_t)config->img_size[1])) {
        return vit_fail(VIT_ERROR_LIMIT,
                        "embed-dim: %d with img-size %d x %d, %d classes does not fit in memory",
                        config->embed_dim, config->img_size[0], config->img_size[1],
                        config->num_classes);
    }
    return VIT_OK;
}

vit_status vit_config_check(const vit_config *config) {
    vit_status status = VIT_OK;
    VIT_TRY(check_ranges(config));
    VIT_TRY(check_heads(config));
    VIT_TRY(check_flags(config));
    VIT_TRY(check_sizes(config));
cleanup:
    return status;
}

/* ---- derived sizes ---- */

size_t vit_config_grid_h(const vit_config *config) {
    return (size_t)(config->img_size[0] / config->patch_size);
}

size_t vit_config_grid_w(const vit_config *config) {
    return (size_t)(config->img_size[1] / config->patch_size);
}

size_t vit_config_prefix(const vit_config *config) {
    return config->global_pool == VIT_POOL_TOKEN ? 1 : 0;
}

size_t vit_config_tokens(const vit_config *config) {
    return vit_config_prefix(config) + vit_config_grid_h(config) * vit_config_grid_w(config);
}

size_t vit_config_hidden(const vit_config *config) {
    /* Cut off, not rounded: timm's int(dim * mlp_ratio). */
    return (size_t)(config->embed_dim * config->mlp_ratio);
}

vit_attention_config vit_config_attention(const vit_config *config, int block) {
    return (vit_attention_config){
        .kind = (vit_attention_kind)config->attn,
        .rope = (vit_rope_kind)config->rope,
        .tokens = vit_config_tokens(config),
        .prefix = vit_config_prefix(config),
        .grid_h = vit_config_grid_h(config),
        .grid_w = vit_config_grid_w(config),
        .dim = (size_t)config->embed_dim,
        .heads = (size_t)config->num_heads,
        .head_norm = config->head_norm,
        .zero_order = config->zero_order && block == 0,
        .causal = config->causal,
        .form = VIT_ZEROS_AUTO,
    };
}

double vit_config_flops(const vit_config *config) {
    double N = (double)vit_config_tokens(config);
    double patches = N - (double)vit_config_prefix(config);
    double P = config->patch_size, D = config->embed_dim;
    double total = 2 * patches * 3 * P * P * D;
    for (int i = 0; i < config->depth; i++) {
        vit_attention_config attention = vit_config_attention(config, i);
        total += vit_attention_flops(&attention);
        total += 2 * N * D * 2 * (double)vit_config_hidden(config);
    }
    return total + 2 * D * config->num_classes;
}
