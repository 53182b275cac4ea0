#include "tools/cmd.h"
#include "tools/machine.h"

#include "vit/model_file.h"

#include <sys/stat.h>

#include <errno.h>
#include <limits.h>
#include <string.h>

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
#if defined(__x86_64__) && !defined(VIT_NO_CLONES)
    "loops for SSE2, AVX2 and AVX-512",
#endif
};
enum { FEATURES = sizeof features / sizeof *features };

static vit_status machine_json(const cli_machine *machine, const char *warning) {
    vit_json *root = vit_json_object(), *list = vit_json_array(), *warnings = vit_json_array();
    vit_json_add_string(root, "zvit", vit_version());
    vit_json_add_string(root, "cpu", machine->cpu);
    vit_json_add_number(root, "cores", machine->processors);
    vit_json_add_number(root, "threads", machine->threads);
    vit_json_add_string(root, "isa", machine->isa);
    vit_json_add_string(root, "blas", machine->blas);
    vit_json_add_string(root, "blas_kernel", machine->kernel);
    vit_json_add_number(root, "memory_bytes", machine->memory_bytes);
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
        cli_warn(verb, warning);
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

int cmd_info(const cli_verb *verb, int argc, char **argv) {
    cli_common common;
    const vit_option_group groups[] = {cli_common_group(&common, true)};
    int words = 0, code = CLI_DONE;
    if (!cli_parse(verb, groups, 1, argc, argv, &words, &code)) {
        return code;
    }
    if (words > 1) {
        vit_fail(VIT_ERROR_ARGUMENT, "%d arguments (expected at most one: MODEL)", words);
        return cli_fail_usage(verb);
    }
    cli_apply_threads(&common);
    vit_status status =
        words == 1 ? show_model(argv[0], common.json) : show_machine(verb, common.json);
    return cli_finish(verb, status == VIT_OK ? CLI_DONE : cli_fail(verb));
}
