/* Libraries that are loaded when they are first needed, so that a command that does not need them
 * starts without them. */
#ifndef VIT_LIBRARY_H
#define VIT_LIBRARY_H

#include <pthread.h>
#include <stdbool.h>

/* ---- a library of others, loaded when it is first asked for ----
 *
 *   #define ZLIB_FUNCTIONS(F) F(deflate) F(inflate)
 *   #define DECLARE(name) __typeof__(name) *name;
 *   static struct {
 *       ZLIB_FUNCTIONS(DECLARE)
 *   } zlib;
 *   static const char *const zlib_names[] = {ZLIB_FUNCTIONS(VIT_LIBRARY_NAME) NULL};
 *   static vit_lazy_library library = VIT_LAZY_LIBRARY("libz.so.1", zlib_names, "", zlib);
 *   ...
 *   if (vit_lazy_library_load(&library)) {
 *       zlib.deflate(...);
 */
typedef struct vit_lazy_library {
    const char *file;         /* "libcairo.so.2" */
    const char *const *names; /* of the functions, NULL at the end */
    const char *prefix;       /* that all names begin with */
    void *functions;          /* the struct of pointers to them, in this order */
    pthread_mutex_t mutex;
    bool tried, complete;
} vit_lazy_library;

#define VIT_LIBRARY_NAME(name) #name,
#define VIT_LAZY_LIBRARY(file, names, prefix, functions)                                           \
    { file, names, prefix, &(functions), PTHREAD_MUTEX_INITIALIZER, false, false }

/* Loads it for the life of the process and fills the struct, once; any thread may ask. False when
 * it is not there, or lacks a function. */
bool vit_lazy_library_load(vit_lazy_library *library);

/* ---- a module of our own ---- */

typedef struct vit_library {
    void *handle;
    bool complete; /* every function that was looked for is there */
} vit_library;

/* Loads it for the life of the process, with its names seen by what it loads itself, as the plugins
 * of an MPI need. False when it cannot be. */
bool vit_library_open_global(vit_library *library, const char *path);
/* The same for a path from the folder of the program or library that this code is in. */
bool vit_library_open_beside(vit_library *library, const char *file);
/* Why the last one could not be opened. */
const char *vit_library_error(void);

/* Puts the address of a function into *function, a pointer to it of whatever type; clears
 * library->complete when there is none. */
void vit_library_find(vit_library *library, const char *name, void *function);

#endif
