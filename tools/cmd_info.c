#include "tools/cmd.h"
#include "tools/machine.h"

#include "train/memory_plan.h"
#include "vit/memory.h"
#include "vit/model_file.h"
#include "vit/quant.h"

#include <sys/stat.h>

#include <errno.h>
#include <limits.h>
#include <omp.h>
#include <stddef.h>
#include <string.h>

typedef struct info_flags {
    bool plan;
    char model[64];
    vit_recipe recipe; /* of the plan; what has no flag here is as zvit train has it by default */
} info_flags;

static const vit_option info_options[] = {
    {.name = "plan",
     .type = VIT_OPT_BOOL,
     .offset = offsetof(info_flags, plan),
     .help = "what training with the flags below, eval and classify take of memory"},
    {.name = "model",
     .type = VIT_OPT_STRING,
     .offset = offsetof(info_flags, model),
     .count = sizeof((info_flags *)0)->model,
     .value = "zeros_mini_patch8_64",
     .names = vit_config_preset_names,
     .metavar = "NAME",
     .help = "named model to plan for, in place of MODEL; the list is below"},
};
enum { INFO_OPTIONS = sizeof info_options / sizeof *info_options };

/* ---- this machine ---- */

/* What this build can do beyond its base. The ZVIT_HAVE_ ones are CMake features. */
static const char *const features[] = {
    "JPEG",
    "PNG",
    "OpenMP",
#ifdef ZVIT_HAVE_CAIRO
    "cairo",
#endif
#ifdef ZVIT_HAVE_MICROHTTPD
    "libmicrohttpd",
#endif
#ifdef ZVIT_HAVE_MPI
    "MPI",
#endif
#ifdef ZVIT_HAVE_PROTOBUF_C
    "protobuf-c",
#endif
#if defined(__x86_64__) && !defined(VIT_NO_CLONES)
    "loops for SSE2, AVX2 and AVX-512",
#endif
};
enum { FEATURES = sizeof features / sizeof *features };

static vit_status machine_json(const cli_machine *machine, const char *warning) {
    vit_json *root = cli_machine_json(machine);
    vit_json *list = vit_json_array(), *warnings = vit_json_array();
    vit_json_add_number(root, "memory_available_bytes", machine->available_bytes);
    for (size_t i = 0; i < FEATURES; i++) {
        vit_json_add_string(list, NULL, features[i]);
    }
    vit_json_add(root, "features", list);
    if (warning != NULL) {
        vit_json_add_string(warnings, NULL, warning);
    }
    vit_json_add(root, "warnings", warnings);
    return cli_print_json(root, true);
}

static void machine_table(const cli_machine *machine) {
    printf("zvit          %s\n", vit_version());
    fputs("processor     ", stdout);
    cli_put(stdout, machine->cpu);
    printf("\ncores         %d (computing with %d threads)\n", machine->processors,
           machine->threads);
    printf("instructions  %s\n", machine->isa);
    printf("BLAS          %s, %s kernel\n", machine->blas, machine->kernel);
    printf("memory        %.1f GiB, %.1f GiB available\n", machine->memory_bytes / 0x1p30,
           machine->available_bytes / 0x1p30);
    printf("features      ");
    for (size_t i = 0; i < FEATURES; i++) {
        printf("%s%s", i > 0 ? ", " : "", features[i]);
    }
    printf("\n");
}

static vit_status show_machine(const cli_verb *verb, bool json) {
    char buffer[512];
    cli_machine machine = cli_machine_look();
    const char *warning = cli_machine_blas_warning(&machine, buffer, sizeof buffer) ? buffer : NULL;
    vit_status status = VIT_OK;
    if (json) {
        status = machine_json(&machine, warning);
    } else {
        machine_table(&machine);
    }
    if (warning != NULL) {
        cli_warn(verb, "%s", warning);
    }
    return status;
}

/* ---- a model ---- */

static vit_status file_size(const char *path, double *bytes) {
    char file[PATH_MAX];
    struct stat info;
    vit_status status = vit_model_path(path, file, sizeof file);
    if (status == VIT_OK && stat(file, &info) != 0) {
        status = vit_fail(VIT_ERROR_IO, "%s: %s", file, strerror(errno));
    }
    *bytes = status == VIT_OK ? (double)info.st_size : 0;
    return status;
}

static vit_status model_json(const vit_model_bundle *bundle, double bytes) {
    static const char *const keys[] = {"parameters", "flops_forward", "bytes"};
    vit_json *root = vit_model_config_json(bundle);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        vit_json_remove(root, keys[i]); /* the file may hold any key; ours are measured */
    }
    vit_json_add_number(root, "parameters", (double)bundle->model.params.total);
    vit_json_add_number(root, "flops_forward", vit_config_flops(&bundle->model.config));
    vit_json_add_number(root, "bytes", bytes);
    return cli_print_json(root, true);
}

static void print_classes(const vit_model_bundle *bundle) {
    enum { SHOWN = 8 };
    int count = bundle->model.config.num_classes;
    printf("classes       %d: ", count);
    for (int i = 0; i < count && i < SHOWN; i++) {
        fputs(i > 0 ? ", " : "", stdout);
        cli_put(stdout, bundle->class_names[i]);
    }
    printf("%s\n", count > SHOWN ? ", ..." : "");
}

static void model_table(const vit_model_bundle *bundle, double bytes) {
    const vit_config *c = &bundle->model.config;
    const vit_preprocess *p = &bundle->preprocess;
    char number[32];
    fputs("architecture  ", stdout);
    cli_put(stdout, c->architecture);
    printf("\nattention     %s, rotary position %s, head norm %s%s%s\n",
           vit_attention_names[c->attn], vit_rope_names[c->rope], c->head_norm ? "on" : "off",
           c->zero_order ? ", zero order" : "", c->causal ? ", causal" : "");
    printf("picture       %d x %d pixels, patches of %d, %zu tokens\n", c->img_size[0],
           c->img_size[1], c->patch_size, bundle->model.tokens);
    printf("shape         width %d, depth %d, %d heads, MLP width %zu, pool %s\n", c->embed_dim,
           c->depth, c->num_heads, bundle->model.hidden, vit_pool_names[c->global_pool]);
    printf("parameters    %s\n", cli_thousands((double)bundle->model.params.total, number));
    if (bundle->model.int8) {
        printf("weights       int8 in the linear layers, %s kernel\n", vit_quant_isa());
    }
    printf("forward       %.4g GFLOP a picture\n", vit_config_flops(c) * 1e-9);
    printf("file          %s bytes\n", cli_thousands(bytes, number));
    print_classes(bundle);
    printf("preparation   %s, crop %g, mean %g %g %g, std %g %g %g\n",
           vit_interpolation_names[p->interpolation], p->crop_pct, p->mean[0], p->mean[1],
           p->mean[2], p->std[0], p->std[1], p->std[2]);
}

static vit_status show_model(const char *path, bool json) {
    vit_status status = VIT_OK;
    vit_model_bundle *bundle = NULL;
    double bytes = 0;
    VIT_TRY(vit_model_bundle_load(path, &bundle));
    VIT_TRY(file_size(path, &bytes));
    if (json) {
        VIT_TRY(model_json(bundle, bytes));
    } else {
        model_table(bundle, bytes);
    }
cleanup:
    vit_model_bundle_free(bundle);
    return status;
}

/* ---- a plan of the memory ---- */

/* A data set large enough for the batch, with pictures to measure on. */
#define PLAN_IMAGES ((size_t)1 << 20)

typedef struct plans {
    vit_memory_plan training, evaluation, classification;
    double available;
    int batch_size, threads;
} plans;

static vit_status make_plans(const vit_model *model, const vit_recipe *recipe, plans *out) {
    vit_status status;
    vit_recipe settled = *recipe;
    uint64_t limit = vit_memory_limit();
    out->available = (double)limit;
    out->threads = omp_get_max_threads();
    const vit_plan_request request = {.model = model,
                                      .recipe = &settled,
                                      .threads = out->threads,
                                      .train_images = PLAN_IMAGES,
                                      .val_images = PLAN_IMAGES};
    if (settled.batch_size == 0) {
        VIT_TRY(vit_plan_batch_size(&request, limit, &settled.batch_size));
    }
    out->batch_size = settled.batch_size;
    size_t batch_size = (size_t)settled.batch_size;
    VIT_TRY(vit_plan_training(&request, &out->training));
    VIT_TRY(vit_plan_evaluation(model, batch_size, out->threads, &out->evaluation));
    VIT_TRY(vit_plan_classification(model, batch_size, out->threads, &out->classification));
cleanup:
    return status;
}

static void add_plan(vit_json *root, const char *key, const vit_memory_plan *plan) {
    vit_json *object = vit_json_object(), *rows = vit_json_array();
    for (size_t i = 0; i < plan->count; i++) {
        vit_json *row = vit_json_object();
        vit_json_add_string(row, "name", plan->rows[i].name);
        vit_json_add_number(row, "bytes", (double)plan->rows[i].bytes);
        vit_json_add(rows, NULL, row);
    }
    vit_json_add_number(object, "bytes", (double)plan->total);
    vit_json_add(object, "rows", rows);
    vit_json_add(root, key, object);
}

static vit_status plans_json(const vit_config *config, const plans *p) {
    vit_json *root = vit_json_object();
    vit_json_add_string(root, "architecture", config->architecture);
    vit_json_add_number(root, "batch_size", p->batch_size);
    vit_json_add_number(root, "threads", p->threads);
    vit_json_add_number(root, "memory_available_bytes", p->available);
    add_plan(root, "training", &p->training);
    add_plan(root, "evaluation", &p->evaluation);
    add_plan(root, "classification", &p->classification);
    return cli_print_json(root, true);
}

static void plan_table(const char *title, const vit_memory_plan *plan) {
    printf("%s\n", title);
    for (size_t i = 0; i < plan->count; i++) {
        printf("  %-32s %12.1f MB\n", plan->rows[i].name, 1e-6 * (double)plan->rows[i].bytes);
    }
    printf("  %-32s %12.1f MB\n", "in all", 1e-6 * (double)plan->total);
}

static void plans_table(const vit_config *config, const plans *p) {
    fputs("memory plan of ", stdout);
    cli_put(stdout, config->architecture);
    printf(", batch of %d, %d threads; available %.1f MB\n", p->batch_size, p->threads,
           1e-6 * p->available);
    plan_table("training", &p->training);
    plan_table("evaluation", &p->evaluation);
    plan_table("classification", &p->classification);
}

/* path: a model file or run folder, or NULL: the flags name a model. */
static vit_status show_plan(const char *path, const info_flags *flags, bool json) {
    vit_status status = VIT_OK;
    vit_model_bundle *bundle = NULL;
    vit_model named = {0};
    vit_config config;
    plans p;
    if (path) {
        VIT_TRY(vit_model_bundle_load(path, &bundle));
    } else {
        VIT_TRY(vit_config_preset(flags->model, &config));
        VIT_TRY(vit_model_init(&named, &config));
    }
    const vit_model *model = bundle ? &bundle->model : &named;
    VIT_TRY(make_plans(model, &flags->recipe, &p));
    if (json) {
        VIT_TRY(plans_json(&model->config, &p));
    } else {
        plans_table(&model->config, &p);
    }
cleanup:
    vit_model_free(&named);
    vit_model_bundle_free(bundle);
    return status;
}

/* What decides how much memory a training takes. */
static const char *const planned_names[] = {"batch-size",
                                            "slots",
                                            "opt",
                                            "model-ema",
                                            "drop-path",
                                            "mixup",
                                            "layer-decay",
                                            "grad-accum-steps",
                                            "checkpoint-activations",
                                            NULL};

int cmd_info(const cli_verb *verb, int argc, char **argv) {
    cli_common common;
    info_flags flags = {0};
    vit_option planned[16];
    size_t count = cli_pick_options(vit_recipe_options, vit_recipe_option_count, planned_names,
                                    offsetof(info_flags, recipe), planned);
    const vit_option_group groups[] = {{"What to tell", info_options, INFO_OPTIONS, &flags, NULL},
                                       {"Training that is planned", planned, count, &flags, NULL},
                                       cli_common_group(&common, true)};
    const vit_option_group defaults = {"", vit_recipe_options, vit_recipe_option_count,
                                       &flags.recipe, NULL};
    int words = 0, code = CLI_DONE;
    if (vit_options_defaults(&defaults) != VIT_OK) {
        return cli_fail(verb);
    }
    if (!cli_parse(verb, groups, sizeof groups / sizeof *groups, argc, argv, &words, &code)) {
        return code;
    }
    if (words > 1) {
        cli_wrong_arguments(words, "at most one: MODEL");
        return cli_fail_usage(verb);
    }
    cli_apply_threads(&common);
    const char *path = words == 1 ? argv[0] : NULL;
    vit_status status = flags.plan ? show_plan(path, &flags, common.json)
                        : path     ? show_model(path, common.json)
                                   : show_machine(verb, common.json);
    if (status == VIT_ERROR_ARGUMENT) {
        return cli_fail_usage(verb);
    }
    return cli_finish(verb, status == VIT_OK ? CLI_DONE : cli_fail(verb));
}
