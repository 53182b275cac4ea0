#include "train/param_groups.h"

#include "vit/heap.h"

#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static size_t freeze_matching(vit_param_table *table, const char *pattern) {
    size_t count = 0;
    for (size_t i = 0; i < table->count; i++) {
        if (fnmatch(pattern, table->items[i].name, 0) == 0) {
            table->items[i].flags |= VIT_PARAM_FROZEN;
            count++;
        }
    }
    return count;
}

static vit_status check_left(const vit_param_table *table, const char *patterns) {
    for (size_t i = 0; i < table->count; i++) {
        if (!(table->items[i].flags & VIT_PARAM_FROZEN) && table->items[i].size > 0) {
            return VIT_OK;
        }
    }
    return vit_fail(VIT_ERROR_ARGUMENT,
                    "--freeze %s: every parameter (expected one to be left to train)", patterns);
}

vit_status vit_freeze(vit_param_table *table, const char *patterns) {
    vit_status status = VIT_OK;
    char *copy = vit_strdup(patterns), *rest = copy, *pattern;
    if (!copy) {
        return vit_fail(VIT_ERROR_MEMORY, "--freeze %s: out of memory", patterns);
    }
    while ((pattern = strsep(&rest, ",")) != NULL) {
        if (*pattern && freeze_matching(table, pattern) == 0) {
            VIT_TRY(vit_fail(VIT_ERROR_ARGUMENT,
                             "--freeze %s: no parameter has such a name (expected names as %s or "
                             "patterns as blocks.0.*)",
                             pattern, table->items[0].name));
        }
    }
    VIT_TRY(check_left(table, patterns));
cleanup:
    vit_free(copy);
    return status;
}

/* 0 before the blocks, i + 1 in block i, depth in the norm after the last, depth + 1 in the head.
 */
static int layer_of(const char *name, int depth) {
    if (strncmp(name, "blocks.", 7) == 0) {
        return 1 + (int)strtol(name + 7, NULL, 10);
    }
    if (strncmp(name, "norm.", 5) == 0) {
        return depth;
    }
    return strncmp(name, "head.", 5) == 0 || strncmp(name, "fc_norm.", 8) == 0 ? depth + 1 : 0;
}

void vit_layer_scales(const vit_param_table *table, int depth, double decay, float *scales) {
    for (size_t i = 0; i < table->count; i++) {
        scales[i] = (float)pow(decay, depth + 1 - layer_of(table->items[i].name, depth));
    }
}
