#!/usr/bin/env python3
"""Exports of every kind of model, by zvit's own command, in onnx's checker and against the numpy evaluator; where
there is PyTorch, the models also in zeros_vit.py.

    onnx_check.py ZVIT ONNX_MODELS FOLDER MODEL...

ONNX_MODELS is the program of tests/onnx_models.c, which puts models into FOLDER; MODEL are further model files.
"""
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "python"))
import compare_onnx  # exits with 77 when onnx is missing
import onnx_numpy

try:
    import torch
    import zeros_vit
except ImportError:
    torch = None


def in_torch(path):
    """A function from pictures to logits, or None: zeros_vit.py has no causal attention."""
    try:
        model, _ = zeros_vit.load(path)
    except ValueError:
        return None
    return lambda batch: model(torch.from_numpy(batch.copy())).detach().numpy()


def main():
    zvit, onnx_models, folder, *models = sys.argv[1:]
    made = pathlib.Path(folder) / "models"
    made.mkdir(parents=True, exist_ok=True)
    subprocess.run([onnx_models, made], stdout=sys.stderr, check=True)
    models += sorted(made.glob("*.safetensors"))
    good = True
    for path in models:
        name = pathlib.Path(path).stem
        out = pathlib.Path(folder) / f"{name}.onnx"
        done = subprocess.run([zvit, "export", path, "--format", "onnx", "--out", out, "--sample", "7", "-q"],
                              stdout=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            return 1
        model = compare_onnx.check(str(out))
        images, logits = compare_onnx.read_sample(out.with_suffix(".sample.safetensors"))
        worst = compare_onnx.difference(lambda batch: onnx_numpy.run(model, batch)[0], images, logits)
        good = compare_onnx.report(name, worst, logits, 1e-4, "numpy") and good
        bridge = in_torch(path) if torch else None
        if bridge:
            worst = compare_onnx.difference(bridge, images, logits)
            good = compare_onnx.report(name, worst, logits, 1e-4, "zeros_vit.py") and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
