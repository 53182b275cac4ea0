#!/usr/bin/env python3
"""The work of `zvit bench train` and `zvit bench infer` in PyTorch, in turns with zvit, and the ratios.

    compare_torch.py --zvit build/zvit                      # softmax DeiT-Tiny in PyTorch, ZeroS-Tiny in zvit
    compare_torch.py --zvit build/zvit --peer zeros         # the same ZeroS model in both
    compare_torch.py --zvit build/zvit --layer zeros.py     # around the ZeroS authors' layer (their file)

Every measurement is a process of its own, with glibc's malloc told to keep its memory (without that PyTorch loses a
third of its speed to page faults); rounds alternate between the two programs, figures are medians over rounds. Training
is forward, backward and AdamW on random pictures, float32. Needs torch 1.13 or later.
"""
import argparse
import importlib.util
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time
import types

MALLOC = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000"}
TASKS = ("train", "infer1", "infer")
DIM, DEPTH, HEADS, PATCH, SIDE, CLASSES = 192, 12, 3, 16, 224, 1000


def build(peer, layer):
    """DeiT-Tiny's shape around one of: softmax attention, ZeroS written as in docs/zeros.md, a layer from a file."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    tokens = (SIDE // PATCH) ** 2

    def heads(x):
        return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)

    class Softmax(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.proj = nn.Linear(DIM, 3 * DIM), nn.Linear(DIM, DIM)

        def forward(self, x):
            q, k, v = map(heads, self.qkv(x).chunk(3, -1))
            if hasattr(F, "scaled_dot_product_attention"):
                o = F.scaled_dot_product_attention(q, k, v)
            else:
                o = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1) @ v
            return self.proj(o.transpose(1, 2).flatten(2))

    class Zeros(nn.Module):
        """Linear time: one state of keys weighted by first and by higher orders."""

        def __init__(self):
            super().__init__()
            d = DIM // HEADS
            self.qkvu, self.gate, self.out = nn.Linear(DIM, 4 * DIM), nn.Linear(DIM, 3 * HEADS), nn.Linear(DIM, DIM)
            self.mu, self.tau = nn.Parameter(torch.zeros(HEADS, 1, d)), nn.Parameter(torch.zeros(HEADS, 1, 1))
            side = SIDE // PATCH
            at = torch.arange(side)[:, None] * 100.0 ** (-torch.arange(d // 4) / (d // 4))
            angles = torch.cat([at[:, None].expand(side, side, -1), at[None].expand(side, side, -1)], -1).flatten(0, 1)
            self.register_buffer("cos", angles.cos())
            self.register_buffer("sin", angles.sin())

        def rotate(self, x):
            a, b = x.chunk(2, -1)
            return F.normalize(torch.cat([a * self.cos - b * self.sin, b * self.cos + a * self.sin], -1), dim=-1)

        def forward(self, x):
            q, k, v, u = map(heads, self.qkvu(x).chunk(4, -1))
            gate, N = heads(self.gate(x)).sigmoid(), x.shape[1]
            q, k, strength = self.rotate(q), self.rotate(k), self.tau.exp()
            mean = (strength * self.mu + u.sum(-2, keepdim=True)) / (strength + N)
            s = -(u * mean).sum(-1, keepdim=True) / math.sqrt(u.shape[-1])
            first = (s - s.mean(-2, keepdim=True)) / N
            higher = s.softmax(-2) - 1 / N - first
            state = torch.cat([first * k, higher * k], -1).transpose(-1, -2) @ v
            o = torch.cat([gate[..., :1] * q, gate[..., 1:2] * q], -1) @ state
            return self.out(F.layer_norm(o, o.shape[-1:]).transpose(1, 2).flatten(2))

    def from_file():
        spec = importlib.util.spec_from_file_location("layer", layer)
        module = importlib.util.module_from_spec(spec)
        sys.modules["layer"] = module
        spec.loader.exec_module(module)
        options = types.SimpleNamespace(n_embd=DIM, n_head=HEADS, bias=True, dropout=0.0, block_size=tokens,
                                        is_causal=False, init_params=False, init_n_layers=DEPTH, use_norm=True,
                                        use_associative=True, is_first_layer=False)
        return next(value for name, value in vars(module).items()
                    if isinstance(value, type) and issubclass(value, nn.Module) and name.startswith("ZeroS"))(options)

    attention = {"softmax": Softmax, "zeros": Zeros, "layer": from_file}["layer" if layer else peer]

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.attn, self.norm2 = nn.LayerNorm(DIM, 1e-6), attention(), nn.LayerNorm(DIM, 1e-6)
            self.mlp = nn.Sequential(nn.Linear(DIM, 4 * DIM), nn.GELU(), nn.Linear(4 * DIM, DIM))

        def forward(self, x):
            x = x + self.attn(self.norm1(x))
            return x + self.mlp(self.norm2(x))

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(3, DIM, PATCH, PATCH)
            self.position = nn.Parameter(torch.randn(1, tokens, DIM) * 0.02)
            self.blocks = nn.Sequential(*[Block() for _ in range(DEPTH)])
            self.norm, self.head = nn.LayerNorm(DIM, 1e-6), nn.Linear(DIM, CLASSES)

        def forward(self, images):
            x = self.patches(images).flatten(2).transpose(1, 2) + self.position
            return self.head(self.norm(self.blocks(x).mean(1)))

    return Network()


def measure(args):
    """One measurement in this process: seconds of each call, and the most memory it held (MB)."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    model = build(args.peer, args.layer)
    batch = 1 if args.task == "infer1" else args.batch_size
    images, labels = torch.randn(batch, 3, SIDE, SIDE), torch.randint(CLASSES, (batch,))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-4, weight_decay=0.05) if args.task == "train" else None

    def call():
        context = torch.autocast("cpu", torch.bfloat16, enabled=args.bf16)
        if optimizer:
            with context:
                loss = torch.nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        else:
            with torch.inference_mode(), context:
                model(images)

    model.train(args.task == "train")
    for _ in range(2 if args.task != "infer1" else 5):
        call()
    seconds = []
    for _ in range(args.repeats * (10 if args.task == "infer1" else 1)):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024e-6
    print(json.dumps({"rate": batch / statistics.median(seconds), "peak": peak, "torch": torch.__version__}))


def run_torch(args, task, threads):
    command = [sys.executable, os.path.abspath(__file__), "--task", task, "--threads", str(threads), "-b",
               str(args.batch_size), "--repeats", str(args.repeats), "--peer", args.peer, "--layer", args.layer or ""]
    command += ["--bf16"] if args.bf16 else []
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env={**os.environ, **MALLOC}).stdout)


def run_zvit(args, task, threads):
    """The figures of both kinds of inference come from one run; `task` picks."""
    what = "train" if task == "train" else "infer"
    command = [args.zvit, "bench", what, "--json", "--model", args.model, "-b", str(args.batch_size), "--repeats",
               str(max(args.repeats, 4)), "--threads", str(threads)]
    results = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout)["results"]
    name = {"train": "training", "infer1": "inference, batch 1"}.get(task, "inference, batch %d" % args.batch_size)
    found = {entry["name"]: entry for entry in results}
    return {"rate": found[name]["value"], "peak": found["peak memory"]["value"], "share": found[name]["ceiling_share"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zvit", help="the zvit command; without it only PyTorch is measured")
    parser.add_argument("--model", default="zeros_tiny_patch16_224", help="zvit's model")
    parser.add_argument("--peer", choices=("softmax", "zeros"), default="softmax", help="PyTorch's attention")
    parser.add_argument("--layer", default="", help="Python file with a ZeroS layer, in place of --peer")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--threads", default=None, help="of PyTorch, a comma between: 1,16 (default: 1 and all)")
    parser.add_argument("--zvit-threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("-b", "--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3, help="timed calls in a measurement")
    parser.add_argument("--bf16", action="store_true", help="PyTorch under bfloat16 autocast")
    parser.add_argument("--task", choices=TASKS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.task:
        args.threads = int(args.threads)
        return measure(args)
    cores = len(os.sched_getaffinity(0))
    threads = [int(t) for t in args.threads.split(",")] if args.threads else sorted({1, cores})
    print("%-8s %-22s %12s %10s %10s %8s" % ("task", "program", "images/s", "MB", "ceiling", "ratio"))
    for task in args.tasks:
        found = {}
        for _ in range(args.rounds):
            for t in threads:
                found.setdefault(("torch", t), []).append(run_torch(args, task, t))
            if args.zvit:
                found.setdefault(("zvit", args.zvit_threads), []).append(run_zvit(args, task, args.zvit_threads))
        rates = {key: statistics.median(entry["rate"] for entry in list_) for key, list_ in found.items()}
        best = max(rate for key, rate in rates.items() if key[0] == "torch")
        for key, list_ in found.items():
            name = "%s, %d thread%s" % (key[0], key[1], "" if key[1] == 1 else "s")
            if key[0] == "torch":
                name = name.replace("torch", "torch " + list_[0]["torch"].split("+")[0])
            share = statistics.median(entry.get("share", math.nan) for entry in list_)
            ratio = "%.2f" % (rates[key] / best) if key[0] == "zvit" else ""
            print("%-8s %-22s %12.2f %10.0f %10s %8s" % (
                task, name, rates[key], statistics.median(entry["peak"] for entry in list_),
                "" if math.isnan(share) else "%.1f %%" % (100 * share), ratio), flush=True)


if __name__ == "__main__":
    main()
