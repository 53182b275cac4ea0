#include "data/classes.h"

#include "vit/file.h"
#include "vit/heap.h"

#include <stdlib.h>
#include <string.h>

#define MAX_ORDER_BYTES ((size_t)64 << 20)

/* ---- orders ---- */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Two numbers of any length: the longer one, without leading zeros, is the larger. */
static int compare_digits(const char **a, const char **b) {
    *a += strspn(*a, "0");
    *b += strspn(*b, "0");
    size_t m = strspn(*a, "0123456789"), n = strspn(*b, "0123456789");
    int order = m != n ? (m < n ? -1 : 1) : strncmp(*a, *b, m);
    *a += m;
    *b += n;
    return order;
}

/* Numbers by their value, all else by bytes; what is then equal ("1", "01") by bytes. */
static int compare_natural(const void *left, const void *right) {
    const char *a = *(char *const *)left, *b = *(char *const *)right;
    while (*a && *b) {
        if (is_digit(*a) && is_digit(*b)) {
            int order = compare_digits(&a, &b);
            if (order != 0) {
                return order;
            }
        } else if (*a != *b) {
            break;
        } else {
            a++;
            b++;
        }
    }
    int order = (unsigned char)*a - (unsigned char)*b;
    return order ? order : strcmp(*(char *const *)left, *(char *const *)right);
}

/* A name on each line; empty lines are passed over. */
static vit_status read_order(const char *path, vit_name_list *names) {
    vit_bytes bytes = {0};
    vit_status status;
    VIT_TRY(vit_file_read(path, MAX_ORDER_BYTES, &bytes));
    for (size_t at = 0; at < bytes.size;) {
        const char *line = (const char *)bytes.data + at;
        const char *stop = memchr(line, '\n', bytes.size - at);
        size_t length = stop ? (size_t)(stop - line) : bytes.size - at;
        at += length + 1;
        length -= length && line[length - 1] == '\r';
        if (length) {
            VIT_TRY(vit_list_add(names, vit_strndup(line, length), path));
        }
    }
cleanup:
    vit_bytes_free(&bytes);
    return status;
}

/* ---- labels by name ---- */

typedef struct known_class {
    const char *name;
    int label;
} known_class;

static int compare_known(const void *a, const void *b) {
    return strcmp(((const known_class *)a)->name, ((const known_class *)b)->name);
}

static vit_status fail_unknown(const vit_dataset *d, const vit_dataset_query *query,
                               const char *name, const known_class *known) {
    if (query->known_classes) {
        return vit_fail(VIT_ERROR_FORMAT,
                        "%s/%s: not a class of the model (expected one of its %zu classes, '%s' "
                        "to '%s')",
                        d->root, name, d->class_count, known[0].name,
                        known[d->class_count - 1].name);
    }
    return vit_fail(VIT_ERROR_FORMAT, "%s: class '%s' is not in --class-order %s", d->root, name,
                    query->class_order);
}

static vit_status match(const vit_dataset *d, const vit_dataset_query *query,
                        const vit_name_list *present, const known_class *known, int *labels) {
    size_t matched = 0;
    for (size_t i = 1; i < d->class_count; i++) {
        if (strcmp(known[i - 1].name, known[i].name) == 0) {
            return vit_fail(VIT_ERROR_FORMAT, "%s: class '%s' is named twice",
                            query->known_classes ? d->root : query->class_order, known[i].name);
        }
    }
    for (size_t i = 0; i < present->count; i++) {
        known_class key = {.name = present->names[i]};
        const known_class *found =
            bsearch(&key, known, d->class_count, sizeof *known, compare_known);
        if (!found) {
            return fail_unknown(d, query, key.name, known);
        }
        labels[i] = found->label;
        matched++;
    }
    if (!query->known_classes && matched < d->class_count) {
        return vit_fail(VIT_ERROR_FORMAT,
                        "%s: %zu of the %zu classes in it have no pictures in %s (expected all of "
                        "them)",
                        query->class_order, d->class_count - matched, d->class_count, d->root);
    }
    return VIT_OK;
}

static vit_status label_present(const vit_dataset *d, const vit_dataset_query *query,
                                const vit_name_list *present, int *labels) {
    known_class *known = vit_reallocarray(NULL, d->class_count, sizeof *known);
    if (!known) {
        return vit_list_no_memory(d->root);
    }
    for (size_t i = 0; i < d->class_count; i++) {
        known[i] = (known_class){d->class_names[i], (int)i};
    }
    qsort(known, d->class_count, sizeof *known, compare_known);
    vit_status status = match(d, query, present, known, labels);
    vit_free(known);
    return status;
}

/* RUN/classes.txt and lists have a line for each. A model of others may have any names. */
static vit_status check_lines(const vit_dataset *d) {
    for (size_t i = 0; i < d->class_count; i++) {
        if (strpbrk(d->class_names[i], "\r\n")) {
            return vit_fail(VIT_ERROR_FORMAT,
                            "%s: class '%.200s' has a line break in its name (expected a name on "
                            "one line)",
                            d->root, d->class_names[i]);
        }
    }
    return VIT_OK;
}

static vit_status copy_names(vit_dataset *d, const char *const *names, size_t count) {
    if (count == 0 || count > INT_MAX) {
        return vit_fail(VIT_ERROR_ARGUMENT, "%s: a model of %zu classes (expected 1 to %d)",
                        d->root, count, INT_MAX);
    }
    d->class_names = vit_calloc(count, sizeof *d->class_names);
    if (!d->class_names) {
        return vit_list_no_memory(d->root);
    }
    d->class_count = count;
    for (size_t i = 0; i < count; i++) {
        d->class_names[i] = vit_strdup(names[i]);
        if (!d->class_names[i]) {
            return vit_list_no_memory(d->root);
        }
    }
    return VIT_OK;
}

vit_status vit_classes_make(vit_dataset *d, const vit_dataset_query *query,
                            const vit_name_list *present, int *labels) {
    const char *order = query->class_order ? query->class_order : "name";
    bool natural = strcmp(order, "natural") == 0;
    vit_name_list file = {0};
    vit_status status = VIT_OK;
    if (query->known_classes) {
        VIT_TRY(copy_names(d, query->known_classes, query->known_count));
    } else if (natural || strcmp(order, "name") == 0) {
        VIT_TRY(copy_names(d, (const char *const *)present->names, present->count));
    } else {
        VIT_TRY(read_order(order, &file));
        VIT_TRY(copy_names(d, (const char *const *)file.names, file.count));
    }
    VIT_TRY(query->known_classes ? VIT_OK : check_lines(d));
    if (!query->known_classes && natural) {
        qsort(d->class_names, d->class_count, sizeof *d->class_names, compare_natural);
    }
    VIT_TRY(label_present(d, query, present, labels));
cleanup:
    vit_list_free(&file);
    return status;
}
