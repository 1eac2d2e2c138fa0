#!/usr/bin/env python3
"""Compares a GGUF model in rapt with the same weights in llama.cpp: greedy continuations in f32, and speed side by side.

llama.cpp computes with quantised weights as they are and rounds activations to eight bits for it; rapt unpacks them. So that both compute the
same, the weights are unpacked by the gguf package into a file of F32 (or BF16, for speed) first, and llama.cpp's keys and values are kept in f32.
Continuations: both write greedily from the twenty prompts of language_model.py. Where they part, llama.cpp's logits tell how far apart its two
best were there: below 1e-3 is rounding.
Speed: a prompt of 512 tokens and 128 tokens after it, in turn, medians of --rounds; the file as it is, too. llama.cpp attends with and without
its flash attention, and the faster counts. Rapt's ceiling is `rapt bench model`'s: the rate of matrix products, or of reading memory.

usage: $(bench/peers/setup) -m pip install llama-cpp-python==0.3.36      (once: pip builds it from source, for this processor)
       $(bench/peers/setup) bench/peers/llama_race.py MODEL.gguf [--tokens 100] [--rounds 3] [--rapt build/release/rapt]
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import gguf
import llama_cpp
import numpy as np

import language_model
import machine

F32 = 0  # ggml's number of the type, of keys and values
PROMPT, WRITTEN = 512, 128  # tokens, as `rapt bench model` has them


def unpack(source, target, dtype):
    """Writes the model again with all its matrices in dtype and everything else as it was."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, reader.get_field("general.architecture").contents())
    kept = [field for name, field in reader.fields.items() if not name.startswith("GGUF.") and name != "general.architecture"]
    for field in kept:
        if field.name == "general.file_type":
            continue
        element = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), field.types[0], element)
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if len(tensor.shape) > 1 and dtype != gguf.GGMLQuantizationType.F32:
            writer.add_tensor(tensor.name, gguf.quants.quantize(values, dtype), raw_dtype=dtype)
        else:
            writer.add_tensor(tensor.name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def open_model(path, threads, flash=False):
    return llama_cpp.Llama(
        str(path), n_ctx=1024, n_batch=PROMPT, n_threads=threads, n_threads_batch=threads, type_k=F32, type_v=F32, flash_attn=flash,
        verbose=False,
    )  # fmt: skip


def logits(model):
    """Of the token after the last that was read."""
    return np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(model.ctx, -1), shape=(model.n_vocab(),)).copy()


def continue_greedily(model, prompt, tokens):
    """The tokens, and for each how far its logit was ahead of the second best."""
    model.reset()
    model.eval(prompt)
    written, leads = [], []
    while len(written) < tokens:
        row = logits(model)
        second, best = np.partition(row, -2)[-2:]
        written.append(int(row.argmax()))
        leads.append(float(best - second))
        if written[-1] == model.token_eos():
            break
        model.eval(written[-1:])
    return written, leads


def compare_continuations(options, model):
    same = rounded = wrong = 0
    for prompt, mine in zip(
        language_model.PROMPTS, language_model.continuations_of_rapt(options.rapt, str(options.model), options.tokens), strict=True
    ):
        ids = model.tokenize(prompt.encode(), add_bos=False, special=True)
        if len(ids) != mine["prompt_tokens"]:
            print(f"{prompt!r}: {mine['prompt_tokens']} tokens in rapt, {len(ids)} in llama.cpp")
            wrong += 1
            continue
        tokens = [token["id"] for token in mine["tokens"]]
        theirs, leads = continue_greedily(model, ids, options.tokens)
        if tokens == theirs:
            same += 1
            continue
        position = next((i for i, (a, b) in enumerate(zip(tokens, theirs)) if a != b), min(len(tokens), len(theirs)) - 1)
        rounded, wrong = (rounded + 1, wrong) if leads[position] < language_model.ROUNDING else (rounded, wrong + 1)
        print(f"{prompt!r}: parts at token {position}; llama.cpp's two best logits are {leads[position]:.2e} apart there")
    print(f"{same} of {len(language_model.PROMPTS)} continuations of {options.tokens} tokens are the same; {rounded} part by rounding, {wrong} otherwise")
    return not wrong


def speed_of_llama(path, threads, flash):
    model = open_model(path, threads, flash)
    prompt = np.random.default_rng(1).integers(100, model.n_vocab() - 100, PROMPT).tolist()
    model.eval(prompt)
    model.reset()
    began = time.perf_counter()
    model.eval(prompt)
    logits(model)
    read = PROMPT / (time.perf_counter() - began)
    times = []
    for token in prompt[:WRITTEN]:
        began = time.perf_counter()
        model.eval([token])
        logits(model)
        times.append(time.perf_counter() - began)
    return read, 1 / statistics.median(times)


def speed_of_rapt(options, path, precision, threads):
    command = [options.rapt, "bench", "model", path, "--json", "--precision", precision, "--threads", threads]
    rows = {row["what"]: row for row in language_model.run(*map(str, command))}
    return [(rows[what]["tokens_per_second"], rows[what]["percent_of_ceiling"]) for what in ("prompt", "decode")]


def race(options, files, threads):
    """Of llama.cpp the faster of its two ways to attend counts."""
    print("| weights | | rapt tokens/s | of rapt's ceiling | llama.cpp tokens/s | rapt is x times as fast |", "|---|---|---|---|---|---|", sep="\n")
    for name, path, precision in files:
        ours, theirs = [], []
        for _ in range(options.rounds):
            ours.append(speed_of_rapt(options, path, precision, threads))
            theirs.append([speed_of_llama(path, threads, flash) for flash in (False, True)])
        for i, work in enumerate((f"prompt of {PROMPT}", f"{WRITTEN} after it")):
            speed, percent = (statistics.median(round[i][j] for round in ours) for j in (0, 1))
            llama = max(statistics.median(round[flash][i] for round in theirs) for flash in (0, 1))
            print(f"| {name} | {work} | {speed:,.0f} | {percent:.0f} % | {llama:,.0f} | {speed / llama:.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3, help="of the race; 0: none")
    parser.add_argument("--rapt", default="build/release/rapt")
    options = parser.parse_args()
    threads = machine.use_threads(0)
    with tempfile.TemporaryDirectory() as directory:
        f32 = unpack(options.model, Path(directory) / "f32.gguf", gguf.GGMLQuantizationType.F32)
        agree = compare_continuations(options, open_model(f32, threads))
        if options.rounds:
            bf16 = unpack(options.model, Path(directory) / "bf16.gguf", gguf.GGMLQuantizationType.BF16)
            race(options, [("f32", f32, "f32"), ("bf16", bf16, "bf16"), ("as the file has them", options.model, "bf16")], threads)
    system = " ".join(llama_cpp.llama_print_system_info().decode().split())
    print(machine.describe(rapt=machine.rapt_version(), **{"llama-cpp-python": llama_cpp.__version__}), f"; llama.cpp: {system}")
    sys.exit(0 if agree else 1)


if __name__ == "__main__":
    main()
