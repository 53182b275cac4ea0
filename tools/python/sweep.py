#!/usr/bin/env python3
"""Trains many small ViTs at a time on a GPU, to find out what settings are worth: a sweep that zvit's CPU takes days for.

    sweep.py prepare DATA OUT.npz --size 64 --short-side 104    # decodes DATA/train and DATA/val once
    sweep.py run DATA.npz PLAN.jsonl OUT.jsonl                  # a line of PLAN: settings, {"lr": 2e-3, "seeds": [1, 2]}
    sweep.py table OUT.jsonl                                    # the mean and the spread over the seeds, best first
    sweep.py effects OUT.jsonl                                  # what each value is worth, when all were drawn at random

It is zvit's training (initial values, AdamW with decay of the matrices only, clipping, schedule, random crop with Pillow's
filters, mirror, mixup, CutMix, drop path, smoothing, EMA) around the attentions of zeros_vit.py. Models that differ in
seeds and numbers only are stacked and step together in one CUDA graph; all that is random is drawn beforehand from the
run's seed, so that a figure does not depend on what it was stacked with but for rounding. Products are in TF32. Not bit
for bit zvit's runs: the means over seeds are what to compare. Results are written after every stack.
"""
import argparse
import collections
import json
import math
import pathlib
import statistics
import time
import warnings

import numpy
import torch
from torch.nn import functional as F

import zeros_vit

SHARES = (0.8, 0.85, 0.9, 1.0)  # of the scaled picture that evaluation sees: --crop-pct
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# What a stack has in common, and its value unless the plan says another.
SHARED = dict(attn="zeros", epochs=60, batch=64, zero_order=False, head_norm=True, rope="2d", patch=8, dim=192, depth=6, heads=3)
# What may differ within one. *_std and the biases are initial values.
OWN = dict(lr=1e-3, min_lr=1e-5, warmup=5, wd=0.05, beta2=0.999, clip=1.0, drop_path=0.1, smoothing=0.1, ema=0.998, scale=0.5,
           mixup=0.2, cutmix=1.0, mix_prob=1.0, switch_prob=0.5, mirror=0.5, jitter=0.0, erase=0.0,
           std=0.02, qk_std=0.02, v_std=0.02, u_std=0.02, gate_std=0.02, out_std=0.02, mu_std=0.0, tau=0.0, gate1=0.0, gateh=0.0)


# ---- pictures ----

def prepare(folder, out, size, short_side):
    """train: pixels one after the other, heights and widths; val: as zvit's evaluation sees it, at several crop shares."""
    from PIL import Image

    def read(path):
        image = Image.open(path).convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")

    def centre(image, share):
        short, (w, h) = math.floor(size / share), image.size
        image = image.resize((short, int(short * h / w)) if w <= h else (int(short * w / h), short), Image.BICUBIC)
        left, top = round((image.width - size) / 2), round((image.height - size) / 2)
        return numpy.array(image.crop((left, top, left + size, top + size)))

    def shrink(image):
        """No larger than a random crop needs; what is longer than twice its width loses its ends."""
        w, h = image.size
        if min(w, h) > short_side:
            w, h = max(short_side, w * short_side // min(w, h)), max(short_side, h * short_side // min(w, h))
            image = image.resize((w, h), Image.BICUBIC)
        cut_w, cut_h = min(w, 2 * min(w, h), 2 * short_side), min(h, 2 * min(w, h), 2 * short_side)
        left, top = (w - cut_w) // 2, (h - cut_h) // 2
        return numpy.array(image.crop((left, top, left + cut_w, top + cut_h)))

    classes = sorted(p.name for p in (folder / "train").iterdir() if p.is_dir())
    files = {split: [(p, k) for k, name in enumerate(classes) for p in sorted((folder / split / name).glob("*"))]
             for split in ("train", "val")}
    train = [shrink(read(p)) for p, _ in files["train"]]
    val = [[centre(read(p), share) for share in SHARES] for p, _ in files["val"]]
    numpy.savez_compressed(
        out, classes=numpy.array(classes), train_labels=numpy.array([k for _, k in files["train"]]),
        val_labels=numpy.array([k for _, k in files["val"]]), train_sizes=numpy.array([t.shape[:2] for t in train]),
        train_pixels=numpy.concatenate([t.ravel() for t in train]), val=numpy.array(val).transpose(1, 0, 2, 3, 4))
    print(f"{out}: {len(train)} + {len(val)} pictures of {len(classes)} classes")


class Data:
    def __init__(self, path, device):
        file = numpy.load(path)
        sizes, flat, at = file["train_sizes"], file["train_pixels"], 0
        self.side, self.size = int(sizes.max()), file["val"].shape[2]
        pixels = numpy.zeros((len(sizes), 3, self.side, self.side), numpy.uint8)
        for i, (h, w) in enumerate(sizes):
            pixels[i, :, :h, :w] = flat[at:at + h * w * 3].reshape(h, w, 3).transpose(2, 0, 1)
            at += h * w * 3
        self.pixels = torch.from_numpy(pixels).to(device)
        self.sizes = torch.from_numpy(sizes).float().to(device)
        self.labels = torch.from_numpy(file["train_labels"]).to(device)
        self.classes, self.mean = len(file["classes"]), torch.tensor(MEAN, device=device).view(3, 1, 1)
        self.std = torch.tensor(STD, device=device).view(3, 1, 1)
        self.grey = torch.tensor([0.299, 0.587, 0.114], device=device).view(3, 1, 1)
        self.classes_row = torch.arange(self.classes, device=device)
        self.val_labels = torch.from_numpy(file["val_labels"]).to(device)
        self.val = [self.normalise(torch.from_numpy(v).to(device).permute(0, 3, 1, 2).float()) for v in file["val"]]

    def normalise(self, pixels):
        return (pixels / 255 - self.mean) / self.std


def random_crop(sizes, low, u):
    """torchvision's: top, left, height, width (...); the first of ten tries that fits, else all. u (...,22) in 0..1."""
    h, w = sizes[..., 0:1], sizes[..., 1:2]
    area = h * w * (low[..., None] + (1 - low[..., None]) * u[..., :10])
    ratio = torch.exp(math.log(3 / 4) + math.log(16 / 9) * u[..., 10:20])
    tries_w, tries_h = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    first = ((tries_w <= w) & (tries_h <= h)).float()
    first, found = first.argmax(-1, keepdim=True), first.amax(-1) > 0
    crop_h = torch.where(found, tries_h.gather(-1, first)[..., 0], h[..., 0])
    crop_w = torch.where(found, tries_w.gather(-1, first)[..., 0], w[..., 0])
    top, left = (u[..., 20] * (h[..., 0] - crop_h + 1)).floor(), (u[..., 21] * (w[..., 0] - crop_w + 1)).floor()
    return top, left, crop_h, crop_w


def resize_weights(start, length, size, side, bicubic, mirrored):
    """(...,size,side) Pillow's: the triangle or cubic (a = -0.5) stretched when it shrinks, cut at the crop's border."""
    position = torch.arange(size, device=start.device)
    scale = (length / size)[..., None]
    centre = start[..., None] + (torch.where(mirrored[..., None], size - 1 - position, position) + 0.5) * scale
    pixel = torch.arange(side, device=start.device) + 0.5
    x = ((pixel - centre[..., None]) / scale.clamp_min(1)[..., None]).abs()
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    cubic = torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))
    w = torch.where(bicubic[..., None, None], cubic, (1 - x).clamp_min(0))
    inside = (pixel > start[..., None]) & (pixel < (start + length)[..., None])
    w = w * inside[..., None, :]
    return w / w.sum(-1, keepdim=True)


DRAWS = 31  # uniform numbers for the augmentation of a picture, before those of drop path


def augment(data, own, index, u, mix):
    """index (R,B), u (R,B,DRAWS): pictures (R,B,3,size,size) and the shares of own labels (R)."""
    low = own["scale"].view(-1, 1).expand(index.shape)
    top, left, h, w = random_crop(data.sizes[index], low, u)
    bicubic, mirrored = u[..., 22] < 0.5, u[..., 23] < own["mirror"].view(-1, 1)
    upright = torch.zeros_like(mirrored)
    down = resize_weights(top, h, data.size, data.side, bicubic, upright)[:, :, None]
    across = resize_weights(left, w, data.size, data.side, bicubic, mirrored)[:, :, None]
    x = (data.pixels[index].float() @ across.transpose(-1, -2)).clamp(0, 255)
    x = (down @ x).clamp(0, 255)
    jitter = own["jitter"].view(-1, 1, 1) * (2 * u[..., 24:27] - 1) + 1  # brightness, contrast, saturation
    factor = [jitter[..., i, None, None, None] for i in range(3)]
    x = (x * factor[0]).clamp(0, 255)
    mean = (x * data.grey).sum(2, keepdim=True).mean((-1, -2), keepdim=True)
    x = (mean + (x - mean) * factor[1]).clamp(0, 255)
    mean = (x * data.grey).sum(2, keepdim=True)
    x = data.normalise((mean + (x - mean) * factor[2]).clamp(0, 255))
    side = data.size * (0.02 + 0.31 * u[..., 28]).sqrt()  # erased: zeros, which is the mean colour
    y0, x0 = u[..., 29] * (data.size - side), u[..., 30] * (data.size - side)
    at = torch.arange(data.size, device=x.device)
    rows, columns = (at >= y0[..., None]) & (at < (y0 + side)[..., None]), (at >= x0[..., None]) & (at < (x0 + side)[..., None])
    erased = (u[..., 27] < own["erase"].view(-1, 1))[..., None, None] & rows[..., :, None] & columns[..., None, :]
    x = x.masked_fill(erased[:, :, None], 0)
    lam, box = mix[:, 0], mix[:, 1:]  # the box is empty for mixup, whose share is then lam
    rows, columns = (at >= box[:, 0:1]) & (at < box[:, 1:2]), (at >= box[:, 2:3]) & (at < box[:, 3:4])
    boxed = (rows[:, :, None] & columns[:, None, :])[:, None, None]
    blend = torch.where((box[:, 1] > 0).view(-1, 1, 1, 1, 1), boxed.float(), (1 - lam).view(-1, 1, 1, 1, 1))
    return torch.lerp(x, x.flip(1), blend), lam


def draw_mix(own, size, steps, rng):
    """(steps,5): the share of the own label and the box y0, y1, x0, x1 of CutMix."""
    mix = numpy.zeros((steps, 5), numpy.float32)
    mix[:, 0] = 1
    for t in range(steps):
        use, choice = rng.random(2)
        cutmix = own["cutmix"] > 0 and (own["mixup"] == 0 or choice < own["switch_prob"])
        alpha = own["cutmix"] if cutmix else own["mixup"]
        if alpha == 0 or use >= own["mix_prob"]:
            continue
        lam = rng.beta(alpha, alpha)
        mix[t, 0] = lam
        if cutmix:
            half, (y, x) = math.floor(size * math.sqrt(1 - lam)) // 2, rng.integers(0, size, 2)
            y0, y1, x0, x1 = max(0, y - half), min(size, y + half), max(0, x - half), min(size, x + half)
            mix[t] = [1 - (y1 - y0) * (x1 - x0) / size**2, y0, y1, x0, x1] if half else [1, 0, 0, 0, 0]
    return mix


# ---- R models of one shape, one after the other in every tensor ----

def parameters(shape, size, classes):
    """(name, shape, decays, initial value): zvit's table."""
    D, H, P, hidden = shape["dim"], shape["heads"], shape["patch"], 4 * shape["dim"]
    bound = ("uniform", 1 / math.sqrt(3 * P * P))
    table = [("pos_embed", ((size // P)**2, D), False, ("normal", "std")),
             ("patch.weight", (D, 3 * P * P), True, bound), ("patch.bias", (D,), False, bound)]
    gated = shape["attn"].startswith("zeros")
    for i in range(shape["depth"]):
        rows = [("q", D, "qk_std"), ("k", D, "qk_std"), ("v", D, "v_std")]
        rows += [("u", D, "u_std")] if shape["attn"] == "zeros" else []
        rows += [("gate", 3 * H, "gate_std")] if gated else []
        table += [(f"{i}.{n}.weight", (r, D), True, ("normal", std)) for n, r, std in rows]
        table += [(f"{i}.{n}.bias", (r,), False, ("gate",) if n == "gate" else ("constant", 0)) for n, r, _ in rows]
        if shape["attn"] == "zeros":
            table += [(f"{i}.mu", (H, D // H), False, ("normal", "mu_std")), (f"{i}.tau", (H, 1), False, ("setting", "tau"))]
        table += [(f"{i}.out.weight", (D, D), True, ("normal", "out_std")),
                  (f"{i}.fc1.weight", (hidden, D), True, ("normal", "std")),
                  (f"{i}.fc2.weight", (D, hidden), True, ("normal", "std")), (f"{i}.out.bias", (D,), False, ("constant", 0)),
                  (f"{i}.fc1.bias", (hidden,), False, ("constant", 0)), (f"{i}.fc2.bias", (D,), False, ("constant", 0))]
        table += [(f"{i}.norm{j}.{n}", (D,), False, ("constant", v)) for j in (1, 2) for n, v in (("weight", 1), ("bias", 0))]
    return table + [("fc_norm.weight", (D,), False, ("constant", 1)), ("fc_norm.bias", (D,), False, ("constant", 0)),
                    ("head.weight", (classes, D), True, ("normal", "std")), ("head.bias", (classes,), False, ("constant", 0))]


def initial(kind, dims, own, generator):
    if kind[0] == "uniform":
        return (2 * torch.rand(dims, generator=generator) - 1) * kind[1]
    if kind[0] == "normal":
        return torch.randn(dims, generator=generator) * own[kind[1]]
    if kind[0] == "gate":  # first order, higher orders, zero order of each head
        return torch.tensor([own["gate1"], own["gateh"], 0.0]).repeat(dims[0] // 3)
    return torch.full(dims, float(own[kind[1]] if kind[0] == "setting" else kind[1]))


class Stack:
    """One block (R,P) of weights, one of gradients; the tensors are views of them."""

    def __init__(self, shape, size, classes, owns, seeds, device):
        self.shape, self.size, self.views, at, table = shape, size, {}, 0, parameters(shape, size, classes)
        self.attend = zeros_vit.attend
        for name, dims, _, _ in table:
            self.views[name] = (at, math.prod(dims), dims)
            at += -(-math.prod(dims) // 8) * 8
        self.weights, self.grads = torch.zeros(len(owns), at), torch.zeros(len(owns), at, device=device)
        self.decays = torch.zeros(at)
        for r, (own, seed) in enumerate(zip(owns, seeds)):
            generator = torch.Generator().manual_seed(seed)
            for name, dims, decays, kind in table:
                begin, count, _ = self.views[name]
                self.weights[r, begin:begin + count] = initial(kind, dims, own, generator).reshape(-1)
                self.decays[begin:begin + count] = float(decays)
        self.weights, self.decays = self.weights.to(device), self.decays.to(device)
        self.leaves = self.of(self.weights)
        for (name, leaf), grad in zip(self.leaves.items(), self.of(self.grads).values()):
            self.leaves[name] = leaf.requires_grad_()
            leaf.grad = grad
        d, N = shape["dim"] // shape["heads"], size // shape["patch"]
        self.cos, self.sin = (t.to(device) for t in zeros_vit.rope_table(shape["rope"], 0, (N, N), d))

    def of(self, block):
        return {name: block[:, begin:begin + count].unflatten(1, dims).detach()
                for name, (begin, count, dims) in self.views.items()}

    def forward(self, p, images, drop=None):
        """images (R,B,3,size,size), drop (R,B,2*depth) factors of the branches: logits (R,B,classes)"""
        s, (R, B) = self.shape, images.shape[:2]
        P, g, D, H = s["patch"], self.size // s["patch"], s["dim"], s["heads"]
        N, gated = g * g, s["attn"].startswith("zeros")

        def linear(x, weight, bias, norm=None):
            if norm:  # of a LayerNorm before it: what it multiplies and adds goes into the product
                bias = bias + (weight @ p[norm + ".bias"].unsqueeze(-1)).squeeze(-1)
                weight = weight * p[norm + ".weight"].unsqueeze(1)
                x = F.layer_norm(x, (D,), eps=1e-6)
            return torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2))

        def add(x, branch, index):
            if drop is None:
                return x + branch
            scale = drop[:, :, index, None, None]
            return torch.addcmul(x.view(R, B, N, D), branch.view(R, B, N, D), scale).view(R, B * N, D)

        def heads(x):
            return x.reshape(R, B, N, H, -1).transpose(2, 3)

        patches = images.view(R, B, 3, g, P, g, P).permute(0, 1, 3, 5, 2, 4, 6).reshape(R, B * N, 3 * P * P)
        x = linear(patches, p["patch.weight"], p["patch.bias"])
        x = (x.view(R, B, N, D) + p["pos_embed"].unsqueeze(1)).view(R, B * N, D)
        for i in range(s["depth"]):
            names = ["q", "k", "v"] + ["u"] * (s["attn"] == "zeros") + ["gate"] * gated
            packed = linear(x, torch.cat([p[f"{i}.{n}.weight"] for n in names], 1),
                            torch.cat([p[f"{i}.{n}.bias"] for n in names], 1), f"{i}.norm1")
            parts = {n: heads(t) for n, t in zip(names, packed.split([3 * H if n == "gate" else D for n in names], -1))}
            if s["attn"] == "zeros":
                mu, tau = (p[f"{i}.{n}"][:, None, :, None] for n in ("mu", "tau"))
                parts.update(mu=mu, tau=tau, zero_order=s["zero_order"] and i == 0)
            attend = zeros_vit.attend if drop is None else self.attend
            o = attend(s["attn"], self.cos, self.sin, head_norm=s["head_norm"], **parts)
            x = add(x, linear(o.transpose(2, 3).reshape(R, B * N, D), p[f"{i}.out.weight"], p[f"{i}.out.bias"]), 2 * i)
            hidden = F.gelu(linear(x, p[f"{i}.fc1.weight"], p[f"{i}.fc1.bias"], f"{i}.norm2"))
            x = add(x, linear(hidden, p[f"{i}.fc2.weight"], p[f"{i}.fc2.bias"]), 2 * i + 1)
        return linear(x.view(R, B, N, D).mean(2), p["head.weight"], p["head.bias"], "fc_norm")


# ---- training ----

def learning_rates(own, steps, per_epoch):
    warm, t = min(own["warmup"], steps / per_epoch / 5) * per_epoch, numpy.arange(steps)
    cosine = own["min_lr"] + (own["lr"] - own["min_lr"]) * 0.5 * (1 + numpy.cos(numpy.pi * t / steps))
    return numpy.where(t < warm, 1e-6 + (own["lr"] - 1e-6) * t / max(warm, 1), cosine)


class Training:
    """A stack in training. All that is random lies ready: order (T,R,B), draws (T,R,B,.), mix (T,R,5), lr (T,R)."""

    def __init__(self, data, shape, owns, seeds, device, compiled):
        B, count = shape["batch"], len(data.labels)
        per_epoch = count // B
        self.data, self.steps, self.R, self.per_epoch = data, per_epoch * shape["epochs"], len(owns), per_epoch
        self.stack = Stack(shape, data.size, data.classes, owns, seeds, device)
        self.augment = augment
        if compiled:  # products stay the library's; what is between them becomes a few kernels
            self.augment = torch.compile(augment, dynamic=False)
            self.stack.attend = torch.compile(zeros_vit.attend, dynamic=False)
        self.own = {key: torch.tensor([o[key] for o in owns], dtype=torch.float32, device=device) for key in OWN}
        width = DRAWS + 2 * shape["depth"]
        order, draws, mix, lr = [], [], [], []
        for own, seed in zip(owns, seeds):
            rng = numpy.random.default_rng(seed)
            order.append(numpy.stack([rng.permutation(count)[:per_epoch * B] for _ in range(shape["epochs"])]).reshape(-1, B))
            mix.append(draw_mix(own, data.size, self.steps, rng))
            lr.append(learning_rates(own, self.steps, per_epoch))
            draws.append(torch.rand(self.steps, B, width, device=device, generator=torch.Generator(device).manual_seed(seed)))
        self.order, self.draws = torch.from_numpy(numpy.stack(order, 1)).to(device), torch.stack(draws, 1)
        self.mix = torch.from_numpy(numpy.stack(mix, 1)).to(device)
        self.lr = torch.from_numpy(numpy.stack(lr, 1)).float().to(device)
        self.t = torch.zeros(1, dtype=torch.long, device=device)
        weights = self.stack.weights
        self.m, self.v, self.average = torch.zeros_like(weights), torch.zeros_like(weights), weights.clone()
        self.loss = torch.zeros(self.R, device=device)
        rates = torch.arange(2 * shape["depth"], device=device) // 2 / max(1, shape["depth"] - 1)
        self.drop_rates = self.own["drop_path"][:, None, None] * rates

    def step(self):
        index, u, mix, lr = (x.index_select(0, self.t)[0] for x in (self.order, self.draws, self.mix, self.lr))
        own, s, K = self.own, self.stack, self.data.classes
        with torch.no_grad():
            images, lam = self.augment(self.data, own, index, u, mix)
            drop = (u[..., DRAWS:] >= self.drop_rates) / (1 - self.drop_rates)
            label = (self.data.labels[index].unsqueeze(-1) == self.data.classes_row).float()
            smoothing = own["smoothing"].view(-1, 1, 1)
            target = smoothing / K + (1 - smoothing) * torch.lerp(label.flip(1), label, lam.view(-1, 1, 1))
            s.grads.zero_()
        losses = -(target * s.forward(s.leaves, images, drop).log_softmax(-1)).sum(-1).mean(1)
        losses.sum().backward()
        with torch.no_grad():
            g, t = s.grads, (self.t + 1).float()
            g *= (own["clip"] / (g.norm(dim=1) + 1e-6)).clamp(max=1)[:, None]
            b2, lr = own["beta2"][:, None], lr[:, None]
            self.m.lerp_(g, 0.1)
            self.v.mul_(b2).add_(g.square_() * (1 - b2))
            s.weights.mul_(1 - lr * own["wd"][:, None] * s.decays)
            s.weights.sub_(self.m * (lr / (1 - 0.9**t)) / (self.v / (1 - b2**t)).sqrt_().add_(1e-8))
            keep = torch.minimum(own["ema"], (1 + t) / (10 + t))[:, None]
            self.average.lerp_(s.weights, 1 - keep)
            self.loss.lerp_(losses, 0.02)
            self.t += 1

    def run(self):
        if not self.order.is_cuda:
            for _ in range(self.steps):
                self.step()
            return
        start = self.stack.weights.clone()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(2):
                self.step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.step()
        for x, value in ((self.stack.weights, start), (self.average, start)):
            x.copy_(value)
        for x in (self.m, self.v, self.loss, self.t):
            x.zero_()
        for _ in range(self.steps):
            graph.replay()
        torch.cuda.synchronize()

    @torch.no_grad()
    def measure(self, weights, images):
        p, right, losses = self.stack.of(weights), 0, 0
        for begin in range(0, len(images), 128):
            part, labels = images[begin:begin + 128], self.data.val_labels[begin:begin + 128]
            logits = self.stack.forward(p, part.unsqueeze(0).expand(self.R, *part.shape))
            right = right + (logits.argmax(-1) == labels).sum(1)
            losses = losses - logits.log_softmax(-1).gather(-1, labels.expand(self.R, -1).unsqueeze(-1)).sum((1, 2))
        return (100 * right / len(images)).tolist(), (losses / len(images)).tolist()


def read_plan(path):
    """[(settings, seed)] in the plan's order; stacks are made of those that share a shape."""
    runs = []
    for line in pathlib.Path(path).read_text().splitlines():
        if line.strip():
            settings = json.loads(line)
            for key in settings:
                if key not in SHARED and key not in OWN and key not in ("seeds", "name"):
                    raise ValueError(f"{path}: {key}: no such setting")
            runs += [(settings, seed) for seed in settings.pop("seeds", [1, 2, 3])]
    return runs


def train_stack(data, shape, runs, device, args):
    owns, seeds = [{**OWN, **settings} for settings, _ in runs], [seed for _, seed in runs]
    try:
        training = Training(data, shape, owns, seeds, device, args.compile)
        training.run()
    except Exception as error:
        if not args.compile:
            raise
        print(f"compiled: {str(error)[:2000]}\ngoing on without", flush=True)
        args.compile = False
        training = Training(data, shape, owns, seeds, device, False)
        training.run()
    return training


def run(args):
    end = time.monotonic() + args.deadline
    device = torch.device(args.device)
    warnings.filterwarnings("ignore", message="grad and param do not obey")
    torch.set_float32_matmul_precision("high")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    data, groups, cost = Data(args.data, device), collections.defaultdict(list), 0.0
    for settings, seed in read_plan(args.plan):
        groups[tuple({**SHARED, **{k: v for k, v in settings.items() if k in SHARED}}.items())].append((settings, seed))
    stacks = [(dict(key), runs[i:i + args.stack]) for key, runs in groups.items() for i in range(0, len(runs), args.stack)]
    stacks = stacks[args.part::args.parts]
    with open(args.out, "w") as out:
        for shape, runs in stacks:
            work = len(data.labels) * shape["epochs"] * len(runs)  # pictures
            if time.monotonic() + work * cost > end:
                continue
            begin = time.monotonic()
            training = train_stack(data, shape, runs, device, args)
            results = {}
            for which, weights in (("", training.stack.weights), ("ema_", training.average)):
                for share, images in zip(SHARES, data.val):
                    results[f"{which}top1_{share}"], results[f"{which}loss_{share}"] = training.measure(weights, images)
            results["train_loss"] = training.loss.tolist()
            del training
            seconds = time.monotonic() - begin
            cost = seconds / work
            for r, (settings, seed) in enumerate(runs):
                row = {**settings, "data": pathlib.Path(args.data).stem, "seed": seed, "seconds": round(seconds / len(runs), 2)}
                out.write(json.dumps({**row, **{k: round(v[r], 4) for k, v in results.items()}}) + "\n")
            out.flush()
            print(f"{seconds:6.1f} s  {len(runs)} runs  {[round(v, 1) for v in results['top1_0.9']]}", flush=True)


def table(path):
    rows = collections.defaultdict(list)
    measured = ("seed", "seconds", "train_loss")
    for line in pathlib.Path(path).read_text().splitlines():
        row = json.loads(line)
        key = tuple((k, str(v)) for k, v in row.items() if k not in measured and "top1" not in k and "loss" not in k)
        rows[key].append(row)

    def mean(values, key):
        return statistics.mean(v[key] for v in values)

    print("top-1 at 0.9 (spread)  " + "  ".join(f"{'at ' + str(v):>7}" for v in SHARES)
          + "  EMA 0.9  val loss  train loss  settings")
    for key, values in sorted(rows.items(), key=lambda item: -mean(item[1], "top1_0.9")):
        tops = [v["top1_0.9"] for v in values]
        print(f"{mean(values, 'top1_0.9'):9.1f} ({min(tops):.1f}..{max(tops):.1f})  "
              + "  ".join(f"{mean(values, f'top1_{v}'):7.1f}" for v in SHARES)
              + f"  {mean(values, 'ema_top1_0.9'):7.1f}  {mean(values, 'loss_0.9'):8.3f}  {mean(values, 'train_loss'):10.3f}  "
              + " ".join(f"{k}={v}" for k, v in key))


def effects(path, what):
    """Least squares over runs whose settings were drawn at random: what each value is worth against the setting's first."""
    rows = [json.loads(line) for line in pathlib.Path(path).read_text().splitlines()]
    columns, names = [[1.0] * len(rows)], ["all first values"]
    for key in [k for k in rows[0] if k in OWN]:
        first, *others = sorted({row[key] for row in rows})
        for value in others:
            columns.append([float(row[key] == value) for row in rows])
            names.append(f"{key} {value:g} (against {first:g})")
    x, y = numpy.array(columns).T, numpy.array([row[what] for row in rows])
    values, _, rank, _ = numpy.linalg.lstsq(x, y, rcond=None)
    variance = ((y - x @ values)**2).sum() / (len(rows) - rank)
    errors = numpy.sqrt(variance * numpy.diag(numpy.linalg.pinv(x.T @ x)))
    print(f"{len(rows)} runs, {what}, standard deviation of a run {math.sqrt(variance):.2f}")
    for name, value, error in zip(names, values, errors):
        print(f"{value:+7.2f} +- {error:.2f}  {name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("prepare")
    verb.add_argument("data", type=pathlib.Path)
    verb.add_argument("out")
    verb.add_argument("--size", type=int, default=64, help="of the networks' input")
    verb.add_argument("--short-side", type=int, default=104)
    verb = verbs.add_parser("run")
    for name in ("data", "plan", "out"):
        verb.add_argument(name)
    verb.add_argument("--device", default="cuda")
    verb.add_argument("--compile", action="store_true", help="with torch.compile, which takes a minute to begin with")
    verb.add_argument("--stack", type=int, default=8, help="runs that step together")
    verb.add_argument("--deadline", type=float, default=math.inf, help="seconds; stacks that would end later are left out")
    verb.add_argument("--part", type=int, default=0, help="of the stacks, every --parts-th from this one on")
    verb.add_argument("--parts", type=int, default=1)
    verbs.add_parser("table").add_argument("out")
    verb = verbs.add_parser("effects")
    verb.add_argument("out")
    verb.add_argument("--of", default="top1_0.9", help="the figure")
    args = parser.parse_args()
    if args.verb == "prepare":
        prepare(args.data, args.out, args.size, args.short_side)
    elif args.verb == "run":
        run(args)
    elif args.verb == "effects":
        effects(args.out, args.of)
    else:
        table(args.out)


if __name__ == "__main__":
    main()
