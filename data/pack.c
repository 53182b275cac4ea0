#include "data/pack.h"

#include "data/checksum.h"
#include "data/pack_format.h"
#include "vit/arena.h"

#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

/* What is left of the index, and the name for messages. */
typedef struct cursor {
    const uint8_t *at;
    size_t left;
    const char *path;
} cursor;

bool vit_pack_is_name(const char *path) {
    const char *dot = strrchr(path, '.');
    return dot && strcasecmp(dot, ".zpk") == 0;
}

static vit_status fail_damaged(const char *path, const char *what) {
    return vit_fail(VIT_ERROR_FORMAT, "%s: the pack is cut short or damaged (%s)", path, what);
}

static uint64_t number_at(const uint8_t *p, size_t width) {
    uint64_t x = 0;
    for (size_t i = 0; i < width; i++) {
        x |= (uint64_t)p[i] << (8 * i);
    }
    return x;
}

static vit_status read_number(cursor *c, size_t width, uint64_t *out) {
    if (c->left < width) {
        return fail_damaged(c->path, "its index ends early");
    }
    *out = number_at(c->at, width);
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

/* *bytes: where the next picture begins; *left: bytes up to the index. */
static vit_status read_entry(cursor *c, const vit_pack_section *s, const uint8_t **bytes,
                             uint64_t *left, vit_pack_entry *e) {
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
    e->bytes = *bytes;
    e->size = (size_t)size;
    e->class_index = (uint32_t)class_index;
    *bytes += size;
    *left -= size;
cleanup:
    return status;
}

static vit_status read_section(cursor *c, const uint8_t **bytes, uint64_t *left,
                               vit_pack_section *s) {
    void *block = NULL;
    vit_status status;
    VIT_TRY(read_text(c, &s->name));
    VIT_TRY(read_classes(c, s));
    VIT_TRY(read_array(c, 8, PACK_ENTRY_LEAST, sizeof *s->entries, &s->count, &block));
    s->entries = block;
    for (size_t i = 0; i < s->count; i++) {
        VIT_TRY(read_entry(c, s, bytes, left, &s->entries[i]));
    }
cleanup:
    return status;
}

static vit_status read_index(vit_pack *pack, cursor *c, const uint8_t *bytes, uint64_t left) {
    void *block = NULL;
    vit_status status;
    VIT_TRY(
        read_array(c, 4, PACK_SECTION_LEAST, sizeof *pack->sections, &pack->section_count, &block));
    pack->sections = block;
    for (size_t i = 0; i < pack->section_count; i++) {
        VIT_TRY(read_section(c, &bytes, &left, &pack->sections[i]));
    }
    if (c->left != 0 || left != 0) {
        VIT_TRY(fail_damaged(c->path, "its index does not account for all bytes"));
    }
cleanup:
    return status;
}

/* Pictures are read in any order, so the kernel is not to read what lies around them; each is asked
 * for whole (vit_sample_announce), as is the index. Only hints. */
static void advise(const void *data, size_t size, int advice) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), within = (uintptr_t)data & (page - 1);
    (void)madvise((void *)((uintptr_t)data - within), size + within, advice);
}

/* Header and footer; sets the cursor to the index. */
static vit_status find_index(const vit_mapping *file, cursor *c) {
    const uint8_t *start = file->data;
    if (file->size < 8 || memcmp(start, PACK_MAGIC, 8) != 0) {
        return vit_fail(VIT_ERROR_FORMAT,
                        "%s: no pack (expected a file that zvit pack has written)", c->path);
    }
    if (file->size < PACK_HEADER + PACK_FOOTER) {
        return fail_damaged(c->path, "it ends within its header");
    }
    uint64_t version = number_at(start + 8, 4);
    if (version != VIT_PACK_VERSION) {
        return vit_fail(VIT_ERROR_UNSUPPORTED, "%s: a pack of version %llu (expected %d)", c->path,
                        (unsigned long long)version, VIT_PACK_VERSION);
    }
    size_t end = file->size - PACK_FOOTER;
    const uint8_t *footer = start + end;
    uint8_t summed[PACK_HEADER + PACK_FOOTER - 8];
    memcpy(summed, start, PACK_HEADER);
    memcpy(summed + PACK_HEADER, footer, PACK_FOOTER - 8);
    uint64_t at = number_at(footer, 8), size = number_at(footer + 8, 8);
    if (vit_checksum(summed, sizeof summed) != number_at(footer + 24, 8) || at < PACK_HEADER ||
        at > end || size != end - at) {
        return fail_damaged(c->path, "its end is not where it should be");
    }
    advise(start + at, (size_t)size, MADV_WILLNEED);
    if (vit_checksum(start + at, (size_t)size) != number_at(footer + 16, 8)) {
        return fail_damaged(c->path, "its index has changed");
    }
    c->at = start + at;
    c->left = (size_t)size;
    return VIT_OK;
}

vit_status vit_pack_open(const char *path, vit_pack **out) {
    void *block = NULL;
    vit_pack *pack = NULL;
    cursor c = {.path = path};
    vit_status status;
    *out = NULL;
    VIT_TRY(vit_alloc(&block, 1, sizeof *pack, "pack"));
    pack = block;
    VIT_TRY(vit_file_map(path, &pack->file));
    advise(pack->file.data, pack->file.size, MADV_RANDOM);
    VIT_TRY(find_index(&pack->file, &c));
    const uint8_t *bytes = (const uint8_t *)pack->file.data + PACK_HEADER;
    VIT_TRY(read_index(pack, &c, bytes, (uint64_t)(c.at - bytes)));
    *out = pack;
    pack = NULL;
cleanup:
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
    vit_file_unmap(&pack->file);
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

vit_status vit_pack_check(const vit_pack_entry *entry, const char *what) {
    if (vit_checksum(entry->bytes, entry->size) != entry->checksum) {
        return vit_fail(VIT_ERROR_FORMAT,
                        "%s: its bytes in the pack have changed (expected the checksum %016llx)",
                        what, (unsigned long long)entry->checksum);
    }
    return VIT_OK;
}
