"""zvit's models in PyTorch: the four attentions and the Vision Transformer around them.

    import zeros_vit
    model, config = zeros_vit.load("run/best.safetensors")
    logits = model(images)                  # (B,3,H,W), normalised as config["pretrained_cfg"] says

A model file of zvit is read as it is: its tensors have timm's names and its header says the shape. The method, step by
step, is in docs/zeros.md. Needs torch (1.13 or later) and numpy. Beside it: zeros_vit_classify.py names pictures as
`zvit classify` does, zeros_vit_check.py compares with the golden models.
"""
import json
import math

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
    N, index = prefix + rows * columns, torch.arange(rows * columns)
    positions = {"1d": [torch.arange(N)], "2d": [index // columns, index % columns]}.get(kind, [])
    if not positions:
        return torch.ones(N, d // 2), torch.zeros(N, d // 2)
    pairs, base = d // 2 // len(positions), 100.0 if kind == "2d" else 10000.0
    frequencies = base ** (-torch.arange(pairs, dtype=torch.float64) / pairs)
    angles = torch.cat([position[:, None] * frequencies for position in positions], -1)
    angles = F.pad(angles, (0, 0, N - len(angles), 0))  # a class token is not turned in two dimensions
    return angles.cos().float(), angles.sin().float()


def rotate(x, cos, sin):
    if x.shape[-1] % 2:
        return x  # heads of odd width have no rotary position
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
        for name in ("q", "k", "v", "u", "out_proj") if self.kind == "zeros" else ("q", "k", "v", "out_proj"):
            self.add_module(name, nn.Linear(D, D))
        self.gate = nn.Linear(D, 3 * H)
        if self.kind == "zeros":
            self.prior_mu = nn.Parameter(torch.zeros(1, 1, H, D // H))
            self.prior_log_tau = nn.Parameter(torch.zeros(1, 1, H, 1))

    def split(self, x):
        """(B,N,H*d) to (B,H,N,d)"""
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x):
        cos, sin = self.cos.to(x.dtype), self.sin.to(x.dtype)
        if not self.kind.startswith("zeros"):
            o = attend(self.kind, cos, sin, *map(self.split, self.qkv(x).chunk(3, -1)))
            return self.proj(o.transpose(1, 2).flatten(2))
        q, k, v, gate = (self.split(layer(x)) for layer in (self.q, self.k, self.v, self.gate))
        more = dict(gate=gate, head_norm=self.head_norm, zero_order=self.zero_order)
        if self.kind == "zeros":
            more.update(u=self.split(self.u(x)), mu=self.prior_mu.transpose(1, 2), tau=self.prior_log_tau.transpose(1, 2))
        return self.out_proj(attend(self.kind, cos, sin, q, k, v, **more).transpose(1, 2).flatten(2))


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
