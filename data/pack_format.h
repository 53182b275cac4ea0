/* Sizes in a pack that its reader and its writer share; data/pack.h describes the format. Private
 * to data/. */
#ifndef VIT_PACK_FORMAT_H
#define VIT_PACK_FORMAT_H

#define PACK_MAGIC "zvitpack"
enum {
    PACK_HEADER = 16,
    PACK_FOOTER = 32,
    PACK_SECTION_LEAST = 16, /* bytes of an empty section in the index */
    PACK_ENTRY_LEAST = 24,
    PACK_MAX_TEXT = 65536
};

#endif
