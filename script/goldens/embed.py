#!/usr/bin/env python3
"""A tiny random sentence encoder, laid out as sentence-transformers does, and what torch makes of some texts with it
(bench/peers/requirements.txt pins the versions; sentence-transformers itself is not needed).

Writes into tests/data/
  embed-tiny/       BertModel and its WordPiece tokenizer as transformers saves them, modules.json (Transformer, Pooling, Normalize),
                    1_Pooling, and 2_Dense, which the tests put between
  embed-tiny.json   texts, their ids after truncation, and their vectors: one list for each kind of pooling, without
                    normalisation, and one for mean, dense layer and normalisation together

Everything is computed in float64, one text at a time, from the float32 weights that are saved.

usage: $(bench/peers/setup) script/goldens/embed.py [OUTPUT_DIRECTORY]
"""

import json
import sys
from pathlib import Path

import torch
from model import randomise
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, BertTokenizerFast, __version__

MAX_TOKENS, WIDTH, DENSE_WIDTH = 24, 16, 6
WORDS = "the a man two men are is walking along beach dog cat run ##s ##ning ##ed small big in on of and not it . , ! ?".split()
TEXTS = [
    "Two men are walking along the beach.",
    "",
    "A dog runs!",
    "the small cat is running, and the big dog is not running on the beach of the men, it walked along and along and along",
    "Übergrößenträger 日本 a cat",
    "   ",
    "two men are walking along the beach.",
    "it",
]


def tokenizer():
    letters = [c for c in "abcdefghijklmnopqrstuvwxyz0123456789"]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    pieces += [c for c in letters if c not in pieces] + [f"##{c}" for c in letters if f"##{c}" not in pieces]
    rules = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    rules.normalizer = normalizers.BertNormalizer(lowercase=True)
    rules.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    rules.decoder = decoders.WordPiece()
    rules.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])  # fmt: skip
    return BertTokenizerFast(tokenizer_object=rules, model_max_length=30)


def write_json(path, value):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n")


def write_modules(directory):
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    write_json(directory / "modules.json", [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for i, (path, kind) in enumerate(kinds)])  # fmt: skip
    write_json(directory / "sentence_bert_config.json", {"max_seq_length": MAX_TOKENS, "do_lower_case": False})
    modes = ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"]
    write_json(directory / "1_Pooling" / "config.json", {"word_embedding_dimension": WIDTH} | {
        f"pooling_mode_{mode}": mode == "mean_tokens" for mode in modes} | {"include_prompt": True})  # fmt: skip
    write_json(directory / "2_Dense" / "config.json", {
        "in_features": WIDTH, "out_features": DENSE_WIDTH, "bias": True,
        "activation_function": "torch.nn.modules.activation.Tanh"})  # fmt: skip


def poolings(hidden):
    places = torch.arange(1, len(hidden) + 1, dtype=hidden.dtype)[:, None]
    return {
        "cls": hidden[0],
        "max": hidden.max(dim=0).values,
        "mean": hidden.mean(dim=0),
        "mean_sqrt_len_tokens": hidden.sum(dim=0) / len(hidden) ** 0.5,
        "weightedmean": (places * hidden).sum(dim=0) / places.sum(),
        "lasttoken": hidden[-1],
    }


def main(output):
    directory = output / "embed-tiny"
    words = tokenizer()
    config = BertConfig(vocab_size=len(words), hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
                        max_position_embeddings=32, attn_implementation="eager")  # fmt: skip
    generator = torch.Generator().manual_seed(51)
    model = randomise(BertModel(config, add_pooling_layer=False), generator)
    model.save_pretrained(directory)
    words.save_pretrained(directory)
    write_modules(directory)
    dense = {"linear.weight": 0.3 * torch.randn(DENSE_WIDTH, WIDTH, generator=generator),
             "linear.bias": 0.1 * torch.randn(DENSE_WIDTH, generator=generator)}  # fmt: skip
    save_file(dense, directory / "2_Dense" / "model.safetensors", metadata={"format": "pt"})

    model = model.double()
    result = {"made_with": f"transformers {__version__}", "texts": TEXTS, "ids": [], "dense": []}
    for text in TEXTS:
        ids = words(text, truncation=True, max_length=MAX_TOKENS)["input_ids"]
        result["ids"].append(ids)
        with torch.no_grad():
            hidden = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        vectors = poolings(hidden)
        projected = torch.tanh(vectors["mean"] @ dense["linear.weight"].double().T + dense["linear.bias"].double())
        vectors["dense"] = projected / projected.norm()
        for kind, vector in vectors.items():
            result.setdefault(kind, []).append([round(x, 7) for x in vector.tolist()])
    rows = [f' "{key}": ' + (json.dumps(value) if isinstance(value, str) else
            "[\n  " + ",\n  ".join(json.dumps(v) for v in value) + "\n ]") for key, value in result.items()]  # fmt: skip
    (output / "embed-tiny.json").write_text("{\n" + ",\n".join(rows) + "\n}\n")
    print(f"{len(words)} pieces, {sum(p.numel() for p in model.parameters()):,} parameters, lengths {[len(i) for i in result['ids']]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "tests" / "data")
