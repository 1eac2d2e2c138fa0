#!/usr/bin/env python3
"""Writes tests/data/text/languages.json: the ids of mBART's, NLLB's and M2M-100's tokenizers for directories with a
SentencePiece model and no tokenizer.json, on the model of pipeline/spm-xlm-roberta (script/goldens/tokenizer.py made it).

The ids are those that pretrained models expect: SentencePiece's own pieces, numbered as fairseq numbered them (classic()
below), special tokens in a text taken out first. The tokenizers of transformers are asked for the same and compared:
with 4.57.1, whose classes are the classic ones, every line must agree; 5.23 (bench/peers/requirements.txt) kept the
class of M2M-100 alone and makes tokenizers of its tokenizers library for the others, without the model's rules of
normalisation for mBART's, so that only M2M-100's must agree there. How many of the others do is printed.

usage: $(bench/peers/setup) script/goldens/languages.py
"""

import json
import logging
import re
import tempfile
import zlib
from importlib import import_module
from pathlib import Path

import sentencepiece
import transformers
import ugly_text

DATA = Path(__file__).resolve().parents[2] / "tests" / "data" / "text"
MODEL = DATA / "pipeline" / "spm-xlm-roberta" / "sentencepiece.bpe.model"
FULL_LINES = 10
# The module of transformers, the class, settings, where the language stands, and the languages of both sides of a pair.
KINDS = {
    "mbart": ("mbart", "MBartTokenizer", {}, "behind", ("en_XX", "ro_RO")),
    "mbart50": ("mbart50", "MBart50Tokenizer", {"src_lang": None, "language_codes": "mbart50"}, "before", ("sl_SI", "de_DE")),
    "nllb": ("nllb", "NllbTokenizer", {"src_lang": "fra_Latn"}, "before", ("eng_Latn", "zul_Latn")),
    "nllb-legacy": ("nllb", "NllbTokenizer", {"legacy_behaviour": True}, "behind", ("pes_Arab", "zho_Hans")),
    "m2m100": ("m2m_100", "M2M100Tokenizer", {"language_codes": "m2m100", "num_madeup_words": 8}, "before", ("en", "zu")),
    "wmt21": ("m2m_100", "M2M100Tokenizer", {"language_codes": "wmt21", "num_madeup_words": 1, "src_lang": "de"}, "before", ("de", "en")),
}  # fmt: skip
USUAL = {"mbart": "en_XX", "mbart50": "en_XX", "nllb": "eng_Latn", "m2m_100": "en"}
processor = sentencepiece.SentencePieceProcessor(model_file=str(MODEL))


def fairseq_dictionary():
    """The pieces in another order than the model's, and without some, as in M2M-100's vocab.json."""
    pieces = [processor.id_to_piece(i) for i in range(3, len(processor))]
    return ["<s>", "<pad>", "</s>", "<unk>", *pieces[1::2], *pieces[:40:2]]


def tokens_of(module, codes):
    listed = import_module(f"transformers.models.{module}.tokenization_{module}").FAIRSEQ_LANGUAGE_CODES
    return [f"__{code}__" for code in listed[codes]] if module == "m2m_100" else list(listed)


def classic(module, tokens, vocabulary):
    """All ids by token, and what gives those of a text."""
    if module == "m2m_100":
        ids = {token: i for i, token in enumerate([*vocabulary, *tokens])}
    else:
        pieces = [processor.id_to_piece(i) for i in range(3, len(processor))]
        ids = {token: i for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", *pieces, *tokens, "<mask>"])}
    special = ["<s>", "<pad>", "</s>", "<unk>", *tokens, *(["<mask>"] if module != "m2m_100" else [])]
    cut = re.compile("(" + "|".join(map(re.escape, sorted(special, key=len, reverse=True))) + ")")

    def encode(line):
        if module != "m2m_100":
            line = re.sub(r"[^\S\x1c-\x1f]*<mask>", "<mask>", line)  # Python's white space, but not Unicode's
        parts = [part for part in cut.split(line) if part]
        pieces = [[part] if part in special else processor.encode(part, out_type=str) for part in parts]
        return [ids.get(piece, ids["<unk>"]) for part in pieces for piece in part]

    return ids, encode


def checksums(texts):
    """CRC-32 of the texts, each ended by a NUL, block by block."""
    blocks = [texts[i : i + ugly_text.BLOCK] for i in range(0, len(texts), ugly_text.BLOCK)]
    return [zlib.crc32("".join(text + "\0" for text in block).encode()) for block in blocks]


def with_languages(lines, tokens):
    """Some lines with tokens of languages within."""
    return [line if i % 7 else f"{line[:9]}{tokens[i % len(tokens)]}{line[9:]}" for i, line in enumerate(lines)]


def golden(name, lines):
    module, class_name, settings, place, (source, target) = KINDS[name]
    tokens = tokens_of(module, settings.get("language_codes"))
    config = {"tokenizer_class": class_name, **settings}
    vocabulary = fairseq_dictionary() if module == "m2m_100" else None
    ids, encode = classic(module, tokens, vocabulary)
    mark = (lambda code: f"__{code}__") if module == "m2m_100" else (lambda code: code)

    def around(language, inside):
        end = ids["</s>"]
        return [ids[language], *inside, end] if place == "before" else [*inside, end, ids[language]]

    usual = mark(settings.get("src_lang") or USUAL[module])
    # Some languages in full, others in the checksums alone.
    lines = with_languages(lines, tokens)
    encoded = [around(usual, encode(line)) for line in lines]
    compare(name, config, tokens, vocabulary, ids, lines, encoded, (source, target), around, encode, mark)
    result = {"config": config, "languages": tokens, "size": len(ids), "first": ids[tokens[0]],
              "ids": checksums([" ".join(map(str, line)) for line in encoded]), "lines": encoded[:FULL_LINES],
              "pair": {"text": "the long way down", "source_language": source, "target_language": target,
                       "source": around(mark(source), encode("the long way down")),
                       "target": around(mark(target), encode("the long way down"))}}  # fmt: skip
    if vocabulary:
        result["vocabulary"] = vocabulary
    return result


def compare(name, config, tokens, vocabulary, ids, lines, encoded, pair, around, encode, mark):
    """What transformers makes of such a directory, asked with the ids that published directories give added tokens."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        (directory / "sentencepiece.bpe.model").write_bytes(MODEL.read_bytes())
        special = {"<s>", "<pad>", "</s>", "<unk>", "<mask>", *tokens} & ids.keys()
        listed = {str(ids[token]): {"content": token, "lstrip": token == "<mask>", "rstrip": False, "single_word": False,
                                    "normalized": False, "special": True} for token in sorted(special, key=ids.get)}  # fmt: skip
        full = {**config, "added_tokens_decoder": listed, "additional_special_tokens": tokens}
        (directory / "tokenizer_config.json").write_text(json.dumps(full))
        if vocabulary:
            (directory / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(vocabulary)}))
        module, class_name = KINDS[name][:2]
        peer = getattr(import_module(f"transformers.models.{module}.tokenization_{module}"), class_name).from_pretrained(directory)
    same = sum(peer(line)["input_ids"] == expected for line, expected in zip(lines, encoded))
    languages = sum(peer.convert_tokens_to_ids(token) == ids[token] for token in tokens)
    peer.src_lang, peer.tgt_lang = pair
    text = "the long way down"
    sides = [peer(text)["input_ids"], peer(text_target=text)["input_ids"]]
    expected = [around(mark(language), encode(text)) for language in pair]
    print(f"{name}: transformers {transformers.__version__} gives the same ids for {same} of {len(lines)} lines and "
          f"{languages} of {len(tokens)} languages, {'the same' if sides == expected else 'others'} for a pair")  # fmt: skip
    must_agree = module == "m2m_100" or transformers.__version__.startswith("4.")
    assert not must_agree or (same == len(lines) and languages == len(tokens) and sides == expected), name


def main():
    logging.disable(logging.WARNING)
    lines = ugly_text.lines(2000)
    result = {name: golden(name, lines) for name in KINDS}
    members = ",\n".join(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in result.items())
    path = DATA / "languages.json"
    path.write_text("{\n" + members + "\n}\n", encoding="utf-8")
    print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
