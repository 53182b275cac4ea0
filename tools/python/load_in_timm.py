#!/usr/bin/env python3
"""Loads an export of `zvit export MODEL --format timm --sample N --out DIR` in timm and compares logits.

    load_in_timm.py DIR
    load_in_timm.py DIR --images x.npy --logits y.npy
    load_in_timm.py DIR --images x.f32 --logits y.f32

Without --images, DIR/sample.safetensors is used. Files that do not end in .npy are raw little-endian float32, in the order
(picture, channel, row, column) and (picture, class). Pictures are normalised already: what the network itself reads.

Checks that timm's model has exactly the tensors of the export, with their shapes; that timm's own way to load a folder
(local-dir:DIR) gives the same model, where this timm has it; and that the logits agree to --tolerance, as the norm of
their difference over their norm. Prints one JSON object; exit code 0 when all of it holds, else 1.

Needs torch, timm, safetensors and numpy.
"""
import argparse
import json
import pathlib
import sys

import numpy
import timm
import torch
from safetensors.torch import load_file


def read_array(path, shape):
    """float32 from .npy or raw bytes; one dimension of the shape may be -1."""
    if path.suffix == ".npy":
        values = numpy.load(path, allow_pickle=False)
    else:
        values = numpy.fromfile(path, dtype="<f4")
    return torch.from_numpy(numpy.ascontiguousarray(values, dtype=numpy.float32).reshape(shape))


def read_sample(args, folder, config):
    """Pictures (B,3,H,W) and the logits (B,K) that zvit gave them."""
    if args.images is None:
        tensors = load_file(folder / "sample.safetensors")
        return tensors["images"], tensors["logits"]
    size = config["pretrained_cfg"]["input_size"]
    return read_array(args.images, [-1, *size]), read_array(args.logits, [-1, config["num_classes"]])


def build(config, weights):
    """timm's model by the config, with the export's tensors; raises when names or shapes differ."""
    model = timm.create_model(config["architecture"], pretrained=False, num_classes=config["num_classes"],
                              **config["model_args"])
    model.load_state_dict(weights, strict=True)
    return model.eval()


def relative_error(actual, expected):
    expected = expected.double()
    return ((actual.double() - expected).norm() / expected.norm()).item()


def same_from_folder(folder, model, images, logits):
    """Whether timm's local-dir loader gives the same logits; None when this timm has none."""
    try:
        loaded = timm.create_model(f"local-dir:{folder.resolve()}", pretrained=True).eval()
    except AssertionError:  # an unknown scheme, in versions before it came
        return None
    if loaded.state_dict().keys() != model.state_dict().keys():
        return False
    return bool(torch.equal(loaded(images), logits))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, metavar="DIR")
    parser.add_argument("--images", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--logits", type=pathlib.Path, metavar="FILE")
    parser.add_argument("--tolerance", type=float, default=2e-5)
    args = parser.parse_args()
    if (args.images is None) != (args.logits is None):
        parser.error("--images and --logits go together")
    config = json.loads((args.folder / "config.json").read_text(encoding="utf-8"))
    model = build(config, load_file(args.folder / "model.safetensors"))
    images, expected = read_sample(args, args.folder, config)
    with torch.inference_mode():
        logits = model(images)
        from_folder = same_from_folder(args.folder, model, images, logits)
    error = relative_error(logits, expected)
    passed = error <= args.tolerance and from_folder is not False
    print(json.dumps({
        "export": str(args.folder),
        "timm": timm.__version__,
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "pictures": len(images),
        "relative_error": error,
        "tolerance": args.tolerance,
        "local_dir": from_folder,
        "passed": passed,
    }, indent=2))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
