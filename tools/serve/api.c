#include "tools/serve/api.h"

#include "eval/metrics.h"
#include "tools/cmd.h"
#include "tools/serve/base64.h"
#include "vit/arena.h"

#include <stdlib.h>
#include <string.h>

char *serve_error_json(const char *message) {
    char *text = NULL;
    vit_json *root = vit_json_object();
    vit_json_add_string(root, "error", message);
    if (vit_json_print(root, false, &text) != VIT_OK) {
        text = NULL;
    }
    vit_json_free(root);
    return text;
}

static const char *error_of(const serve_picture *picture) {
    return picture->error ? picture->error : "out of memory";
}

static void add_top(const vit_model_bundle *bundle, const serve_query *query,
                    const serve_picture *picture, size_t count, const int *indices,
                    vit_json *result) {
    vit_json *top = vit_json_array();
    const float *p = picture->probabilities;
    bool unknown = (double)p[indices[0]] < query->threshold;
    /* As zvit classify --json has it. */
    vit_json_add_string(result, "prediction",
                        unknown ? "unknown" : bundle->class_names[indices[0]]);
    vit_json_add_bool(result, "unknown", unknown);
    for (size_t i = 0; i < count; i++) {
        vit_json *entry = vit_json_object();
        vit_json_add_string(entry, "class", bundle->class_names[indices[i]]);
        vit_json_add_number(entry, "index", indices[i]);
        vit_json_add_number(entry, "probability", (double)p[indices[i]]);
        vit_json_add(top, NULL, entry);
    }
    vit_json_add(result, "top", top);
    vit_json_add_number(result, "milliseconds", picture->milliseconds);
}

static void add_heat(const vit_model_bundle *bundle, const serve_picture *picture,
                     vit_json *result) {
    const vit_heat_map *map = &picture->heat;
    vit_json *heat = vit_json_object(), *grid = vit_json_array(), *values = vit_json_array();
    vit_json *box = vit_json_array();
    vit_json_add_string(heat, "class", bundle->class_names[map->class_index]);
    vit_json_add_number(heat, "index", map->class_index);
    vit_json_add_number(heat, "probability", map->probability);
    vit_json_add_string(heat, "method", vit_explain_method_names[map->method]);
    vit_json_add_number(heat, "width", (double)picture->width);
    vit_json_add_number(heat, "height", (double)picture->height);
    const double corners[] = {map->box.x0, map->box.y0, map->box.x1, map->box.y1};
    for (size_t i = 0; i < 4; i++) {
        vit_json_add_number(box, NULL, corners[i]);
    }
    vit_json_add(heat, "box", box);
    vit_json_add_number(grid, NULL, (double)map->grid_h);
    vit_json_add_number(grid, NULL, (double)map->grid_w);
    vit_json_add(heat, "grid", grid);
    for (size_t i = 0; i < map->grid_h * map->grid_w; i++) {
        vit_json_add_number(values, NULL, (double)map->values[i]);
    }
    vit_json_add(heat, "values", values);
    vit_json_add(result, "heat", heat);
}

static vit_status add_overlay(const serve_picture *picture, vit_json *result) {
    char *text = serve_base64(picture->overlay.data, picture->overlay.size);
    if (!text) {
        return vit_fail(VIT_ERROR_MEMORY, "out of memory for the overlay");
    }
    vit_json_add_string(result, "overlay", text);
    free(text);
    return VIT_OK;
}

static vit_status add_result(const vit_model_bundle *bundle, const serve_job *job,
                             const serve_picture *picture, size_t topk, int *indices,
                             vit_json *results) {
    vit_json *result = vit_json_object();
    vit_json_add(results, NULL, result);
    if (picture->name) {
        vit_json_add_string(result, "name", picture->name);
    }
    if (picture->status != VIT_OK) {
        vit_json_add_string(result, "error", error_of(picture));
        return VIT_OK;
    }
    vit_top_k(bundle->model.head_shape.classes, picture->probabilities, topk, indices);
    add_top(bundle, &job->query, picture, topk, indices, result);
    if (picture->heat.values) {
        add_heat(bundle, picture, result);
    }
    return picture->overlay.size > 0 ? add_overlay(picture, result) : VIT_OK;
}

static unsigned code_of(vit_status status) {
    switch (status) {
    case VIT_OK:
        return 200;
    case VIT_ERROR_LIMIT:
        return 413;
    case VIT_ERROR_MEMORY:
        return 503;
    case VIT_ERROR_NUMERIC:
        return 500;
    case VIT_ERROR_ARGUMENT:
        return 400;
    default:
        return 422;
    }
}

vit_status serve_answer_json(const vit_model_bundle *bundle, const serve_job *job, unsigned *code,
                             char **out) {
    size_t K = bundle->model.head_shape.classes;
    size_t topk = (size_t)job->query.topk < K ? (size_t)job->query.topk : K;
    vit_status status = VIT_OK;
    int *indices = NULL;
    vit_json *root = vit_json_object(), *results = vit_json_array();
    *out = NULL;
    *code = code_of(job->pictures[0].status);
    for (size_t i = 0; i < job->count && *code != 200; i++) {
        *code = job->pictures[i].status == VIT_OK ? 200 : *code;
    }
    if (*code != 200) {
        vit_json_add_string(root, "error", error_of(&job->pictures[0]));
    }
    vit_json_add_string(root, "model", bundle->model.config.architecture);
    vit_json_add(root, "results", results);
    VIT_TRY(vit_alloc((void **)&indices, topk, sizeof *indices, "best classes"));
    for (size_t i = 0; i < job->count; i++) {
        VIT_TRY(add_result(bundle, job, &job->pictures[i], topk, indices, results));
    }
    VIT_TRY(vit_json_print(root, false, out));
cleanup:
    vit_free(indices);
    vit_json_free(root);
    return status;
}

vit_status serve_model_json(const vit_model_bundle *bundle, const serve_limits *limits,
                            char **out) {
    vit_json *root = vit_json_object(), *classes = vit_json_array(), *bounds = vit_json_object();
    vit_json_add_string(root, "zvit", vit_version());
    vit_json_add_string(root, "model", bundle->model.config.architecture);
    vit_json_add_number(root, "parameters", (double)bundle->model.params.total);
    vit_json_add(root, "classes", classes);
    for (int k = 0; k < bundle->model.config.num_classes; k++) {
        vit_json_add_string(classes, NULL, bundle->class_names[k]);
    }
    vit_json_add(root, "config", vit_model_config_json(bundle));
    vit_json_add(root, "limits", bounds);
    vit_json_add_number(bounds, "body_bytes", (double)limits->body_bytes);
    vit_json_add_number(bounds, "pictures", (double)limits->pictures);
    vit_json_add_number(bounds, "pixels", (double)limits->pixels);
    vit_json_add_number(bounds, "seconds", limits->seconds);
    vit_status status = vit_json_print(root, false, out);
    vit_json_free(root);
    return status;
}

vit_status serve_find_class(const vit_model_bundle *bundle, const char *name, int *out) {
    *out = vit_class_find(bundle, name);
    if (*out >= 0) {
        return VIT_OK;
    }
    const char *nearest = cli_nearest(name, (const char *const *)bundle->class_names,
                                      bundle->model.head_shape.classes);
    return vit_fail(VIT_ERROR_ARGUMENT, "class: %s: no class of the model%s%s%s", name,
                    nearest ? " (did you mean " : "", nearest ? nearest : "", nearest ? "?)" : "");
}
