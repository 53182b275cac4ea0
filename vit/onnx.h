/* Export to ONNX: one file with graph, weights, class names and preprocessing, for onnxruntime and
 * its like (docs/export.md). Needs protobuf-c when zvit is built. */
#ifndef VIT_ONNX_H
#define VIT_ONNX_H

#include "vit/export.h"

/* The tensors that come in and go out: pictures (batch,3,H,W), normalised, and (batch,K). */
#define VIT_ONNX_INPUT "pixel_values"
#define VIT_ONNX_OUTPUT "logits"

/* VIT_ERROR_UNSUPPORTED for a variant of attention without a graph, and in a zvit without
 * protobuf-c; VIT_ERROR_LIMIT for weights beyond protobuf's 2 GiB. */
vit_status vit_onnx_check(const vit_model_bundle *bundle);
/* Into paths->weights. The weights are written from where they are. */
vit_status vit_onnx_write(const vit_model_bundle *bundle, const vit_export_paths *paths);

#endif
