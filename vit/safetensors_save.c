#include "vit/file.h"
#include "vit/heap.h"
#include "vit/json.h"
#include "vit/safetensors.h"

#include <stdlib.h>
#include <string.h>

static int compare_strings(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names must be text, and each there once. kind says what they name. */
static vit_status check_names(const char *path, const char *kind, const char **names,
                              size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (!vit_utf8_valid(names[i])) {
            return vit_fail(VIT_ERROR_ARGUMENT, "%s: %s %.200s is not UTF-8", path, kind, names[i]);
        }
    }
    qsort(names, count, sizeof *names, compare_strings);
    for (size_t i = 1; i < count; i++) {
        if (strcmp(names[i - 1], names[i]) == 0) {
            return vit_fail(VIT_ERROR_ARGUMENT, "%s: %s %.200s is there twice", path, kind,
                            names[i]);
        }
    }
    return VIT_OK;
}

static vit_status check_to_save(const char *path, const vit_tensor *tensors, size_t count,
                                const vit_metadata *metadata, size_t metadata_count) {
    vit_status status = VIT_OK;
    size_t most = count > metadata_count ? count : metadata_count;
    const char **names = vit_calloc(most ? most : 1, sizeof *names);
    if (!names) {
        return vit_fail(VIT_ERROR_MEMORY, "%s: out of memory (%zu names)", path, most);
    }
    for (size_t i = 0; i < metadata_count; i++) {
        names[i] = metadata[i].key;
        if (!vit_utf8_valid(metadata[i].value)) {
            status = vit_fail(VIT_ERROR_ARGUMENT, "%s: metadata %.200s is not UTF-8", path,
                              metadata[i].key);
            goto cleanup;
        }
    }
    VIT_TRY(check_names(path, "metadata", names, metadata_count));
    for (size_t i = 0; i < count; i++) {
        names[i] = tensors[i].name;
        if (strcmp(names[i], "__metadata__") == 0) {
            status = vit_fail(VIT_ERROR_ARGUMENT, "%s: no tensor may be called __metadata__", path);
            goto cleanup;
        }
    }
    VIT_TRY(check_names(path, "tensor", names, count));
cleanup:
    vit_free(names);
    return status;
}

static vit_status tensor_bytes(const char *path, const vit_tensor *tensor, size_t *bytes) {
    *bytes = vit_dtype_size(tensor->dtype);
    if (*bytes == 0 || tensor->ndim < 0 || tensor->ndim > VIT_TENSOR_MAX_DIMS) {
        return vit_fail(VIT_ERROR_ARGUMENT,
                        "%s: tensor %.200s: dtype %d, %d dimensions (expected a known dtype and 0 "
                        "to %d)",
                        path, tensor->name, (int)tensor->dtype, tensor->ndim, VIT_TENSOR_MAX_DIMS);
    }
    for (int i = 0; i < tensor->ndim; i++) {
        if (__builtin_mul_overflow(*bytes, tensor->shape[i], bytes) ||
            (double)tensor->shape[i] >= VIT_JSON_MAX_WHOLE) {
            return vit_fail(VIT_ERROR_LIMIT, "%s: tensor %.200s: its size does not fit", path,
                            tensor->name);
        }
    }
    return VIT_OK;
}

static vit_status add_tensor(const char *path, vit_json *header, const vit_tensor *tensor,
                             size_t *offset) {
    size_t bytes, end;
    vit_status status = tensor_bytes(path, tensor, &bytes);
    if (status != VIT_OK) {
        return status;
    }
    if (__builtin_add_overflow(*offset, bytes, &end) || (double)end >= VIT_JSON_MAX_WHOLE) {
        return vit_fail(VIT_ERROR_LIMIT, "%s: the file would be too large", path);
    }
    vit_json *node = vit_json_object();
    vit_json_add_string(node, "dtype", vit_dtype_name(tensor->dtype));
    vit_json *shape = vit_json_array();
    for (int i = 0; i < tensor->ndim; i++) {
        vit_json_add_number(shape, NULL, (double)tensor->shape[i]);
    }
    vit_json_add(node, "shape", shape);
    vit_json *offsets = vit_json_array();
    vit_json_add_number(offsets, NULL, (double)*offset);
    vit_json_add_number(offsets, NULL, (double)end);
    vit_json_add(node, "data_offsets", offsets);
    vit_json_add(header, tensor->name, node);
    *offset = end;
    return VIT_OK;
}

/* The header's text, without the padding. */
static vit_status make_header(const char *path, const vit_tensor *tensors, size_t count,
                              const vit_metadata *metadata, size_t metadata_count, char **out) {
    vit_status status = VIT_OK;
    vit_json *header = vit_json_object();
    if (metadata_count > 0) {
        vit_json *node = vit_json_object();
        for (size_t i = 0; i < metadata_count; i++) {
            vit_json_add_string(node, metadata[i].key, metadata[i].value);
        }
        vit_json_add(header, "__metadata__", node);
    }
    size_t offset = 0;
    for (size_t i = 0; i < count; i++) {
        VIT_TRY(add_tensor(path, header, &tensors[i], &offset));
    }
    VIT_TRY(vit_json_print(header, false, out));
cleanup:
    vit_json_free(header);
    return status;
}

static vit_status write_file(vit_file_writer *writer, const char *header, const vit_tensor *tensors,
                             size_t count) {
    vit_status status = VIT_OK;
    size_t length = strlen(header);
    size_t padding = (8 - length % 8) % 8;
    uint64_t total = length + padding;
    VIT_TRY(vit_file_write(writer, &total, sizeof total));
    VIT_TRY(vit_file_write(writer, header, length));
    VIT_TRY(vit_file_write(writer, "        ", padding));
    for (size_t i = 0; i < count; i++) {
        size_t bytes;
        VIT_TRY(tensor_bytes("", &tensors[i], &bytes));
        VIT_TRY(vit_file_write(writer, tensors[i].data, bytes));
    }
cleanup:
    return status;
}

vit_status vit_safetensors_save(const char *path, const vit_tensor *tensors, size_t count,
                                const vit_metadata *metadata, size_t metadata_count) {
    vit_status status = VIT_OK;
    char *header = NULL;
    vit_file_writer *writer = NULL;
    VIT_TRY(check_to_save(path, tensors, count, metadata, metadata_count));
    VIT_TRY(make_header(path, tensors, count, metadata, metadata_count, &header));
    if (strlen(header) > VIT_SAFETENSORS_MAX_HEADER - 8) {
        status = vit_fail(VIT_ERROR_LIMIT, "%s: a header of %zu bytes (expected at most %u)", path,
                          strlen(header), VIT_SAFETENSORS_MAX_HEADER);
        goto cleanup;
    }
    VIT_TRY(vit_file_begin(path, &writer));
    VIT_TRY(write_file(writer, header, tensors, count));
    status = vit_file_commit(writer);
    writer = NULL;
cleanup:
    vit_file_abort(writer);
    vit_free(header);
    return status;
}
