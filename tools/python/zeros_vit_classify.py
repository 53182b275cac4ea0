#!/usr/bin/env python3
"""Names pictures by a model of zvit in PyTorch, as `zvit classify` does.

    zeros_vit_classify.py MODEL PICTURE...

Needs torch (1.13 or later), numpy and Pillow.
"""
import math
import sys

import numpy
import torch
from PIL import Image

import zeros_vit


def prepare(path, cfg):
    """(3,H,W) as zvit's evaluation transform makes it, for square inputs."""
    image = Image.open(path).convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    size, (w, h) = cfg["input_size"][1], image.size
    short = max(1, math.floor(size / cfg["crop_pct"]))
    scaled = (short, int(short * h / w)) if w <= h else (int(short * w / h), short)
    image = image.resize(scaled, Image.BILINEAR if cfg["interpolation"] == "bilinear" else Image.BICUBIC)
    left, top = round((scaled[0] - size) / 2), round((scaled[1] - size) / 2)
    pixels = torch.from_numpy(numpy.array(image.crop((left, top, left + size, top + size)), dtype=numpy.float32))
    return ((pixels / 255 - torch.tensor(cfg["mean"])) / torch.tensor(cfg["std"])).permute(2, 0, 1)


def classify(path, pictures):
    model, config = zeros_vit.load(path)
    names = config["pretrained_cfg"]["label_names"]
    for picture in pictures:
        with torch.no_grad():
            p, index = model(prepare(picture, config["pretrained_cfg"])[None]).softmax(-1)[0].sort(descending=True)
        print(picture, *(f"{names[i]} {100 * v:.2f} %" for v, i in zip(p[:5].tolist(), index[:5].tolist())), sep="  ")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: zeros_vit_classify.py MODEL PICTURE...")
    classify(sys.argv[1], sys.argv[2:])
