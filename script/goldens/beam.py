#!/usr/bin/env python3
"""Writes tests/data/decoding/beam.json: what the beam search of Hugging Face transformers finds.

usage: $(bench/peers/setup) script/goldens/beam.py

The model is that of tests/decoding/fake_model.h: its logits are a hash of the whole text, exact in float32, so that the
file holds results only.
"""

import itertools
import json
import pathlib

import torch
import transformers
from transformers.modeling_outputs import CausalLMOutput

TRANSFORMERS = "5.23.0"
VOCAB = 24
EOS = 2
PAD = 1
BOS = 5
SENTENCES = [[3], [4], [7], [11], [18], [23]]
MASK = (1 << 64) - 1


def mix(state, token):
    state = ((state ^ (token + 1)) * 0xBF58476D1CE4E5B9) & MASK
    return state ^ (state >> 29)


def logits_after(text, eos_bias):
    state = 0x9E3779B97F4A7C15
    for token in text:
        state = mix(state, token)
    logits = [(mix(mix(state, token), VOCAB) >> 44) / 131072 - 4 for token in range(VOCAB)]
    logits[EOS] += eos_bias
    return logits


class HashConfig(transformers.PretrainedConfig):
    model_type = "hash"
    eos_bias = 0.0


class HashModel(transformers.PreTrainedModel, transformers.GenerationMixin):
    config_class = HashConfig

    def __init__(self, config):
        super().__init__(config)
        self.nothing = torch.nn.Parameter(torch.zeros(1))
        self.post_init()

    def prepare_inputs_for_generation(self, input_ids, **_):
        return {"input_ids": input_ids}

    def forward(self, input_ids, **_):
        rows = [logits_after(text, self.config.eos_bias) for text in input_ids.tolist()]
        return CausalLMOutput(logits=torch.tensor(rows, dtype=torch.float32)[:, None, :])


def run(model, options):
    """The n-best lists of all sentences; each hypothesis is [score, token, token, ...], EOS included."""
    beam = options["num_beams"]
    output = model.generate(
        torch.tensor(SENTENCES),
        do_sample=False,
        num_return_sequences=beam,
        pad_token_id=PAD,
        eos_token_id=EOS,
        use_cache=False,
        return_dict_in_generate=True,
        output_scores=True,
        **options,
    )
    rows = output.sequences[:, 1:].tolist()
    if beam == 1:
        return [[[0.0] + upto_eos(row)] for row in rows]
    lengths = (output.beam_indices >= 0).sum(dim=1).tolist()
    scores = output.sequences_scores.tolist()
    found = [[score] + row[:length] for score, row, length in zip(scores, rows, lengths)]
    return [found[i : i + beam] for i in range(0, len(found), beam)]


def upto_eos(row):
    return row[: row.index(EOS) + 1] if EOS in row else row


def cases():
    """Options of generate(), and the bias of EOS."""
    penalties, rules = [0.6, 1.0, 2.0], [False, True, "never"]
    for beam, penalty, early in itertools.product([1, 2, 4, 5], penalties, rules):
        if beam > 1 or (penalty == 1.0 and early is False):
            yield dict(num_beams=beam, length_penalty=penalty, early_stopping=early, max_new_tokens=10), 1.0
    for penalty, early in itertools.product([0.0, -0.5], rules):
        yield dict(num_beams=4, length_penalty=penalty, early_stopping=early, max_new_tokens=10), 1.0
    for early in rules:
        common = dict(num_beams=4, length_penalty=1.0, early_stopping=early, max_new_tokens=8)
        yield common, -3.0
        yield common, 4.0
        yield dict(common, bad_words_ids=[[PAD], [9], [13]]), 1.0
        yield dict(common, min_new_tokens=4), 3.0
        yield dict(common, forced_bos_token_id=BOS, forced_eos_token_id=EOS), -2.0


def rounded(nbest):
    return [[[round(score, 6)] + tokens for score, *tokens in sentence] for sentence in nbest]


def main():
    if transformers.__version__ != TRANSFORMERS:
        raise SystemExit(f"expected transformers {TRANSFORMERS}, found {transformers.__version__}")
    lines = []
    for options, eos_bias in cases():
        model = HashModel(HashConfig(vocab_size=VOCAB, eos_bias=eos_bias))
        case = {"options": options, "eos_bias": eos_bias, "nbest": rounded(run(model, options))}
        lines.append(json.dumps(case, separators=(",", ":")))
    head = {"transformers": TRANSFORMERS, "vocab": VOCAB, "eos": EOS, "sentences": [s[0] for s in SENTENCES]}
    path = pathlib.Path(__file__).parents[2] / "tests/data/decoding/beam.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(head)[:-1] + ', "cases": [\n' + ",\n".join(lines) + "\n]}\n")


if __name__ == "__main__":
    main()
