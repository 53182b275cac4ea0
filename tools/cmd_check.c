#include "tools/cmd.h"
#include "tools/progress.h"

#include "data/data_options.h"
#include "data/survey.h"

#include <stddef.h>
#include <string.h>

typedef struct check_flags {
    int list;
} check_flags;

static const vit_option check_options[] = {
    {.name = "list",
     .type = VIT_OPT_INT,
     .offset = offsetof(check_flags, list),
     .min = 0,
     .max = 1e9,
     .value = "20",
     .help = "most files to name of each kind of finding; --json names all (0: none)"},
};

static void show_progress(void *context, size_t done, size_t total) {
    cli_progress_count(context, "reading", done, total);
}

static bool is_copy(const vit_survey *s, size_t i) {
    return s->files[i].same_as != i;
}

/* ---- text ---- */

static void print_splits(const vit_survey *s) {
    char number[32];
    for (int i = 0; i < VIT_SURVEY_SPLITS; i++) {
        const vit_dataset *d = s->splits[i];
        if (d) {
            printf("%-10s %s pictures in %zu classes, ", vit_survey_split_names[i],
                   cli_thousands((double)d->count, number), d->class_count);
            cli_put(stdout, d->root);
            putchar('\n');
        }
    }
}

static void print_classes(const vit_survey *s) {
    size_t width = 5;
    for (size_t c = 0; c < s->class_count; c++) {
        size_t length = cli_put(NULL, s->classes[c].name);
        width = length > width ? length : width;
    }
    width = width > 40 ? 40 : width;
    putchar('\n');
    cli_put_padded(stdout, "class", width);
    for (int i = 0; i < VIT_SURVEY_SPLITS; i++) {
        if (s->splits[i]) {
            printf("  %8s", vit_survey_split_names[i]);
        }
    }
    putchar('\n');
    for (size_t c = 0; c < s->class_count; c++) {
        const vit_survey_class *class = &s->classes[c];
        cli_put_padded(stdout, class->name, width);
        for (int i = 0; i < VIT_SURVEY_SPLITS; i++) {
            if (s->splits[i]) {
                printf("  %8zu", class->counts[i]);
            }
        }
        bool empty = !class->unknown && class->counts[0] == 0;
        puts(class->unknown      ? "  not in train"
             : empty             ? "  no picture"
             : class->near_empty ? "  few pictures"
                                 : "");
    }
}

static void print_figures(const vit_survey *s) {
    printf("\nwidth      %zu to %zu, median %zu pixels\n", s->width.least, s->width.most,
           s->width.median);
    printf("height     %zu to %zu, median %zu pixels\n", s->height.least, s->height.most,
           s->height.median);
    printf("formats    %zu JPEG, %zu PNG\n", s->jpegs, s->pngs);
    printf("imbalance  %.3g (largest class of train / smallest)\n", s->imbalance);
}

typedef bool (*finding)(const vit_survey *s, size_t i);

static bool is_unreadable(const vit_survey *s, size_t i) {
    return s->files[i].reason != NULL;
}

static bool is_misnamed(const vit_survey *s, size_t i) {
    return s->files[i].wrong_ending;
}

/* What is said of one file. */
static void print_file(const vit_survey *s, size_t i, finding found) {
    const vit_survey_file *file = &s->files[i];
    fputs("  ", stdout);
    if (found == is_unreadable) {
        cli_put(stdout, file->reason); /* begins with the path */
    } else {
        cli_put(stdout, file->path);
    }
    if (found == is_misnamed) {
        printf(": is a %s", file->format == VIT_IMAGE_PNG ? "PNG" : "JPEG");
    } else if (found == is_copy) {
        const vit_survey_file *first = &s->files[file->same_as];
        fputs(": the same as ", stdout);
        cli_put(stdout, first->path);
        fputs(first->class_index != file->class_index ? ", which has another class" : "", stdout);
        fputs(first->split != file->split ? ", which is in another split" : "", stdout);
    }
    putchar('\n');
}

static void print_findings(const vit_survey *s, const char *what, size_t count, finding found,
                           int most) {
    char number[32];
    if (count == 0) {
        return;
    }
    printf("\n%s: %s\n", what, cli_thousands((double)count, number));
    size_t named = 0;
    for (size_t i = 0; i < s->file_count && named < (size_t)most; i++) {
        if (found(s, i)) {
            print_file(s, i, found);
            named++;
        }
    }
    if (named < count && most > 0) {
        printf("  and %s more\n", cli_thousands((double)(count - named), number));
    }
}

static void print_verdict(const vit_survey *s) {
    putchar('\n');
    if (vit_survey_faults(s) == 0) {
        puts("Nothing must be put right.");
        return;
    }
    fputs("To be put right:", stdout);
    const struct {
        size_t count;
        const char *what;
    } faults[] = {
        {s->unreadable, "unreadable pictures"},
        {s->leaks, "pictures that are in two splits"},
        {s->unknown_classes, "classes that train does not have"},
        {s->empty_classes, "classes without a picture"},
        {s->splits[0]->class_count < 2, "class alone (training needs two)"},
    };
    const char *between = " ";
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        if (faults[i].count > 0) {
            printf("%s%zu %s", between, faults[i].count, faults[i].what);
            between = ", ";
        }
    }
    puts(".");
}

static void print_text(const vit_survey *s, const check_flags *flags) {
    print_splits(s);
    print_classes(s);
    print_figures(s);
    print_findings(s, "cannot be read", s->unreadable, is_unreadable, flags->list);
    print_findings(s, "named as another format (read by content)", s->wrong_endings, is_misnamed,
                   flags->list);
    print_findings(s, "copies of other files", s->copies, is_copy, flags->list);
    print_verdict(s);
}

/* ---- JSON ---- */

static void add_range(vit_json *root, const char *key, const vit_survey_range *range) {
    vit_json *object = vit_json_object();
    vit_json_add_number(object, "min", (double)range->least);
    vit_json_add_number(object, "median", (double)range->median);
    vit_json_add_number(object, "max", (double)range->most);
    vit_json_add(root, key, object);
}

static void add_splits(vit_json *root, const vit_survey *s) {
    vit_json *array = vit_json_array();
    for (int i = 0; i < VIT_SURVEY_SPLITS; i++) {
        if (s->splits[i]) {
            vit_json *object = vit_json_object();
            vit_json_add_string(object, "split", vit_survey_split_names[i]);
            vit_json_add_string(object, "path", s->splits[i]->root);
            vit_json_add_number(object, "pictures", (double)s->splits[i]->count);
            vit_json_add_number(object, "classes", (double)s->splits[i]->class_count);
            vit_json_add(array, NULL, object);
        }
    }
    vit_json_add(root, "splits", array);
}

static void add_classes(vit_json *root, const vit_survey *s) {
    vit_json *array = vit_json_array();
    for (size_t c = 0; c < s->class_count; c++) {
        vit_json *object = vit_json_object();
        vit_json_add_string(object, "class", s->classes[c].name);
        for (int i = 0; i < VIT_SURVEY_SPLITS; i++) {
            if (s->splits[i]) {
                vit_json_add_number(object, vit_survey_split_names[i],
                                    (double)s->classes[c].counts[i]);
            }
        }
        vit_json_add_bool(object, "unknown", s->classes[c].unknown);
        vit_json_add_bool(object, "near_empty", s->classes[c].near_empty);
        vit_json_add(array, NULL, object);
    }
    vit_json_add(root, "classes", array);
}

static void add_findings(vit_json *root, const vit_survey *s) {
    vit_json *unreadable = vit_json_array(), *misnamed = vit_json_array(),
             *copies = vit_json_array();
    for (size_t i = 0; i < s->file_count; i++) {
        const vit_survey_file *file = &s->files[i];
        vit_json *object;
        if (file->reason) {
            object = vit_json_object();
            vit_json_add_string(object, "path", file->path);
            vit_json_add_string(object, "reason", file->reason);
            vit_json_add(unreadable, NULL, object);
        }
        if (file->wrong_ending) {
            object = vit_json_object();
            vit_json_add_string(object, "path", file->path);
            vit_json_add_string(object, "format", file->format == VIT_IMAGE_PNG ? "png" : "jpeg");
            vit_json_add(misnamed, NULL, object);
        }
        if (is_copy(s, i)) {
            const vit_survey_file *first = &s->files[file->same_as];
            object = vit_json_object();
            vit_json_add_string(object, "path", file->path);
            vit_json_add_string(object, "same_as", first->path);
            vit_json_add_bool(object, "other_split", first->split != file->split);
            vit_json_add_bool(object, "other_class", first->class_index != file->class_index);
            vit_json_add(copies, NULL, object);
        }
    }
    vit_json_add(root, "unreadable", unreadable);
    vit_json_add(root, "wrong_endings", misnamed);
    vit_json_add(root, "copies", copies);
}

static vit_status print_json(const vit_survey *s, const char *data) {
    vit_json *root = vit_json_object(), *formats = vit_json_object();
    vit_json_add_string(root, "data", data);
    add_splits(root, s);
    add_classes(root, s);
    add_range(root, "width", &s->width);
    add_range(root, "height", &s->height);
    vit_json_add_number(formats, "jpeg", (double)s->jpegs);
    vit_json_add_number(formats, "png", (double)s->pngs);
    vit_json_add(root, "formats", formats);
    vit_json_add_number(root, "imbalance", s->imbalance);
    add_findings(root, s);
    vit_json_add_number(root, "copies_across_splits", (double)s->leaks);
    vit_json_add_number(root, "copies_across_classes", (double)s->conflicts);
    vit_json_add_number(root, "unknown_classes", (double)s->unknown_classes);
    vit_json_add_number(root, "empty_classes", (double)s->empty_classes);
    vit_json_add_number(root, "faults", (double)vit_survey_faults(s));
    return cli_print_json(root, true);
}

int cmd_check(const cli_verb *verb, int argc, char **argv) {
    check_flags flags;
    vit_data_options reading = {0};
    cli_common common;
    const vit_option_group groups[] = {
        {"Check", check_options, sizeof check_options / sizeof *check_options, &flags, NULL},
        vit_data_group(&reading, VIT_DATA_ROWS_FIND),
        cli_common_group(&common, true)};
    int words = 0, code = CLI_DONE;
    if (!cli_parse(verb, groups, 3, argc, argv, &words, &code)) {
        return code;
    }
    if (words != 1) {
        cli_wrong_arguments(words, "one: DATA");
        return cli_fail_usage(verb);
    }
    cli_apply_threads(&common);
    cli_progress progress;
    cli_progress_init(&progress, verb, &common);
    vit_survey *survey = NULL;
    const vit_decode_options decode = vit_data_decode(&reading);
    const vit_dataset_query query = vit_data_query(&reading, argv[0], "train");
    vit_status status = vit_survey_run(&query, &decode, show_progress, &progress, &survey);
    cli_progress_clear(&progress);
    if (status == VIT_OK && common.json) {
        status = print_json(survey, argv[0]);
    } else if (status == VIT_OK) {
        print_text(survey, &flags);
    }
    code = status != VIT_OK ? cli_fail(verb) : vit_survey_faults(survey) ? CLI_FAILED : CLI_DONE;
    vit_survey_free(survey);
    return cli_finish(verb, code);
}
