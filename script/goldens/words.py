#!/usr/bin/env python3
"""Which tokens belong to which word, and the words' vectors at each layer, by the tokenizers library and transformers
(bench/peers/requirements.txt pins the versions).

Writes into tests/data/
  words-tiny/        LlamaForCausalLM (rotary positions) with random weights and a byte-level BPE tokenizer, as transformers saves them
  words.json
    texts            words are those that rapt::find_words finds, by the same rule
    tokens           of each tokenizer in text/pipeline: for each text and word, the indices of its tokens without special ones, by the
                     library's offsets
    vectors          of embed-tiny (BertModel) and words-tiny: for each text, layer and word, the mean of its tokens' hidden_states

Everything is computed in float64, one text at a time, from the float32 weights that are saved.

usage: $(bench/peers/setup) script/goldens/words.py [OUTPUT_DIRECTORY]
"""

import json
import sys
from pathlib import Path

import regex
import torch
from model import randomise
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import BertModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, __version__

WIDTH = 16
LETTERS = r"[\w\p{M}\u200c\u200d]"
WORD = regex.compile(rf"(?![\p{{M}}\u200c\u200d]){LETTERS}+(?:['’]{LETTERS}+)*")
TEXTS = [
    "The man along the river's bank; the bank, a dog!",
    "They don't walk: it isn’t 'quoted' -- rock 'n' roll's",
    "  two  men\tare\nwalking (along) the_beach 2024 3.14",
    "Übergrößenträger NAÏVE cafés, Straße ΚΌΣΜΟΣ МИР",
    "Cafe\u0301 in de\u0301composed letters, ﬁne ﬂow ½ Ⅷ",
    "日本語 の テキスト, x日y",
    "emoji 😀word and wo😀rd 👩‍👩‍👧 family",
    "a",
    "",
    " .,;! ",
    "bank",
]


def trained(texts):
    rules = Tokenizer(models.BPE())
    rules.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rules.decoder = decoders.ByteLevel()
    rules.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=320, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<|endoftext|>"], show_progress=False))  # fmt: skip
    return PreTrainedTokenizerFast(tokenizer_object=rules, eos_token="<|endoftext|>")


def make_llama(directory):
    words = trained(TEXTS[:3] * 4)
    config = LlamaConfig(vocab_size=len(words), hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
                         intermediate_size=24, max_position_embeddings=64, tie_word_embeddings=True, bos_token_id=None, eos_token_id=0)  # fmt: skip
    randomise(LlamaForCausalLM(config), torch.Generator().manual_seed(52)).save_pretrained(directory)
    words.save_pretrained(directory)


def tokens_of_words(encoding, text):
    """Indices of the tokens whose offsets (in characters) overlap each word. A space alone, which the library counts to the letter behind it
    or not, is of no word."""
    places = [(0, 0) if piece in ("▁", "Ġ") else place for piece, place in zip(encoding.tokens, encoding.offsets)]
    return [[i for i, (begin, end) in enumerate(places) if begin < match.end() and match.start() < end] for match in WORD.finditer(text)]


def vectors(model, rules):
    rows = []
    for text in TEXTS:
        encoding = rules.encode(text)
        words = tokens_of_words(encoding, text)
        ids, limit = encoding.ids, model.config.max_position_embeddings
        if len(ids) > limit:  # the last token is kept; words that lose some are left out
            ids = ids[: limit - 1] + ids[-1:]
            words = [tokens for tokens in words if all(i < limit - 1 for i in tokens)]
        states = []
        if ids:
            with torch.no_grad():
                states = model.double()(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
        rows.append([[[round(x, 6) for x in state[0][tokens].mean(dim=0).tolist()] for tokens in words if tokens] for state in states])
    return rows


def main(output):
    make_llama(output / "words-tiny")
    result = {"made_with": f"transformers {__version__}", "texts": TEXTS, "tokens": {}, "vectors": {}}
    for directory in sorted((output / "text" / "pipeline").iterdir()):
        if (directory / "tokenizer.json").exists():
            rules = Tokenizer.from_file(str(directory / "tokenizer.json"))
            rules.no_truncation()
            rules.no_padding()
            result["tokens"][directory.name] = [tokens_of_words(rules.encode(text, add_special_tokens=False), text) for text in TEXTS]
    for name, kind in [("embed-tiny", BertModel), ("words-tiny", LlamaForCausalLM)]:
        extra = {"attn_implementation": "eager"}
        model = kind.from_pretrained(output / name, **extra, **({"add_pooling_layer": False} if kind is BertModel else {})).eval()
        result["vectors"][name] = vectors(model, Tokenizer.from_file(str(output / name / "tokenizer.json")))
    parts = [f' "made_with": {json.dumps(result["made_with"])}', f' "texts": {json.dumps(TEXTS)}']
    for key in ("tokens", "vectors"):
        rows = ",\n".join(f'  "{name}": {json.dumps(value, separators=(",", ":"))}' for name, value in result[key].items())
        parts.append(f' "{key}": {{\n{rows}\n }}')
    (output / "words.json").write_text("{\n" + ",\n".join(parts) + "\n}\n")
    print(f"{len(result['tokens'])} tokenizers, {(output / 'words.json').stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "tests" / "data")
