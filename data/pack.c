#include "data/pack.h"

#include "data/checksum.h"
#include "data/little_endian.h"
#include "data/pack_format.h"
#include "vit/arena.h"

#include <string.h>

/* What is left of the index, and the name for messages. */
typedef struct cursor {
    const uint8_t *at;
    size_t left;
    const char *path;
    const vit_file *file;
} cursor;

bool vit_pack_is_name(const char *path) {
    return vit_path_ends(path, ".zpk");
}

static vit_status fail_damaged(const char *path, const char *what) {
    return vit_fail(VIT_ERROR_FORMAT, "%s: the pack is cut short or damaged (%s)", path, what);
}

static vit_status read_number(cursor *c, size_t width, uint64_t *out) {
    if (c->left < width) {
        return fail_damaged(c->path, "its index ends early");
    }
    *out = vit_get_number(c->at, width);
    c->at += width;
    c->left -= width;
    return VIT_OK;
}

/* A malloc'ed string. */
static vit_status read_text(cursor *c, char **out) {
    uint64_t length = 0;
    vit_status status;
    VIT_TRY(read_number(c, 4, &length));
    if (length > PACK_MAX_TEXT || length > c->left || memchr(c->at, 0, (size_t)length)) {
        VIT_TRY(fail_damaged(c->path, "a name in its index is none"));
    }
    *out = vit_strndup((const char *)c->at, (size_t)length);
    if (!*out) {
        VIT_TRY(vit_fail(VIT_ERROR_MEMORY, "%s: no memory for the index", c->path));
    }
    c->at += length;
    c->left -= (size_t)length;
cleanup:
    return status;
}

/* An array of `count` items, each of which takes at least `least` bytes of the index. */
static vit_status read_array(cursor *c, size_t width, size_t least, size_t size, size_t *count,
                             void **out) {
    uint64_t n = 0;
    vit_status status = read_number(c, width, &n);
    if (status != VIT_OK) {
        return status;
    }
    if (n > c->left / least || n > UINT32_MAX) {
        return fail_damaged(c->path, "its index ends early");
    }
    *out = vit_calloc(n ? (size_t)n : 1, size);
    if (!*out) {
        return vit_fail(VIT_ERROR_MEMORY, "%s: no memory for the index", c->path);
    }
    *count = (size_t)n;
    return VIT_OK;
}

static vit_status read_classes(cursor *c, vit_pack_section *s) {
    void *block = NULL;
    vit_status status;
    VIT_TRY(read_array(c, 4, 4, sizeof *s->class_names, &s->class_count, &block));
    s->class_names = block;
    for (size_t i = 0; i < s->class_count; i++) {
        VIT_TRY(read_text(c, &s->class_names[i]));
        if (i > 0 && strcmp(s->class_names[i - 1], s->class_names[i]) >= 0) {
            VIT_TRY(fail_damaged(c->path, "its classes are not in order"));
        }
    }
cleanup:
    return status;
}

/* *at: where the next picture begins; *left: bytes up to the index. */
static vit_status read_entry(cursor *c, const vit_pack_section *s, size_t *at, uint64_t *left,
                             vit_pack_entry *e) {
    uint64_t size = 0, class_index = 0;
    vit_status status;
    VIT_TRY(read_number(c, 8, &size));
    VIT_TRY(read_number(c, 8, &e->checksum));
    VIT_TRY(read_number(c, 4, &class_index));
    VIT_TRY(read_text(c, &e->path));
    if (size > *left) {
        VIT_TRY(fail_damaged(c->path, "a picture reaches into the index"));
    }
    if (class_index >= s->class_count) {
        VIT_TRY(fail_damaged(c->path, "a picture has no class"));
    }
    e->file = c->file;
    e->offset = *at;
    e->size = (size_t)size;
    e->class_index = (uint32_t)class_index;
    *at += (size_t)size;
    *left -= size;
cleanup:
    return status;
}

static vit_status read_section(cursor *c, size_t *at, uint64_t *left, vit_pack_section *s) {
    void *block = NULL;
    vit_status status;
    VIT_TRY(read_text(c, &s->name));
    VIT_TRY(read_classes(c, s));
    VIT_TRY(read_array(c, 8, PACK_ENTRY_LEAST, sizeof *s->entries, &s->count, &block));
    s->entries = block;
    for (size_t i = 0; i < s->count; i++) {
        VIT_TRY(read_entry(c, s, at, left, &s->entries[i]));
    }
cleanup:
    return status;
}

/* left: bytes of pictures. */
static vit_status read_index(vit_pack *pack, cursor *c, uint64_t left) {
    void *block = NULL;
    size_t at = PACK_HEADER;
    vit_status status;
    VIT_TRY(
        read_array(c, 4, PACK_SECTION_LEAST, sizeof *pack->sections, &pack->section_count, &block));
    pack->sections = block;
    for (size_t i = 0; i < pack->section_count; i++) {
        VIT_TRY(read_section(c, &at, &left, &pack->sections[i]));
    }
    if (c->left != 0 || left != 0) {
        VIT_TRY(fail_damaged(c->path, "its index does not account for all bytes"));
    }
cleanup:
    return status;
}

/* Header and footer; reads the index into *index and sets the cursor to it. */
static vit_status find_index(const vit_file *file, vit_bytes *index, cursor *c,
                             uint64_t *pictures) {
    uint8_t header[PACK_HEADER], summed[PACK_HEADER + PACK_FOOTER - 8], footer[PACK_FOOTER];
    vit_status status = VIT_OK;
    size_t head = file->size < PACK_HEADER ? file->size : PACK_HEADER;
    VIT_TRY(vit_file_read_at(file, 0, head, header, c->path));
    if (head < 8 || memcmp(header, PACK_MAGIC, 8) != 0) {
        return vit_fail(VIT_ERROR_FORMAT,
                        "%s: no pack (expected a file that zvit pack has written)", c->path);
    }
    if (file->size < PACK_HEADER + PACK_FOOTER) {
        return fail_damaged(c->path, "it ends within its header");
    }
    uint64_t version = vit_get_number(header + 8, 4);
    if (version != VIT_PACK_VERSION) {
        return vit_fail(VIT_ERROR_UNSUPPORTED, "%s: a pack of version %llu (expected %d)", c->path,
                        (unsigned long long)version, VIT_PACK_VERSION);
    }
    size_t end = file->size - PACK_FOOTER;
    VIT_TRY(vit_file_read_at(file, end, PACK_FOOTER, footer, c->path));
    memcpy(summed, header, PACK_HEADER);
    memcpy(summed + PACK_HEADER, footer, PACK_FOOTER - 8);
    uint64_t at = vit_get_number(footer, 8), size = vit_get_number(footer + 8, 8);
    if (vit_checksum(summed, sizeof summed) != vit_get_number(footer + 24, 8) || at < PACK_HEADER ||
        at > end || size != end - at) {
        return fail_damaged(c->path, "its end is not where it should be");
    }
    VIT_TRY(vit_bytes_reserve(index, size ? (size_t)size : 1, c->path));
    VIT_TRY(vit_file_read_at(file, (size_t)at, (size_t)size, index->data, c->path));
    if (vit_checksum(index->data, (size_t)size) != vit_get_number(footer + 16, 8)) {
        return fail_damaged(c->path, "its index has changed");
    }
    c->at = index->data;
    c->left = (size_t)size;
    *pictures = at - PACK_HEADER;
cleanup:
    return status;
}

vit_status vit_pack_open(const char *path, vit_pack **out) {
    void *block = NULL;
    vit_pack *pack = NULL;
    vit_bytes index = {0};
    uint64_t pictures = 0;
    vit_status status;
    *out = NULL;
    VIT_TRY(vit_alloc(&block, 1, sizeof *pack, "pack"));
    pack = block;
    VIT_TRY(vit_file_open(path, &pack->file));
    vit_file_expect_random(&pack->file); /* each picture is announced whole before it is read */
    cursor c = {.path = path, .file = &pack->file};
    VIT_TRY(find_index(&pack->file, &index, &c, &pictures));
    VIT_TRY(read_index(pack, &c, pictures));
    *out = pack;
    pack = NULL;
cleanup:
    vit_bytes_free(&index);
    vit_pack_close(pack);
    return status;
}

void vit_pack_close(vit_pack *pack) {
    if (!pack) {
        return;
    }
    for (size_t i = 0; i < pack->section_count; i++) {
        vit_pack_section *s = &pack->sections[i];
        for (size_t j = 0; j < s->class_count; j++) {
            vit_free(s->class_names[j]);
        }
        for (size_t j = 0; j < s->count; j++) {
            vit_free(s->entries[j].path);
        }
        vit_free(s->name);
        vit_free(s->class_names);
        vit_free(s->entries);
    }
    vit_free(pack->sections);
    vit_file_close(&pack->file);
    vit_free(pack);
}

const vit_pack_section *vit_pack_find(const vit_pack *pack, const char *name) {
    for (size_t i = 0; i < pack->section_count; i++) {
        if (strcmp(pack->sections[i].name, name) == 0) {
            return &pack->sections[i];
        }
    }
    return NULL;
}

vit_status vit_pack_read(const vit_pack_entry *entry, vit_bytes *bytes, const char *what) {
    vit_status status = VIT_OK;
    VIT_TRY(vit_bytes_reserve(bytes, entry->size ? entry->size : 1, what));
    VIT_TRY(vit_file_read_at(entry->file, entry->offset, entry->size, bytes->data, what));
    bytes->size = entry->size;
    if (vit_checksum(bytes->data, bytes->size) != entry->checksum) {
        VIT_TRY(vit_fail(VIT_ERROR_FORMAT,
                         "%s: its bytes in the pack have changed (expected the checksum %016llx)",
                         what, (unsigned long long)entry->checksum));
    }
cleanup:
    return status;
}
