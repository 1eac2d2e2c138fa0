#!/usr/bin/env python3
"""Writes tests/data/decoding/repetition_penalty.json: what transformers' beam search finds with a repetition penalty, by
the tiny models of tests/data (script/goldens/model.py makes those), in float64; float32 must say the same.

usage: $(bench/peers/setup) script/goldens/repetition_penalty.py
"""

import json
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from model import double_everywhere, in_float64

DATA = Path(__file__).parents[2] / "tests/data"
MODELS = {
    "marian-tiny": AutoModelForSeq2SeqLM, "mbart-tiny": AutoModelForSeq2SeqLM, "t5-tiny": AutoModelForSeq2SeqLM,
    "gpt2-tiny": AutoModelForCausalLM, "llama-tiny": AutoModelForCausalLM, "qwen2-tiny": AutoModelForCausalLM,
}  # fmt: skip
PENALTIES = [1.2, 2.0, 0.8]


def found(model, ids, penalty):
    """The ids written and their score: the penalised log-probabilities over the number of tokens."""
    inputs = torch.tensor([ids])
    output = model.generate(
        input_ids=inputs, attention_mask=torch.ones_like(inputs), do_sample=False, num_beams=4, length_penalty=1.0,
        early_stopping=False, max_new_tokens=12, repetition_penalty=penalty, return_dict_in_generate=True,
        output_scores=True,
    )  # fmt: skip
    first = 1 if model.config.is_encoder_decoder else len(ids)
    return output.sequences[0, first:].tolist(), output.sequences_scores[0].item()


def cases_of(name):
    """Each of some inputs with each penalty, where float32 and float64 agree."""
    single = MODELS[name].from_pretrained(DATA / name, attn_implementation="eager").eval()
    generation = json.loads((DATA / f"{name}-generation.json").read_text())
    inputs = [case.get("source", case.get("prompt")) for case in generation["cases"]][::2]
    cases = []
    for penalty in PENALTIES:
        for ids in inputs:
            roughly, _ = found(single, ids, penalty)
            with double_everywhere():
                written, score = found(in_float64(single, DATA / name), ids, penalty)
            if written == roughly:
                cases.append({"input": ids, "penalty": penalty, "ids": written, "score": round(score, 6)})
    assert len(cases) > 25, f"{name}: float32 and float64 disagree too often"
    return cases


def main():
    golden = {"made_with": f"transformers {transformers.__version__}"} | {name: cases_of(name) for name in MODELS}
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in golden.items())
    (DATA / "decoding/repetition_penalty.json").write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    main()
