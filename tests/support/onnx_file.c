#include "onnx_file.h"

#ifdef ZVIT_HAVE_PROTOBUF_C

#include "support.h"

#include "vit/file.h"

#include "onnx.pb-c.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct onnx_file {
    Onnx__ModelProto *model;
};

onnx_file *onnx_open(const char *path) {
    vit_bytes bytes = {0};
    onnx_file *file = calloc(1, sizeof *file);
    ck_vit_ok(vit_file_read(path, 1 << 28, &bytes));
    /* The general function: that of the message goes through what the library has loaded. */
    file->model = (Onnx__ModelProto *)protobuf_c_message_unpack(&onnx__model_proto__descriptor,
                                                                NULL, bytes.size, bytes.data);
    ck_assert_msg(file->model != NULL && file->model->graph != NULL, "%s does not parse", path);
    vit_bytes_free(&bytes);
    return file;
}

void onnx_close(onnx_file *file) {
    protobuf_c_message_free_unpacked(&file->model->base, NULL);
    free(file);
}

void onnx_header(const onnx_file *file, char buffer[128]) {
    const Onnx__ModelProto *model = file->model;
    ck_assert_uint_eq(model->n_opset_import, 1);
    ck_assert_str_eq(model->opset_import[0]->domain, "");
    snprintf(buffer, 128, "%" PRId64 " %" PRId64 " %s %s", model->ir_version,
             model->opset_import[0]->version, model->producer_name, model->producer_version);
}

const char *onnx_metadata(const onnx_file *file, const char *key) {
    for (size_t i = 0; i < file->model->n_metadata_props; i++) {
        if (strcmp(file->model->metadata_props[i]->key, key) == 0) {
            return file->model->metadata_props[i]->value;
        }
    }
    return NULL;
}

static void declaration(size_t count, Onnx__ValueInfoProto *const *values, char buffer[128]) {
    ck_assert_uint_eq(count, 1);
    const Onnx__TypeProto__Tensor *tensor = values[0]->type->tensor_type;
    int used = snprintf(buffer, 128, "%s %d [", values[0]->name, tensor->elem_type);
    for (size_t i = 0; i < tensor->shape->n_dim; i++) {
        const Onnx__TensorShapeProto__Dimension *dim = tensor->shape->dim[i];
        const char *comma = i > 0 ? ", " : "";
        size_t left = 128 - (size_t)used;
        if (dim->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM) {
            used += snprintf(buffer + used, left, "%s%s", comma, dim->dim_param);
        } else {
            used += snprintf(buffer + used, left, "%s%" PRId64, comma, dim->dim_value);
        }
    }
    snprintf(buffer + used, 128 - (size_t)used, "]");
}

void onnx_input(const onnx_file *file, char buffer[128]) {
    declaration(file->model->graph->n_input, file->model->graph->input, buffer);
}

void onnx_output(const onnx_file *file, char buffer[128]) {
    declaration(file->model->graph->n_output, file->model->graph->output, buffer);
}

size_t onnx_count(const onnx_file *file, const char *operator) {
    const Onnx__GraphProto *graph = file->model->graph;
    size_t count = 0;
    for (size_t i = 0; i < graph->n_node; i++) {
        count += !operator|| strcmp(graph->node[i]->op_type, operator) == 0;
    }
    return count;
}

size_t onnx_tensor_count(const onnx_file *file) {
    return file->model->graph->n_initializer;
}

onnx_tensor onnx_tensor_at(const onnx_file *file, size_t index) {
    const Onnx__TensorProto *tensor = file->model->graph->initializer[index];
    return (onnx_tensor){.name = tensor->name,
                         .type = tensor->data_type,
                         .ndim = tensor->n_dims,
                         .dims = tensor->dims,
                         .bytes = tensor->raw_data.len,
                         .data = tensor->raw_data.data};
}

onnx_tensor onnx_tensor_find(const onnx_file *file, const char *name) {
    for (size_t i = 0; i < onnx_tensor_count(file); i++) {
        if (strcmp(file->model->graph->initializer[i]->name, name) == 0) {
            return onnx_tensor_at(file, i);
        }
    }
    return (onnx_tensor){0};
}

/* Names seen so far, and whether each was read. */
typedef struct name_list {
    const char *names[4096];
    bool was_read[4096];
    size_t count;
} name_list;

static void add_name(name_list *list, const char *name) {
    for (size_t i = 0; i < list->count; i++) {
        ck_assert_msg(strcmp(list->names[i], name) != 0, "%s is there twice", name);
    }
    ck_assert_uint_lt(list->count, 4096);
    list->names[list->count++] = name;
}

static void read_name(name_list *list, const char *node, const char *name) {
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->names[i], name) == 0) {
            list->was_read[i] = true;
            return;
        }
    }
    ck_abort_msg("%s reads %s, which is not there", node, name);
}

void onnx_check_order(const onnx_file *file) {
    const Onnx__GraphProto *graph = file->model->graph;
    name_list *values = calloc(1, sizeof *values), *nodes = calloc(1, sizeof *nodes);
    add_name(values, graph->input[0]->name);
    for (size_t i = 0; i < graph->n_initializer; i++) {
        add_name(values, graph->initializer[i]->name);
    }
    size_t given = values->count;
    for (size_t i = 0; i < graph->n_node; i++) {
        const Onnx__NodeProto *node = graph->node[i];
        add_name(nodes, node->name);
        for (size_t j = 0; j < node->n_input; j++) {
            read_name(values, node->name, node->input[j]);
        }
        for (size_t j = 0; j < node->n_output; j++) {
            add_name(values, node->output[j]);
        }
    }
    read_name(values, "the graph's output", graph->output[0]->name);
    for (size_t i = 0; i < given; i++) {
        ck_assert_msg(values->was_read[i], "nothing reads %s", values->names[i]);
    }
    free(values), free(nodes);
}

#endif
