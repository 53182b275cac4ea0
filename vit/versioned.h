/* Structs that grow from version to version of the library: the first member is the size that the
 * caller's compiler knew, and what is 0 is the default. */
#ifndef VIT_VERSIONED_H
#define VIT_VERSIONED_H

#include "vit/status.h"

/* Lays the caller's struct over *to, of which the library knows the first known bytes. A smaller
 * one, of a program built against an older header, leaves the rest as it is. A larger one, of a
 * newer header, is taken when what the library does not know is 0; else it is
 * VIT_ERROR_UNSUPPORTED. name is the struct's, for messages. */
vit_status vit_versioned_take(void *to, size_t known, const void *from, const char *name);

#endif
