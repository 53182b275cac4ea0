"""The operators that `zvit export --format onnx` writes, in numpy, by the text of their specification at opset 17 and with
nothing of zvit: an evaluator for machines without onnxruntime. What the specification does not allow, it does not either:
types that are mixed, axes where they do not belong, attributes that an operator has not."""
import math

import numpy
from onnx import numpy_helper

FLOAT, INT = numpy.dtype("float32"), numpy.dtype("int64")
ERF = numpy.vectorize(math.erf, otypes=[numpy.float64])


def floats(*values):
    """They are float32, all of them."""
    for value in values:
        if value.dtype != FLOAT:
            raise TypeError(f"{value.dtype} (expected float32)")
    return values


def integers(value, ndim):
    if value.dtype != INT or value.ndim != ndim:
        raise TypeError(f"{value.dtype} of {value.ndim} dimensions (expected int64 of {ndim})")
    return [int(i) for i in value.reshape(-1)]


def elementwise(function):
    def run(attributes, *values):
        return [function(*floats(*values))]
    return run


def conv(attributes, x, weight, bias):
    """Strides as large as the kernel, no padding, one group."""
    rows, columns = attributes["kernel_shape"]
    if attributes["strides"] != [rows, columns] or list(weight.shape[2:]) != [rows, columns]:
        raise ValueError("Conv: only patches that lie side by side are written here")
    floats(x, weight, bias)
    B, C, H, W = x.shape
    h, w = H // rows, W // columns
    patches = x[:, :, :h * rows, :w * columns].reshape(B, C, h, rows, w, columns).transpose(0, 2, 4, 1, 3, 5)
    y = patches.reshape(B, h * w, -1) @ weight.reshape(len(weight), -1).T + bias
    return [y.transpose(0, 2, 1).reshape(B, len(weight), h, w)]


def reshape(attributes, x, shape):
    dims = [x.shape[i] if n == 0 else n for i, n in enumerate(integers(shape, 1))]
    return [x.reshape(dims)]


def shape_of(attributes, x):
    return [numpy.array(x.shape[attributes.get("start", 0):attributes.get("end")], dtype=INT)]


def concat(attributes, *values):
    if len({value.dtype for value in values}) != 1:
        raise TypeError("Concat of several types")
    return [numpy.concatenate(values, attributes["axis"])]


def expand(attributes, x, shape):
    return [numpy.broadcast_to(x, numpy.broadcast_shapes(x.shape, tuple(integers(shape, 1))))]


def gemm(attributes, a, b, c):
    a = a.T if attributes.get("transA", 0) else a
    b = b.T if attributes.get("transB", 0) else b
    floats(a, b, c)
    if a.ndim != 2 or b.ndim != 2:
        raise ValueError("Gemm: matrices only")
    return [a @ b + c]


def layer_normalization(attributes, x, scale, bias=None):
    """Over the last axis, which is the default."""
    floats(x, scale)
    if attributes.get("axis", -1) != -1:
        raise ValueError("LayerNormalization: only the last axis is written here")
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred * centred).mean(-1, keepdims=True)
    y = centred / numpy.sqrt(variance + FLOAT.type(attributes.get("epsilon", 1e-5))) * scale
    return [y if bias is None else y + bias]


def reduction(function):
    """Axes are an attribute at opset 17."""
    def run(attributes, x):
        floats(x)
        return [function(x, axis=tuple(attributes["axes"]), keepdims=bool(attributes.get("keepdims", 1))).astype(FLOAT)]
    return run


def reduce_sum(attributes, x, axes):
    """The one reduction whose axes are an input."""
    return [floats(x)[0].sum(axis=tuple(integers(axes, 1)), keepdims=bool(attributes.get("keepdims", 1)))]


def split(attributes, x, sizes):
    axis, sizes = attributes["axis"], integers(sizes, 1)
    if sum(sizes) != x.shape[axis]:
        raise ValueError(f"Split: {sizes} of {x.shape[axis]}")
    return numpy.split(x, numpy.cumsum(sizes)[:-1], axis)


def softmax(attributes, x):
    axis = attributes.get("axis", -1)
    e = numpy.exp(floats(x)[0] - x.max(axis, keepdims=True))
    return [e / e.sum(axis, keepdims=True)]


def gather(attributes, x, index):
    return [numpy.take(x, integers(index, 0)[0], axis=attributes["axis"])]


def cumsum(attributes, x, axis):
    return [floats(x)[0].cumsum(integers(axis, 0)[0], dtype=FLOAT)]


def trilu(attributes, x):
    return [numpy.triu(x) if attributes.get("upper", 1) else numpy.tril(x)]


OPERATORS = {
    "Add": elementwise(numpy.add), "Sub": elementwise(numpy.subtract), "Mul": elementwise(numpy.multiply),
    "Div": elementwise(numpy.divide), "Max": elementwise(numpy.maximum), "Min": elementwise(numpy.minimum),
    "Clip": elementwise(numpy.clip), "Exp": elementwise(numpy.exp), "Sinh": elementwise(numpy.sinh),
    "Tanh": elementwise(numpy.tanh), "Relu": elementwise(lambda x: numpy.maximum(x, FLOAT.type(0))),
    "Erf": elementwise(lambda x: ERF(x).astype(FLOAT)), "Sigmoid": elementwise(lambda x: 1 / (1 + numpy.exp(-x))),
    "MatMul": elementwise(numpy.matmul), "Gemm": gemm, "Conv": conv, "Softmax": softmax,
    "LayerNormalization": layer_normalization, "ReduceSum": reduce_sum, "ReduceMean": reduction(numpy.mean),
    "ReduceMax": reduction(numpy.max),
    "ReduceL2": reduction(lambda x, axis, keepdims: numpy.sqrt((x * x).sum(axis=axis, keepdims=keepdims))),
    "Transpose": lambda attributes, x: [x.transpose(attributes["perm"])],
    "Reshape": reshape, "Shape": shape_of, "Concat": concat, "Expand": expand, "Split": split, "Gather": gather,
    "CumSum": cumsum, "Trilu": trilu,
}


def attributes_of(node):
    values = {}
    for attribute in node.attribute:
        values[attribute.name] = {1: attribute.f, 2: attribute.i, 7: list(attribute.ints)}[attribute.type]
    return values


def run(model, images):
    """What the model's graph gives for its one input: an array for each output."""
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    values[model.graph.input[0].name] = images
    for node in model.graph.node:
        inputs = [values[name] for name in node.input]
        try:
            outputs = OPERATORS[node.op_type](attributes_of(node), *inputs)
        except Exception as error:
            raise RuntimeError(f"{node.name}: {error}") from error
        if len(outputs) != len(node.output):
            raise RuntimeError(f"{node.name}: {len(outputs)} outputs (expected {len(node.output)})")
        values.update(zip(node.output, outputs))
    return [values[output.name] for output in model.graph.output]
