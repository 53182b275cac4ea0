#include "tools/cmd.h"
#include "tools/progress.h"

#include "data/data_options.h"
#include "data/pack.h"

#include <omp.h>
#include <stddef.h>

typedef struct pack_flags {
    int short_side;
} pack_flags;

static const vit_option pack_flag_options[] = {
    {.name = "short-side",
     .type = VIT_OPT_INT,
     .offset = offsetof(pack_flags, short_side),
     .min = 0,
     .max = 65500,
     .value = "0",
     .help = "shrink larger pictures to this short side in pixels and store them as JPEG; 0: none"},
};

static void show_progress(void *context, size_t done, size_t total) {
    cli_progress_count(context, "", done, total);
}

static vit_status print_result(const char *path, bool json, const vit_pack_result *result) {
    char pictures[32], before[32], after[32];
    if (json) {
        vit_json *root = vit_json_object();
        vit_json_add_string(root, "path", path);
        vit_json_add_number(root, "pictures", (double)result->pictures);
        vit_json_add_number(root, "shrunk", (double)result->shrunk);
        vit_json_add_number(root, "skipped", (double)result->skipped);
        vit_json_add_number(root, "bytes_read", (double)result->bytes_read);
        vit_json_add_number(root, "bytes_written", (double)result->bytes_written);
        return cli_print_json(root, true);
    }
    cli_put(stdout, path);
    printf(": %s pictures, %zu of them shrunk; %s bytes before, %s now\n",
           cli_thousands((double)result->pictures, pictures), result->shrunk,
           cli_thousands((double)result->bytes_read, before),
           cli_thousands((double)result->bytes_written, after));
    return VIT_OK;
}

static vit_status pack(const cli_verb *verb, const pack_flags *flags,
                       const vit_data_options *reading, const cli_common *common, const char *data,
                       const char *path) {
    vit_pack_result result;
    cli_progress progress;
    cli_progress_init(&progress, verb, common);
    const vit_pack_options options = {.short_side = (size_t)flags->short_side,
                                      .decode = vit_data_decode(reading),
                                      .val_split = reading->val_split,
                                      .skip = reading->on_error == VIT_ON_ERROR_SKIP,
                                      .threads = omp_get_max_threads(),
                                      .progress = show_progress,
                                      .context = &progress};
    vit_status status = vit_pack_write(data, path, &options, &result);
    cli_progress_clear(&progress);
    if (status == VIT_OK && result.skipped > 0) {
        cli_warn(verb, "%zu pictures could not be read and were left out; the first: %s",
                 result.skipped, result.first_skipped);
    }
    return status == VIT_OK ? print_result(path, common->json, &result) : status;
}

int cmd_pack(const cli_verb *verb, int argc, char **argv) {
    pack_flags flags;
    vit_data_options reading = {0};
    cli_common common;
    const vit_option_group groups[] = {{"Packing", pack_flag_options,
                                        sizeof pack_flag_options / sizeof *pack_flag_options,
                                        &flags, NULL},
                                       vit_data_group(&reading, VIT_DATA_ROWS_EVAL),
                                       cli_common_group(&common, true)};
    int words = 0, code = CLI_DONE;
    if (!cli_parse(verb, groups, 3, argc, argv, &words, &code)) {
        return code;
    }
    if (words != 2) {
        cli_wrong_arguments(words, "two: DATA OUT.zpk");
        return cli_fail_usage(verb);
    }
    cli_apply_threads(&common);
    if (pack(verb, &flags, &reading, &common, argv[0], argv[1]) != VIT_OK) {
        return cli_fail(verb);
    }
    return cli_finish(verb, CLI_DONE);
}
