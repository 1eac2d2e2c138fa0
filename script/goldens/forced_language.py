#!/usr/bin/env python3
"""Writes tests/data/decoding/forced_language.json: what transformers' beam search finds where the first token is forced
to be a language (forced_bos_token_id), and where the decoder begins with it (the first mBART), by the tiny models of
tests/data (script/goldens/model.py makes those), in float64; float32 must say the same.

usage: $(bench/peers/setup) script/goldens/forced_language.py
"""

import json
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForSeq2SeqLM

from model import double_everywhere, in_float64

DATA = Path(__file__).parents[2] / "tests/data"
MODELS = ["mbart-tiny", "m2m_100-tiny"]
CHOICES = [{"forced_bos_token_id": 20}, {"forced_bos_token_id": 41}, {"decoder_start_token_id": 33}]


def found(model, ids, choice):
    """The ids written and their score: the log-probabilities over the number of tokens."""
    inputs = torch.tensor([ids])
    output = model.generate(
        input_ids=inputs, attention_mask=torch.ones_like(inputs), do_sample=False, num_beams=4, length_penalty=1.0,
        early_stopping=False, max_new_tokens=12, return_dict_in_generate=True, output_scores=True,
        **({"forced_bos_token_id": None} | choice),
    )  # fmt: skip
    return output.sequences[0, 1:].tolist(), output.sequences_scores[0].item()


def cases_of(name):
    """Each of some sources with each choice, where float32 and float64 agree."""
    single = AutoModelForSeq2SeqLM.from_pretrained(DATA / name, attn_implementation="eager").eval()
    sources = [case["source"] for case in json.loads((DATA / f"{name}-generation.json").read_text())["cases"]][::2]
    cases = []
    for choice in CHOICES:
        for ids in sources:
            roughly, _ = found(single, ids, choice)
            with double_everywhere():
                written, score = found(in_float64(single, DATA / name), ids, choice)
            if written == roughly:
                cases.append({"source": ids, **choice, "ids": written, "score": round(score, 6)})
    assert len(cases) > 20, f"{name}: float32 and float64 disagree too often"
    return cases


def main():
    golden = {"made_with": f"transformers {transformers.__version__}"} | {name: cases_of(name) for name in MODELS}
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in golden.items())
    (DATA / "decoding/forced_language.json").write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    main()
