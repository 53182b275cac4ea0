/* An ONNX file taken apart again, by protobuf-c. */
#ifndef VIT_TEST_ONNX_FILE_H
#define VIT_TEST_ONNX_FILE_H

#include <stddef.h>
#include <stdint.h>

enum { ONNX_FLOAT = 1, ONNX_INT64 = 7 };

typedef struct onnx_file onnx_file;
/* Fails the test when it does not parse. */
onnx_file *onnx_open(const char *path);
void onnx_close(onnx_file *file);

/* "FORMAT VERSION OPSET PRODUCER PRODUCER_VERSION" as numbers and words. */
void onnx_header(const onnx_file *file, char buffer[128]);
/* NULL when there is none. */
const char *onnx_metadata(const onnx_file *file, const char *key);
/* Of the graph's one input or output, "NAME type [batch, 3, 24, 32]". */
void onnx_input(const onnx_file *file, char buffer[128]);
void onnx_output(const onnx_file *file, char buffer[128]);

/* Nodes of that operator; of any when NULL. */
size_t onnx_count(const onnx_file *file, const char *operator);

typedef struct onnx_tensor {
    const char *name;
    int type;
    size_t ndim;
    const int64_t *dims;
    size_t bytes;
    const void *data;
} onnx_tensor;
size_t onnx_tensor_count(const onnx_file *file);
onnx_tensor onnx_tensor_at(const onnx_file *file, size_t index);
/* name is NULL when there is none. */
onnx_tensor onnx_tensor_find(const onnx_file *file, const char *name);

/* Fails the test unless names of nodes and of what they give are unique, and each reads only what
 * is there by then, and every tensor is read. */
void onnx_check_order(const onnx_file *file);

#endif
