#!/usr/bin/env python3
"""rapt's attention against PyTorch's scaled_dot_product_attention: the same shapes in the same run on as many threads, taken in turn.

Each round times rapt, then PyTorch, for every case; the medians of the rounds count. Prints a line of JSON for each case as it is done
and a table at the end. PyTorch gets what it likes best: contiguous [batch, heads, tokens, d_head], a mask made beforehand, and for
backward the gradients alone. The ragged batch, 400 sequences of 5 to 60 tokens, is padded to [400, 8, 60, 64] with a mask for it.

usage: $(bench/peers/setup) bench/peers/attention_race.py [--rounds N] [--seconds S] [--length N ...] [--d-head N ...] [--dtype f32|bf16 ...]
"""

import argparse
import itertools
import json
import statistics
import subprocess
import time
from collections import defaultdict
from pathlib import Path

import torch
from torch.nn import functional as F

import machine

RAPT = Path(__file__).resolve().parents[2] / "build/release/rapt"
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}
DIRECTIONS = ("forward", "backward")
VISIBILITIES = ("full", "causal")
RAGGED_LENGTHS = [5 + i * 37 % 56 for i in range(400)]  # as `rapt bench attention --what ragged`
RAGGED_HEADS, RAGGED_WIDTH = 8, 64
TOKENS = 16384  # of a batch with sequences of one length: as many heads as that takes


def median_seconds(work, seconds):
    """As `rapt bench` measures: runs that together last about `seconds`, at least three, after one that does not count."""
    work()
    runs, start = [], time.perf_counter()
    while len(runs) < 3 or time.perf_counter() - start < seconds:
        began = time.perf_counter()
        work()
        runs.append(time.perf_counter() - began)
    return statistics.median(runs)


def time_pytorch(shape, dtype, seconds, mask=None):
    """Yields ((direction, visibility), seconds) for q, k and v of [batch, heads, tokens, d_head]; mask: of keys that are no padding."""
    torch.manual_seed(1)
    q, k, v, d_out = (torch.randn(shape).to(DTYPES[dtype]) for _ in range(4))
    tokens = shape[2]
    for visibility in VISIBILITIES:
        arguments = {"is_causal": visibility == "causal"}
        if mask is not None:
            causal = torch.ones(tokens, tokens, dtype=torch.bool).tril()
            arguments = {"attn_mask": mask & causal if visibility == "causal" else mask}
        with torch.no_grad():
            yield ("forward", visibility), median_seconds(lambda: F.scaled_dot_product_attention(q, k, v, **arguments), seconds)
        inputs = [x.detach().requires_grad_() for x in (q, k, v)]
        out = F.scaled_dot_product_attention(*inputs, **arguments)
        yield ("backward", visibility), median_seconds(lambda: torch.autograd.grad(out, inputs, d_out, retain_graph=True), seconds)


def time_rapt(rapt, arguments, dtype, threads, seconds):
    """Yields what `rapt bench attention` says, as time_pytorch() does."""
    command = [rapt, "bench", "attention", "--json", "--dtype", dtype, "--threads", threads, "--seconds", seconds, *arguments]
    lines = subprocess.run([str(x) for x in command], check=True, capture_output=True, text=True).stdout.splitlines()
    rows = [row for row in map(json.loads, lines) if row["what"] == "attention"]
    assert len(rows) == len(DIRECTIONS) * len(VISIBILITIES), lines
    for row in rows:
        assert row["threads"] == threads, row
        if "ragged" in arguments:
            assert row["sequences"] == len(RAGGED_LENGTHS) and row["query_tokens"] == sum(RAGGED_LENGTHS), row
        yield (row["direction"], row["visibility"]), row["seconds"]


def square_case(length, d_head):
    heads = max(1, TOKENS // length)
    arguments = ["--what", *DIRECTIONS, "--length", length, "--d-head", d_head, "--heads", heads]
    name = {"case": "square", "length": length, "heads": heads, "d_head": d_head}
    return name, arguments, (1, heads, length, d_head), None


def ragged_case():
    longest = max(RAGGED_LENGTHS)
    mask = torch.arange(longest) < torch.tensor(RAGGED_LENGTHS)[:, None, None, None]
    name = {"case": "ragged", "length": f"{min(RAGGED_LENGTHS)}-{longest}", "heads": RAGGED_HEADS, "d_head": RAGGED_WIDTH}
    return name, ["--what", "ragged"], (len(RAGGED_LENGTHS), RAGGED_HEADS, longest, RAGGED_WIDTH), mask


def race(case, dtype, threads, options):
    """The results of one case, a dictionary for each direction and visibility."""
    name, arguments, shape, mask = case
    rapt, pytorch = defaultdict(list), defaultdict(list)
    for _ in range(options.rounds):
        for key, seconds in time_rapt(options.rapt, arguments, dtype, threads, options.seconds):
            rapt[key].append(seconds)
        for key, seconds in time_pytorch(shape, dtype, options.seconds, mask):
            pytorch[key].append(seconds)
    for key in itertools.product(DIRECTIONS, VISIBILITIES):
        ours, theirs = statistics.median(rapt[key]), statistics.median(pytorch[key])
        yield name | {
            "dtype": dtype, "direction": key[0], "visibility": key[1], "rapt_ms": 1e3 * ours, "pytorch_ms": 1e3 * theirs,
            "times_as_fast": theirs / ours, "rounds": [list(pair) for pair in zip(rapt[key], pytorch[key])],
        }  # fmt: skip


def table(results):
    yield "| case | tokens | heads | d_head | type | direction | visibility | rapt ms | PyTorch ms | rapt is x times as fast |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for r in results:
        yield (
            f"| {r['case']} | {r['length']} | {r['heads']} | {r['d_head']} | {r['dtype']} | {r['direction']} | {r['visibility']} "
            f"| {r['rapt_ms']:.3f} | {r['pytorch_ms']:.3f} | {r['times_as_fast']:.2f} |"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rapt", default=RAPT, help="the command; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="for each figure of a round")
    parser.add_argument("--length", type=int, nargs="*", default=[1024, 4096, 16384], help="none: the ragged batch alone")
    parser.add_argument("--d-head", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=list(DTYPES))
    parser.add_argument("--threads", type=int, default=0, help="0: one per core")
    options = parser.parse_args()
    threads = machine.use_threads(options.threads)
    versions = machine.describe(rapt=machine.rapt_version())
    cases = [square_case(length, d_head) for d_head in options.d_head for length in options.length] + [ragged_case()]
    results = []
    for dtype, case in itertools.product(options.dtype, cases):
        for result in race(case, dtype, threads, options):
            results.append(result)
            print(json.dumps(result | {"threads": threads, "versions": versions}), flush=True)
    print(f"\n{versions}; {options.rounds} rounds", *table(results), sep="\n")


if __name__ == "__main__":
    main()
