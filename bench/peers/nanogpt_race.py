#!/usr/bin/env python3
"""Trains nanoGPT's character model of Shakespeare with the settings its README gives for a CPU, and says how long that took.

Without options it runs a compact re-implementation: the same architecture, initialisation, batches, optimiser, schedule
and evaluations. With --nanogpt DIR it runs the original train.py of a checkout (https://github.com/karpathy/nanoGPT), in
a copy, on the same text.

usage: $(bench/peers/setup) bench/peers/nanogpt_race.py [--nanogpt DIR] [--steps N] [--text FILE] [--threads N] [--json]
"""

import argparse
import gzip
import json
import math
import os
import pickle
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import machine

LAYERS, HEADS, WIDTH, BLOCK, BATCH = 4, 4, 128, 64, 12
PEAK_RATE, LAST_RATE, WARMUP = 1e-3, 1e-4, 100
EVAL_INTERVAL, EVAL_BATCHES = 250, 20
SEED = 1337


def read_characters(path):
    """Token ids of the first 90 % (train) and of the rest (validation) of a text, and its characters, sorted."""
    raw = gzip.open(path).read() if path.suffix == ".gz" else path.read_bytes()
    text = raw.decode()
    characters = sorted(set(text))
    number = {character: i for i, character in enumerate(characters)}
    ids = np.array([number[character] for character in text], dtype=np.uint16)
    split = int(0.9 * len(ids))
    return ids[:split], ids[split:], characters


class Block(nn.Module):
    """Pre-norm attention and feed-forward without biases, as in GPT-2 but for them."""

    def __init__(self):
        super().__init__()
        self.attention_norm = nn.LayerNorm(WIDTH, bias=False)
        self.attention_in = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.attention_out = nn.Linear(WIDTH, WIDTH, bias=False)
        self.feed_forward_norm = nn.LayerNorm(WIDTH, bias=False)
        self.feed_forward_in = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.feed_forward_out = nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x):
        batch, length, _ = x.shape
        parts = self.attention_in(self.attention_norm(x)).split(WIDTH, dim=2)
        query, key, value = (part.view(batch, length, HEADS, WIDTH // HEADS).transpose(1, 2) for part in parts)
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.attention_out(seen.transpose(1, 2).reshape(batch, length, WIDTH))
        return x + self.feed_forward_out(F.gelu(self.feed_forward_in(self.feed_forward_norm(x))))


class CharacterModel(nn.Module):
    """The output layer shares the weights of the token embedding."""

    def __init__(self, vocab):
        super().__init__()
        self.tokens = nn.Embedding(vocab, WIDTH)
        self.positions = nn.Embedding(BLOCK, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                ends_branch = name.endswith("_out.weight")
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * LAYERS) if ends_branch else 0.02)

    def forward(self, ids, targets):
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.tokens.weight)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))


def random_batch(ids):
    starts = torch.randint(len(ids) - BLOCK, (BATCH,)).tolist()
    windows = torch.from_numpy(np.stack([ids[s : s + BLOCK + 1] for s in starts]).astype(np.int64))
    return windows[:, :-1], windows[:, 1:]


@torch.no_grad()
def estimated_loss(model, ids):
    return statistics.fmean(model(*random_batch(ids)).item() for _ in range(EVAL_BATCHES))


@torch.no_grad()
def exact_loss(model, ids):
    """Mean over all of a text, cut into windows that do not overlap: without the noise of nanoGPT's own estimate."""
    count = (len(ids) - 1) // BLOCK
    inputs = torch.from_numpy(ids[: count * BLOCK].astype(np.int64)).view(count, BLOCK)
    targets = torch.from_numpy(ids[1 : count * BLOCK + 1].astype(np.int64)).view(count, BLOCK)
    return model(inputs, targets).item()


def learning_rate(step, steps):
    if step < WARMUP:
        return PEAK_RATE * (step + 1) / (WARMUP + 1)
    progress = (step - WARMUP) / max(1, steps - WARMUP)
    return LAST_RATE + 0.5 * (1 + math.cos(math.pi * progress)) * (PEAK_RATE - LAST_RATE)


def race_reimplementation(train, validation, characters, steps):
    torch.manual_seed(SEED)
    model = CharacterModel(len(characters))
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99))
    step_times = []
    began = time.perf_counter()
    for step in range(steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        if step % min(EVAL_INTERVAL, steps) == 0:
            losses = estimated_loss(model, train), estimated_loss(model, validation)
            print(f"step {step}: train loss {losses[0]:.4f}, validation loss {losses[1]:.4f}", file=sys.stderr)
        step_began = time.perf_counter()
        loss = model(*random_batch(train))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        step_times.append(time.perf_counter() - step_began)
    total = time.perf_counter() - began
    return {
        "peer": "nanoGPT's CPU recipe, re-implemented",
        "seconds": total,
        "ms_per_step": 1000 * statistics.median(step_times),
        "validation_loss": losses[1],
        "validation_loss_exact": exact_loss(model, validation),
    }


def race_original(checkout, train, validation, characters, steps):
    """Runs the checkout's own train.py in a copy, with data prepared here because its prepare.py would download."""
    options = {
        "device": "cpu", "compile": False, "eval_iters": EVAL_BATCHES, "eval_interval": min(EVAL_INTERVAL, steps), "log_interval": 1, "block_size": BLOCK,
        "batch_size": BATCH, "n_layer": LAYERS, "n_head": HEADS, "n_embd": WIDTH, "max_iters": steps,
        "lr_decay_iters": steps, "dropout": 0.0,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "nanoGPT"
        shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns(".git", "assets", "out*", "data"))
        data = copy / "data" / "shakespeare_char"
        data.mkdir(parents=True)
        train.tofile(data / "train.bin")
        validation.tofile(data / "val.bin")
        with open(data / "meta.pkl", "wb") as file:
            pickle.dump({"vocab_size": len(characters)}, file)
        command = [sys.executable, "train.py", "config/train_shakespeare_char.py"]
        command += [f"--{name}={value}" for name, value in options.items()]
        environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
        step_times, losses, began = [], [], None
        with subprocess.Popen(command, cwd=copy, env=environment, stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                if step := re.match(r"iter \d+: loss [\d.]+, time ([\d.]+)ms", line):
                    step_times.append(float(step[1]))
                elif evaluation := re.match(r"step \d+: train loss [\d.]+, val loss ([\d.]+)", line):
                    # As in the re-implementation, the clock does not count the start of the program.
                    began = began or time.perf_counter()
                    losses.append(float(evaluation[1]))
                    print(line.rstrip(), file=sys.stderr)
            total = time.perf_counter() - began
        if process.returncode != 0:
            sys.exit(f"nanogpt_race.py: nanoGPT's train.py failed with exit code {process.returncode}")
    return {
        "peer": "nanoGPT, the original",
        "seconds": total,
        "ms_per_step": statistics.median(step_times),
        "validation_loss": losses[-1],
    }


def main():
    root = Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--nanogpt", type=Path, metavar="DIR", help="a checkout of nanoGPT to run instead")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--text", type=Path, default=root / "../shared/data/tinyshakespeare/input.txt.gz")
    parser.add_argument("--threads", type=int, default=0, help="0: one per core")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of text")
    options = parser.parse_args()
    if not options.text.exists():
        sys.exit(f"nanogpt_race.py: {options.text} does not exist; give Shakespeare's text with --text")
    threads = machine.use_threads(options.threads)
    data = read_characters(options.text)
    if options.nanogpt:
        result = race_original(options.nanogpt, *data, options.steps)
    else:
        result = race_reimplementation(*data, options.steps)
    if options.json:
        print(json.dumps(result | {"steps": options.steps, "threads": threads, "versions": machine.describe()}))
        return
    print(machine.describe())
    print(f"{result['peer']}: {options.steps} steps in {result['seconds']:.1f} s, {result['ms_per_step']:.2f} ms a step (median)")
    print(f"validation loss {result['validation_loss']:.4f} ({EVAL_BATCHES} random batches)", end="")
    print(f", {result['validation_loss_exact']:.4f} (whole text)" if "validation_loss_exact" in result else "")


if __name__ == "__main__":
    main()
