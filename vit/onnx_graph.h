/* ONNX files: a graph of nodes and tensors, built up and written (onnx.ai; opset 17, IR version 8).
 * This is the only part that knows protobuf-c; what is built is up to onnx_model.c.
 *
 * What goes wrong while a graph is built is remembered: the functions that build then do nothing,
 * and vit_onnx_graph_save returns it. */
#ifndef VIT_ONNX_GRAPH_H
#define VIT_ONNX_GRAPH_H

#include "vit/status.h"

#include <stddef.h>
#include <stdint.h>

/* A tensor of the graph, by its name: the input's, an initializer's, or that of what a node gives.
 * It lives with the graph. */
typedef const char *vit_onnx_value;

/* VIT_ERROR_UNSUPPORTED when protobuf-c cannot be loaded. */
vit_status vit_onnx_available(void);

typedef struct vit_onnx_graph vit_onnx_graph;
vit_status vit_onnx_graph_new(const char *name, vit_onnx_graph **out);
void vit_onnx_graph_free(vit_onnx_graph *graph); /* NULL is fine */

/* A float tensor that comes from outside, and one that goes there: the first output of the last
 * node, under that name from now on. The first of the dimensions may be -1: as many as there are,
 * under the name "batch". */
vit_onnx_value vit_onnx_input(vit_onnx_graph *graph, const char *name, size_t ndim,
                              const int64_t *dims);
void vit_onnx_output(vit_onnx_graph *graph, const char *name, size_t ndim, const int64_t *dims);

/* Float tensors that are in the file. data is borrowed until the graph is freed. A name that is
 * there already is that tensor. */
vit_onnx_value vit_onnx_weight(vit_onnx_graph *graph, const char *name, int ndim,
                               const size_t *shape, const float *data);
/* The same with memory of the graph's, for the caller to fill; NULL when the tensor is there
 * already, or something has failed. */
float *vit_onnx_floats(vit_onnx_graph *graph, const char *name, int ndim, const size_t *shape);
/* Constants, made once for each value: a float scalar; int64 numbers in a row, and one alone. */
vit_onnx_value vit_onnx_float(vit_onnx_graph *graph, double value);
vit_onnx_value vit_onnx_ints(vit_onnx_graph *graph, size_t count, const int64_t *values);
vit_onnx_value vit_onnx_int(vit_onnx_graph *graph, int64_t value);

/* Nodes made from now on are named scope/OPERATOR_NUMBER. */
void vit_onnx_scope(vit_onnx_graph *graph, const char *scope);

/* "count, values" of these int64 numbers. */
#define VIT_ONNX_INTS(...)                                                                         \
    (sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]) {                            \
        __VA_ARGS__                                                                                \
    }

/* The result of a standard operator of at most four inputs: VIT_ONNX(graph, "Add", a, b). */
#define VIT_ONNX(graph, operator, ...)                                                             \
    vit_onnx_node(graph, operator,(const vit_onnx_value[]){__VA_ARGS__, NULL})
vit_onnx_value vit_onnx_node(vit_onnx_graph *graph, const char *operator,
                             const vit_onnx_value * inputs);
/* Attributes of the last node, at most four. */
void vit_onnx_set_int(vit_onnx_graph *graph, const char *name, int64_t value);
void vit_onnx_set_float(vit_onnx_graph *graph, const char *name, float value);
void vit_onnx_set_ints(vit_onnx_graph *graph, const char *name, size_t count,
                       const int64_t *values);
/* A further output of the last node, at most four in all. */
vit_onnx_value vit_onnx_more(vit_onnx_graph *graph);

/* An entry of the model's metadata_props; both are copied. */
void vit_onnx_metadata(vit_onnx_graph *graph, const char *key, const char *value);

/* Largest file: protobuf counts bytes in an int. */
#define VIT_ONNX_MAX_BYTES ((size_t)INT32_MAX)

/* Writes the file atomically, tensors straight from where they are. VIT_ERROR_LIMIT when it would
 * be too large. */
vit_status vit_onnx_graph_save(vit_onnx_graph *graph, const char *path);

#endif
