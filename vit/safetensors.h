/* The safetensors format: 8 bytes little-endian header length, a JSON header, then the tensors'
 * bytes. The reader trusts nothing: header at most 100 MB, every type, shape, offset, overlap and
 * gap checked before use. */
#ifndef VIT_SAFETENSORS_H
#define VIT_SAFETENSORS_H

#include "vit/status.h"

#include <stdbool.h>
#include <stdint.h>

#define VIT_SAFETENSORS_MAX_HEADER 100000000u
#define VIT_TENSOR_MAX_DIMS 8

typedef enum vit_dtype {
    VIT_F32,
    VIT_F64,
    VIT_F16,
    VIT_BF16,
    VIT_I64,
    VIT_I32,
    VIT_I16,
    VIT_I8,
    VIT_U8,
    VIT_BOOL
} vit_dtype;
size_t vit_dtype_size(vit_dtype dtype);      /* bytes */
const char *vit_dtype_name(vit_dtype dtype); /* "F32" */
/* "[3, 16]", for messages. */
void vit_shape_text(int ndim, const size_t *shape, char *buffer, size_t size);

typedef struct vit_tensor {
    const char *name;
    vit_dtype dtype;
    int ndim;
    size_t shape[VIT_TENSOR_MAX_DIMS];
    size_t count;     /* elements */
    size_t offset;    /* of an open file: where its bytes begin in the file's data */
    const void *data; /* little-endian, may be unaligned; NULL: in an open file, not in memory */
} vit_tensor;

typedef struct vit_safetensors vit_safetensors; /* an open file */

/* Reads the header; the tensors' bytes stay in the file (vit/file.h says why it is not mapped). */
vit_status vit_safetensors_open(const char *path, vit_safetensors **out);
/* From bytes in memory, which must outlive the handle; what names them in messages. */
vit_status vit_safetensors_open_memory(const void *data, size_t size, const char *what,
                                       vit_safetensors **out);
void vit_safetensors_close(vit_safetensors *file);

size_t vit_safetensors_count(const vit_safetensors *file);
const vit_tensor *vit_safetensors_at(const vit_safetensors *file, size_t index);
const vit_tensor *vit_safetensors_find(const vit_safetensors *file,
                                       const char *name); /* NULL: none */
/* A string of __metadata__, or NULL. */
const char *vit_safetensors_metadata(const vit_safetensors *file, const char *key);

/* Converts a tensor in memory, of any float type (or integers), to float32. */
void vit_tensor_to_f32(const vit_tensor *tensor, float *out);

/* Whether all are finite; and a failure with the status otherwise, and a message that names path,
 * tensor, element and value, when one is not. */
bool vit_all_finite(size_t count, const float *values);
vit_status vit_check_finite(const char *path, const char *tensor, size_t count, const float *values,
                            vit_status otherwise);

/* The same from the file, or from the memory, that holds the tensor. what names it in messages. */
vit_status vit_safetensors_to_f32(const vit_safetensors *file, const vit_tensor *tensor, float *out,
                                  const char *what);
/* Copies size bytes that begin at offset in the data; as vit_file_read_at. */
vit_status vit_safetensors_copy(const vit_safetensors *file, size_t offset, size_t size, void *out,
                                const char *what);

typedef struct vit_metadata {
    const char *key, *value;
} vit_metadata;

/* Writes tensors in the order given (name, dtype, ndim, shape, data), atomically. */
vit_status vit_safetensors_save(const char *path, const vit_tensor *tensors, size_t count,
                                const vit_metadata *metadata, size_t metadata_count);

#endif
