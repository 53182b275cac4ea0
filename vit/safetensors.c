#include "vit/safetensors.h"

#include "vit/file.h"
#include "vit/heap.h"
#include "vit/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "tensors are used as they lie in the file, and safetensors is little-endian");

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [VIT_F32] = {"F32", 4},   [VIT_F64] = {"F64", 8}, [VIT_F16] = {"F16", 2},
    [VIT_BF16] = {"BF16", 2}, [VIT_I64] = {"I64", 8}, [VIT_I32] = {"I32", 4},
    [VIT_I16] = {"I16", 2},   [VIT_I8] = {"I8", 1},   [VIT_U8] = {"U8", 1},
    [VIT_BOOL] = {"BOOL", 1},
};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

size_t vit_dtype_size(vit_dtype dtype) {
    return (unsigned)dtype < DTYPES ? dtypes[dtype].size : 0;
}

const char *vit_dtype_name(vit_dtype dtype) {
    return (unsigned)dtype < DTYPES ? dtypes[dtype].name : "unknown";
}

void vit_shape_text(int ndim, const size_t *shape, char *buffer, size_t size) {
    size_t used = (size_t)snprintf(buffer, size, "[");
    for (int i = 0; i < ndim && used < size; i++) {
        used += (size_t)snprintf(buffer + used, size - used, "%s%zu", i ? ", " : "", shape[i]);
    }
    if (used < size) {
        snprintf(buffer + used, size - used, "]");
    }
}

typedef struct entry {
    vit_tensor tensor;
    size_t begin, end; /* bytes from the start of the data section */
} entry;

struct vit_safetensors {
    vit_file source;   /* none when the bytes are in memory */
    const char *bytes; /* the data in memory, or NULL */
    size_t start;      /* of the data in the source */
    size_t data_size;
    vit_json *header; /* owns names and metadata */
    const vit_json *metadata;
    entry *entries; /* in the header's order */
    size_t count;
    size_t *by_name;
    const char *what; /* while opening: for messages */
};

static bool to_size(const vit_json *node, size_t *out) {
    double value = vit_json_number(node, -1);
    if (!(value >= 0 && value < VIT_JSON_MAX_WHOLE) || value > (double)SIZE_MAX / 2 ||
        value != (double)(uint64_t)value) {
        return false;
    }
    *out = (size_t)value;
    return true;
}

static vit_status read_dtype(const vit_safetensors *file, const vit_json *node, entry *e) {
    const char *name = vit_json_string(vit_json_get(node, "dtype"), NULL);
    if (!name) {
        return vit_fail(VIT_ERROR_FORMAT, "%s: tensor %.200s: no \"dtype\" (expected a string)",
                        file->what, e->tensor.name);
    }
    for (int i = 0; i < DTYPES; i++) {
        if (strcmp(name, dtypes[i].name) == 0) {
            e->tensor.dtype = (vit_dtype)i;
            return VIT_OK;
        }
    }
    return vit_fail(
        VIT_ERROR_UNSUPPORTED,
        "%s: tensor %.200s: dtype %.40s (expected one of F32, F64, F16, BF16, I64, I32, "
        "I16, I8, U8, BOOL)",
        file->what, e->tensor.name, name);
}

/* Shape, and the number of elements; *bytes is what they take. */
static vit_status read_shape(const vit_safetensors *file, const vit_json *node, entry *e,
                             size_t *bytes) {
    const vit_json *shape = vit_json_get(node, "shape");
    vit_tensor *tensor = &e->tensor;
    if (!vit_json_is_array(shape)) {
        return vit_fail(VIT_ERROR_FORMAT, "%s: tensor %.200s: no \"shape\" (expected an array)",
                        file->what, tensor->name);
    }
    size_t count = 1;
    for (const vit_json *d = vit_json_first(shape); d; d = vit_json_next(d)) {
        if (tensor->ndim == VIT_TENSOR_MAX_DIMS) {
            return vit_fail(VIT_ERROR_UNSUPPORTED,
                            "%s: tensor %.200s: more dimensions than %d (shape has %zu)",
                            file->what, tensor->name, VIT_TENSOR_MAX_DIMS, vit_json_count(shape));
        }
        size_t size;
        if (!to_size(d, &size)) {
            return vit_fail(
                VIT_ERROR_FORMAT,
                "%s: tensor %.200s: dimension %d of its shape is %.17g (expected a whole "
                "number from 0 to 2^53)",
                file->what, tensor->name, tensor->ndim, vit_json_number(d, NAN));
        }
        tensor->shape[tensor->ndim++] = size;
        if (__builtin_mul_overflow(count, size, &count)) {
            return vit_fail(VIT_ERROR_LIMIT, "%s: tensor %.200s: its shape does not fit in memory",
                            file->what, tensor->name);
        }
    }
    tensor->count = count;
    if (__builtin_mul_overflow(tensor->count, vit_dtype_size(tensor->dtype), bytes)) {
        return vit_fail(VIT_ERROR_LIMIT, "%s: tensor %.200s: its shape does not fit in memory",
                        file->what, tensor->name);
    }
    return VIT_OK;
}

static vit_status read_offsets(const vit_safetensors *file, const vit_json *node, size_t bytes,
                               size_t data_size, entry *e) {
    const vit_json *offsets = vit_json_get(node, "data_offsets");
    const vit_json *first = vit_json_first(offsets);
    const vit_json *second = vit_json_next(first);
    if (!vit_json_is_array(offsets) || vit_json_next(second) || !to_size(first, &e->begin) ||
        !to_size(second, &e->end)) {
        return vit_fail(
            VIT_ERROR_FORMAT,
            "%s: tensor %.200s: bad \"data_offsets\" (expected two whole numbers from 0 to "
            "2^53)",
            file->what, e->tensor.name);
    }
    if (e->begin > e->end || e->end > data_size) {
        return vit_fail(
            VIT_ERROR_FORMAT,
            "%s: tensor %.200s: data_offsets %zu to %zu lie outside of the data (expected "
            "0 to %zu; is the file cut short?)",
            file->what, e->tensor.name, e->begin, e->end, data_size);
    }
    if (e->end - e->begin != bytes) {
        return vit_fail(
            VIT_ERROR_FORMAT,
            "%s: tensor %.200s: data_offsets hold %zu bytes (expected %zu for its shape "
            "and dtype)",
            file->what, e->tensor.name, e->end - e->begin, bytes);
    }
    return VIT_OK;
}

static vit_status read_entry(const vit_safetensors *file, const vit_json *node, entry *e) {
    vit_status status = VIT_OK;
    e->tensor.name = vit_json_key(node);
    if (!vit_json_is_object(node)) {
        return vit_fail(VIT_ERROR_FORMAT, "%s: tensor %.200s: its entry is not an object",
                        file->what, e->tensor.name);
    }
    size_t bytes = 0;
    VIT_TRY(read_dtype(file, node, e));
    VIT_TRY(read_shape(file, node, e, &bytes));
    VIT_TRY(read_offsets(file, node, bytes, file->data_size, e));
    e->tensor.offset = e->begin;
    e->tensor.data = file->bytes ? file->bytes + e->begin : NULL;
cleanup:
    return status;
}

static vit_status check_metadata(vit_safetensors *file, const vit_json *node) {
    if (!vit_json_is_object(node)) {
        return vit_fail(VIT_ERROR_FORMAT, "%s: __metadata__ is not an object", file->what);
    }
    for (const vit_json *m = vit_json_first(node); m; m = vit_json_next(m)) {
        if (!vit_json_string(m, NULL)) {
            return vit_fail(VIT_ERROR_FORMAT, "%s: metadata %.200s is not a string", file->what,
                            vit_json_key(m));
        }
    }
    file->metadata = node;
    return VIT_OK;
}

static int compare_offsets(const void *a, const void *b) {
    const entry *x = *(const entry *const *)a, *y = *(const entry *const *)b;
    if (x->begin != y->begin) {
        return x->begin < y->begin ? -1 : 1;
    }
    return x->end == y->end ? 0 : x->end < y->end ? -1 : 1;
}

/* Every byte of the data belongs to exactly one tensor, as the format demands. */
static vit_status check_coverage(const vit_safetensors *file, const entry **sorted,
                                 size_t data_size) {
    for (size_t i = 0; i < file->count; i++) {
        sorted[i] = &file->entries[i];
    }
    qsort(sorted, file->count, sizeof *sorted, compare_offsets);
    size_t at = 0;
    for (size_t i = 0; i < file->count; i++) {
        if (sorted[i]->begin != at) {
            return vit_fail(
                VIT_ERROR_FORMAT,
                "%s: tensor %.200s: its data begins at %zu (expected %zu: data may neither "
                "overlap nor leave a gap)",
                file->what, sorted[i]->tensor.name, sorted[i]->begin, at);
        }
        at = sorted[i]->end;
    }
    if (at != data_size) {
        return vit_fail(VIT_ERROR_FORMAT, "%s: %zu bytes of data (expected %zu by its header)",
                        file->what, data_size, at);
    }
    return VIT_OK;
}

static int compare_names(const void *a, const void *b, void *context) {
    const entry *entries = context;
    return strcmp(entries[*(const size_t *)a].tensor.name, entries[*(const size_t *)b].tensor.name);
}

static vit_status index_entries(vit_safetensors *file, size_t data_size) {
    size_t room = file->count ? file->count : 1;
    const entry **sorted = vit_calloc(room, sizeof *sorted);
    file->by_name = vit_calloc(room, sizeof *file->by_name);
    vit_status status = VIT_OK;
    if (!sorted || !file->by_name) {
        status =
            vit_fail(VIT_ERROR_MEMORY, "%s: out of memory (%zu tensors)", file->what, file->count);
        goto cleanup;
    }
    VIT_TRY(check_coverage(file, sorted, data_size));
    for (size_t i = 0; i < file->count; i++) {
        file->by_name[i] = i;
    }
    qsort_r(file->by_name, file->count, sizeof *file->by_name, compare_names, file->entries);
cleanup:
    vit_free(sorted);
    return status;
}

/* The length of the header after its 8 bytes, of which the file has `size` in all. A picture and a
 * model are easily given in the wrong order. */
static vit_status check_length(const vit_safetensors *file, uint64_t length, size_t size) {
    static const unsigned char jpeg[] = {0xff, 0xd8, 0xff}, png[] = {0x89, 'P', 'N', 'G'};
    if (memcmp(&length, jpeg, sizeof jpeg) == 0 || memcmp(&length, png, sizeof png) == 0) {
        return vit_fail(VIT_ERROR_FORMAT, "%s: is a picture (expected a model: a safetensors file)",
                        file->what);
    }
    if (length > VIT_SAFETENSORS_MAX_HEADER) {
        return vit_fail(VIT_ERROR_LIMIT,
                        "%s: a header of %llu bytes (expected at most %u; is this a safetensors "
                        "file?)",
                        file->what, (unsigned long long)length, VIT_SAFETENSORS_MAX_HEADER);
    }
    if (length > size - 8) {
        return vit_fail(VIT_ERROR_FORMAT, "%s: cut short: a header of %llu bytes, %zu are there",
                        file->what, (unsigned long long)length, size - 8);
    }
    return VIT_OK;
}

/* The header's text: in memory, or read from the file into *buffer. */
static vit_status read_text(vit_safetensors *file, const void *bytes, size_t size,
                            vit_bytes *buffer, const char **text, size_t *length) {
    uint64_t announced;
    vit_status status = VIT_OK;
    if (size < sizeof announced) {
        return vit_fail(VIT_ERROR_FORMAT, "%s: cut short: %zu bytes (expected 8 and a header)",
                        file->what, size);
    }
    if (bytes) {
        memcpy(&announced, bytes, sizeof announced);
    } else {
        VIT_TRY(vit_file_read_at(&file->source, 0, sizeof announced, &announced, file->what));
    }
    VIT_TRY(check_length(file, announced, size));
    *length = (size_t)announced;
    if (!bytes && *length > 0) {
        VIT_TRY(vit_bytes_reserve(buffer, *length, file->what));
        VIT_TRY(vit_file_read_at(&file->source, 8, *length, buffer->data, file->what));
    }
    *text = bytes ? (const char *)bytes + 8 : (const char *)buffer->data;
    if (*length == 0 || **text != '{') {
        VIT_TRY(vit_fail(VIT_ERROR_FORMAT,
                         "%s: the header does not begin with '{' (is this a safetensors file?)",
                         file->what));
    }
cleanup:
    return status;
}

/* The parsed header, and where the data is. */
static vit_status read_header(vit_safetensors *file, const void *bytes, size_t size) {
    vit_status status = VIT_OK;
    vit_bytes buffer = {0};
    const char *text = NULL;
    size_t length = 0;
    VIT_TRY(read_text(file, bytes, size, &buffer, &text, &length));
    file->start = 8 + length;
    file->data_size = size - file->start;
    file->bytes = bytes ? (const char *)bytes + file->start : NULL;
    VIT_TRY(vit_json_parse(text, length, file->what, &file->header));
cleanup:
    vit_bytes_free(&buffer);
    return status;
}

static vit_status read_entries(vit_safetensors *file) {
    vit_status status = VIT_OK;
    size_t count = vit_json_count(file->header);
    file->entries = vit_calloc(count ? count : 1, sizeof *file->entries);
    if (!file->entries) {
        return vit_fail(VIT_ERROR_MEMORY, "%s: out of memory (%zu tensors)", file->what, count);
    }
    for (const vit_json *n = vit_json_first(file->header); n; n = vit_json_next(n)) {
        if (strcmp(vit_json_key(n), "__metadata__") == 0) {
            VIT_TRY(check_metadata(file, n));
        } else {
            VIT_TRY(read_entry(file, n, &file->entries[file->count]));
            file->count++;
        }
    }
    VIT_TRY(index_entries(file, file->data_size));
cleanup:
    return status;
}

/* Takes the source over. bytes NULL: they are there. */
static vit_status open_source(vit_file source, const void *bytes, size_t size, const char *what,
                              vit_safetensors **out) {
    vit_status status = VIT_OK;
    *out = NULL;
    vit_safetensors *file = vit_calloc(1, sizeof *file);
    if (!file) {
        vit_file_close(&source);
        return vit_fail(VIT_ERROR_MEMORY, "%s: out of memory", what);
    }
    file->source = source;
    file->what = what;
    VIT_TRY(read_header(file, bytes, size));
    VIT_TRY(read_entries(file));
    file->what = NULL;
    *out = file;
    file = NULL;
cleanup:
    vit_safetensors_close(file);
    return status;
}

vit_status vit_safetensors_open(const char *path, vit_safetensors **out) {
    vit_file source;
    *out = NULL;
    vit_status status = vit_file_open(path, &source);
    return status == VIT_OK ? open_source(source, NULL, source.size, path, out) : status;
}

vit_status vit_safetensors_open_memory(const void *data, size_t size, const char *what,
                                       vit_safetensors **out) {
    return open_source((vit_file){0}, data ? data : "", data ? size : 0, what, out);
}

void vit_safetensors_close(vit_safetensors *file) {
    if (file) {
        vit_json_free(file->header);
        vit_free(file->entries);
        vit_free(file->by_name);
        vit_file_close(&file->source);
        vit_free(file);
    }
}

vit_status vit_safetensors_copy(const vit_safetensors *file, size_t offset, size_t size, void *out,
                                const char *what) {
    if (!file->bytes) {
        return vit_file_read_at(&file->source, file->start + offset, size, out, what);
    }
    if (offset > file->data_size || size > file->data_size - offset) {
        return vit_fail(VIT_ERROR_ARGUMENT, "%s: %zu bytes at %zu (expected within its %zu)", what,
                        size, offset, file->data_size);
    }
    if (size > 0) {
        memcpy(out, file->bytes + offset, size);
    }
    return VIT_OK;
}

size_t vit_safetensors_count(const vit_safetensors *file) {
    return file->count;
}

const vit_tensor *vit_safetensors_at(const vit_safetensors *file, size_t index) {
    return index < file->count ? &file->entries[index].tensor : NULL;
}

const vit_tensor *vit_safetensors_find(const vit_safetensors *file, const char *name) {
    size_t low = 0, high = file->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const vit_tensor *tensor = &file->entries[file->by_name[middle]].tensor;
        int order = strcmp(name, tensor->name);
        if (order == 0) {
            return tensor;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

const char *vit_safetensors_metadata(const vit_safetensors *file, const char *key) {
    return vit_json_string(vit_json_get(file->metadata, key), NULL);
}

/* ---- conversion ---- */

static float from_f16(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = (half >> 10) & 0x1fu;
    uint32_t mantissa = half & 0x3ffu;
    if (exponent == 0) { /* zero and subnormals: mantissa * 2^-24, exact in float32 */
        float value = (float)mantissa * 0x1p-24f;
        return sign ? -value : value;
    }
    uint32_t bits = sign | mantissa << 13 | (exponent == 31 ? 0xffu : exponent + 112) << 23;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float from_bf16(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static unsigned char from_bool(unsigned char byte) {
    return byte != 0;
}

#define PLAIN(value) (value)
/* The file's elements may lie unaligned: memcpy. */
#define CONVERT(dtype, type, decode)                                                               \
    case dtype:                                                                                    \
        for (size_t i = 0; i < tensor->count; i++) {                                               \
            type value;                                                                            \
            memcpy(&value, (const char *)tensor->data + i * sizeof value, sizeof value);           \
            out[i] = (float)decode(value);                                                         \
        }                                                                                          \
        break

void vit_tensor_to_f32(const vit_tensor *tensor, float *out) {
    if (tensor->dtype == VIT_F32) { /* nearly always: a weights file at the speed of memory */
        if (tensor->count > 0) {
            memcpy(out, tensor->data, tensor->count * sizeof *out);
        }
        return;
    }
    switch (tensor->dtype) {
        CONVERT(VIT_F32, float, PLAIN);
        CONVERT(VIT_F64, double, PLAIN);
        CONVERT(VIT_F16, uint16_t, from_f16);
        CONVERT(VIT_BF16, uint16_t, from_bf16);
        CONVERT(VIT_I64, int64_t, PLAIN);
        CONVERT(VIT_I32, int32_t, PLAIN);
        CONVERT(VIT_I16, int16_t, PLAIN);
        CONVERT(VIT_I8, int8_t, PLAIN);
        CONVERT(VIT_U8, uint8_t, PLAIN);
        CONVERT(VIT_BOOL, uint8_t, from_bool);
    }
}

/* Infinities and NaN have an exponent of all ones: one more carries into the sign bit. Without a
 * branch this runs at the speed of memory. */
bool vit_all_finite(size_t count, const float *values) {
    uint32_t carry = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        carry |= (bits & 0x7f800000u) + 0x00800000u;
    }
    return !(carry & 0x80000000u);
}

vit_status vit_check_finite(const char *path, const char *tensor, size_t count, const float *values,
                            vit_status otherwise) {
    if (vit_all_finite(count, values)) {
        return VIT_OK;
    }
    size_t index = 0;
    while (isfinite(values[index])) {
        index++;
    }
    return vit_fail(otherwise, "%s: tensor %s: element %zu is %g (expected a finite number)", path,
                    tensor, index, (double)values[index]);
}

/* What is not float32 comes in pieces and is converted from there. */
vit_status vit_safetensors_to_f32(const vit_safetensors *file, const vit_tensor *tensor, float *out,
                                  const char *what) {
    enum { PIECE = 4096 }; /* elements, of at most 8 bytes */
    uint64_t piece[PIECE];
    size_t size = vit_dtype_size(tensor->dtype);
    if (tensor->data) {
        vit_tensor_to_f32(tensor, out);
        return VIT_OK;
    }
    if (tensor->dtype == VIT_F32) { /* nearly always */
        return vit_safetensors_copy(file, tensor->offset, tensor->count * size, out, what);
    }
    for (size_t at = 0; at < tensor->count; at += PIECE) {
        vit_tensor part = {.dtype = tensor->dtype, .data = piece};
        part.count = tensor->count - at < PIECE ? tensor->count - at : PIECE;
        vit_status status =
            vit_safetensors_copy(file, tensor->offset + at * size, part.count * size, piece, what);
        if (status != VIT_OK) {
            return status;
        }
        vit_tensor_to_f32(&part, out + at);
    }
    return VIT_OK;
}
