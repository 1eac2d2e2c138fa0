#!/usr/bin/env python3
"""Loads tiny models of every family that rapt trained further with transformers, and compares their logits.

The test program trains them on ten sentences (FineTuned in tests/training/fine_tuning_test.cpp) and keeps the directories and what
rapt makes of two texts. transformers must find every tensor that it expects and no other, give the texts the same ids, and the
same logits to 1e-4. The weights are bfloat16, both compute in float32.

usage: $(bench/peers/setup) bench/peers/fine_tuned.py [--test build/release/tests/test_training]
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForPreTraining, AutoModelForSeq2SeqLM, PreTrainedTokenizerFast

TEXTS = ["the dog runs", "snow is cold today"]
LIMIT = 1e-4


def class_for(config):
    if config.is_encoder_decoder:
        return AutoModelForSeq2SeqLM
    if config.architectures == ["BertForPreTraining"]:
        return AutoModelForPreTraining
    return AutoModelForMaskedLM if config.architectures[0].endswith("MaskedLM") else AutoModelForCausalLM


@torch.no_grad()
def logits_of_transformers(model, config, ids):
    ids = torch.tensor([ids])
    arguments = {"input_ids": ids} | ({"decoder_input_ids": ids} if config.is_encoder_decoder else {})
    output = model(**arguments)
    return (output.prediction_logits if hasattr(output, "prediction_logits") else output.logits)[0]


def compare(directory):
    """The largest difference of a logit, and what is wrong besides."""
    config = AutoConfig.from_pretrained(directory)
    model, info = class_for(config).from_pretrained(directory, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    wrong = [f"{kind}: {sorted(info[kind])}" for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[kind]]
    ours = load_file(f"{directory}-logits.safetensors")
    texts = ours["ids"].split(ours["lengths"].tolist())
    tokenizer = PreTrainedTokenizerFast.from_pretrained(directory)
    wrong += [f"ids of {text!r}" for text, ids in zip(TEXTS, texts) if tokenizer(text)["input_ids"] != ids.tolist()]
    logits = torch.cat([logits_of_transformers(model.eval(), config, ids.tolist()) for ids in texts])
    return (logits - ours["logits"]).abs().max().item(), wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--test", default="build/release/tests/test_training")
    options = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as kept:
        command = [options.test, "--gtest_filter=*FineTuned*.*", "--gtest_brief=1"]
        subprocess.run(command, env=os.environ | {"RAPT_KEEP_FINE_TUNED": kept}, check=True)
        directories = sorted(path for path in Path(kept).iterdir() if path.is_dir())
        for directory in directories:
            difference, wrong = compare(directory)
            good = difference <= LIMIT and not wrong
            failed += not good
            print(f"{directory.name:24} {difference:.1e}  {'equal' if good else 'DIFFERENT'}  {'; '.join(wrong)}")
    print(f"{len(directories) - failed} of {len(directories)} as transformers has them")
    sys.exit(failed > 0 or not directories)


if __name__ == "__main__":
    main()
