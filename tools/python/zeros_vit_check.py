#!/usr/bin/env python3
"""Compares zeros_vit.py with golden models: logits and every gradient, in single precision.

    zeros_vit_check.py tests/golden/vit_*.safetensors

Exit code 0 when all agree, else 1. Needs torch (1.13 or later) and numpy.
"""
import sys

from torch.nn import functional as F

from zeros_vit import VisionTransformer, read_safetensors


def golden_config(metadata):
    number = {key: int(metadata[key]) for key in ("img_size", "patch_size", "embed_dim", "depth", "num_heads", "num_classes")}
    rope = "2d" if metadata["attention"] == "zeros" else "none"
    args = dict(number, mlp_ratio=4, attn=metadata["attention"], rope=rope, head_norm=True, zero_order=False)
    return {"num_classes": number["num_classes"], "global_pool": metadata["pool"], "model_args": args}


def check(path, tolerance=2e-5):
    """Logits and every gradient of a golden model, in single precision: the largest relative errors. A gradient that is 0
    but for rounding (of a bias that softmax does not see) is measured against the whole gradient."""
    tensors, metadata = read_safetensors(path)
    model = VisionTransformer(golden_config(metadata))
    model.load_state_dict({name[6:]: value for name, value in tensors.items() if name.startswith("param.")})
    logits = model(tensors["images_nchw"])
    F.cross_entropy(logits, tensors["labels"].long(), label_smoothing=0.1).backward()

    def error(actual, expected, least=0.0):
        return ((actual.double() - expected).norm() / expected.norm().clamp_min(least)).item()

    of_logits = error(logits, tensors["logits"])
    expected = {name: tensors["grad." + name] for name, _ in model.named_parameters()}
    whole = sum(g.square().sum() for g in expected.values()).sqrt().item()
    of_gradients = max(error(p.grad, expected[name], 1e-3 * whole) for name, p in model.named_parameters())
    right = of_logits <= tolerance and of_gradients <= 10 * tolerance
    print(f"{path}  logits {of_logits:.1e}  gradients {of_gradients:.1e}  {'ok' if right else 'WRONG'}")
    return right


if __name__ == "__main__":
    sys.exit(0 if all([check(path) for path in sys.argv[1:]]) else 1)
