#include "api/handles.h"

#include "data/folder.h"
#include "vit/heap.h"

vit_status vit_find_pictures(char ***paths, size_t *count, const char *path) {
    vit_status status = VIT_OK;
    VIT_TRY(vit_check_given(paths, __func__, "paths"));
    *paths = NULL;
    VIT_TRY(vit_check_given(count, __func__, "count"));
    *count = 0;
    VIT_TRY(vit_check_given(path, __func__, "path"));
    status = vit_collect_images(path, paths, count);
    if (status != VIT_OK) {
        vit_free_paths(*paths, *count);
        *paths = NULL;
        *count = 0;
    }
cleanup:
    return status;
}

void vit_free_paths(char **paths, size_t count) {
    for (size_t i = 0; paths && i < count; i++) {
        vit_free(paths[i]);
    }
    vit_free(paths);
}
