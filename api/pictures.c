#include "api/handles.h"

#include "data/folder.h"
#include "vit/heap.h"

vit_status vit_find_pictures(char ***paths, size_t *count, const char *path) {
    *paths = NULL;
    *count = 0;
    vit_status status = vit_check_given(path, "vit_find_pictures", "path");
    if (status == VIT_OK) {
        status = vit_collect_images(path, paths, count);
    }
    if (status != VIT_OK) {
        vit_free_paths(*paths, *count);
        *paths = NULL;
        *count = 0;
    }
    return status;
}

void vit_free_paths(char **paths, size_t count) {
    for (size_t i = 0; paths && i < count; i++) {
        vit_free(paths[i]);
    }
    vit_free(paths);
}
