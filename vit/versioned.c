#include "vit/versioned.h"

#include <string.h>

static vit_status check_size(size_t size, size_t known, const char *name) {
    /* No struct of ours is a hundred times as large as it is today. */
    if (size < sizeof(size_t) || size > 100 * known) {
        return vit_fail(VIT_ERROR_ARGUMENT, "%s: its size is %zu (expected sizeof(%s))", name, size,
                        name);
    }
    return VIT_OK;
}

vit_status vit_versioned_take(void *to, size_t known, const void *from, const char *name) {
    size_t size;
    memcpy(&size, from, sizeof size);
    vit_status status = check_size(size, known, name);
    for (size_t i = known; status == VIT_OK && i < size; i++) {
        if (((const unsigned char *)from)[i]) {
            status =
                vit_fail(VIT_ERROR_UNSUPPORTED,
                         "%s: a member that this zvit, %s, does not know is set (expected 0 at "
                         "byte %zu)",
                         name, vit_version(), i);
        }
    }
    if (status == VIT_OK) {
        memcpy(to, from, size < known ? size : known);
    }
    return status;
}
