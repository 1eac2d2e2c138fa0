#!/usr/bin/env python3
"""Compares a language model in rapt with the same files in transformers: greedy continuations and perplexity, both in f32.

Continuations: twenty prompts of several kinds, continued greedily by rapt; transformers reads prompt and continuation at once, and up to
the first token that is not its likeliest there it would have written the same. How far its best logit there is ahead of its logit for
rapt's token tells rounding (below 1e-3) from an error. The log-probabilities of all tokens written are compared too.
Perplexity: windows of --context tokens, each --stride after the one before; a window scores what no earlier one did.

transformers cuts the text of a .gguf file at every vocabulary of bytes as GPT-2 does, whatever the file's tokenizer.ggml.pre asks for.
Here its cut is put right from the same file, and the prompts are listed for which that makes other tokens.

usage: $(bench/peers/setup) bench/peers/language_model.py MODEL TEXT [--bytes 60000] [--context 512] [--stride 256]
         [--tokens 100] [--rapt build/release/rapt]
MODEL: a directory in Hugging Face's layout, or a .gguf file. TEXT: plain or .gz.
"""

import argparse
import gzip
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer

import machine

ROUNDING = 1e-3  # of logits
TOLERANCE = 0.005  # of perplexities, relative

PROMPTS = [
    "The capital of France is",
    "Once upon a time, in a village by the sea, there lived a clockmaker who",
    "The three laws of thermodynamics state that",
    "Dear Sir or Madam,",
    "Q: Why is the sky blue?\nA:",
    "Shopping list:\n- bread\n- two litres of milk\n-",
    "def fibonacci(n):\n    ",
    "#include <vector>\n\n// Returns the largest element.\nint largest(const std::vector<int>& numbers) {\n",
    "SELECT name, COUNT(*) FROM orders WHERE",
    '{"name": "Ada", "born": 1815, "languages": [',
    "1, 1, 2, 3, 5, 8, 13, 21,",
    "Width    12.5\nHeight   340\nDepth    ",
    "The product of 128 and 4096 is",
    "On 17 March 2024 at 09:45, flight LH 1742",
    "Der Zug nach München fährt heute um",
    "Il était une fois une reine qui",
    "日本の首都は",
    "Столица России —",
    "Zażółć gęślą jaźń 🙂 means",
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\nName three primary colours.<|im_end|>\n<|im_start|>assistant\n",
]

# How a file's tokenizer.ggml.pre asks for texts to be cut, of those that differ from transformers' own cut.
CUTS = {
    "smollm": lambda: pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
}


def place_of(model):
    """What from_pretrained takes for a directory or a .gguf file."""
    path = Path(model)
    if path.suffix == ".gguf":
        return {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    return {"pretrained_model_name_or_path": str(path)}


def cut_of(model):
    """The file's tokenizer.ggml.pre; None for a directory."""
    if not model.endswith(".gguf"):
        return None
    from gguf import GGUFReader

    field = GGUFReader(model).get_field("tokenizer.ggml.pre")
    return field.contents() if field else None


def run(command, *arguments, text=None):
    done = subprocess.run([command, *arguments], input=text, text=True, check=True, stdout=subprocess.PIPE)
    return [json.loads(line) for line in done.stdout.splitlines()]


def continuations_of_rapt(command, model, tokens):
    """What --json tells of every prompt; prompts of one line are continued in one run."""
    options = ["generate", model, "--json", "--log-probabilities", "--temperature", "0", "--precision", "f32"]
    options += ["--max-tokens", str(tokens)]
    lines = [prompt for prompt in PROMPTS if "\n" not in prompt]
    found = dict(zip(lines, run(command, *options, "--input", "-", text="".join(line + "\n" for line in lines)), strict=True))
    for prompt in PROMPTS:
        if prompt not in found:
            (found[prompt],) = run(command, *options, "--prompt-file", "-", text=prompt + "\n")
    return [found[prompt] for prompt in PROMPTS]


@torch.no_grad()
def logits_of_transformers(model, prompt, written):
    """What each token written was to be chosen from: a row of logits a token."""
    return model(torch.tensor([prompt + written[:-1]])).logits[0, len(prompt) - 1 :]


def compare_continuations(options, tokenizer, model):
    """Prints where continuations part; returns how many are the same, how many part by rounding, how many part otherwise."""
    same = rounded = wrong = written = 0
    largest = 0.0
    for prompt, mine in zip(PROMPTS, continuations_of_rapt(options.rapt, options.model, options.tokens)):
        ids = tokenizer(prompt).input_ids
        if len(ids) != mine["prompt_tokens"]:
            print(f"{prompt!r}: {mine['prompt_tokens']} tokens in rapt, {len(ids)} in transformers")
            wrong += 1
            continue
        tokens = torch.tensor([token["id"] for token in mine["tokens"]])
        if len(tokens) < options.tokens and tokens[-1] != tokenizer.eos_token_id:
            print(f"{prompt!r}: rapt stopped after {len(tokens)} tokens, of which the last does not end a text")
            wrong += 1
            continue
        logits = logits_of_transformers(model, ids, tokens.tolist())
        scores = logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0]
        largest = max(largest, (scores - torch.tensor([token["log_probability"] for token in mine["tokens"]])).abs().max().item())
        written += len(tokens)
        differing = (logits.argmax(-1) != tokens).nonzero()
        if not len(differing):
            same += 1
            continue
        position = differing[0].item()
        row = logits[position]
        best, second = row.topk(2).values.tolist()
        behind = best - row[tokens[position]].item()
        rounded, wrong = (rounded + 1, wrong) if behind < ROUNDING else (rounded, wrong + 1)
        print(
            f"{prompt!r}: differs from token {position} on: rapt {tokenizer.decode(tokens[position])!r}, transformers "
            f"{tokenizer.decode(row.argmax())!r}; its two best logits are {best - second:.2e} apart, rapt's token is {behind:.2e} behind"
        )
    print(f"log-probabilities of the {written} tokens that rapt wrote differ by at most {largest:.2e}")
    return same, rounded, wrong


@torch.no_grad()
def loss_of_transformers(model, ids, context, stride):
    """The mean of -log p over all tokens but the first."""
    predictions = len(ids) - 1
    total, scored, begin = 0.0, 0, 0
    while scored < predictions:
        end = min(begin + context, predictions)
        logits = model(torch.tensor([ids[begin:end]])).logits[0, scored - begin :]
        targets = torch.tensor(ids[scored + 1 : end + 1])
        total += torch.nn.functional.cross_entropy(logits, targets, reduction="sum").item()
        scored, begin = end, begin + stride
    return total / predictions


def compare_perplexities(options, tokenizer, model):
    data = (gzip.open if options.text.suffix == ".gz" else open)(options.text, "rb").read(options.bytes)
    text = data[: data.rfind(b"\n") + 1].decode()  # rapt reads whole lines: it ends the last one
    with tempfile.NamedTemporaryFile("w", suffix=".txt", newline="") as file:
        file.write(text)
        file.flush()
        windows = ["--context", str(options.context), "--stride", str(options.stride)]
        (mine,) = run(options.rapt, "evaluate", options.model, "--text", file.name, *windows, "--precision", "f32", "--json")
    ids = tokenizer(text, verbose=False).input_ids
    if mine["tokens"] != len(ids) - 1:
        print(f"{options.text}: {mine['tokens'] + 1} tokens in rapt, {len(ids)} in transformers")
        return False
    theirs = loss_of_transformers(model, ids, options.context, options.stride)
    difference = abs(math.exp(mine["loss"] - theirs) - 1)
    print(
        f"perplexity of {len(text.encode())} bytes, {len(ids)} tokens, context {options.context}, stride {options.stride}: "
        f"rapt {mine['perplexity']:.6f}, transformers {math.exp(theirs):.6f}, {100 * difference:.2g} % apart"
    )
    return difference <= TOLERANCE


def load_tokenizer(model):
    tokenizer = AutoTokenizer.from_pretrained(**place_of(model))
    cut = cut_of(model)
    if cut in CUTS:
        before = [tokenizer(prompt).input_ids for prompt in PROMPTS]
        tokenizer.backend_tokenizer.pre_tokenizer = CUTS[cut]()
        changed = [prompt for prompt, ids in zip(PROMPTS, before) if tokenizer(prompt).input_ids != ids]
        print(f"cut of {cut} in place of transformers': other tokens for {len(changed)} prompts", *map(repr, changed), sep="\n  ")
    return tokenizer


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model")
    parser.add_argument("text", type=Path)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--bytes", type=int, default=60000, help="how much of the text")
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--stride", type=int, default=256)
    parser.add_argument("--rapt", default="build/release/rapt")
    options = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    tokenizer = load_tokenizer(options.model)
    model = AutoModelForCausalLM.from_pretrained(**place_of(options.model), dtype=torch.float32).eval()
    same, rounded, wrong = compare_continuations(options, tokenizer, model)
    print(f"{same} of {len(PROMPTS)} continuations of {options.tokens} tokens are the same; {rounded} part by rounding, {wrong} otherwise")
    perplexities_agree = compare_perplexities(options, tokenizer, model)
    print(machine.describe(transformers=transformers.__version__))
    sys.exit(0 if perplexities_agree and not wrong else 1)


if __name__ == "__main__":
    main()
