#include "train/state.h"

#include "vit/heap.h"
#include "vit/options.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define TEXT(number) TEXT_OF(number)
#define TEXT_OF(number) #number

static const char *const block_names[VIT_STATE_BLOCKS] = {"model", "exp_avg", "exp_avg_sq", "ema"};

/* Of a tensor's name, with the longest of the above before it. */
enum { NAME_MAX_BYTES = VIT_NAME_MAX + 16 };

/* ---- the position, a table like any other ---- */

#define NUMBER(kind, member)                                                                       \
    { .name = #member, .type = kind, .offset = offsetof(vit_position, member) }
#define COUNT(member)                                                                              \
    {                                                                                              \
        .name = #member, .type = VIT_OPT_INT, .offset = offsetof(vit_position, member), .min = 0,  \
        .max = INT32_MAX                                                                           \
    }

static const vit_option fields[] = {
    NUMBER(VIT_OPT_U64, step),
    NUMBER(VIT_OPT_U64, bad),
    COUNT(epochs_done),
    NUMBER(VIT_OPT_U64, cursor),
    NUMBER(VIT_OPT_U64, epoch_steps),
    NUMBER(VIT_OPT_U64, pictures),
    NUMBER(VIT_OPT_U64, epoch_images),
    NUMBER(VIT_OPT_U64, epoch_unread),
    NUMBER(VIT_OPT_DOUBLE, epoch_loss),
    NUMBER(VIT_OPT_DOUBLE, epoch_wait),
    NUMBER(VIT_OPT_DOUBLE, epoch_seconds),
    NUMBER(VIT_OPT_DOUBLE, train_seconds),
    NUMBER(VIT_OPT_DOUBLE, eval_seconds),
    COUNT(best_epoch),
    NUMBER(VIT_OPT_DOUBLE, best_top1),
    NUMBER(VIT_OPT_DOUBLE, best_loss),
    NUMBER(VIT_OPT_DOUBLE, last_top1),
};

/* NaN is null in JSON, which leaves a field as it was: here. */
vit_position vit_position_start(void) {
    return (vit_position){.best_top1 = NAN, .best_loss = NAN, .last_top1 = NAN};
}

static vit_option_group position_group(vit_position *position) {
    return (vit_option_group){"position", fields, sizeof fields / sizeof *fields, position, NULL};
}

/* ---- saving ---- */

static size_t list_tensors(const vit_param_table *table,
                           const float *const blocks[VIT_STATE_BLOCKS],
                           char (*names)[NAME_MAX_BYTES], vit_tensor *tensors) {
    size_t count = 0;
    for (size_t b = 0; b < VIT_STATE_BLOCKS; b++) {
        for (size_t i = 0; blocks[b] && i < table->count; i++) {
            const vit_param *param = &table->items[i];
            vit_tensor *tensor = &tensors[count];
            snprintf(names[count], NAME_MAX_BYTES, "%s.%s", block_names[b], param->name);
            *tensor = (vit_tensor){.name = names[count],
                                   .dtype = VIT_F32,
                                   .ndim = param->ndim,
                                   .count = param->size,
                                   .data = blocks[b] + param->offset};
            memcpy(tensor->shape, param->shape, sizeof param->shape);
            count++;
        }
    }
    return count;
}

vit_status vit_state_save(const char *path, const vit_param_table *table,
                          const float *const blocks[VIT_STATE_BLOCKS], const vit_position *position,
                          const char *args, const char *log) {
    vit_status status = VIT_OK;
    vit_position copy = *position;
    vit_option_group group = position_group(&copy);
    char *text = NULL;
    char(*names)[NAME_MAX_BYTES] = vit_calloc(VIT_STATE_BLOCKS * table->count, sizeof *names);
    vit_tensor *tensors = vit_calloc(VIT_STATE_BLOCKS * table->count, sizeof *tensors);
    vit_json *root = vit_json_object();
    if (!names || !tensors) {
        VIT_TRY(vit_fail(VIT_ERROR_MEMORY, "%s: out of memory (%zu tensors)", path,
                         VIT_STATE_BLOCKS * table->count));
    }
    VIT_TRY(vit_options_to_json(&group, root));
    VIT_TRY(vit_json_print(root, false, &text));
    const vit_metadata metadata[] = {
        {"format", "pt"},   {"zvit_state", TEXT(VIT_STATE_VERSION)},
        {"position", text}, {"args", args},
        {"log", log},
    };
    size_t count = list_tensors(table, blocks, names, tensors);
    VIT_TRY(
        vit_safetensors_save(path, tensors, count, metadata, sizeof metadata / sizeof *metadata));
cleanup:
    vit_json_free(root);
    vit_free(text);
    vit_free(names);
    vit_free(tensors);
    return status;
}

/* ---- loading ---- */

struct vit_state {
    vit_safetensors *file;
    vit_position position;
    vit_json *args;
    char *path;
};

void vit_state_close(vit_state *state) {
    if (state) {
        vit_safetensors_close(state->file);
        vit_json_free(state->args);
        vit_free(state->path);
        vit_free(state);
    }
}

const vit_position *vit_state_position(const vit_state *state) {
    return &state->position;
}

const vit_json *vit_state_args(const vit_state *state) {
    return state->args;
}

const char *vit_state_log(const vit_state *state) {
    return vit_safetensors_metadata(state->file, "log");
}

static vit_status parse_metadata(const vit_state *state, const char *key, vit_json **out) {
    char what[512];
    const char *text = vit_safetensors_metadata(state->file, key);
    snprintf(what, sizeof what, "%s: %s", state->path, key);
    if (!text) {
        return vit_fail(VIT_ERROR_FORMAT, "%s is missing in its metadata", what);
    }
    vit_status status = vit_json_parse(text, strlen(text), what, out);
    if (status == VIT_OK && !vit_json_is_object(*out)) {
        status = vit_fail(VIT_ERROR_FORMAT, "%s: not a JSON object", what);
    }
    return status;
}

static vit_status read_metadata(vit_state *state) {
    vit_status status = VIT_OK;
    vit_json *position = NULL;
    const char *version = vit_safetensors_metadata(state->file, "zvit_state");
    if (!version || strcmp(version, TEXT(VIT_STATE_VERSION)) != 0) {
        return vit_fail(VIT_ERROR_UNSUPPORTED, "%s: state version %.40s (expected %d)", state->path,
                        version ? version : "missing", VIT_STATE_VERSION);
    }
    state->position = vit_position_start();
    vit_option_group group = position_group(&state->position);
    VIT_TRY(parse_metadata(state, "position", &position));
    VIT_TRY(vit_options_from_json(&group, position, state->path, VIT_FROM_CONFIG));
    VIT_TRY(parse_metadata(state, "args", &state->args));
    if (!vit_state_log(state)) {
        VIT_TRY(vit_fail(VIT_ERROR_FORMAT, "%s: log is missing in its metadata", state->path));
    }
cleanup:
    vit_json_free(position);
    return status;
}

vit_status vit_state_open(const char *path, vit_state **out) {
    vit_status status = VIT_OK;
    *out = NULL;
    vit_state *state = vit_calloc(1, sizeof *state);
    if (!state || !(state->path = vit_strdup(path))) {
        VIT_TRY(vit_fail(VIT_ERROR_MEMORY, "%s: out of memory", path));
    }
    VIT_TRY(vit_safetensors_open(path, &state->file));
    VIT_TRY(read_metadata(state));
    *out = state;
    state = NULL;
cleanup:
    vit_state_close(state);
    return status;
}

/* The tensor of a parameter in block b, checked; *out is NULL for an average that is not there. */
static vit_status find(const vit_state *state, size_t b, const vit_param *param,
                       const vit_tensor **out) {
    char name[NAME_MAX_BYTES];
    snprintf(name, sizeof name, "%s.%s", block_names[b], param->name);
    const vit_tensor *tensor = *out = vit_safetensors_find(state->file, name);
    if (!tensor && b == VIT_STATE_EMA) {
        return VIT_OK;
    }
    if (!tensor) {
        return vit_fail(VIT_ERROR_FORMAT,
                        "%s: tensor %s is missing (expected the state of the same model and "
                        "optimizer)",
                        state->path, name);
    }
    bool same = tensor->dtype == VIT_F32 && tensor->ndim == param->ndim &&
                memcmp(tensor->shape, param->shape, (size_t)param->ndim * sizeof(size_t)) == 0;
    if (!same) {
        return vit_fail(VIT_ERROR_FORMAT,
                        "%s: tensor %s: %zu elements of %s (expected %zu of F32, and the model's "
                        "shape)",
                        state->path, name, tensor->count, vit_dtype_name(tensor->dtype),
                        param->size);
    }
    return VIT_OK;
}

vit_status vit_state_read(const vit_state *state, const vit_param_table *table,
                          float *const blocks[VIT_STATE_BLOCKS]) {
    vit_status status = VIT_OK;
    for (size_t b = 0; b < VIT_STATE_BLOCKS; b++) {
        for (size_t i = 0; blocks[b] && i < table->count; i++) {
            const vit_param *param = &table->items[i];
            const vit_tensor *tensor;
            VIT_TRY(find(state, b, param, &tensor));
            if (!tensor) {
                VIT_TRY(find(state, VIT_STATE_MODEL, param, &tensor));
            }
            VIT_TRY(vit_safetensors_to_f32(state->file, tensor, blocks[b] + param->offset,
                                           state->path));
            if (b == VIT_STATE_MODEL || b == VIT_STATE_EMA) { /* moments may be infinite */
                VIT_TRY(vit_check_finite(state->path, tensor->name, param->size,
                                         blocks[b] + param->offset, VIT_ERROR_FORMAT));
            }
        }
    }
cleanup:
    return status;
}
