#include "vit/library.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool open_with(vit_library *library, const char *name, int flags) {
    library->handle = dlopen(name, RTLD_NOW | flags);
    library->complete = library->handle != NULL;
    return library->complete;
}

bool vit_library_open_global(vit_library *library, const char *path) {
    return open_with(library, path, RTLD_GLOBAL);
}

/* The linker knows a program by the word that it was called with, which need not say where it is.
 */
static bool own_path(char *path, size_t size) {
    static const char here = 0;
    Dl_info info;
    if (!dladdr(&here, &info) || !info.dli_fname) {
        return false;
    }
    if (strcmp(info.dli_fname, program_invocation_name) != 0) {
        return (size_t)snprintf(path, size, "%s", info.dli_fname) < size;
    }
    ssize_t length = readlink("/proc/self/exe", path, size - 1);
    path[length < 0 ? 0 : length] = 0;
    return length > 0;
}

bool vit_library_open_beside(vit_library *library, const char *file) {
    char own[PATH_MAX], path[2 * PATH_MAX];
    *library = (vit_library){0};
    if (!own_path(own, sizeof own)) {
        return false;
    }
    char *slash = strrchr(own, '/');
    snprintf(path, sizeof path, "%.*s%s", slash ? (int)(slash - own) + 1 : 0, own, file);
    return vit_library_open_global(library, path);
}

const char *vit_library_error(void) {
    const char *error = dlerror();
    return error ? error : "no reason given";
}

void vit_library_find(vit_library *library, const char *name, void *function) {
    void *address = dlsym(library->handle, name);
    /* POSIX lets a void pointer hold a function's address; C has no cast for it. */
    memcpy(function, &address, sizeof address);
    library->complete = library->complete && address != NULL;
}

/* POSIX has pointers to functions of whatever type of one size. */
static bool find_all(const vit_lazy_library *lazy) {
    vit_library library;
    char *functions = lazy->functions;
    if (!open_with(&library, lazy->file, RTLD_LOCAL)) {
        return false;
    }
    for (size_t i = 0; lazy->names[i]; i++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s", lazy->prefix, lazy->names[i]);
        vit_library_find(&library, name, functions + i * sizeof(void (*)(void)));
    }
    return library.complete;
}

bool vit_lazy_library_load(vit_lazy_library *library) {
    pthread_mutex_lock(&library->mutex);
    if (!library->tried) {
        library->complete = find_all(library);
        library->tried = true;
    }
    bool complete = library->complete;
    pthread_mutex_unlock(&library->mutex);
    return complete;
}
