#include "tools/cmd.h"

#include "data/data_options.h"
#include "data/encode.h"
#include "eval/canvas.h"
#include "eval/deletion.h"
#include "eval/explain.h"
#include "eval/explain_figure.h"
#include "vit/arena.h"

#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef struct explain_flags {
    char out[PATH_MAX];
    char class_name[1024];
    int method; /* vit_explain_method */
    double alpha;
    int deletion;
} explain_flags;

static const vit_option explain_options[] = {
    {.name = "out",
     .letter = 'o',
     .type = VIT_OPT_STRING,
     .offset = offsetof(explain_flags, out),
     .count = sizeof((explain_flags *)0)->out,
     .metavar = "PNG",
     .help = "file for the figure; may be left out with --json"},
    {.name = "class",
     .type = VIT_OPT_STRING,
     .offset = offsetof(explain_flags, class_name),
     .count = sizeof((explain_flags *)0)->class_name,
     .metavar = "NAME",
     .help = "class to explain, by name or else by index; left out: the most probable one"},
    {.name = "method",
     .type = VIT_OPT_ENUM,
     .offset = offsetof(explain_flags, method),
     .choices = vit_explain_method_names,
     .value = "auto",
     .help =
         "zeros-rollout: contributions through the attention weights, which auto takes; "
         "gradient: gradient x input; rollout: Abnar and Zuidema's, without class and sign, for "
         "softmax and linear attention"},
    {.name = "alpha",
     .type = VIT_OPT_DOUBLE,
     .offset = offsetof(explain_flags, alpha),
     .min = 0,
     .max = 1,
     .value = "0.8",
     .help = "how far the strongest colour covers the picture"},
    {.name = "deletion",
     .type = VIT_OPT_INT,
     .offset = offsetof(explain_flags, deletion),
     .min = 0,
     .max = 10000,
     .value = "0",
     .metavar = "N",
     .help =
         "also hide the patches one by one, in the map's order, in the reverse, and in N random "
         "ones, and give the areas under the class's probability"},
};

/* The areas of --deletion. */
typedef struct areas {
    double map[2]; /* in the map's order, and in the reverse */
    double random;
} areas;

typedef struct explained {
    const cli_verb *verb;
    const explain_flags *flags;
    const char *model, *path;
    vit_model_bundle *bundle;
    vit_image picture;
    vit_heat_map map;
    areas areas;
} explained;

/* ---- the class ---- */

static vit_status unknown_class(const vit_model_bundle *bundle, const char *name) {
    size_t K = (size_t)bundle->model.config.num_classes;
    const char *nearest = cli_nearest(name, (const char *const *)bundle->class_names, K);
    if (nearest != NULL) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "--class %s: the model has no such class; did you mean '%s'?", name,
                        nearest);
    }
    return vit_fail(VIT_ERROR_ARGUMENT,
                    "--class %s: the model has no such class (expected a name, or 0 to %zu)", name,
                    K - 1);
}

static vit_status choose_class(const explained *e, int *index) {
    const char *name = e->flags->class_name;
    *index = *name ? vit_class_find(e->bundle, name) : -1;
    return *name && *index < 0 ? unknown_class(e->bundle, name) : VIT_OK;
}

/* ---- the work ---- */

static vit_status measure_deletion(explained *e) {
    size_t patches = e->map.grid_h * e->map.grid_w;
    uint32_t *orders = NULL;
    vit_status status = VIT_OK;
    VIT_TRY(vit_alloc((void **)&orders, 2 * patches, sizeof *orders, "orders of the patches"));
    VIT_TRY(vit_deletion_order(&e->map, orders));
    memcpy(orders + patches, orders, patches * sizeof *orders);
    vit_deletion_reverse(patches, orders + patches);
    VIT_TRY(vit_deletion_curve(e->bundle, &e->picture, e->map.class_index, 2, orders, NULL,
                               e->areas.map));
    VIT_TRY(vit_deletion_random(e->bundle, &e->picture, e->map.class_index,
                                (size_t)e->flags->deletion, 1, &e->areas.random));
cleanup:
    vit_free(orders);
    return status;
}

static vit_status write_overlay(const explained *e) {
    vit_image image = {0};
    vit_status status = vit_heat_overlay(&e->map, &e->picture, e->flags->alpha, &image);
    if (status == VIT_OK) {
        status = vit_png_write(e->flags->out, &image);
    }
    vit_image_free(&image);
    return status;
}

static vit_status draw(const explained *e) {
    if (!vit_canvas_available()) {
        cli_warn(e->verb, "cairo is not there: --out is the heat map over the picture, without "
                          "title and legend");
        return write_overlay(e);
    }
    const vit_explain_figure figure = {
        .map = &e->map,
        .picture = &e->picture,
        .class_name = e->bundle->class_names[e->map.class_index],
        .note = e->bundle->model.config.architecture,
        .alpha = e->flags->alpha,
    };
    return vit_explain_figure_write(&figure, e->flags->out);
}

static vit_status explain(explained *e, const vit_data_options *reading) {
    const vit_decode_options decode = vit_data_decode(reading);
    vit_bytes file = {0};
    vit_explain_options options = {.method = e->flags->method};
    vit_status status = VIT_OK;
    VIT_TRY(vit_model_bundle_load(e->model, &e->bundle));
    vit_model_bundle_dequantise(e->bundle); /* what is explained needs a backward */
    VIT_TRY(choose_class(e, &options.class_index));
    VIT_TRY(vit_image_load(e->path, &decode, &file, &e->picture));
    status = vit_explain(e->bundle, &e->picture, &options, &e->map);
    if (status != VIT_OK) {
        VIT_TRY(
            vit_fail_context(status, "%s", status == VIT_ERROR_UNSUPPORTED ? e->model : e->path));
    }
    if (e->flags->deletion > 0) {
        VIT_TRY(measure_deletion(e));
    }
    if (*e->flags->out) {
        VIT_TRY(draw(e));
    }
cleanup:
    vit_bytes_free(&file);
    return status;
}

/* ---- output ---- */

static vit_json *grid_json(const vit_heat_map *map) {
    vit_json *rows = vit_json_array();
    for (size_t y = 0; y < map->grid_h; y++) {
        vit_json *row = vit_json_array();
        for (size_t x = 0; x < map->grid_w; x++) {
            vit_json_add_number(row, NULL, (double)map->values[y * map->grid_w + x]);
        }
        vit_json_add(rows, NULL, row);
    }
    return rows;
}

static vit_status print_json(const explained *e) {
    const vit_heat_map *map = &e->map;
    vit_json *root = vit_json_object(), *grid = vit_json_array(), *box = vit_json_array();
    vit_json_add_string(root, "model", e->model);
    vit_json_add_string(root, "path", e->path);
    vit_json_add_string(root, "class", e->bundle->class_names[map->class_index]);
    vit_json_add_number(root, "index", map->class_index);
    vit_json_add_number(root, "probability", map->probability);
    vit_json_add_string(root, "method", vit_explain_method_names[map->method]);
    vit_json_add_number(grid, NULL, (double)map->grid_h);
    vit_json_add_number(grid, NULL, (double)map->grid_w);
    vit_json_add(root, "grid", grid);
    const double corners[] = {map->box.x0, map->box.y0, map->box.x1, map->box.y1};
    for (size_t i = 0; i < 4; i++) {
        vit_json_add_number(box, NULL, corners[i]);
    }
    vit_json_add(root, "box", box);
    vit_json_add(root, "values", grid_json(map));
    if (e->flags->deletion > 0) {
        vit_json *deletion = vit_json_object();
        vit_json_add_number(deletion, "map", e->areas.map[0]);
        vit_json_add_number(deletion, "random", e->areas.random);
        vit_json_add_number(deletion, "reversed", e->areas.map[1]);
        vit_json_add(root, "deletion", deletion);
    }
    if (*e->flags->out) {
        vit_json_add_string(root, "out", e->flags->out);
    }
    return cli_print_json(root, true);
}

static void print_text(const explained *e) {
    fputs("class     ", stdout);
    cli_put(stdout, e->bundle->class_names[e->map.class_index]);
    printf("  %.2f %%\nmethod    %s\n", 100 * e->map.probability,
           vit_explain_method_names[e->map.method]);
    if (e->flags->deletion > 0) {
        printf("deletion  map %.4f  random %.4f  reversed %.4f\n", e->areas.map[0], e->areas.random,
               e->areas.map[1]);
    }
    fputs("figure    ", stdout);
    cli_put(stdout, e->flags->out);
    putchar('\n');
}

int cmd_explain(const cli_verb *verb, int argc, char **argv) {
    explain_flags flags;
    vit_data_options reading = {0};
    cli_common common;
    const vit_option_group groups[] = {{"Explanation", explain_options,
                                        sizeof explain_options / sizeof *explain_options, &flags,
                                        NULL},
                                       vit_data_group(&reading, VIT_DATA_ROWS_DECODE),
                                       cli_common_group(&common, true)};
    int words = 0, code = CLI_DONE;
    if (!cli_parse(verb, groups, 3, argc, argv, &words, &code)) {
        return code;
    }
    if (words != 2) {
        cli_wrong_arguments(words, "MODEL and one IMAGE");
        return cli_fail_usage(verb);
    }
    if (!*flags.out && !common.json) {
        vit_fail(VIT_ERROR_ARGUMENT, "no --out (expected the name of a PNG file, or --json)");
        return cli_fail_usage(verb);
    }
    if (*flags.out && cli_check_png_name(flags.out) != VIT_OK) {
        return cli_fail_usage(verb);
    }
    cli_apply_threads(&common);
    explained e = {.verb = verb, .flags = &flags, .model = argv[0], .path = argv[1]};
    vit_status status = explain(&e, &reading);
    if (status == VIT_OK && common.json) {
        status = print_json(&e);
    } else if (status == VIT_OK) {
        print_text(&e);
    }
    code = status == VIT_OK ? CLI_DONE : cli_fail(verb);
    vit_heat_map_free(&e.map);
    vit_image_free(&e.picture);
    vit_model_bundle_free(e.bundle);
    return status == VIT_OK ? cli_finish(verb, code) : code;
}
