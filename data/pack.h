/* A pack: one file with all pictures of a data set, each read where the index says it lies.
 *
 * All numbers are little-endian; a text is its length in bytes as u32, then the bytes.
 *   header   "zvitpack", u32 version 1, u32 0
 *   pictures one after another, in the index's order: JPEG or PNG files
 *   index    u32 sections; each: text name ("train", "val", "" when the data had no splits),
 *            u32 classes, their names sorted by bytes; u64 pictures; each: u64 size, u64 checksum,
 *            u32 class, text path
 *   footer   u64 position of the index, u64 its size, u64 its checksum, u64 checksum of the three
 *            and the header
 * A picture's path is the one it had below DATA. Checksums are vit_checksum's. */
#ifndef VIT_PACK_H
#define VIT_PACK_H

#include "data/folder.h"
#include "data/image.h"

#define VIT_PACK_VERSION 1

/* ---- reading ---- */

typedef struct vit_pack_entry {
    const vit_file *file; /* of its pack */
    size_t offset, size;  /* of the picture in it */
    uint64_t checksum;
    uint32_t class_index;
    char *path;
} vit_pack_entry;

typedef struct vit_pack_section {
    char *name;
    char **class_names; /* sorted */
    size_t class_count;
    vit_pack_entry *entries;
    size_t count;
} vit_pack_section;

typedef struct vit_pack {
    vit_file file;
    vit_pack_section *sections;
    size_t section_count;
} vit_pack;

/* Checks header, index and footer: sizes, checksums, that the pictures lie within the file, without
 * gaps. The pictures' own checksums are checked when they are read. */
vit_status vit_pack_open(const char *path, vit_pack **out);
void vit_pack_close(vit_pack *pack);
/* NULL when there is none of that name. */
const vit_pack_section *vit_pack_find(const vit_pack *pack, const char *name);
/* The picture's bytes; what names it. Fails with VIT_ERROR_FORMAT when they have changed. */
vit_status vit_pack_read(const vit_pack_entry *entry, vit_bytes *bytes, const char *what);
/* True for names that end in .zpk, in any case. */
bool vit_pack_is_name(const char *path);

/* ---- writing ---- */

typedef struct vit_pack_options {
    size_t short_side; /* larger pictures are shrunk to this and become JPEGs; 0: all stay as they
                          are */
    vit_decode_options decode;
    double val_split; /* as vit_dataset_query */
    bool skip;        /* unreadable pictures are left out instead of failing */
    int threads;
    /* Called now and then; may be NULL. */
    void (*progress)(void *context, size_t done, size_t total);
    void *context;
} vit_pack_options;

typedef struct vit_pack_result {
    size_t pictures, shrunk, skipped;
    uint64_t bytes_read, bytes_written; /* of pictures */
    char first_skipped[VIT_MESSAGE_MAX];
} vit_pack_result;

/* Packs every split of data that vit_dataset_find finds. With short_side, the pictures are decoded,
 * and those whose short side is longer are resized as by the evaluation transform (bicubic) and
 * encoded as JPEG of quality 95; the others' bytes stay as they are. */
vit_status vit_pack_write(const char *data, const char *path, const vit_pack_options *options,
                          vit_pack_result *result);

#endif
