"""What transformers' beam search finds by the tiny models of tests/data (script/goldens/model.py makes those) with one setting or another,
in float64; float32 must say the same. For the scripts beside it.
"""

import json
from pathlib import Path

import torch
import transformers

from model import double_everywhere, in_float64

DATA = Path(__file__).parents[2] / "tests/data"


def inputs_of(name):
    """Every other source or prompt that the model's own golden searches have."""
    cases = json.loads((DATA / f"{name}-generation.json").read_text())["cases"]
    return [case.get("source", case.get("prompt")) for case in cases][::2]


def found(model, ids, options):
    """The ids written and their score: the log-probabilities, as the search has changed them, over the number of tokens."""
    inputs = torch.tensor([ids])
    output = model.generate(
        input_ids=inputs, attention_mask=torch.ones_like(inputs), do_sample=False, num_beams=4, length_penalty=1.0,
        early_stopping=False, max_new_tokens=12, return_dict_in_generate=True, output_scores=True, **options,
    )  # fmt: skip
    first = 1 if model.config.is_encoder_decoder else len(ids)
    return output.sequences[0, first:].tolist(), output.sequences_scores[0].item()


def cases_of(name, model_class, choices, input_key, at_least):
    """Each input with each choice, where float32 and float64 agree. choices: what the golden file says, and the options that mean it."""
    single = model_class.from_pretrained(DATA / name, attn_implementation="eager").eval()
    cases = []
    for said, options in choices:
        for ids in inputs_of(name):
            roughly, _ = found(single, ids, options)
            with double_everywhere():
                written, score = found(in_float64(single, DATA / name), ids, options)
            if written == roughly:
                cases.append({input_key: ids, **said, "ids": written, "score": round(score, 6)})
    assert len(cases) >= at_least, f"{name}: float32 and float64 disagree too often"
    return cases


def write(file, cases):
    """cases: by the name of the model."""
    golden = {"made_with": f"transformers {transformers.__version__}"} | cases
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in golden.items())
    (DATA / "decoding" / file).write_text("{\n" + lines + "\n}\n")
