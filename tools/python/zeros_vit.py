#!/usr/bin/env python3
"""zvit's models in PyTorch: the four attentions and the Vision Transformer around them.

    import zeros_vit
    model, config = zeros_vit.load("run/best.safetensors")
    logits = model(images)                  # (B,3,H,W), normalised as config["pretrained_cfg"] says

    zeros_vit.py MODEL PICTURE...           # names pictures, as `zvit classify` does
    zeros_vit.py --check FILE...            # compares with tests/golden/vit_*.safetensors

A model file of zvit is read as it is: its tensors have timm's names and its header says the shape. The method, step by
step, is in docs/zeros.md. Needs torch (1.13 or later) and numpy; naming pictures needs Pillow.
"""
import argparse
import json
import math
import sys

import numpy
import torch
from torch import nn
from torch.nn import functional as F

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1"}


def read_safetensors(path):
    """{name: tensor} and the metadata. The format: 8 bytes with the header's length, the header as JSON, the data."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = file.read()
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        values = numpy.frombuffer(data[begin:end], dtype=DTYPES[entry["dtype"]]).reshape(entry["shape"])
        tensors[name] = torch.from_numpy(values.copy())
    return tensors, metadata


def rope_table(kind, prefix, grid, d):
    """cos and sin (N,d/2) of the angles by which rotary position turns the channel pairs (j, j + d/2) of each token."""
    rows, columns = grid
    if kind == "1d":
        frequencies = 10000.0 ** (-torch.arange(d // 2, dtype=torch.float64) / (d // 2))
        angles = torch.arange(prefix + rows * columns)[:, None] * frequencies
    elif kind == "2d":
        frequencies = 100.0 ** (-torch.arange(d // 4, dtype=torch.float64) / (d // 4))
        row, column = torch.arange(rows)[:, None, None], torch.arange(columns)[None, :, None]
        row, column = row * frequencies, column * frequencies
        patches = torch.cat([row.expand(rows, columns, -1), column.expand(rows, columns, -1)], -1)
        angles = F.pad(patches.reshape(rows * columns, d // 2), (0, 0, prefix, 0))
    else:
        angles = torch.zeros(prefix + rows * columns, d // 2, dtype=torch.float64)
    return angles.cos().float(), angles.sin().float()


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def zero_sum(s):
    """delta/N and epsilon of logits (...,N): the first-order and what is above it of softmax, each of sum zero. In double
    precision, because softmax less its first two terms leaves few of a float's digits."""
    N, s = s.shape[-1], s.double()
    delta = (s - s.mean(-1, keepdim=True)) / N
    return delta, s.softmax(-1) - 1 / N - delta


def zeros(q, k, v, u, gate, mu, tau, zero_order=False):
    """q, k, v, u (...,N,d), gate (...,N,3), mu (...,1,d), tau (...,1,1): o (...,N,d) in time linear in N."""
    N, d = v.shape[-2:]
    q, k = F.normalize(q, dim=-1, eps=1e-12), F.normalize(k, dim=-1, eps=1e-12)
    strength = tau.clamp(-50, 30).exp()
    mean_u = (strength * mu + u.sum(-2, keepdim=True)) / (strength + N)
    first, higher = zero_sum(-(u * mean_u).sum(-1) / math.sqrt(d))
    queries = [gate[..., 0:1].sigmoid() * q, gate[..., 1:2].sigmoid() * q]
    keys = [first.unsqueeze(-1).to(k.dtype) * k, higher.unsqueeze(-1).to(k.dtype) * k]
    if zero_order:
        queries.append(gate[..., 2:3].tanh() * q)
        keys.append(k / N)
    state = torch.cat(keys, -1).transpose(-1, -2) @ v
    return torch.cat(queries, -1) @ state


def zeros_sm(q, k, v, gate):
    """The quadratic sibling: each row of softmax's logits reweighted."""
    first, higher = zero_sum(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]))
    gate = gate.sigmoid()
    return (gate[..., 0:1] * first.to(v.dtype) + gate[..., 1:2] * higher.to(v.dtype)) @ v


def softmax(q, k, v):
    return (q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])).softmax(-1) @ v


def linear(q, k, v):
    """Katharopoulos et al. 2020."""
    q, k = F.elu(q) + 1, F.elu(k) + 1
    return q @ (k.transpose(-1, -2) @ v) / ((q * k.sum(-2, keepdim=True)).sum(-1, keepdim=True) + 1e-6)


def attend(kind, cos, sin, q, k, v, u=None, gate=None, mu=None, tau=None, head_norm=True, zero_order=False):
    """One of the four over heads (...,N,d), rotary position before and the head norm after it."""
    q, k = rotate(q, cos, sin), rotate(k, cos, sin)
    if kind == "zeros":
        o = zeros(q, k, v, u, gate, mu, tau, zero_order)
    elif kind == "zeros-sm":
        o = zeros_sm(q, k, v, gate)
    else:
        return {"softmax": softmax, "linear": linear}[kind](q, k, v)
    return F.layer_norm(o, o.shape[-1:], eps=1e-5) if head_norm else o


class Attention(nn.Module):
    def __init__(self, args, prefix, grid, first):
        super().__init__()
        D, H = args["embed_dim"], args["num_heads"]
        self.kind, self.heads = args["attn"], H
        self.head_norm, self.zero_order = args["head_norm"], args["zero_order"] and first
        for name, values in zip(("cos", "sin"), rope_table(args["rope"], prefix, grid, D // H)):
            self.register_buffer(name, values, persistent=False)
        if not self.kind.startswith("zeros"):
            self.qkv, self.proj = nn.Linear(D, 3 * D), nn.Linear(D, D)
            return
        self.q, self.k, self.v, self.gate = nn.Linear(D, D), nn.Linear(D, D), nn.Linear(D, D), nn.Linear(D, 3 * H)
        if self.kind == "zeros":
            self.u = nn.Linear(D, D)
            self.prior_mu = nn.Parameter(torch.zeros(1, 1, H, D // H))
            self.prior_log_tau = nn.Parameter(torch.zeros(1, 1, H, 1))
        self.out_proj = nn.Linear(D, D)

    def split(self, x):
        """(B,N,H*d) to (B,H,N,d)"""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x):
        cos, sin, more = self.cos.to(x.dtype), self.sin.to(x.dtype), {}
        if self.kind.startswith("zeros"):
            q, k, v = self.q(x), self.k(x), self.v(x)
            more.update(gate=self.split(self.gate(x)), head_norm=self.head_norm, zero_order=self.zero_order)
        else:
            q, k, v = self.qkv(x).chunk(3, -1)
        if self.kind == "zeros":
            more.update(u=self.split(self.u(x)), mu=self.prior_mu.transpose(1, 2), tau=self.prior_log_tau.transpose(1, 2))
        o = attend(self.kind, cos, sin, self.split(q), self.split(k), self.split(v), **more)
        out = self.out_proj if self.kind.startswith("zeros") else self.proj
        return out(o.transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, args, prefix, grid, first):
        super().__init__()
        D = args["embed_dim"]
        hidden = int(D * args["mlp_ratio"])
        self.norm1, self.norm2 = nn.LayerNorm(D, eps=1e-6), nn.LayerNorm(D, eps=1e-6)
        self.attn = Attention(args, prefix, grid, first)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(D, hidden), "fc2": nn.Linear(hidden, D)})

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x))))


class VisionTransformer(nn.Module):
    """config: the object of a model file's metadata."""

    def __init__(self, config):
        super().__init__()
        args = config["model_args"]
        if args.get("causal"):
            raise ValueError("causal attention is not written here (zvit has it)")
        if args["attn"] not in ("zeros", "zeros-sm", "softmax", "linear"):
            raise ValueError(f"{args['attn']} attention is not written here (zvit has it)")
        D, P = args["embed_dim"], args["patch_size"]
        height, width = args["img_size"] if isinstance(args["img_size"], list) else [args["img_size"]] * 2
        self.token_pool = config["global_pool"] == "token"
        prefix, grid = int(self.token_pool), (height // P, width // P)
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, D, P, P)})
        if self.token_pool:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, D))
        self.pos_embed = nn.Parameter(torch.zeros(1, prefix + grid[0] * grid[1], D))
        self.blocks = nn.ModuleList(Block(args, prefix, grid, i == 0) for i in range(args["depth"]))
        self.add_module("norm" if self.token_pool else "fc_norm", nn.LayerNorm(D, eps=1e-6))
        self.head = nn.Linear(D, config["num_classes"])

    def forward(self, images):
        x = self.patch_embed["proj"](images).flatten(2).transpose(1, 2)
        if self.token_pool:
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
        x = x + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x[:, 0]) if self.token_pool else self.fc_norm(x.mean(1)))


def load(path):
    """The model of a zvit file, ready to evaluate, and its config."""
    tensors, metadata = read_safetensors(path)
    if "config" not in metadata:
        raise ValueError(f"{path}: no config in its metadata (not a model file of zvit)")
    config = json.loads(metadata["config"])
    model = VisionTransformer(config)
    model.load_state_dict(tensors)
    return model.eval(), config


def prepare(path, cfg):
    """(3,H,W) as zvit's evaluation transform makes it, for square inputs."""
    from PIL import Image

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
    model, config = load(path)
    names = config["pretrained_cfg"]["label_names"]
    for picture in pictures:
        with torch.no_grad():
            p, index = model(prepare(picture, config["pretrained_cfg"])[None]).softmax(-1)[0].sort(descending=True)
        print(picture, *(f"{names[i]} {100 * v:.2f} %" for v, i in zip(p[:5].tolist(), index[:5].tolist())), sep="  ")


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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="the files are golden models")
    parser.add_argument("files", nargs="+", metavar="FILE", help="a model and pictures; with --check, golden models")
    args = parser.parse_args()
    if args.check:
        sys.exit(0 if all([check(path) for path in args.files]) else 1)
    if len(args.files) < 2:
        parser.error("a model and at least one picture are needed")
    classify(args.files[0], args.files[1:])


if __name__ == "__main__":
    main()
