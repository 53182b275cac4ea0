/* A .zpk pack: header, index, footer. Its checksums are set right first, or every change would end
 * at them. */
#include "tests/fuzz/fuzz.h"

#include "data/checksum.h"
#include "data/pack.h"
#include "data/pack_format.h"

#include <stdlib.h>
#include <string.h>

static uint64_t number_at(const uint8_t *p) {
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--) {
        value = value << 8 | p[i];
    }
    return value;
}

static void put_number(uint8_t *p, uint64_t value) {
    for (int i = 0; i < 8; i++) {
        p[i] = (uint8_t)(value >> 8 * i);
    }
}

/* The index's checksum, then that of the header and the footer's first three numbers. */
static void set_checksums(uint8_t *bytes, size_t size) {
    uint8_t *footer = bytes + size - PACK_FOOTER, summed[24 + PACK_HEADER];
    uint64_t at = number_at(footer), length = number_at(footer + 8);
    if (at <= size && length <= size - at) {
        put_number(footer + 16, vit_checksum(bytes + at, (size_t)length));
    }
    memcpy(summed, bytes, PACK_HEADER);
    memcpy(summed + PACK_HEADER, footer, 24);
    put_number(footer + 24, vit_checksum(summed, sizeof summed));
}

static void read_pack(const uint8_t *data, size_t size) {
    vit_pack *pack = NULL;
    vit_status status = vit_pack_open(fuzz_file(data, size, ".zpk"), &pack);
    fuzz_expect_message(status);
    if (status != VIT_OK) {
        return;
    }
    vit_bytes bytes = {0};
    for (size_t s = 0; s < pack->section_count; s++) {
        const vit_pack_section *section = &pack->sections[s];
        fuzz_expect(vit_pack_find(pack, section->name) != NULL, "a section is found by name");
        for (size_t i = 0; i < section->count; i++) {
            const vit_pack_entry *e = &section->entries[i];
            fuzz_expect(e->size <= size && e->offset <= size - e->size,
                        "a picture lies within the pack");
            fuzz_expect(e->class_index < section->class_count, "a picture has a class");
            fuzz_expect_message(vit_pack_read(e, &bytes, "picture"));
        }
    }
    vit_bytes_free(&bytes);
    vit_pack_close(pack);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    read_pack(data, size);
    if (size >= PACK_HEADER + PACK_FOOTER) {
        uint8_t *copy = malloc(size);
        fuzz_expect(copy != NULL, "there is memory");
        memcpy(copy, data, size);
        set_checksums(copy, size);
        read_pack(copy, size);
        free(copy);
    }
    return 0;
}
