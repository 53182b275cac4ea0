#include "tools/bench/bench.h"
#include "tools/cmd.h"
#include "tools/progress.h"

#include "train/cluster_plan.h"
#include "train/memory_plan.h"
#include "train/settings.h"

#include <math.h>
#include <omp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef struct plan_flags {
    char model[64];
    int classes, images, val_images;
    int nodes, node_ranks, cores;
    double gflops, bandwidth, latency, copy_ns, decode_ms, image_kb;
    bool measure;
} plan_flags;

#define FIELD(member) offsetof(plan_flags, member)

static const vit_option plan_options[] = {
    {.name = "model",
     .type = VIT_OPT_STRING,
     .offset = FIELD(model),
     .count = sizeof((plan_flags *)0)->model,
     .value = "zeros_tiny_patch16_224",
     .names = vit_config_preset_names,
     .metavar = "NAME",
     .help = "named model to train; the list is below"},
    {.name = "classes",
     .type = VIT_OPT_INT,
     .offset = FIELD(classes),
     .min = 1,
     .max = 1e6,
     .value = "1000",
     .help = "classes of the data"},
    {.name = "images",
     .type = VIT_OPT_INT,
     .offset = FIELD(images),
     .min = 1,
     .max = 2147483647,
     .value = "1281167",
     .help = "pictures to train on"},
    {.name = "val-images",
     .type = VIT_OPT_INT,
     .offset = FIELD(val_images),
     .max = 2147483647,
     .value = "50000",
     .help = "pictures to measure on after each epoch"},
    {.name = "nodes",
     .type = VIT_OPT_INT,
     .offset = FIELD(nodes),
     .min = 1,
     .max = 65536,
     .value = "1",
     .help = "machines"},
    {.name = "node-ranks",
     .type = VIT_OPT_INT,
     .offset = FIELD(node_ranks),
     .min = 1,
     .max = 65536,
     .value = "1",
     .help = "ranks on each machine, which share its cores; with --nodes a power of two"},
    {.name = "cores",
     .type = VIT_OPT_INT,
     .offset = FIELD(cores),
     .max = 65536,
     .value = "0",
     .help = "cores of a machine (0: as many as --threads, or as this one has)"},
    {.name = "gflops",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(gflops),
     .max = 1e9,
     .value = "0",
     .help = "rate of a machine in training, all cores: zvit bench train tells images/s and the "
             "GFLOP of a picture's step, whose product this is (0: --measure)"},
    {.name = "measure",
     .type = VIT_OPT_BOOL,
     .offset = FIELD(measure),
     .help = "train some steps here, on --threads threads; a machine's cores are taken to be as "
             "fast as these"},
    {.name = "bandwidth",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(bandwidth),
     .min = 1e-6,
     .max = 1e6,
     .value = "10",
     .help = "of a machine's link in Gbit/s, each way"},
    {.name = "latency",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(latency),
     .max = 1e9,
     .value = "100",
     .help = "of a message between machines in microseconds"},
    {.name = "copy-ns",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(copy_ns),
     .max = 1e6,
     .value = "1",
     .help = "nanoseconds of a core for each byte that a rank sends to another machine, with "
             "receiving and adding as many: exchange_cpu_seconds by exchange_bytes of zvit train "
             "--json (0: adapters that do it themselves)"},
    {.name = "decode-ms",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(decode_ms),
     .max = 1e6,
     .value = "4",
     .help = "milliseconds of a core to read, decode and crop a picture: 1000 by what zvit bench "
             "loader tells of one thread (0: --cache ram of small pictures)"},
    {.name = "image-kb",
     .type = VIT_OPT_DOUBLE,
     .offset = FIELD(image_kb),
     .max = 1e9,
     .value = "110",
     .help = "mean size of a picture's file in kB (ImageNet: 110; packed with --short-side 256: "
             "40)"},
};
enum { PLAN_OPTIONS = sizeof plan_options / sizeof *plan_options };

/* What of a training's settings decides how long it takes and what it holds. */
static const char *const planned_names[] = {"recipe",
                                            "epochs",
                                            "steps",
                                            "batch-size",
                                            "slots",
                                            "checkpoint-activations",
                                            "opt",
                                            "layer-decay",
                                            "model-ema",
                                            "drop-path",
                                            "mixup",
                                            "cutmix",
                                            "grad-accum-steps",
                                            NULL};
enum { PLANNED = sizeof planned_names / sizeof *planned_names };

typedef struct request {
    plan_flags flags;
    cli_common common;
    cli_progress progress;
    vit_train_settings settings;
    vit_model model;
    vit_cluster_request cluster;
    vit_cluster_plan plan;
    vit_memory_plan memory; /* of a rank */
    bool measured;
} request;

/* ---- settings: default < model < recipe < command line ---- */

static vit_status lay_settings(request *r) {
    vit_status status = VIT_OK;
    vit_option_group groups[VIT_SETTING_GROUPS];
    vit_settings_layers layers = {0};
    unsigned char *sources = calloc(vit_train_setting_count(), 1);
    VIT_TRY(sources ? VIT_OK : vit_fail(VIT_ERROR_MEMORY, "out of memory for the settings"));
    snprintf(layers.recipe, sizeof layers.recipe, "%s", r->settings.recipe.recipe);
    snprintf(layers.model, sizeof layers.model, "%s", r->flags.model);
    vit_train_setting_groups(&r->settings, sources, groups);
    VIT_TRY(vit_settings_defaults(&r->settings, groups));
    VIT_TRY(vit_settings_lay(&layers, &r->settings, groups));
cleanup:
    free(sources);
    return status;
}

static bool parse(const cli_verb *verb, request *r, int argc, char **argv, int *words, int *code) {
    vit_option planned[PLANNED];
    size_t count = cli_pick_options(vit_recipe_options, vit_recipe_option_count, planned_names,
                                    offsetof(vit_train_settings, recipe), planned);
    const vit_option_group groups[] = {
        {"Cluster", plan_options, PLAN_OPTIONS, &r->flags, NULL},
        {"Training that is planned", planned, count, &r->settings, NULL},
        cli_common_group(&r->common, true)};
    enum { GROUPS = sizeof groups / sizeof *groups };
    char **copy = malloc(((size_t)argc + 1) * sizeof *copy);
    bool go_on = false;
    vit_status status =
        copy ? VIT_OK : vit_fail(VIT_ERROR_MEMORY, "out of memory for the command line");
    if (status == VIT_OK) {
        memcpy(copy, argv, ((size_t)argc + 1) * sizeof *copy);
        go_on = cli_parse(verb, groups, GROUPS, argc, copy, words, code);
        status = go_on ? lay_settings(r) : VIT_OK;
    }
    if (go_on && status == VIT_OK) { /* what the user said goes on top */
        status = vit_options_parse(groups, GROUPS, argc, argv, words);
    }
    if (status != VIT_OK) {
        *code = status == VIT_ERROR_ARGUMENT ? cli_fail_usage(verb) : cli_fail(verb);
        go_on = false;
    }
    free(copy);
    return go_on;
}

/* ---- the plan ---- */

/* Steps here, with two slots for each thread and as many pictures in a slot as planned. */
static vit_status measure(request *r) {
    const vit_recipe *recipe = &r->settings.recipe;
    vit_cluster_request *c = &r->cluster;
    size_t threads = (size_t)omp_get_max_threads(), slots = 2;
    size_t slot_pictures = ((size_t)recipe->batch_size + r->plan.slots - 1) / r->plan.slots;
    double compute = 0, update = 0;
    vit_status status = VIT_OK;
    while (slots < 2 * threads) {
        slots *= 2;
    }
    slot_pictures = slot_pictures < 4 ? 4 : slot_pictures > 7 ? 7 : slot_pictures;
    const bench_settings settings = {.model = r->model.config,
                                     .threads = (int)threads,
                                     .batch_size = (int)(slots * slot_pictures),
                                     .repeats = 5,
                                     .listener = cli_progress_timings,
                                     .listener_context = &r->progress};
    status = bench_train_step(&settings, &compute, &update);
    cli_progress_clear(&r->progress);
    VIT_TRY(status);
    double rounds = ceil((double)slots / (double)threads);
    double slot_work = (double)slot_pictures * 3 * vit_config_flops(&r->model.config);
    c->gflops = 1e-9 * slot_work * rounds / compute * c->cores;
    c->update_seconds = update;
    r->measured = true;
cleanup:
    return status;
}

static vit_status check_flags(const request *r) {
    if (r->flags.gflops == 0 && !r->flags.measure) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "no --gflops (expected the rate of a machine, or --measure to find this "
                        "one's)");
    }
    if (r->flags.gflops > 0 && r->flags.measure) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "--gflops %g: does not go with --measure (expected one of them)",
                        r->flags.gflops);
    }
    if (r->settings.recipe.batch_size == 0) {
        return vit_fail(VIT_ERROR_ARGUMENT, "--batch-size auto: (expected a number to plan with)");
    }
    return VIT_OK;
}

static vit_status make_plan(request *r) {
    vit_status status = VIT_OK;
    const plan_flags *f = &r->flags;
    VIT_TRY(check_flags(r));
    vit_recipe *recipe = &r->settings.recipe;
    r->settings.model.num_classes = f->classes;
    recipe->warmup_epochs = fmin(recipe->warmup_epochs, recipe->epochs / 5.0); /* as training */
    VIT_TRY(vit_train_settings_check(&r->settings));
    VIT_TRY(vit_config_check(&r->settings.model));
    VIT_TRY(vit_model_init(&r->model, &r->settings.model));
    r->cluster = (vit_cluster_request){
        .model = &r->model,
        .recipe = &r->settings.recipe,
        .images = (size_t)f->images,
        .val_images = (size_t)f->val_images,
        .nodes = f->nodes,
        .node_ranks = f->node_ranks,
        .cores = f->cores ? f->cores : omp_get_max_threads(),
        .gflops = f->measure ? 1 : f->gflops,
        .bandwidth = f->bandwidth,
        .latency = 1e-6 * f->latency,
        .copy_seconds = 1e-9 * f->copy_ns,
        .decode_seconds = 1e-3 * f->decode_ms,
        .image_bytes = 1e3 * f->image_kb,
    };
    VIT_TRY(vit_plan_cluster(&r->cluster, &r->plan)); /* first, as steps take a while */
    if (f->measure) {
        VIT_TRY(measure(r));
        VIT_TRY(vit_plan_cluster(&r->cluster, &r->plan));
    }
    const vit_plan_request memory = {.model = &r->model,
                                     .recipe = &r->settings.recipe,
                                     .threads = r->cluster.cores / f->node_ranks,
                                     .train_images = (size_t)f->images,
                                     .val_images = (size_t)f->val_images,
                                     .ranks = r->plan.ranks};
    VIT_TRY(vit_plan_training(&memory, &r->memory));
cleanup:
    return status;
}

/* ---- what is told ---- */

static vit_status print_json(const request *r) {
    const vit_cluster_plan *p = &r->plan;
    const vit_cluster_request *c = &r->cluster;
    const struct {
        const char *name;
        double value;
    } numbers[] = {
        {"parameters", (double)r->model.params.total},
        {"images", (double)c->images},
        {"val_images", (double)c->val_images},
        {"batch_size", c->recipe->batch_size},
        {"nodes", c->nodes},
        {"ranks", (double)p->ranks},
        {"cores", c->cores},
        {"gflops", c->gflops},
        {"bandwidth_gbits", c->bandwidth},
        {"latency_seconds", c->latency},
        {"copy_seconds", c->copy_seconds},
        {"slots", (double)p->slots},
        {"rounds", (double)p->rounds},
        {"busy_share", p->busy},
        {"step_flops", p->work * c->recipe->batch_size * c->recipe->grad_accum_steps},
        {"compute_seconds", p->compute},
        {"exchange_seconds", p->exchange},
        {"exchange_cpu_seconds", p->exchange_cpu},
        {"exchange_parts", (double)p->parts},
        {"exchange_exposed_seconds", p->exposed},
        {"exchange_hidden", p->hidden},
        {"update_seconds", p->update},
        {"step_seconds", p->step},
        {"images_per_second", p->images_per_second},
        {"efficiency", p->efficiency},
        {"steps", p->steps},
        {"epoch_seconds", p->epoch},
        {"evaluation_seconds", p->evaluation},
        {"total_seconds", p->total},
        {"node_step_bytes", p->step_bytes},
        {"node_total_bytes", p->total_bytes},
        {"node_read_bytes_per_second", p->read_bytes_per_second},
        {"rank_memory_bytes", (double)r->memory.total},
        {"node_memory_bytes", (double)r->memory.total * c->node_ranks},
    };
    vit_json *root = vit_json_object();
    vit_json_add_string(root, "architecture", r->settings.model.architecture);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        vit_json_add_number(root, numbers[i].name, numbers[i].value);
    }
    return cli_print_json(root, true);
}

static void print_step(const request *r) {
    const vit_cluster_plan *p = &r->plan;
    const vit_cluster_request *c = &r->cluster;
    double slots = (double)p->slots / (double)p->ranks;
    int threads = c->cores / c->node_ranks;
    printf("a step      %.1f ms: %.1f ms of computing, %.1f ms of exchange that it does not hide, "
           "%.1f ms of update\n",
           1e3 * p->step, 1e3 * p->compute * c->recipe->grad_accum_steps,
           1e3 * p->exposed * c->recipe->grad_accum_steps, 1e3 * p->update);
    printf("computing   %g of %zu slots on a rank of %d threads: %zu round%s, %.0f %% busy\n",
           slots, p->slots, threads, p->rounds, p->rounds == 1 ? "" : "s", 100 * p->busy);
    if (p->ranks > 1) {
        printf("exchange    %.1f ms in %zu parts, %.0f %% hidden, %.1f ms of a rank's cores; %.1f "
               "MB a step from each node, %.2f TB in all\n",
               1e3 * p->exchange, p->parts, 100 * p->hidden, 1e3 * p->exchange_cpu,
               1e-6 * p->step_bytes, 1e-12 * p->total_bytes);
    }
}

static void print_table(const request *r) {
    const vit_cluster_plan *p = &r->plan;
    const vit_cluster_request *c = &r->cluster;
    char number[3][32];
    fputs("plan        ", stdout);
    cli_put(stdout, r->settings.model.architecture);
    printf(", %s parameters; %s pictures, %s to measure on; batches of %d\n",
           cli_thousands((double)r->model.params.total, number[0]),
           cli_thousands((double)c->images, number[1]),
           cli_thousands((double)c->val_images, number[2]), c->recipe->batch_size);
    printf("machines    %d of %d cores, %d rank%s each, %.4g GFLOP/s%s, %g Gbit/s\n", c->nodes,
           c->cores, c->node_ranks, c->node_ranks == 1 ? "" : "s", c->gflops,
           r->measured ? " as measured here" : "", c->bandwidth);
    print_step(r);
    printf("speed       %.1f pictures/s, %.0f %% of what %d single machine%s would\n",
           p->images_per_second, 100 * p->efficiency, c->nodes, c->nodes == 1 ? "" : "s");
    printf("reading     %.1f MB/s of pictures by each node\n", 1e-6 * p->read_bytes_per_second);
    printf("memory      %.2f GB a rank, %.2f GB a node\n", 1e-9 * (double)r->memory.total,
           1e-9 * (double)r->memory.total * c->node_ranks);
    printf("an epoch    %.1f minutes, and %.1f to measure\n", p->epoch / 60, p->evaluation / 60);
    printf("the training %.1f hours (%s steps), %.0f node hours\n", p->total / 3600,
           cli_thousands(p->steps, number[0]), p->total / 3600 * c->nodes);
}

int cmd_plan(const cli_verb *verb, int argc, char **argv) {
    static const request empty;
    request r = empty;
    int words = 0, code = CLI_DONE;
    if (!parse(verb, &r, argc, argv, &words, &code)) {
        return code;
    }
    if (words > 0) {
        vit_fail(VIT_ERROR_ARGUMENT, "%s: an argument (expected none)", argv[0]);
        return cli_fail_usage(verb);
    }
    cli_apply_threads(&r.common);
    cli_progress_init(&r.progress, verb, &r.common);
    vit_status status = make_plan(&r);
    if (status == VIT_OK && r.common.json) {
        status = print_json(&r);
    } else if (status == VIT_OK) {
        print_table(&r);
    }
    vit_model_free(&r.model);
    if (status != VIT_OK) {
        return status == VIT_ERROR_ARGUMENT ? cli_fail_usage(verb) : cli_fail(verb);
    }
    return cli_finish(verb, CLI_DONE);
}
