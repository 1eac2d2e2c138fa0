#!/usr/bin/env python3
"""Writes tests/data/decoding/repetition_penalty.json: what transformers' beam search finds with a repetition penalty.

usage: $(bench/peers/setup) script/goldens/repetition_penalty.py
"""

from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

import beam_choices

MODELS = {
    "marian-tiny": AutoModelForSeq2SeqLM, "mbart-tiny": AutoModelForSeq2SeqLM, "t5-tiny": AutoModelForSeq2SeqLM,
    "gpt2-tiny": AutoModelForCausalLM, "llama-tiny": AutoModelForCausalLM, "qwen2-tiny": AutoModelForCausalLM,
}  # fmt: skip
PENALTIES = [1.2, 2.0, 0.8]

if __name__ == "__main__":
    choices = [({"penalty": penalty}, {"repetition_penalty": penalty}) for penalty in PENALTIES]
    cases = {name: beam_choices.cases_of(name, kind, choices, "input", at_least=26) for name, kind in MODELS.items()}
    beam_choices.write("repetition_penalty.json", cases)
