"""Trains helix-demo: a plain Llama on the conversations that prepare.ts wrote.

    python3 train.py <folder> --steps 21000 --tokens 16384

Reads config.json, ids.bin, learned.bin and lengths.bin, writes weights.bin (float32, little-endian) and weights.json
(name -> [offset in bytes, shape], Hugging Face names). Needs PyTorch >= 1.13 and NumPy; runs on one CPU core, or on a GPU
where there is one, which takes larger batches (--tokens 16384) in less time. The same seed, batches and step count give the
same weights on the same machine.
"""
import argparse
import itertools
import json
import math
import os
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


class RMSNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads, self.kv_heads, self.dim = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
        self.q_proj = nn.Linear(c["hidden_size"], self.heads * self.dim, bias=False)
        self.k_proj = nn.Linear(c["hidden_size"], self.kv_heads * self.dim, bias=False)
        self.v_proj = nn.Linear(c["hidden_size"], self.kv_heads * self.dim, bias=False)
        self.o_proj = nn.Linear(self.heads * self.dim, c["hidden_size"], bias=False)

    def forward(self, x, cos, sin, mask):
        batch, length, _ = x.shape
        split = lambda t, heads: t.view(batch, length, heads, self.dim).transpose(1, 2)
        rotate = lambda t: t * cos + torch.cat((-t[..., self.dim // 2 :], t[..., : self.dim // 2]), -1) * sin
        groups = self.heads // self.kv_heads
        q = rotate(split(self.q_proj(x), self.heads)) / math.sqrt(self.dim)
        k = rotate(split(self.k_proj(x), self.kv_heads)).repeat_interleave(groups, 1)
        v = split(self.v_proj(x), self.kv_heads).repeat_interleave(groups, 1)
        shares = (q @ k.transpose(-1, -2) + mask).softmax(-1)
        return self.o_proj((shares @ v).transpose(1, 2).reshape(batch, length, -1))


class MLP(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gate_proj = nn.Linear(c["hidden_size"], c["intermediate_size"], bias=False)
        self.up_proj = nn.Linear(c["hidden_size"], c["intermediate_size"], bias=False)
        self.down_proj = nn.Linear(c["intermediate_size"], c["hidden_size"], bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.self_attn, self.mlp = Attention(c), MLP(c)
        self.input_layernorm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        self.post_attention_layernorm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])

    def forward(self, x, cos, sin, mask):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class Model(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = nn.ModuleList(Layer(c) for _ in range(c["num_hidden_layers"]))
        self.norm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])


class Llama(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.model = Model(c)
        dim, length = c["head_dim"], c["max_position_embeddings"]
        frequencies = c["rope_theta"] ** (-torch.arange(0, dim, 2).float() / dim)
        angles = torch.outer(torch.arange(length).float(), frequencies).repeat(1, 2)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        self.register_buffer("mask", torch.full((length, length), float("-inf")).triu(1), persistent=False)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                # Layers that write into the residual stream start small, so that depth does not make it grow.
                residual = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(p, 0, 0.02 / (math.sqrt(2 * c["num_hidden_layers"]) if residual else 1))

    def forward(self, ids):
        """Hidden states of [batch, length] ids. Rotary positions are relative, so that all start at 0 here."""
        n = ids.shape[1]
        x = self.model.embed_tokens(ids)
        for layer in self.model.layers:
            x = layer(x, self.cos[:n], self.sin[:n], self.mask[:n, :n])
        return self.model.norm(x)

    def logits(self, hidden):
        return hidden @ self.model.embed_tokens.weight.t()


class Muon(torch.optim.Optimizer):
    """Momentum whose updates are made orthogonal by Newton-Schulz steps: https://kellerjordan.github.io/posts/muon"""

    def __init__(self, params, lr, momentum=0.95, weight_decay=0.01, dtype=torch.float32):
        super().__init__(params, dict(lr=lr, momentum=momentum, weight_decay=weight_decay))
        self.dtype = dtype

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            # Matrices of one shape are made orthogonal together: a GPU waits for the number of calls, not for their size. PyTorch
            # has no fast products of several bfloat16 matrices on CPUs, which take them one by one.
            shapes = {}
            for p in group["params"]:
                shapes.setdefault(p.shape, []).append(p)
            for (rows, columns), params in shapes.items():
                gradients = torch.stack([p.grad for p in params])
                buffer = self.state[params[0]].setdefault("momentum", torch.zeros_like(gradients))
                buffer.lerp_(gradients, 1 - group["momentum"])
                directions = gradients.lerp(buffer, group["momentum"]).to(self.dtype)
                updates = orthogonalize(directions) if directions.is_cuda else map(orthogonalize, directions)
                for p, update in zip(params, updates):
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.add_(update.float(), alpha=-group["lr"] * math.sqrt(max(1, rows / columns)))


def orthogonalize(g, steps=5):
    """The nearest matrices with orthogonal rows or columns, about, of [..., rows, columns]."""
    x = g.mT if g.shape[-2] > g.shape[-1] else g
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.mT if g.shape[-2] > g.shape[-1] else x


def batches(folder, tokens, rng):
    """Batches of about `tokens` tokens, of conversations that are nearly equally long, in random order, without end.

    Each is the ids [conversations, length], where in them (as one row) the next token is to be learned, these next tokens, and
    what each counts for.
    """
    ids = np.fromfile(os.path.join(folder, "ids.bin"), dtype=np.uint16)
    learned = np.fromfile(os.path.join(folder, "learned.bin"), dtype=np.uint8).astype(bool)
    lengths = np.fromfile(os.path.join(folder, "lengths.bin"), dtype=np.uint16).astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    shares = share_of_tokens(learned)
    while True:
        # A little noise in the order keeps the same conversations from always meeting in one batch.
        order = np.argsort(lengths + rng.uniform(0, 4, len(lengths)), kind="stable")
        cuts, first = [], 0
        while first < len(order):
            last = first + 1
            while last < len(order) and (last - first + 1) * (lengths[order[last]] + 4) <= tokens:
                last += 1
            cuts.append((first, last))
            first = last
        for i in rng.permutation(len(cuts)):
            rows = order[cuts[i][0] : cuts[i][1]]
            width = lengths[rows].max()
            columns = np.arange(width)
            at = np.minimum(starts[rows, None] + columns, len(ids) - 1)
            inside = columns < lengths[rows, None]
            x = np.where(inside, ids[at], 0).astype(np.int64)
            keep = np.flatnonzero((inside & learned[at])[:, 1:])
            targets, share = x[:, 1:].reshape(-1)[keep], shares[at[:, 1:].reshape(-1)[keep]]
            yield tuple(torch.from_numpy(t) for t in (np.ascontiguousarray(x[:, :-1]), keep, targets, share))


def share_of_tokens(learned):
    """What each token to be learned counts for: 1/sqrt(length of its answer), so that long answers do not drown short ones."""
    edges = np.diff(np.concatenate([[0], learned.astype(np.int8), [0]]))
    first, end = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    shares = np.zeros(len(learned), np.float32)
    shares[learned] = np.repeat(1 / np.sqrt(end - first), end - first)
    return shares


def read_weights(folder):
    """The weights that an earlier run wrote, as a state dict."""
    index = json.load(open(os.path.join(folder, "weights.json")))
    data = np.fromfile(os.path.join(folder, "weights.bin"), dtype="<f4")
    part = lambda offset, shape: data[offset // 4 : offset // 4 + math.prod(shape)].reshape(shape).copy()
    return {name: torch.from_numpy(part(offset, shape)) for name, (offset, shape) in index.items()}


def write_weights(net, folder):
    """Each file appears whole or not at all, so that an export may read while training goes on."""
    index, offset = {}, 0
    path = os.path.join(folder, "weights")
    with open(path + ".bin.part", "wb") as file:
        for name, value in net.state_dict().items():
            data = value.cpu().contiguous().numpy().astype("<f4")
            index[name] = [offset, list(data.shape)]
            offset += data.nbytes
            file.write(data.tobytes())
    with open(path + ".json.part", "w") as file:
        json.dump(index, file)
    for kind in (".bin", ".json"):
        os.replace(path + kind + ".part", path + kind)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--steps", type=int, default=12500)
    parser.add_argument("--minutes", type=float, help="train for so long instead, and say how many steps that were")
    parser.add_argument("--tokens", type=int, default=3072, help="per batch")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the weights in the folder")
    parser.add_argument("--rate", type=float, default=1, help="factor to the learning rates")
    parser.add_argument("--bf16", action="store_true", help="matrix products in bfloat16: faster on CPUs that have them")
    parser.add_argument("--save", type=float, help="also write the weights every so many minutes")
    parser.add_argument("--compile", action="store_true", help="compile the network first: a third faster, needs PyTorch >= 2 and g++")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_float32_matmul_precision("high" if device == "cuda" else "highest")
    config = json.load(open(os.path.join(args.folder, "config.json")))
    net = Llama(config)
    if args.resume:
        net.load_state_dict(read_weights(args.folder))
    net.to(device)
    print(f"{sum(p.numel() for p in net.parameters()) / 1e6:.2f} M parameters on {device}", flush=True)

    forward = torch.compile(net.forward, dynamic=True) if args.compile else net.forward
    dtype = torch.bfloat16 if args.bf16 else torch.float32
    matrices = [p for name, p in net.named_parameters() if p.dim() == 2 and "embed" not in name]
    others = [p for name, p in net.named_parameters() if p.dim() != 2 or "embed" in name]
    optimizers = [Muon(matrices, lr=0.02, dtype=dtype), torch.optim.AdamW(others, lr=3e-3, betas=(0.9, 0.98), weight_decay=0.0)]
    peaks = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]

    began, mean, tokens = time.time(), None, 0
    saved = began
    source = batches(args.folder, args.tokens, rng)
    for step in itertools.count():
        done = (time.time() - began) / (60 * args.minutes) if args.minutes else step / args.steps
        if done >= 1:
            break
        # Warm up, hold, then go down to nothing.
        rate = args.rate * min(1, (step + 1) / 50, (1 - done) / 0.6)
        for optimizer, peak in zip(optimizers, peaks):
            optimizer.param_groups[0]["lr"] = peak * rate
        x, keep, targets, share = (t.to(device) for t in next(source))
        tokens += x.numel()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=args.bf16):
            hidden = forward(x).view(-1, config["hidden_size"])[keep]
            logits = net.logits(hidden)
        loss = (F.cross_entropy(logits.float(), targets, reduction="none") * share).sum() / share.sum()
        loss.backward()
        nn.utils.clip_grad_norm_(others, 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        # Read now and then alone: to read a GPU's number is to wait for all it has been given to do.
        mean = loss.detach() if mean is None else mean.lerp(loss.detach(), 0.02)
        if step % 50 == 0:
            print(f"{time.time() - began:.0f} s, step {step}, loss {mean.item():.4f}", flush=True)
        if args.save and time.time() - saved > 60 * args.save:
            write_weights(net, args.folder)
            saved = time.time()

    print(f"{step} steps, {tokens} tokens, {time.time() - began:.0f} s, loss {mean.item():.4f}", flush=True)
    write_weights(net, args.folder)


if __name__ == "__main__":
    main()
