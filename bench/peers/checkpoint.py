#!/usr/bin/env python3
"""Compares a translation model that rapt trained with what transformers makes of the same directory.

Translates the first lines of a text with beam 4, four translations a line, with both, one sentence at a time in transformers (so
without padding), and compares the best translations and all scores: sums of log-probabilities over the length, so that a
difference of the logits shows in them.

usage: $(bench/peers/setup) bench/peers/checkpoint.py MODEL SOURCE [--lines 200] [--rapt build/release/rapt]
"""

import argparse
import subprocess
import sys
from pathlib import Path

import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

import machine


def translations_of_rapt(command, model, lines):
    options = ["--beam", "4", "--nbest", "4", "--length-penalty", "average", "--alpha", "1"]
    text = "".join(line + "\n" for line in lines)
    output = subprocess.run([command, "translate", model, *options], input=text, text=True, check=True, capture_output=True).stdout
    results = [[] for _ in lines]
    for row in output.splitlines():
        number, translation, score = row.split(" ||| ")
        results[int(number)].append((translation, float(score)))
    return results


@torch.no_grad()
def translations_of_transformers(directory, lines):
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForSeq2SeqLM.from_pretrained(directory, dtype=torch.float32).eval()
    for line in lines:
        inputs = tokenizer(line, return_tensors="pt")
        limit = 2 * inputs["input_ids"].shape[1] + 20
        found = model.generate(
            **inputs, num_beams=4, num_return_sequences=4, length_penalty=1.0, early_stopping=False, max_new_tokens=limit,
            max_length=None, forced_eos_token_id=None, output_scores=True, return_dict_in_generate=True,
        )  # fmt: skip
        texts = tokenizer.batch_decode(found.sequences, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        yield list(zip(texts, found.sequences_scores.tolist()))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model")
    parser.add_argument("source", type=Path)
    parser.add_argument("--lines", type=int, default=200)
    parser.add_argument("--rapt", default="build/release/rapt")
    options = parser.parse_args()
    lines = [line for line in options.source.read_text().splitlines() if line.strip()][: options.lines]
    ours = translations_of_rapt(options.rapt, options.model, lines)
    different, largest = 0, 0.0
    for line, mine, theirs in zip(lines, ours, translations_of_transformers(options.model, lines)):
        if mine[0][0] != theirs[0][0]:
            different += 1
            print(f"source        {line}\nrapt          {mine[0][1]:.6f} {mine[0][0]}\ntransformers  {theirs[0][1]:.6f} {theirs[0][0]}")
        # By rank: two cuts of a text into pieces are two translations of the same wording.
        largest = max([largest] + [abs(a[1] - b[1]) for a, b in zip(mine, theirs)])
    print(machine.describe())
    print(f"{len(lines) - different} of {len(lines)} best translations are the same; scores differ by at most {largest:.2e}")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
