#!/usr/bin/env python3
"""Writes tests/data/decoding/forced_language.json: what transformers' beam search finds where the first token is forced
to be a language (forced_bos_token_id), and where the decoder begins with it (the first mBART).

usage: $(bench/peers/setup) script/goldens/forced_language.py
"""

from transformers import AutoModelForSeq2SeqLM

import beam_choices

MODELS = ["mbart-tiny", "m2m_100-tiny"]
CHOICES = [{"forced_bos_token_id": 20}, {"forced_bos_token_id": 41}, {"decoder_start_token_id": 33}]

if __name__ == "__main__":
    choices = [(choice, {"forced_bos_token_id": None} | choice) for choice in CHOICES]
    cases = {name: beam_choices.cases_of(name, AutoModelForSeq2SeqLM, choices, "source", at_least=21) for name in MODELS}
    beam_choices.write("forced_language.json", cases)
