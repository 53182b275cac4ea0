#!/usr/bin/env python3
"""Checks what `zvit export MODEL --format onnx --out FILE.onnx --sample N` wrote.

    compare_onnx.py MODEL.onnx SAMPLE.safetensors

First onnx's own checker (with shape inference), then onnxruntime on the sample's pictures, in batches of 1, 2 and 7: the
largest difference of its logits from those that zvit wrote. Exit code 0 when none is above --tolerance, 1 when one is or
the file is not right, 77 when this Python lacks onnx or onnxruntime.

Needs onnx and numpy, and onnxruntime.
"""
import argparse
import json
import sys

try:
    import numpy
    import onnx
except ImportError as missing:
    print(f"compare_onnx.py: {missing}", file=sys.stderr)
    sys.exit(77)

BATCHES = (1, 2, 7)


def read_sample(path):
    """images (count,3,H,W) and logits (count,K), float32."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.read()
    arrays = []
    for name in ("images", "logits"):
        begin, end = header[name]["data_offsets"]
        arrays.append(numpy.frombuffer(data[begin:end], dtype="<f4").reshape(header[name]["shape"]))
    return arrays


def check(path):
    """The model, when it is what ONNX allows and the output's shape follows from the graph."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)  # given a path, onnx 1.12 writes shapes into the file
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    names = {value.name for value in inferred.graph.value_info} | {value.name for value in inferred.graph.output}
    for node in model.graph.node:
        for output in node.output:
            if output not in names:
                raise ValueError(f"{path}: no shape follows for {output}")
    keys = {entry.key for entry in model.metadata_props}
    needed = {"zvit", "config", "input_size", "interpolation", "crop_pct", "mean", "std", "label_names"}
    if not needed <= keys:
        raise ValueError(f"{path}: metadata lacks {', '.join(sorted(needed - keys))}")
    return model


def difference(run, images, logits):
    """The largest of |logits - run(images)|, in batches of several sizes; NaN counts as infinite."""
    worst = 0.0
    for batch in BATCHES:
        for i in range(0, len(images) - batch + 1, batch):
            got = run(images[i:i + batch])
            if got.shape != (batch, logits.shape[1]):
                raise ValueError(f"logits of shape {got.shape} (expected {(batch, logits.shape[1])})")
            d = float(numpy.abs(got.astype("f8") - logits[i:i + batch]).max())
            worst = max(worst, d if d == d else float("inf"))
    return worst


def report(path, worst, logits, tolerance, by):
    """One line; whether it is within the tolerance."""
    good = worst <= tolerance
    print(f"{path}  {by}  largest difference {worst:.1e}  of logits up to {numpy.abs(logits).max():.1f}  "
          f"{'ok' if good else 'WRONG'}")
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL.onnx")
    parser.add_argument("sample", metavar="SAMPLE.safetensors")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="default 1e-4")
    parser.add_argument("--threads", type=int, default=0, help="of onnxruntime; 0: its own choice")
    args = parser.parse_args()
    try:
        check(args.model)
    except Exception as error:  # of onnx's own kinds, and files that are not there
        print(f"compare_onnx.py: {error}", file=sys.stderr)
        return 1
    print(f"{args.model}  onnx {onnx.__version__} finds it right")
    try:
        import onnxruntime
    except ImportError as missing:
        print(f"compare_onnx.py: {missing}", file=sys.stderr)
        return 77
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    session = onnxruntime.InferenceSession(args.model, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    images, logits = read_sample(args.sample)
    worst = difference(lambda batch: session.run(["logits"], {name: batch})[0], images, logits)
    return 0 if report(args.model, worst, logits, args.tolerance, f"onnxruntime {onnxruntime.__version__}") else 1


if __name__ == "__main__":
    sys.exit(main())
