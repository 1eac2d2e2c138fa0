#!/usr/bin/env python3
"""Small tokenizers in the styles of published models, trained on generated text, and what the tokenizers library and
transformers make of 10,000 ugly lines with them (bench/peers/requirements.txt pins the versions; torch is not needed).

Writes into tests/data/text/
  ugly.json          what ugly lines are made of, and the checksum of all of them
  patterns.json      regular expressions of pre-tokenizers, and checksums of what Oniguruma cuts with them
  pipeline/NAME/     tokenizer.json and tokenizer_config.json
  sentencepiece.json the same for directories with a SentencePiece model alone (pipeline/spm-*)
  pipeline.json      ids of special tokens, checksums of ids and of decoded texts by blocks of lines, some lines in full

The trainers of the tokenizers library break ties at random, so that every run writes other tokenizers, and results to match.

usage: script/goldens/tokenizer.py
"""

import contextlib
import io
import json
import logging
import random
import re
import tempfile
import warnings
import zlib
from pathlib import Path

import ugly_text
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

warnings.filterwarnings("ignore")
OUTPUT = Path(__file__).resolve().parents[2] / "tests" / "data" / "text"
FULL_LINES = 20

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
GPT2_SHORT = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CL100K = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace("{1,3}", "")
QWEN35 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SMALL = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
CAPITAL = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
O200K = SMALL + CONTRACTION + "|" + CAPITAL + CONTRACTION + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = SMALL + "|" + CAPITAL + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
DEEPSEEK = [
    r"\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
]
CLIP = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
BLOOM = " ?[^(\\s|[.,!?…。，、।۔،])]+"
DEEPSEEK_CODER = [r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+"]
REGEXES = [GPT2, GPT2_SHORT, LLAMA3, CL100K, QWEN2, QWEN35, O200K, TEKKEN, *DEEPSEEK, *DEEPSEEK_CODER, CLIP, BLOOM, "[0-9][0-9][0-9]", " {2,}", r"\s+",
           r"\p{N}", r"\p{N}+", r"\p{L}+", r"[\r\n]"]

WORDS = ("the a of and to in is that it for was on are as with his they at be this have from or one had by word but not what all were we "
         "when your can said there use an each which she do how their if will up other about out many then them these so some her would "
         "make like him into time has look two more write go see number no way could people my than first water been call who oil its now "
         "find long down day did get come made may part Straße naïve 日本語 Κόσμος мир 123 2024 don't it's we'll ... !? ( ) _x_").split()


def training_text():
    rng = random.Random(7)
    lines = [" ".join(rng.choice(WORDS) for _ in range(rng.randrange(3, 14))) for _ in range(1500)]
    return lines + ugly_text.lines(300, seed=5)


def train_bpe(tokenizer, size, special, byte_level=True, **options):
    alphabet = pre_tokenizers.ByteLevel.alphabet() if byte_level else []
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, initial_alphabet=alphabet, show_progress=False, **options)
    tokenizer.train_from_iterator(training_text(), trainer)
    return tokenizer


def byte_level_bpe(size, special, pre_tokenizer, normalizer=None, **options):
    tokenizer = Tokenizer(models.BPE(**options))
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.decoder = decoders.ByteLevel()
    return train_bpe(tokenizer, size, special)


def split(regex, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(regex), behavior, invert=invert)


def plain_byte_level():
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def bos_template(tokenizer, bos, eos=None):
    after = f" {eos}" if eos else ""
    return processors.TemplateProcessing(single=f"{bos} $A{after}", pair=f"{bos} $A{after} {bos} $B:1{after}",
                                         special_tokens=[(t, tokenizer.token_to_id(t)) for t in (bos, eos) if t])


def gpt2():
    tokenizer = byte_level_bpe(330, ["<|endoftext|>"], pre_tokenizers.ByteLevel(add_prefix_space=False))
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer, {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "add_prefix_space": False}


def llama3():
    tokenizer = byte_level_bpe(350, [], pre_tokenizers.Sequence([split(LLAMA3), plain_byte_level()]), ignore_merges=True)
    tokenizer.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>", "<|im_start|>", "<|eot_id|>"])
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(), bos_template(tokenizer, "<|begin_of_text|>")])
    return tokenizer, {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "clean_up_tokenization_spaces": True}


def qwen2():
    tokenizer = byte_level_bpe(340, [], pre_tokenizers.Sequence([split(QWEN2), plain_byte_level()]), normalizers.NFC())
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens([AddedToken("<tool>", normalized=False)])
    tokenizer.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False)
    return tokenizer, {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "bos_token": None, "add_bos_token": False,
                       "additional_special_tokens": ["<|im_start|>", "<|im_end|>"]}


def o200k():
    tokenizer = byte_level_bpe(340, [], pre_tokenizers.Sequence([split(O200K), plain_byte_level()]))
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer, {"eos_token": "<|endoftext|>"}


def smollm2():
    pre = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer = byte_level_bpe(340, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], pre)
    return tokenizer, {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"}


def deepseek():
    tokenizer = byte_level_bpe(340, [], pre_tokenizers.Sequence([*map(split, DEEPSEEK), plain_byte_level()]), normalizers.Sequence([]))
    tokenizer.add_special_tokens(["<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"])
    tokenizer.post_processor = bos_template(tokenizer, "<｜begin▁of▁sentence｜>")
    return tokenizer, {"bos_token": {"__type": "AddedToken", "content": "<｜begin▁of▁sentence｜>", "lstrip": False, "normalized": True,
                                     "rstrip": False, "single_word": False}, "eos_token": "<｜end▁of▁sentence｜>",
                       "add_bos_token": True, "add_eos_token": False}


def roberta():
    tokenizer = byte_level_bpe(340, ["<s>", "<pad>", "</s>", "<unk>"], pre_tokenizers.ByteLevel(add_prefix_space=True))
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=False)])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=True)
    return tokenizer, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>",
                       "cls_token": "<s>", "sep_token": "</s>", "add_prefix_space": True}


def clip():
    tokenizer = Tokenizer(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split(CLIP, "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Replace("</w>", " ")])
    train_bpe(tokenizer, 460, ["<|startoftext|>", "<|endoftext|>"], end_of_word_suffix="</w>")
    tokenizer.post_processor = processors.RobertaProcessing(("<|endoftext|>", 1), ("<|startoftext|>", 0), trim_offsets=False,
                                                            add_prefix_space=False)
    return tokenizer, {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}


def byte_pieces():
    return [f"<0x{byte:02X}>" for byte in range(256)]


def llama2():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    train_bpe(tokenizer, 420, ["<unk>", "<s>", "</s>", *byte_pieces()], byte_level=False, limit_alphabet=60, max_token_length=6)
    tokenizer = without_added(tokenizer, byte_pieces())
    tokenizer.post_processor = bos_template(tokenizer, "<s>")
    return tokenizer, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True, "add_eos_token": False,
                       "legacy": True}


def metaspace_first():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    train_bpe(tokenizer, 420, ["<unk>", "<s>", "</s>", *byte_pieces()], byte_level=False, limit_alphabet=60, max_token_length=6)
    tokenizer = without_added(tokenizer, byte_pieces())
    tokenizer.post_processor = bos_template(tokenizer, "<s>")
    return tokenizer, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def gemma():
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    train_bpe(tokenizer, 420, ["<pad>", "</s>", "<s>", "<unk>", *byte_pieces()], byte_level=False, limit_alphabet=60, max_token_length=6)
    tokenizer = without_added(tokenizer, byte_pieces())
    tokenizer.add_tokens([AddedToken("\n\n", normalized=False), AddedToken("▁▁▁", normalized=False)])
    tokenizer.post_processor = bos_template(tokenizer, "<s>")
    return tokenizer, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}


def without_added(tokenizer, names):
    """Pieces that the trainer had to be given as special tokens are pieces like others."""
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = [token for token in data["added_tokens"] if token["content"] not in set(names)]
    return Tokenizer.from_str(json.dumps(data))


def bert(lowercase):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=30))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=lowercase)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False, limit_alphabet=120)
    tokenizer.train_from_iterator(training_text(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
                                                             special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return tokenizer, {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]",
                       "do_lower_case": lowercase, "tokenize_chinese_chars": True, "strip_accents": None,
                       "clean_up_tokenization_spaces": True}


RULES = "A0\t20\nFB01\t66 69\n2026\t2E 2E 2E\n65 301\tE9\nAD\t\n200B\t20\nFF21\t41\nFF22\t42 42\n3A3\t3C3\n"


def charsmap():
    """Rules of normalisation as SentencePiece compiles them; the trie is found in the model it writes."""
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2
    with tempfile.TemporaryDirectory() as temporary:
        rules = Path(temporary, "rules.tsv")
        rules.write_text(RULES)
        prefix = Path(temporary, "model")
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(["a b c"] * 20), model_prefix=str(prefix), vocab_size=8, minloglevel=3,
                                                 normalization_rule_tsv=str(rules), hard_vocab_limit=False)
        proto = sentencepiece_model_pb2.ModelProto.FromString(prefix.with_suffix(".model").read_bytes())
    return proto.normalizer_spec.precompiled_charsmap


def train_unigram(tokenizer, size, special, unk):
    trainer = trainers.UnigramTrainer(vocab_size=size, special_tokens=special, unk_token=unk, show_progress=False, max_piece_length=6)
    tokenizer.train_from_iterator(training_text()[:1500], trainer)  # none of the ugly ones: every character costs a piece
    data = json.loads(tokenizer.to_str())
    data["model"]["vocab"] = [[piece, round(score, 4)] for piece, score in data["model"]["vocab"]]
    return Tokenizer.from_str(json.dumps(data))


def xlm_roberta():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap()), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.decoder = decoders.Metaspace()
    tokenizer = train_unigram(tokenizer, 400, ["<s>", "<pad>", "</s>", "<unk>"], "<unk>")
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, normalized=True)])
    tokenizer.post_processor = bos_template(tokenizer, "<s>", "</s>")
    return tokenizer, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "cls_token": "<s>",
                       "sep_token": "</s>", "mask_token": "<mask>"}


def albert():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace("``", '"'), normalizers.Replace("''", '"'), normalizers.NFKD(),
                                                 normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Precompiled(charsmap()),
                                                 normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    tokenizer = train_unigram(tokenizer, 380, ["<pad>", "<unk>", "[CLS]", "[SEP]"], "<unk>")
    tokenizer.add_special_tokens([AddedToken("[MASK]", lstrip=True, normalized=False)])
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer, {"bos_token": "[CLS]", "eos_token": "[SEP]", "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "[MASK]"}


def unigram_bytes():
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=False)
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="always")])
    tokenizer = train_unigram(tokenizer, 360, ["<pad>", "</s>", "<unk>"], "<unk>")
    data = json.loads(tokenizer.to_str())
    data["model"]["byte_fallback"] = True
    data["model"]["vocab"] += [[piece, -20.0] for piece in byte_pieces()]
    tokenizer = Tokenizer.from_str(json.dumps(data))
    return tokenizer, {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "add_eos_token": True}


def exotic():
    """Rules that few models use, and tokens with all flags."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", continuing_subword_prefix="##"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase(), normalizers.Strip(left=True, right=False)])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation("merged_with_next"),
                                                       pre_tokenizers.Digits(), pre_tokenizers.CharDelimiterSplit("x"),
                                                       pre_tokenizers.Split("e", "contiguous")])
    tokenizer.decoder = decoders.WordPiece(cleanup=True)
    train_bpe(tokenizer, 300, ["<unk>"], byte_level=False, limit_alphabet=80, continuing_subword_prefix="##")
    tokenizer.add_tokens([AddedToken("word", single_word=True), AddedToken("İstanbul"), AddedToken("the", single_word=True, rstrip=True),
                          AddedToken("...", lstrip=True, rstrip=True, normalized=False), AddedToken("of", normalized=False),
                          AddedToken("of of", normalized=False), AddedToken("\u00a0", normalized=False)])
    tokenizer.add_special_tokens([AddedToken("<|im_start|>", lstrip=True, rstrip=True), AddedToken("[CLS]", single_word=True)])
    return tokenizer, {"unk_token": "<unk>"}


def words_and_suffixes():
    """Word suffixes with their decoder, nothing done to spaces."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>", fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("contiguous"),
                                                       pre_tokenizers.Split("a", "merged_with_previous"), pre_tokenizers.Split("b", "removed")])
    tokenizer.decoder = decoders.BPEDecoder()
    train_bpe(tokenizer, 300, ["<unk>"], byte_level=False, limit_alphabet=80, end_of_word_suffix="</w>")
    return tokenizer, {"unk_token": "<unk>"}


STYLES = {"gpt2": gpt2, "llama3": llama3, "qwen2": qwen2, "o200k": o200k, "smollm2": smollm2, "deepseek": deepseek, "roberta": roberta,
          "clip": clip, "llama2": llama2, "metaspace-first": metaspace_first, "gemma": gemma, "bert-uncased": lambda: bert(True),
          "bert-cased": lambda: bert(False), "xlm-roberta": xlm_roberta, "albert": albert, "unigram-bytes": unigram_bytes,
          "exotic": exotic, "word-suffixes": words_and_suffixes}


SPM_STYLES = {
    "spm-llama": ("tokenizer.model", {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True, "add_eos_token": False, "legacy": True}),
    "spm-t5": ("spiece.model", {"tokenizer_class": "T5Tokenizer", "extra_ids": 3}),
    "spm-xlm-roberta": ("sentencepiece.bpe.model", {"tokenizer_class": "XLMRobertaTokenizerFast"}),
}


def spm_model(name):
    import sentencepiece
    options = {"model_type": "unigram", "vocab_size": 200, "normalization_rule_tsv": "rules.tsv", "hard_vocab_limit": False}
    if name == "spm-llama":
        options = {"model_type": "bpe", "vocab_size": 460, "byte_fallback": True, "normalization_rule_name": "identity",
                   "remove_extra_whitespaces": False}
    if name == "spm-t5":
        options.update(pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    model = io.BytesIO()
    with tempfile.TemporaryDirectory() as temporary, contextlib.chdir(temporary):  # the model keeps the file's name
        Path("rules.tsv").write_text(RULES)
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(training_text()[:1500]), model_writer=model, minloglevel=3,
                                                 num_threads=1, character_coverage=1.0, **options)
    return model.getvalue()


def spm_golden(name, lines):
    """SentencePiece's own ids, numbered as transformers numbers them; special tokens in a text are taken out first."""
    import sentencepiece
    file, config = SPM_STYLES[name]
    directory = OUTPUT / "pipeline" / name
    directory.mkdir(parents=True, exist_ok=True)
    model = spm_model(name)
    (directory / file).write_bytes(model)
    (directory / "tokenizer_config.json").write_text(json.dumps(config) + "\n")
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    size = len(processor)
    special = {"spm-llama": {"<s>": 1, "</s>": 2, "<unk>": 0},
               "spm-t5": {"<pad>": 0, "</s>": 1, "<unk>": 2, **{f"<extra_id_{i}>": size + 2 - i for i in range(3)}},
               "spm-xlm-roberta": {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": size + 1}}[name]
    cut = re.compile("(" + "|".join(map(re.escape, special)) + ")")

    def number(token):
        if name != "spm-xlm-roberta":
            return token
        return 3 if token == 0 else token + 1

    def encode(line):
        ids = []
        if name == "spm-xlm-roberta":
            line = re.sub(r"[^\S\x1c-\x1f]*<mask>", "<mask>", line)  # Python's white space, but not Unicode's
        for part in cut.split(line):
            if part in special:
                ids.append(special[part])
            elif part:
                ids += [number(token) for token in processor.encode(part)]
        return {"spm-llama": [1, *ids], "spm-t5": [*ids, 1], "spm-xlm-roberta": [0, *ids, 2]}[name]

    def decode(ids):
        """The pieces without special tokens, joined by SentencePiece."""
        own = [token for token in ids if token not in special.values()]
        return processor.decode([token - 1 for token in own] if name == "spm-xlm-roberta" else own)

    encoded = [encode(line) for line in lines]
    decoded = [decode(ids) for ids in encoded]
    plain = [line for line in training_text()[:200] if line == " ".join(line.split())]
    from transformers import AutoTokenizer
    peer = AutoTokenizer.from_pretrained(directory)
    same = sum(peer(line)["input_ids"] == encode(line) for line in plain)
    print(f"{name}: {len(model)} bytes, transformers ({type(peer).__name__}) gives the same ids for {same} of {len(plain)} plain lines")
    return {"ids": checksums([" ".join(map(str, ids)) for ids in encoded]), "decoded": checksums(decoded),
            "lines": [{"ids": encoded[i], "decoded": decoded[i]} for i in range(FULL_LINES)]}


def save(name, value):
    path = OUTPUT / name
    members = ",\n".join(f"{json.dumps(key, ensure_ascii=False)}: {json.dumps(member, ensure_ascii=False)}" for key, member in value.items())
    path.write_text("{\n" + members + "\n}\n", encoding="utf-8")
    print(f"{path.relative_to(OUTPUT.parents[2])}: {path.stat().st_size} bytes")


def checksums(texts):
    """CRC-32 of the texts, each ended by a NUL, block by block."""
    return [zlib.crc32("".join(text + "\0" for text in texts[i:i + ugly_text.BLOCK]).encode())
            for i in range(0, len(texts), ugly_text.BLOCK)]


def patterns(lines):
    """What each expression cuts, as text with U+001F between the parts."""
    result = {}
    for regex in REGEXES:
        cut = split(regex)
        result[regex] = checksums(["\x1f".join(piece for piece, _ in cut.pre_tokenize_str(line)) for line in lines])
    save("patterns.json", result)


def write_directory(name, tokenizer, config):
    directory = OUTPUT / "pipeline" / name
    directory.mkdir(parents=True, exist_ok=True)
    data = json.loads(tokenizer.to_str())
    (directory / "tokenizer.json").write_text(json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    config = {"tokenizer_class": "PreTrainedTokenizerFast", **config}
    (directory / "tokenizer_config.json").write_text(json.dumps(config, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return directory


def golden(directory, lines):
    logging.disable(logging.WARNING)
    from transformers import AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(directory)
    encoded = [tokenizer(line)["input_ids"] for line in lines]
    bare = [tokenizer(line, add_special_tokens=False)["input_ids"] for line in lines[:ugly_text.BLOCK]]
    decoded = [tokenizer.decode(ids, skip_special_tokens=True) for ids in encoded]
    as_text = [" ".join(map(str, ids)) for ids in encoded]
    special = {name: getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "unk", "pad")}
    return {"size": len(tokenizer), "special": special, "ids": checksums(as_text), "bare": checksums([" ".join(map(str, ids)) for ids in bare]),
            "decoded": checksums(decoded), "lines": [{"ids": encoded[i], "decoded": decoded[i]} for i in range(FULL_LINES)]}


def main():
    lines = ugly_text.lines()
    save("ugly.json", {"atoms": ugly_text.ATOMS, "ranges": ugly_text.RANGES, "holes": sorted(ugly_text.HOLES),
                       "checksums": checksums(lines)})
    patterns(lines)
    result = {}
    for name, make in STYLES.items():
        directory = write_directory(name, *make())
        result[name] = golden(directory, lines)
        print(f"{name}: {(directory / 'tokenizer.json').stat().st_size} bytes, {result[name]['size']} pieces")
    save("pipeline.json", result)
    save("sentencepiece.json", {name: spm_golden(name, lines) for name in SPM_STYLES})


if __name__ == "__main__":
    main()
