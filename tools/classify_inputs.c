#include "tools/classify_inputs.h"

#include "tools/cmd.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

static vit_status no_memory(void) {
    return vit_fail(VIT_ERROR_MEMORY, "out of memory for the list of pictures");
}

/* Takes both strings over, also on failure. */
static vit_status append(classify_inputs *inputs, char *path, char *error) {
    if (inputs->count == inputs->capacity && path != NULL) {
        size_t capacity = inputs->capacity > 0 ? 2 * inputs->capacity : 64;
        classify_input *grown = reallocarray(inputs->items, capacity, sizeof *grown);
        if (grown != NULL) {
            inputs->items = grown;
            inputs->capacity = capacity;
        }
    }
    if (path == NULL || inputs->count == inputs->capacity) {
        free(path);
        free(error);
        return no_memory();
    }
    inputs->items[inputs->count++] = (classify_input){.path = path, .error = error};
    return VIT_OK;
}

/* With the message of the failure that just happened. */
static vit_status append_failure(classify_inputs *inputs, const char *word) {
    char *error = strdup(vit_last_error());
    return error != NULL ? append(inputs, strdup(word), error) : no_memory();
}

static vit_status add_path(classify_inputs *inputs, const char *path) {
    char **found = NULL;
    size_t count = 0;
    vit_status status = vit_find_pictures(&found, &count, path);
    if (status == VIT_OK && count == 0) {
        status =
            vit_fail(VIT_ERROR_FORMAT,
                     "%s: no picture in it (expected files that end in .jpg, .jpeg or .png)", path);
    }
    if (status != VIT_OK) {
        status = status == VIT_ERROR_MEMORY ? status : append_failure(inputs, path);
        goto cleanup;
    }
    for (size_t i = 0; i < count; i++) {
        VIT_TRY(append(inputs, strdup(found[i]), NULL));
    }
cleanup:
    vit_free_paths(found, count);
    return status;
}

/* Standard input can be read once. */
static vit_status take_stdin(classify_inputs *inputs) {
    if (inputs->stdin_used) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "standard input: was read already (expected '-' or '@-' once)");
    }
    inputs->stdin_used = true;
    return VIT_OK;
}

static vit_status read_list(classify_inputs *inputs, const char *name, cli_content *list) {
    if (*name == 0) {
        return vit_fail(VIT_ERROR_ARGUMENT, "@: no name behind it (expected @FILE or @-)");
    }
    if (strcmp(name, "-") == 0) {
        vit_status status = take_stdin(inputs);
        if (status != VIT_OK) {
            return status;
        }
    }
    return cli_content_read(list, name, CLI_MAX_LIST_BYTES);
}

/* Before any line is taken: a list that is none (a picture, say) is one error, not thousands. */
static vit_status check_list(const char *name, const cli_content *list) {
    const char *at = (const char *)list->data;
    size_t left = list->size;
    for (size_t line = 1; left > 0; line++) {
        const char *end = memchr(at, '\n', left);
        size_t length = end != NULL ? (size_t)(end - at) : left;
        if (memchr(at, 0, length) != NULL) {
            return vit_fail(VIT_ERROR_FORMAT,
                            "%s: line %zu: holds a zero byte (expected a path on each line)", name,
                            line);
        }
        if (length > PATH_MAX) {
            return vit_fail(VIT_ERROR_LIMIT,
                            "%s: line %zu: %zu bytes (expected a path of at most %d)", name, line,
                            length, PATH_MAX - 1);
        }
        at += length + (end != NULL);
        left -= length + (end != NULL);
    }
    return VIT_OK;
}

static vit_status add_lines(classify_inputs *inputs, const cli_content *list) {
    const char *at = (const char *)list->data;
    size_t left = list->size;
    if (left >= 3 && memcmp(at, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark */
        at += 3;
        left -= 3;
    }
    vit_status status = VIT_OK;
    while (left > 0 && status == VIT_OK) {
        const char *end = memchr(at, '\n', left);
        size_t length = end != NULL ? (size_t)(end - at) : left;
        size_t kept = length > 0 && at[length - 1] == '\r' ? length - 1 : length;
        char path[PATH_MAX + 1];
        memcpy(path, at, kept);
        path[kept] = 0;
        if (kept > 0) {
            status = add_path(inputs, strcmp(path, "-") == 0 ? "./-" : path); /* a file */
        }
        at += length + (end != NULL);
        left -= length + (end != NULL);
    }
    return status;
}

static vit_status add_list(classify_inputs *inputs, const char *word) {
    const char *name = word + 1;
    cli_content list = {0};
    size_t before = inputs->count;
    vit_status status = read_list(inputs, name, &list);
    if (status == VIT_OK) {
        status = check_list(strcmp(name, "-") == 0 ? "standard input" : name, &list);
    }
    if (status == VIT_OK) {
        VIT_TRY(add_lines(inputs, &list));
        if (inputs->count == before) {
            status = vit_fail(VIT_ERROR_FORMAT, "%s: names no picture (expected a path on a line)",
                              name);
        }
    }
    if (status != VIT_OK && status != VIT_ERROR_MEMORY) {
        status = append_failure(inputs, word);
    }
cleanup:
    cli_content_free(&list);
    return status;
}

static vit_status add_stdin(classify_inputs *inputs) {
    vit_status status = take_stdin(inputs);
    if (status == VIT_OK) {
        status = cli_content_read(&inputs->picture, "-", CLI_MAX_PICTURE_BYTES);
    }
    if (status == VIT_OK) {
        return append(inputs, strdup("-"), NULL);
    }
    return status == VIT_ERROR_MEMORY ? status : append_failure(inputs, "-");
}

vit_status classify_inputs_add(classify_inputs *inputs, const char *word) {
    if (strcmp(word, "-") == 0) {
        return add_stdin(inputs);
    }
    return *word == '@' ? add_list(inputs, word) : add_path(inputs, word);
}

void classify_inputs_free(classify_inputs *inputs) {
    for (size_t i = 0; i < inputs->count; i++) {
        free(inputs->items[i].path);
        free(inputs->items[i].error);
    }
    free(inputs->items);
    cli_content_free(&inputs->picture);
    *inputs = (classify_inputs){0};
}
