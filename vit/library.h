/* Libraries that are loaded when they are first needed, so that a command that does not need them
 * starts without them. */
#ifndef VIT_LIBRARY_H
#define VIT_LIBRARY_H

#include <stdbool.h>

typedef struct vit_library {
    void *handle;
    bool complete; /* every function that was looked for is there */
} vit_library;

/* Loads the library of that name ("libcairo.so.2") for the life of the process. False when it is
 * not there. */
bool vit_library_open(vit_library *library, const char *name);

/* The same with its names seen by what it loads itself, as the plugins of an MPI need. */
bool vit_library_open_global(vit_library *library, const char *path);
/* The same for a path from the folder of the program or library that this code is in. */
bool vit_library_open_beside(vit_library *library, const char *file);
/* Why the last one could not be opened. */
const char *vit_library_error(void);

/* Puts the address of a function into *function, a pointer to it of whatever type; clears
 * library->complete when there is none. */
void vit_library_find(vit_library *library, const char *name, void *function);

#endif
