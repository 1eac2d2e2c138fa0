#!/usr/bin/env python3
"""Golden results of the text room, made by sacreBLEU, sentencepiece, tokenizers and transformers
(bench/peers/requirements.txt pins the versions; torch is not needed).

Writes into tests/data/text/
  bleu-tokenization.json  lines, and what sacreBLEU's tokenisers make of them
  metrics.json            small corpora, and their BLEU, chrF and chrF++
  unicode.json            lower case, words and normal forms as Python has them
  marian-opus/            a Marian directory as transformers saves it: two SentencePiece models, one vocabulary for both
  marian-separate/        the same with a vocabulary for each language
  marian.json             ids and decoded texts of both
  character/              a character tokenizer as the tokenizers library saves it
  character.json          ids and decoded text of it
and then, if it is given the test program of the text room, lets that write directories of its own and compares what
AutoTokenizer makes of them with what rapt does.

usage: script/goldens/text.py [build/release/tests/test_text]
"""

import contextlib
import io
import json
import logging
import os
import random
import subprocess
import sys
import tempfile
import unicodedata
import warnings
from pathlib import Path

import sentencepiece
import tokenizers
from sacrebleu.metrics import BLEU, CHRF
from transformers import AutoTokenizer, MarianTokenizer

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

OUTPUT = Path(__file__).resolve().parents[2] / "tests" / "data" / "text"

NASTY = [
    "",
    " ",
    "  leading and trailing  ",
    "tab\tand\u00a0no-break\u3000ideographic\u2003em\u2028line\u2029paragraph\u0085next\x1cfile\x0bvertical",
    'He said: "Don\'t!" (twice), then left...',
    "It costs $1,234.56 (or €1.234,56) - 3.5% less than in 2019-2020.",
    "3-4 people, 5.-6. May, A-Z, -7, 8-, 9.",
    "U.S.A. vs. U.K., e.g. 10.5, .5, 5., ,5 5,",
    "&quot;quoted&quot; &amp;amp; &lt;tag&gt; &amp;lt; &apos; & &;",
    "<skipped> a <skip<skipped>ped> b -\nc\nd -",
    "!\"#$%&'()*+,-./0123456789:;<=>?@ABC[\\]^_`abc{|}~",
    "a.b,c;d:e?f!g/h\\i|j@k#l",
    "1.2,3-4/5 .,.,.,. 1..2,,3 .1,2.",
    "…–—‘single’ “double” «guillemets» ‹single› ¿qué? ¡sí!",
    "½ ² ₂ Ⅷ ٣ ५ 三 1½,2²",
    "5°C ± 2σ ≤ ∞ × π ≈ 3.14159… ¬∃ ← → €£¥₹ ©®™",
    "日本語の文章。これは「テスト」です、はい！全角１２３，４５６．７",
    "中文句子,没有空格。第二句!",
    "한국어 문장입니다. 괜찮아요?",
    "العربية: مرحبا، كيف حالك؟ ١٢٣٫٤",
    "עברית \"ציטוט\" ו-מקף. ש״ס ג׳",
    "हिन्दी में वाक्य। क्या हाल है?",
    "ไทยไม่มีช่องว่าง ๑๒๓",
    "e\u0301le\u0300ve naïve Zürich coöperate \u1e9b\u0323",
    "👍🏽 👨‍👩‍👧‍👦 🇩🇪 ❤️ 1️⃣ 😀.😀,1",
    "\u200bzero\u200dwidth\ufeff bom\u00ad shy",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𐍈 𠮷野家 \U0010ffff \ufffd \ufffe",
    "ΣΊΣΥΦΟΣ ΑΣ. Σ ΑΣ' 'ΑΣΑ ΑΣ\u0301 ΑΣ\u0301Α Ⓐ̈Σ ªΣ ʰΣ",
    "İSTANBUL Iıİi ẞß ǅ ǈ ﬁ Ꮳ ꭰ Ა K Å ϒ",
    "STRASSE Straße ÀÉÎÕÜ ÆŒØ ЖЩЮ ԱԲԳ ᎠᎡᎢ",
    "\x00nul\x01\x07\x1b[31mred\x7f",
    "▁ word ▁mark▁ ▅",
    "</s> <unk> <pad> in</s>side <s> <pad></s>",
    ">>fra<< language code",
    ">>not a code",
    "a >>fra<< later << >>",
    "the " * 12,
    "a",
    ".",
    "x" * 200,
    "( ) [ ] { } - -- --- a--b 1--2 1-a a-1",
]

WORDS = "the a man woman dog cat runs sits on mat , . 3.5 1,000 don't (two) well-known Zürich 日本 😀 \"so\" – U.S. É".split()


def generator_lines(seed, count):
    """Lines of random words, some of random characters."""
    rng = random.Random(seed)
    alphabet = "ab1.,-'\"&;%$ é日😀½\u00a0–’·/"
    lines = []
    for i in range(count):
        if i % 3 == 2:
            lines.append("".join(rng.choice(alphabet) for _ in range(rng.randrange(40))))
        else:
            lines.append(" ".join(rng.choice(WORDS) for _ in range(rng.randrange(1, 15))))
    return lines


def perturbed(lines, seed):
    """The lines with words left out, exchanged and repeated."""
    rng = random.Random(seed)
    result = []
    for line in lines:
        words = []
        for word in line.split(" "):
            chance = rng.random()
            if chance < 0.75:
                words.append(word)
            elif chance < 0.85:
                words.append(rng.choice(WORDS))
            elif chance < 0.92:
                words += [word, word.upper()]
        result.append(" ".join(words))
    return result


def lines_of_json(value, depth):
    """JSON with a line for each member of the outermost `depth` levels."""
    def dump(member):
        return lines_of_json(member, depth - 1) if depth > 1 else json.dumps(member, ensure_ascii=False)

    if isinstance(value, dict):
        return "{\n" + ",\n".join(f"{json.dumps(key)}: {dump(member)}" for key, member in value.items()) + "\n}"
    if isinstance(value, list):
        return "[\n" + ",\n".join(map(dump, value)) + "\n]"
    return json.dumps(value, ensure_ascii=False)


def save(name, value, depth=2):
    path = OUTPUT / name
    path.write_text(lines_of_json(value, depth) + "\n", encoding="utf-8")
    print(f"{path.relative_to(OUTPUT.parents[2])}: {path.stat().st_size} bytes")


def bleu_tokenization():
    lines = NASTY + generator_lines(seed=1, count=60)
    result = {"lines": lines}
    for name in ("13a", "none", "intl", "char"):
        tokenizer = BLEU(tokenize=name).tokenizer
        result[name] = [tokenizer(line.rstrip()).split() for line in lines]
    save("bleu-tokenization.json", result)


def corpora():
    random_lines = generator_lines(seed=2, count=40)
    short = ["a b", "c", "", "d e f"]
    return {
        "nasty": (perturbed(NASTY, 3), [NASTY]),
        "random": (perturbed(random_lines, 4), [random_lines]),
        "three references": (perturbed(random_lines, 5), [perturbed(random_lines, seed) for seed in (6, 7, 8)]),
        "identical": (random_lines, [random_lines]),
        "nothing in common": (["a b c d e", "f g"], [["v w x y z", "u t"]]),
        "shorter than four tokens": (short, [["a c", "c", "", "d f e"]]),
        "no long matches": (["a b x c d y", "e f z"], [["a b c d", "e f"]]),
        "one token each": (["a"], [["a"]]),
        "too short": (["the cat"], [["the cat sat on the mat"]]),
        "too long": (["the cat sat on the mat and slept all day"], [["the cat sat"]]),
        "empty hypotheses": (["", " "], [["a b", "c"]]),
        "empty references": (["a b", "c"], [["", " "]]),
        "all empty": (["", ""], [["", ""]]),
        "closest length": (["a b c d e"], [["a b c"], ["a b c d e f g"], ["a b c d e f g h"]]),
    }


def metrics():
    result = []
    for name, (hypotheses, references) in corpora().items():
        scores = []
        for tokenize in ("13a", "none", "intl", "char"):
            for lowercase in (False, True):
                metric = BLEU(tokenize=tokenize, lowercase=lowercase, force=True)
                score = metric.corpus_score(hypotheses, references)
                scores.append({"metric": "bleu", "tokenize": tokenize, "lowercase": lowercase, "score": score.score,
                               "text": str(score), "signature": str(metric.get_signature())})
        for characters, words, beta, lowercase in ((6, 0, 2, False), (6, 0, 2, True), (6, 2, 2, False), (4, 1, 3, True)):
            metric = CHRF(char_order=characters, word_order=words, beta=beta, lowercase=lowercase)
            score = metric.corpus_score(hypotheses, references)
            scores.append({"metric": "chrf", "character_order": characters, "word_order": words, "beta": beta,
                           "lowercase": lowercase, "score": score.score, "text": str(score),
                           "signature": str(metric.get_signature())})
        result.append({"name": name, "hypotheses": hypotheses, "references": references, "scores": scores})
    save("metrics.json", result, depth=3)


def broken_utf8(seed, count):
    """Bytes that are mostly not UTF-8: pieces of characters, overlong forms, surrogates, and noise."""
    rng = random.Random(seed)
    parts = [b"a", "é".encode(), "日".encode(), "😀".encode(), b"\x80", b"\xbf", b"\xc0\xaf", b"\xc1", b"\xe0\x80\xaf",
             b"\xe0\x9f", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf0\x80\x80\x80", b"\xf0\x90", b"\xf4\x90\x80\x80",
             b"\xf4\x8f\xbf\xbf", b"\xf5", b"\xff", b"\xfe", b"\xe6\x97", b"\xf0\x9f\x98", b"\xef\xbf\xbe", b"\x00"]
    return [b"".join(rng.choice(parts)[:rng.randrange(1, 5)] for _ in range(rng.randrange(1, 8))) for _ in range(count)]


def unicode():
    forms = ("NFC", "NFD", "NFKC", "NFKD")
    save("unicode.json", {
        "broken": [{"bytes": list(data), "replaced": data.decode("utf-8", "replace")} for data in broken_utf8(9, 150)],
        "whitespace": [c for c in range(0x110000) if chr(c).isspace()],
        "texts": [{"text": text, "lower": text.lower(), "words": text.split(), "stripped": text.strip(),
                   "right_stripped": text.rstrip(), **{form: unicodedata.normalize(form, text) for form in forms}}
                  for text in NASTY]})


def train(lines, vocab_size, model_type, **options):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=model, vocab_size=vocab_size,
                                             model_type=model_type, character_coverage=1.0, minloglevel=3, num_threads=1,
                                             **options)
    return model.getvalue()


def pieces_of(model):
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    return [processor.id_to_piece(i) for i in range(len(processor))]


ENGLISH = ["a man sits on the mat .", "the dog runs , the cat sleeps !", "two women don't run .", "Naïve café : 3.5 %",
           "is the man's dog well-known ?", "we've got 1,000 dogs and they 're big"] * 3
GERMAN = ["ein Mann sitzt auf der Matte .", "der Hund läuft , die Katze schläft !", "zwei Frauen laufen nicht .",
          "Straße : 3,5 %", "ist der Hund des Mannes bekannt ?"] * 3


def marian_directories():
    """OPUS-like: rules of normalisation, unigram, ids of the models other than those of the vocabulary."""
    with tempfile.TemporaryDirectory() as temporary, contextlib.chdir(temporary):  # the models keep the file's name
        Path("rules.tsv").write_text("A0\t20\nFB01\t66 69\n2026\t2E 2E 2E\n")
        source = train(ENGLISH, 50, "unigram", normalization_rule_tsv="rules.tsv")
        target = train(GERMAN, 60, "bpe", normalization_rule_tsv="rules.tsv")
    joint = ["</s>", "<unk>"]
    for piece in [">>fra<<"] + pieces_of(source) + pieces_of(target):
        if piece not in joint and piece != "<s>":
            joint.append(piece)
    del joint[10:13]  # pieces of the models that the vocabulary does not have
    joint.append("<pad>")
    write_marian("marian-opus", source, target, [joint], source_lang="en", target_lang="de",
                 clean_up_tokenization_spaces=True)

    source = train(ENGLISH, 46, "bpe", normalization_rule_name="identity", byte_fallback=False)
    target = train(GERMAN, 46, "unigram", normalization_rule_name="identity")
    vocabularies = [["</s>", "<unk>"] + pieces_of(model)[3:] + ["<pad>"] for model in (source, target)]
    write_marian("marian-separate", source, target, vocabularies, separate_vocabs=True)


def write_marian(name, source, target, vocabularies, **config):
    with tempfile.TemporaryDirectory() as temporary:
        files = {"source_spm": "source.spm", "target_spm": "target.spm", "vocab": "vocab.json"}
        Path(temporary, "source.spm").write_bytes(source)
        Path(temporary, "target.spm").write_bytes(target)
        for file, pieces in zip(("vocab.json", "target_vocab.json"), vocabularies):
            Path(temporary, file).write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}))
        if len(vocabularies) > 1:
            files["target_vocab_file"] = "target_vocab.json"
        paths = {key: os.path.join(temporary, file) for key, file in files.items()}
        MarianTokenizer(**paths, **config).save_pretrained(OUTPUT / name)
    config_file = OUTPUT / name / "tokenizer_config.json"
    saved = json.loads(config_file.read_text())
    saved.pop("target_vocab_file", None)  # a path of the machine that saved it
    config_file.write_text(json.dumps(saved, indent=2) + "\n")


def marian_results(tokenizer, texts):
    results = []
    for text in texts:
        source, target = tokenizer(text)["input_ids"], tokenizer(text_target=text)["input_ids"]
        results.append({"text": text, "source": source, "target": target,
                        "decoded": tokenizer.decode(target, skip_special_tokens=True)})
    return results


def marian():
    marian_directories()
    texts = NASTY + ENGLISH[:6] + GERMAN[:5] + ["ﬁne… a\u00a0man", "a </s> man<pad>sits<unk>", "  a   man  "]
    result = {}
    for name in ("marian-opus", "marian-separate"):
        tokenizer = AutoTokenizer.from_pretrained(OUTPUT / name)
        assert isinstance(tokenizer, MarianTokenizer)
        result[name] = {"eos": tokenizer.eos_token_id, "unk": tokenizer.unk_token_id, "pad": tokenizer.pad_token_id,
                        "texts": marian_results(tokenizer, texts)}
    save("marian.json", result, depth=3)


def character():
    text = "To be, or not to be: that is the question.\n\tÀ bientôt — “naïve” 日本語 😀\r\n\u00a0\u2581 \x00end  \n"
    vocabulary = {c: i for i, c in enumerate(sorted(set(text)))}
    model = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    model.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex(r"[\s\S]"), "isolated")
    model.decoder = tokenizers.decoders.Fuse()
    (OUTPUT / "character").mkdir(exist_ok=True)
    model.save(str(OUTPUT / "character" / "tokenizer.json"))
    ids = model.encode(text).ids
    assert model.decode(ids) == text
    save("character.json", {"text": text, "ids": ids})


def check_written(test_program):
    """Compares transformers and rapt on the directories that the test program writes."""
    with tempfile.TemporaryDirectory() as temporary:
        subprocess.run([test_program, "--gtest_filter=TokenizersForPeers.*"], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "RAPT_TOKENIZERS": temporary})
        for directory in sorted(Path(temporary).iterdir()):
            expected = json.loads((directory / "expected.json").read_text())
            tokenizer = AutoTokenizer.from_pretrained(directory)
            assert len(tokenizer) == expected["vocab_size"], (directory.name, len(tokenizer))
            for case in expected["texts"]:
                ids = tokenizer(case["text"])["input_ids"]
                assert ids == case["ids"], (directory.name, case, ids)
                if "target" in case:
                    target = tokenizer(text_target=case["text"])["input_ids"]
                    assert target == case["target"], (directory.name, case, target)
                decoded = tokenizer.decode(case.get("target", ids), skip_special_tokens=True)
                assert decoded == case["decoded"], (directory.name, case, decoded)
            with tempfile.TemporaryDirectory() as again:
                tokenizer.save_pretrained(again)
            print(f"{directory.name}: {type(tokenizer).__name__} loads it; {len(expected['texts'])} texts have the ids and "
                  f"decoded text that rapt gives; vocabulary {len(tokenizer)}, special ids {tokenizer.all_special_ids}")


def main():
    OUTPUT.mkdir(parents=True, exist_ok=True)
    bleu_tokenization()
    metrics()
    unicode()
    marian()
    character()
    if len(sys.argv) > 1:
        check_written(sys.argv[1])


if __name__ == "__main__":
    main()
