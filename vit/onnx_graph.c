#include "vit/onnx_graph.h"

#ifdef ZVIT_HAVE_PROTOBUF_C

#include "vit/file.h"
#include "vit/heap.h"
#include "vit/library.h"

#include <protobuf-c/protobuf-c.h>
#include <stdio.h>
#include <string.h>

/* protobuf-c is loaded when the first graph is made. What protoc-c wrote calls it through these; of
 * that only the descriptions of messages are used. */
#define PROTOBUF_FUNCTIONS(F)                                                                      \
    F(get_packed_size) F(pack) F(pack_to_buffer) F(unpack) F(free_unpacked)

#define DECLARE(name) __typeof__(protobuf_c_message_##name) *name;
static struct { PROTOBUF_FUNCTIONS(DECLARE) } protobuf;
static const char *const protobuf_names[] = {PROTOBUF_FUNCTIONS(VIT_LIBRARY_NAME) NULL};
static vit_lazy_library library =
    VIT_LAZY_LIBRARY(ZVIT_PROTOBUF_C_LIBRARY, protobuf_names, "protobuf_c_message_", protobuf);

#define protobuf_c_message_get_packed_size protobuf.get_packed_size
#define protobuf_c_message_pack protobuf.pack
#define protobuf_c_message_pack_to_buffer protobuf.pack_to_buffer
#define protobuf_c_message_unpack protobuf.unpack
#define protobuf_c_message_free_unpacked protobuf.free_unpacked
#include "onnx.pb-c.c" // NOLINT(bugprone-suspicious-include): made with other names, above

vit_status vit_onnx_available(void) {
    return vit_lazy_library_load(&library)
               ? VIT_OK
               : vit_fail(VIT_ERROR_UNSUPPORTED,
                          "--format onnx: %s is not there (Debian package: "
                          "libprotobuf-c1)",
                          ZVIT_PROTOBUF_C_LIBRARY);
}

enum { IR_VERSION = 8, OPSET = 17, FLOAT32 = 1, INT64 = 7 };
enum { INPUTS = 4, OUTPUTS = 4, ATTRIBUTES = 4, SCOPE_MAX = 128, NAME_MAX_CHARS = 256 };

/* Pointers to messages, as protobuf-c wants them. */
typedef struct pointer_list {
    void **items;
    size_t count, capacity;
} pointer_list;

struct vit_onnx_graph {
    vit_status failure;  /* the first */
    pointer_list blocks; /* all memory but the lists' */
    pointer_list nodes, initializers, inputs, outputs, metadata;
    char scope[SCOPE_MAX];
    const char *name;
};

/* A node with room for what it may have. */
typedef struct node {
    Onnx__NodeProto proto;
    char *inputs[INPUTS], *outputs[OUTPUTS];
    Onnx__AttributeProto attributes[ATTRIBUTES];
    Onnx__AttributeProto *attribute_list[ATTRIBUTES];
} node;

/* ---- memory ---- */

static void fail(vit_onnx_graph *graph, vit_status status) {
    if (graph->failure == VIT_OK) {
        graph->failure = status;
    }
}

static void append(vit_onnx_graph *graph, pointer_list *list, void *item) {
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 64;
        void **items = vit_reallocarray(list->items, capacity, sizeof *items);
        if (!items) {
            fail(graph, vit_fail(VIT_ERROR_MEMORY, "ONNX graph: out of memory"));
            return;
        }
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = item;
}

/* Zeroed memory that lives with the graph; NULL when something has failed. */
static void *take(vit_onnx_graph *graph, size_t count, size_t size) {
    if (graph->failure != VIT_OK) {
        return NULL;
    }
    void *block = vit_calloc(count, size);
    if (!block) {
        fail(graph, vit_fail(VIT_ERROR_MEMORY, "ONNX graph: out of memory"));
        return NULL;
    }
    append(graph, &graph->blocks, block);
    if (graph->failure != VIT_OK) {
        vit_free(block);
        return NULL;
    }
    return block;
}

static char *copy_text(vit_onnx_graph *graph, const char *text) {
    size_t size = strlen(text) + 1;
    char *copy = take(graph, size, 1);
    if (copy) {
        memcpy(copy, text, size);
    }
    return copy;
}

vit_status vit_onnx_graph_new(const char *name, vit_onnx_graph **out) {
    *out = NULL;
    vit_status status = vit_onnx_available();
    if (status != VIT_OK) {
        return status;
    }
    vit_onnx_graph *graph = vit_calloc(1, sizeof *graph);
    if (!graph) {
        return vit_fail(VIT_ERROR_MEMORY, "ONNX graph: out of memory");
    }
    graph->name = copy_text(graph, name);
    status = graph->failure;
    if (status != VIT_OK) {
        vit_onnx_graph_free(graph);
        return status;
    }
    *out = graph;
    return VIT_OK;
}

void vit_onnx_graph_free(vit_onnx_graph *graph) {
    if (!graph) {
        return;
    }
    for (size_t i = 0; i < graph->blocks.count; i++) {
        vit_free(graph->blocks.items[i]);
    }
    const pointer_list lists[] = {graph->blocks, graph->nodes,   graph->initializers,
                                  graph->inputs, graph->outputs, graph->metadata};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        vit_free(lists[i].items);
    }
    vit_free(graph);
}

/* ---- input and output ---- */

/* What declares a float tensor. */
typedef struct declaration {
    Onnx__ValueInfoProto value;
    Onnx__TypeProto type;
    Onnx__TypeProto__Tensor tensor;
    Onnx__TensorShapeProto shape;
    Onnx__TensorShapeProto__Dimension dims[4], *list[4];
} declaration;

static vit_onnx_value declare(vit_onnx_graph *graph, pointer_list *list, const char *name,
                              size_t ndim, const int64_t *dims) {
    declaration *d = take(graph, 1, sizeof *d);
    char *copy = copy_text(graph, name);
    if (!d || !copy) {
        return "";
    }
    onnx__value_info_proto__init(&d->value);
    onnx__type_proto__init(&d->type);
    onnx__type_proto__tensor__init(&d->tensor);
    onnx__tensor_shape_proto__init(&d->shape);
    for (size_t i = 0; i < ndim && i < 4; i++) {
        Onnx__TensorShapeProto__Dimension *dim = d->list[i] = &d->dims[i];
        onnx__tensor_shape_proto__dimension__init(dim);
        if (dims[i] >= 0) {
            dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
            dim->dim_value = dims[i];
        } else {
            dim->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            dim->dim_param = copy_text(graph, "batch");
        }
    }
    d->shape.n_dim = ndim;
    d->shape.dim = d->list;
    d->tensor.has_elem_type = true;
    d->tensor.elem_type = FLOAT32;
    d->tensor.shape = &d->shape;
    d->type.value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    d->type.tensor_type = &d->tensor;
    d->value.name = copy;
    d->value.type = &d->type;
    append(graph, list, &d->value);
    return copy;
}

vit_onnx_value vit_onnx_input(vit_onnx_graph *graph, const char *name, size_t ndim,
                              const int64_t *dims) {
    return declare(graph, &graph->inputs, name, ndim, dims);
}

/* NULL when there is none, or something has failed. */
static node *last_node(vit_onnx_graph *graph) {
    return graph->failure == VIT_OK && graph->nodes.count > 0
               ? graph->nodes.items[graph->nodes.count - 1]
               : NULL;
}

void vit_onnx_output(vit_onnx_graph *graph, const char *name, size_t ndim, const int64_t *dims) {
    node *last = last_node(graph);
    vit_onnx_value value = declare(graph, &graph->outputs, name, ndim, dims);
    if (last && graph->failure == VIT_OK) {
        last->outputs[0] = (char *)(uintptr_t)value;
    }
}

/* ---- tensors ---- */

static vit_onnx_value find_tensor(const vit_onnx_graph *graph, const char *name) {
    for (size_t i = 0; i < graph->initializers.count; i++) {
        const Onnx__TensorProto *tensor = graph->initializers.items[i];
        if (strcmp(tensor->name, name) == 0) {
            return tensor->name;
        }
    }
    return NULL;
}

static vit_onnx_value add_tensor(vit_onnx_graph *graph, const char *name, int type, int ndim,
                                 const size_t *shape, size_t bytes, const void *data) {
    Onnx__TensorProto *tensor = take(graph, 1, sizeof *tensor);
    int64_t *dims = take(graph, (size_t)(ndim > 0 ? ndim : 1), sizeof *dims);
    char *copy = copy_text(graph, name);
    if (!tensor || !dims || !copy) {
        return "";
    }
    onnx__tensor_proto__init(tensor);
    for (int i = 0; i < ndim; i++) {
        dims[i] = (int64_t)shape[i];
    }
    tensor->name = copy;
    tensor->n_dims = (size_t)ndim;
    tensor->dims = dims;
    tensor->has_data_type = true;
    tensor->data_type = type;
    tensor->has_raw_data = true;
    /* protobuf-c reads only. */
    tensor->raw_data = (ProtobufCBinaryData){bytes, (uint8_t *)(uintptr_t)data};
    append(graph, &graph->initializers, tensor);
    return copy;
}

vit_onnx_value vit_onnx_weight(vit_onnx_graph *graph, const char *name, int ndim,
                               const size_t *shape, const float *data) {
    vit_onnx_value found = find_tensor(graph, name);
    if (found) {
        return found;
    }
    size_t count = 1;
    for (int i = 0; i < ndim; i++) {
        count *= shape[i];
    }
    return add_tensor(graph, name, FLOAT32, ndim, shape, count * sizeof *data, data);
}

float *vit_onnx_floats(vit_onnx_graph *graph, const char *name, int ndim, const size_t *shape) {
    if (find_tensor(graph, name)) {
        return NULL;
    }
    size_t count = 1;
    for (int i = 0; i < ndim; i++) {
        count *= shape[i];
    }
    float *data = take(graph, count, sizeof *data);
    if (data) {
        add_tensor(graph, name, FLOAT32, ndim, shape, count * sizeof *data, data);
    }
    return data;
}

/* Of a constant that is named after its value. */
static vit_onnx_value add_constant(vit_onnx_graph *graph, const char *name, int type, int ndim,
                                   size_t count, size_t bytes, const void *data) {
    vit_onnx_value found = find_tensor(graph, name);
    if (found) {
        return found;
    }
    void *copy = take(graph, bytes, 1);
    if (!copy) {
        return "";
    }
    memcpy(copy, data, bytes);
    return add_tensor(graph, name, type, ndim, &count, bytes, copy);
}

vit_onnx_value vit_onnx_float(vit_onnx_graph *graph, double value) {
    char name[64];
    float single = (float)value;
    snprintf(name, sizeof name, "float_%.9g", (double)single);
    return add_constant(graph, name, FLOAT32, 0, 1, sizeof single, &single);
}

vit_onnx_value vit_onnx_ints(vit_onnx_graph *graph, size_t count, const int64_t *values) {
    char name[NAME_MAX_CHARS] = "ints";
    for (size_t i = 0, used = 4; i < count && used < sizeof name; i++) {
        used += (size_t)snprintf(name + used, sizeof name - used, "_%lld", (long long)values[i]);
    }
    return add_constant(graph, name, INT64, 1, count, count * sizeof *values, values);
}

vit_onnx_value vit_onnx_int(vit_onnx_graph *graph, int64_t value) {
    char name[64];
    snprintf(name, sizeof name, "int_%lld", (long long)value);
    return add_constant(graph, name, INT64, 0, 1, sizeof value, &value);
}

/* ---- nodes ---- */

void vit_onnx_scope(vit_onnx_graph *graph, const char *scope) {
    snprintf(graph->scope, sizeof graph->scope, "%s", scope);
}

static char *output_name(vit_onnx_graph *graph, const node *n, size_t index) {
    char name[NAME_MAX_CHARS];
    snprintf(name, sizeof name, "%s_output_%zu", n->proto.name, index);
    return copy_text(graph, name);
}

vit_onnx_value vit_onnx_node(vit_onnx_graph *graph, const char *operator,
                             const vit_onnx_value * inputs) {
    char name[NAME_MAX_CHARS];
    node *n = take(graph, 1, sizeof *n);
    snprintf(name, sizeof name, "%s/%s_%zu", graph->scope, operator, graph->nodes.count);
    char *name_copy = copy_text(graph, name), *operator_copy = copy_text(graph, operator);
    if (!n || !name_copy || !operator_copy) {
        return "";
    }
    onnx__node_proto__init(&n->proto);
    n->proto.name = name_copy;
    n->proto.op_type = operator_copy;
    n->proto.input = n->inputs;
    n->proto.output = n->outputs;
    n->proto.attribute = n->attribute_list;
    for (; inputs[n->proto.n_input] && n->proto.n_input < INPUTS; n->proto.n_input++) {
        n->inputs[n->proto.n_input] = (char *)(uintptr_t)inputs[n->proto.n_input];
    }
    append(graph, &graph->nodes, n);
    return vit_onnx_more(graph);
}

vit_onnx_value vit_onnx_more(vit_onnx_graph *graph) {
    node *n = last_node(graph);
    if (!n || n->proto.n_output == OUTPUTS) {
        return "";
    }
    size_t index = n->proto.n_output;
    n->outputs[index] = output_name(graph, n, index);
    if (!n->outputs[index]) {
        return "";
    }
    n->proto.n_output++;
    return n->outputs[index];
}

/* Of the last node; NULL when something has failed. */
static Onnx__AttributeProto *attribute_new(vit_onnx_graph *graph, const char *name,
                                           Onnx__AttributeProto__AttributeType type) {
    node *n = last_node(graph);
    char *copy = copy_text(graph, name);
    if (!n || !copy || n->proto.n_attribute == ATTRIBUTES) {
        return NULL;
    }
    Onnx__AttributeProto *attribute = &n->attributes[n->proto.n_attribute];
    onnx__attribute_proto__init(attribute);
    attribute->name = copy;
    attribute->has_type = true;
    attribute->type = type;
    n->attribute_list[n->proto.n_attribute++] = attribute;
    return attribute;
}

void vit_onnx_set_int(vit_onnx_graph *graph, const char *name, int64_t value) {
    Onnx__AttributeProto *attribute =
        attribute_new(graph, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    if (attribute) {
        attribute->has_i = true;
        attribute->i = value;
    }
}

void vit_onnx_set_float(vit_onnx_graph *graph, const char *name, float value) {
    Onnx__AttributeProto *attribute =
        attribute_new(graph, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
    if (attribute) {
        attribute->has_f = true;
        attribute->f = value;
    }
}

void vit_onnx_set_ints(vit_onnx_graph *graph, const char *name, size_t count,
                       const int64_t *values) {
    Onnx__AttributeProto *attribute =
        attribute_new(graph, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
    int64_t *copy = take(graph, count, sizeof *copy);
    if (attribute && copy) {
        memcpy(copy, values, count * sizeof *copy);
        attribute->n_ints = count;
        attribute->ints = copy;
    }
}

void vit_onnx_metadata(vit_onnx_graph *graph, const char *key, const char *value) {
    Onnx__StringStringEntryProto *entry = take(graph, 1, sizeof *entry);
    char *key_copy = copy_text(graph, key), *value_copy = copy_text(graph, value);
    if (entry && key_copy && value_copy) {
        onnx__string_string_entry_proto__init(entry);
        entry->key = key_copy;
        entry->value = value_copy;
        append(graph, &graph->metadata, entry);
    }
}

/* ---- writing ---- */

/* Bytes go on to the file as protobuf-c makes them; nothing is packed in memory first. */
typedef struct file_buffer {
    ProtobufCBuffer base; /* first: protobuf-c passes it back */
    vit_file_writer *writer;
} file_buffer;

static void append_to_file(ProtobufCBuffer *buffer, size_t size, const uint8_t *data) {
    /* A failure is remembered by the writer, and commit returns it. */
    vit_file_write(((file_buffer *)buffer)->writer, data, size);
}

static vit_status write_message(const ProtobufCMessage *message, const char *path) {
    size_t bytes = protobuf_c_message_get_packed_size(message);
    if (bytes > VIT_ONNX_MAX_BYTES) {
        return vit_fail(VIT_ERROR_LIMIT,
                        "%s: the graph takes %zu bytes (expected at most %zu, protobuf's limit)",
                        path, bytes, VIT_ONNX_MAX_BYTES);
    }
    file_buffer buffer = {.base = {.append = append_to_file}};
    vit_status status = vit_file_begin(path, &buffer.writer);
    if (status != VIT_OK) {
        return status;
    }
    protobuf_c_message_pack_to_buffer(message, &buffer.base);
    return vit_file_commit(buffer.writer);
}

vit_status vit_onnx_graph_save(vit_onnx_graph *graph, const char *path) {
    Onnx__GraphProto content;
    Onnx__OperatorSetIdProto opset;
    Onnx__ModelProto model;
    if (graph->failure != VIT_OK) {
        return graph->failure;
    }
    onnx__graph_proto__init(&content);
    content.name = (char *)(uintptr_t)graph->name;
    content.n_node = graph->nodes.count;
    content.node = (Onnx__NodeProto **)graph->nodes.items;
    content.n_initializer = graph->initializers.count;
    content.initializer = (Onnx__TensorProto **)graph->initializers.items;
    content.n_input = graph->inputs.count;
    content.input = (Onnx__ValueInfoProto **)graph->inputs.items;
    content.n_output = graph->outputs.count;
    content.output = (Onnx__ValueInfoProto **)graph->outputs.items;
    onnx__operator_set_id_proto__init(&opset);
    opset.domain = (char *)(uintptr_t) "";
    opset.has_version = true;
    opset.version = OPSET;
    onnx__model_proto__init(&model);
    model.has_ir_version = true;
    model.ir_version = IR_VERSION;
    model.producer_name = (char *)(uintptr_t) "zvit";
    model.producer_version = (char *)(uintptr_t)vit_version();
    model.graph = &content;
    model.n_opset_import = 1;
    model.opset_import = &(Onnx__OperatorSetIdProto *){&opset};
    model.n_metadata_props = graph->metadata.count;
    model.metadata_props = (Onnx__StringStringEntryProto **)graph->metadata.items;
    return write_message(&model.base, path);
}

#endif
