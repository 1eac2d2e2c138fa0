#!/usr/bin/env python3
"""How fast PyTorch trains a translation model here: target tokens a second, and GFLOP/s of its matrix products.

The model is transformers' MarianMT with random weights; every batch is random tokens of one length, so that nothing is lost to
padding. A step is forward, backward, clipping and Adam, with dropout and label smoothing 0.1.

usage: $(bench/peers/setup) bench/peers/train_speed.py [--model base|small ...] [--dtype f32|bf16 ...] [--steps N] [--compile] [--json]
"""

import argparse
import json
import statistics
import time

import torch
import transformers
from torch.nn import functional as F
from transformers import MarianConfig, MarianMTModel

import machine

SIZES = {
    "base": {"d_model": 512, "layers": 6, "d_ff": 2048, "heads": 8},
    "small": {"d_model": 256, "layers": 3, "d_ff": 1024, "heads": 4},
}
VOCAB, BATCH, LENGTH = 8000, 64, 24


def make_model(size):
    return MarianMTModel(
        MarianConfig(
            vocab_size=VOCAB, d_model=size["d_model"], encoder_layers=size["layers"], decoder_layers=size["layers"],
            encoder_ffn_dim=size["d_ff"], decoder_ffn_dim=size["d_ff"], encoder_attention_heads=size["heads"],
            decoder_attention_heads=size["heads"], activation_function="relu", scale_embedding=True, dropout=0.1,
            pad_token_id=VOCAB - 1, eos_token_id=0, decoder_start_token_id=VOCAB - 1, attn_implementation="sdpa",
        )
    ).train()  # fmt: skip


def flops_of_step(size):
    """Matrix products of one step: a multiplication and an addition count as two, backward as twice forward."""
    d, d_ff, tokens = size["d_model"], size["d_ff"], BATCH * LENGTH
    attention = 2 * 4 * d * d + 2 * 2 * LENGTH * d  # a token: four projections; scores and their sums of values
    feed_forward = 2 * 2 * d * d_ff
    encoder = size["layers"] * (attention + feed_forward)
    decoder = size["layers"] * (2 * attention + feed_forward)
    return 3 * tokens * (encoder + decoder + 2 * d * VOCAB)


def measure(size, dtype, steps, compiled):
    """Seconds of each step, after two that warm up."""
    torch.manual_seed(1)
    model = make_model(size)
    forward = torch.compile(model) if compiled else model
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, betas=(0.9, 0.98), eps=1e-9, fused=True)
    seconds = []
    for _ in range(2 + steps):
        source, inputs, targets = torch.randint(1, VOCAB - 1, (3, BATCH, LENGTH))
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == "bf16"):
            logits = forward(input_ids=source, decoder_input_ids=inputs, use_cache=False).logits
            loss = F.cross_entropy(logits.view(-1, VOCAB), targets.reshape(-1), label_smoothing=0.1)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()
        seconds.append(time.perf_counter() - began)
    return seconds[2:]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--dtype", nargs="+", choices=("f32", "bf16"), default=["f32", "bf16"])
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--compile", action="store_true", help="with torch.compile")
    parser.add_argument("--threads", type=int, default=0, help="0: one per core")
    parser.add_argument("--json", action="store_true", help="lines of JSON instead of text")
    options = parser.parse_args()
    threads = machine.use_threads(options.threads)
    versions = machine.describe(transformers=transformers.__version__)
    if not options.json:
        print(versions)
    for name in options.model:
        size = SIZES[name]
        for dtype in options.dtype:
            seconds = statistics.median(measure(size, dtype, options.steps, options.compile))
            result = {
                "model": name, "dtype": dtype, "compiled": options.compile, "batch": f"{BATCH}x{LENGTH}",
                "target_tokens_per_second": BATCH * LENGTH / seconds, "gflops": flops_of_step(size) / seconds / 1e9,
            }  # fmt: skip
            if options.json:
                print(json.dumps(result | {"threads": threads, "versions": versions}), flush=True)
            else:
                print(
                    f"{name} (d{size['d_model']}, {size['layers']}+{size['layers']} layers) {dtype}"
                    f"{' compiled' if options.compile else ''}: {1000 * seconds:.0f} ms a step, "
                    f"{result['target_tokens_per_second']:,.0f} target tokens/s, {result['gflops']:.0f} GFLOP/s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
