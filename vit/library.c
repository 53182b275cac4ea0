#include "vit/library.h"

#include <dlfcn.h>
#include <string.h>

bool vit_library_open(vit_library *library, const char *name) {
    library->handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    library->complete = library->handle != NULL;
    return library->complete;
}

void vit_library_find(vit_library *library, const char *name, void *function) {
    void *address = dlsym(library->handle, name);
    /* POSIX lets a void pointer hold a function's address; C has no cast for it. */
    memcpy(function, &address, sizeof address);
    library->complete = library->complete && address != NULL;
}
