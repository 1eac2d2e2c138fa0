#!/usr/bin/env python3
"""Golden GGUF files and weights, made by the gguf package (bench/peers/requirements.txt pins the version).

Writes into tests/data/gguf/
  blocks.gguf         metadata of every type, and a tensor of random blocks for every type that rapt unpacks
  blocks.safetensors  what the package's dequantize makes of those tensors, f32
  NAME.gguf           tests/data/NAME as llama.cpp's converter changes it, f32
  t5encoder-tiny.gguf  the encoder of t5-tiny alone
  parts-0000N-of-0000M.gguf  llama-tiny in several files, the first without tensors

usage: $(bench/peers/setup) script/goldens/gguf_files.py
"""

import json
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFValueType as Value
from safetensors.numpy import load_file, save_file

DATA = Path(__file__).resolve().parents[2] / "tests" / "data"
OUTPUT = DATA / "gguf"

# For each type, where in a block its half-precision scales are.
TYPES = {
    Type.F32: [],
    Type.F16: [],
    Type.BF16: [],
    Type.Q8_0: [0],
    Type.Q4_0: [0],
    Type.Q4_1: [0, 2],
    Type.Q5_0: [0],
    Type.Q5_1: [0, 2],
    Type.Q4_K: [0, 2],
    Type.Q5_K: [0, 2],
    Type.Q6_K: [208],
}
SPECIAL_SCALES = [0.0, -0.0, 6e-8, -65504.0, np.inf]


def random_scales(random, count):
    """Halves of many magnitudes and both signs; the last ones are zeros, subnormal, greatest and infinite."""
    scales = random.normal(size=count) * 10.0 ** random.integers(-6, 3, size=count)
    special = SPECIAL_SCALES[: count // 3]
    scales[count - len(special) :] = special
    return scales.astype(np.float16)


def random_blocks(random, type, elements):
    """[1, bytes]; every bit pattern but for the scales."""
    if type == Type.F32:
        return random.normal(size=(1, elements)).astype(np.float32).view(np.uint8)
    if type == Type.F16:
        return random_scales(random, elements).view(np.uint8).reshape(1, -1)
    block_elements, block_bytes = gguf.GGML_QUANT_SIZES[type]
    count = elements // block_elements
    blocks = random.integers(0, 256, size=(count, block_bytes), dtype=np.uint8)
    for place in TYPES[type]:
        blocks[:, place : place + 2] = random_scales(random, count).reshape(-1, 1).view(np.uint8)
    return blocks.reshape(1, -1)


def add_metadata(writer):
    writer.add_key_value("test.u8", 255, Value.UINT8)
    writer.add_key_value("test.i8", -128, Value.INT8)
    writer.add_key_value("test.u16", 65535, Value.UINT16)
    writer.add_key_value("test.i16", -32768, Value.INT16)
    writer.add_key_value("test.u32", 2**32 - 1, Value.UINT32)
    writer.add_key_value("test.i32", -(2**31), Value.INT32)
    writer.add_key_value("test.u64", 2**64 - 1, Value.UINT64)
    writer.add_key_value("test.i64", -(2**63), Value.INT64)
    writer.add_key_value("test.f32", 0.1, Value.FLOAT32)
    writer.add_key_value("test.f64", 0.1, Value.FLOAT64)
    writer.add_key_value("test.bool", True, Value.BOOL)
    writer.add_key_value("test.string", "größe", Value.STRING)
    writer.add_array("test.integers", list(range(-50, 50)))
    writer.add_array("test.numbers", [0.5, -1.5])
    writer.add_array("test.strings", ["one", "", "three"])
    writer.add_array("test.bools", [True, False])


MODELS = {
    "llama-tiny": gguf.MODEL_ARCH.LLAMA,
    "llama-linear-tiny": gguf.MODEL_ARCH.LLAMA,
    "llama3-tiny": gguf.MODEL_ARCH.LLAMA,
    "llama-yarn-tiny": gguf.MODEL_ARCH.LLAMA,
    "qwen2-tiny": gguf.MODEL_ARCH.QWEN2,
    "qwen3-tiny": gguf.MODEL_ARCH.QWEN3,
    "gemma2-tiny": gguf.MODEL_ARCH.GEMMA2,
    "mistral-tiny": gguf.MODEL_ARCH.LLAMA,
    "gpt2-tiny": gguf.MODEL_ARCH.GPT2,
    "gpt_neox-tiny": gguf.MODEL_ARCH.GPTNEOX,
    "gpt_neox-parallel-tiny": gguf.MODEL_ARCH.GPTNEOX,
    "t5-tiny": gguf.MODEL_ARCH.T5,
    "t5-gated-tiny": gguf.MODEL_ARCH.T5,
    "bert-tiny": gguf.MODEL_ARCH.BERT,
    "roberta-tiny": gguf.MODEL_ARCH.BERT,
    "xlm-roberta-tiny": gguf.MODEL_ARCH.BERT,
    "distilbert-tiny": gguf.MODEL_ARCH.BERT,
    "embed-tiny": gguf.MODEL_ARCH.BERT,
}
# Llama 3.1's, but for the base: with one so small some of a head's four dimensions turn slowly enough to be changed.
LLAMA3_ROPE = {"rope_theta": 500000.0, "factor": 8.0, "low": 1.0, "high": 4.0, "original": 8192}


def llama3_factors(d_head):
    """What each frequency is divided by; "Llama 3.1" in transformers' modeling_rope_utils, in other words."""
    rope = LLAMA3_ROPE
    frequencies = rope["rope_theta"] ** (-np.arange(0, d_head, 2) / d_head)
    turns = rope["original"] * frequencies / (2 * np.pi)
    share = np.clip((turns - rope["low"]) / (rope["high"] - rope["low"]), 0, 1)
    return (1 / (share + (1 - share) / rope["factor"])).astype(np.float32)


def as_pairs(tensor, heads):
    """Rows [heads, 2, d_head / 2] -> [heads, d_head / 2, 2]: what turns together becomes neighbours."""
    rows = np.arange(tensor.shape[0]).reshape(heads, 2, -1)
    return tensor[rows.transpose(0, 2, 1).ravel()]


def hparam(config, *names):
    """The first of several keys of config.json that is there."""
    return next(config[name] for name in names if name in config)


def add_decoder_config(writer, config, name):
    heads = config["num_attention_heads"]
    d_head = config.get("head_dim", config["hidden_size"] // heads)
    rope = config["rope_parameters"]
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(d_head)
    writer.add_value_length(d_head)
    writer.add_rope_dimension_count(d_head)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(0)
    if name == "llama3-tiny":
        writer.add_rope_freq_base(LLAMA3_ROPE["rope_theta"])
        writer.add_tensor("rope_freqs.weight", llama3_factors(d_head))
    else:
        writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if config["model_type"] in ("gemma2", "mistral"):
        writer.add_sliding_window(config["sliding_window"])
    if config["model_type"] == "gemma2":
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])


def add_gpt_config(writer, config, name):
    writer.add_context_length(hparam(config, "max_position_embeddings", "n_positions"))
    writer.add_embedding_length(hparam(config, "hidden_size", "n_embd"))
    writer.add_block_count(hparam(config, "num_hidden_layers", "n_layer"))
    writer.add_feed_forward_length(config.get("intermediate_size", 4 * hparam(config, "hidden_size", "n_embd")))
    writer.add_head_count(hparam(config, "num_attention_heads", "n_head"))
    writer.add_layer_norm_eps(hparam(config, "layer_norm_eps", "layer_norm_epsilon"))
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    if config["model_type"] == "gpt_neox":
        d_head = config["hidden_size"] // config["num_attention_heads"]
        writer.add_rope_dimension_count(int(config["rope_parameters"]["partial_rotary_factor"] * d_head))
        writer.add_parallel_residual(config["use_parallel_residual"])


def has_decoder(writer):
    return writer.arch == gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.T5]


def add_t5_config(writer, config, name):
    writer.add_context_length(config.get("n_positions", 512))
    writer.add_embedding_length(config["d_model"])
    writer.add_feed_forward_length(config["d_ff"])
    writer.add_block_count(config["num_layers"])
    if has_decoder(writer):
        writer.add_decoder_block_count(config["num_decoder_layers"])
    writer.add_head_count(config["num_heads"])
    writer.add_key_length(config["d_kv"])
    writer.add_value_length(config["d_kv"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    writer.add_relative_attn_buckets_count(config["relative_attention_num_buckets"])
    writer.add_layer_norm_rms_eps(config["layer_norm_epsilon"])
    if has_decoder(writer):
        writer.add_decoder_start_token_id(config["decoder_start_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])


def add_unigrams(writer, count):
    """Letters, of which the last are the rarest."""
    letters = [chr(ord("a") + i) for i in range(26)]
    pieces = ["<pad>", "</s>", "<unk>", "\u2581", *letters, *("\u2581" + letter for letter in letters)][:count]
    types = gguf.TokenType
    writer.add_tokenizer_model("t5")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(pieces)
    writer.add_token_scores([0.0] * 3 + [-2 - i / 16 for i in range(count - 3)])
    writer.add_token_types([types.CONTROL, types.CONTROL, types.UNKNOWN] + [types.NORMAL] * (count - 3))
    writer.add_add_space_prefix(True)
    writer.add_remove_extra_whitespaces(True)
    writer.add_unk_token_id(2)


def padding_rows(config):
    """Of RoBERTa's table of positions, which no token has."""
    return config["pad_token_id"] + 1 if "roberta" in config["model_type"] else 0


def add_encoder_config(writer, config, name):
    writer.add_block_count(hparam(config, "num_hidden_layers", "n_layers"))
    writer.add_context_length(config["max_position_embeddings"] - padding_rows(config))
    writer.add_embedding_length(hparam(config, "hidden_size", "dim"))
    writer.add_feed_forward_length(hparam(config, "intermediate_size", "hidden_dim"))
    writer.add_head_count(hparam(config, "num_attention_heads", "n_heads"))
    writer.add_layer_norm_eps(config.get("layer_norm_eps", 1e-12))
    writer.add_causal_attention(False)
    writer.add_token_type_count(config.get("type_vocab_size", 1))
    if name == "embed-tiny":
        writer.add_pooling_type(gguf.PoolingType.MEAN)


def add_word_pieces(writer, name):
    """The vocabulary with the beginnings of words marked, in place of what continues them."""
    tokenizer = json.loads((DATA / name / "tokenizer.json").read_text())
    vocabulary = sorted(tokenizer["model"]["vocab"].items(), key=lambda entry: entry[1])
    special = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    continues = tokenizer["model"]["continuing_subword_prefix"]
    tokens = []
    for piece, _ in vocabulary:
        marked = piece[len(continues) :] if piece.startswith(continues) else "\u2581" + piece
        tokens.append(piece if piece in special else marked)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("bert-bge")
    writer.add_token_list(tokens)
    types = (gguf.TokenType.NORMAL, gguf.TokenType.CONTROL)
    writer.add_token_types([types[piece in special] for piece, _ in vocabulary])
    writer.add_unk_token_id(special["[UNK]"])
    writer.add_sep_token_id(special["[SEP]"])
    writer.add_pad_token_id(special["[PAD]"])
    writer.add_mask_token_id(special["[MASK]"])
    writer.add_bos_token_id(special["[CLS]"])
    writer.add_eos_token_id(special["[SEP]"])
    writer.add_bool("tokenizer.ggml.normalizer.lowercase", tokenizer["normalizer"]["lowercase"])


def add_decoder_weights(writer, config, names, weights):
    in_pairs = config["model_type"] in ("llama", "mistral")
    for name, tensor in weights.items():
        if name == "lm_head.weight" and config["tie_word_embeddings"]:
            continue
        if in_pairs and ".q_proj." in name:
            tensor = as_pairs(tensor, config["num_attention_heads"])
        if in_pairs and ".k_proj." in name:
            tensor = as_pairs(tensor, config["num_key_value_heads"])
        if config["model_type"] == "gemma2" and name.endswith("norm.weight"):
            tensor = tensor + 1
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), tensor)


def add_gpt_weights(writer, config, names, weights):
    """[outputs, inputs], and queries on keys on values."""
    for name, tensor in weights.items():
        if name.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight")):
            tensor = np.ascontiguousarray(tensor.T)
        if ".query_key_value." in name:
            by_head = tensor.reshape(config["num_attention_heads"], 3, -1, *tensor.shape[1:])
            tensor = np.ascontiguousarray(by_head.swapaxes(0, 1)).reshape(tensor.shape)
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), tensor)


def add_t5_weights(writer, config, names, weights):
    """With the output of its own that models with a gate have."""
    if config["is_gated_act"]:
        weights["lm_head.weight"] = weights["shared.weight"]
    for name, tensor in weights.items():
        if has_decoder(writer) or name.startswith(("shared.", "encoder.")):
            writer.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), tensor)


def add_encoder_weights(writer, config, names, weights):
    """Without pooler and heads."""
    for name, tensor in weights.items():
        name = name.removeprefix(config["model_type"] + ".").removeprefix("roberta.")
        if not name.startswith(("embeddings.", "encoder.", "transformer.")):
            continue
        if name == "embeddings.position_embeddings.weight":
            tensor = np.ascontiguousarray(tensor[padding_rows(config) :])
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), tensor)


# What says how a model computes, and its weights.
PARTS = {
    gguf.MODEL_ARCH.BERT: (add_encoder_config, add_encoder_weights),
    gguf.MODEL_ARCH.GPT2: (add_gpt_config, add_gpt_weights),
    gguf.MODEL_ARCH.GPTNEOX: (add_gpt_config, add_gpt_weights),
    gguf.MODEL_ARCH.T5: (add_t5_config, add_t5_weights),
    gguf.MODEL_ARCH.T5ENCODER: (add_t5_config, add_t5_weights),
}


def add_model(writer, architecture, name):
    config = json.loads((DATA / name / "config.json").read_text())
    add_config, add_weights = PARTS.get(architecture, (add_decoder_config, add_decoder_weights))
    add_config(writer, config, name)
    if name == "embed-tiny":
        add_word_pieces(writer, name)
    if name == "t5-tiny":
        add_unigrams(writer, config["vocab_size"])
    names = gguf.get_tensor_name_map(architecture, hparam(config, "num_hidden_layers", "n_layers", "n_layer", "num_layers"))
    add_weights(writer, config, names, load_file(DATA / name / "model.safetensors"))


def write(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_model(name, architecture, file=None, **parts):
    writer = gguf.GGUFWriter(OUTPUT / f"{file or name}.gguf", gguf.MODEL_ARCH_NAMES[architecture], **parts)
    add_model(writer, architecture, name)
    write(writer)


def write_blocks():
    random = np.random.default_rng(2017)
    writer = gguf.GGUFWriter(OUTPUT / "blocks.gguf", "test")
    add_metadata(writer)
    expected = {}
    for type in TYPES:
        elements = 1280 if type.name.endswith("_K") else 512
        data = random_blocks(random, type, elements)
        with np.errstate(all="ignore"):
            expected[type.name] = gguf.quants.dequantize(data, type).astype(np.float32)
        writer.add_tensor(type.name, data, raw_dtype=type, raw_shape=data.shape)
    write(writer)
    save_file(expected, OUTPUT / "blocks.safetensors")


def main():
    OUTPUT.mkdir(parents=True, exist_ok=True)
    write_blocks()
    for name, architecture in MODELS.items():
        write_model(name, architecture)
    write_model("t5-tiny", gguf.MODEL_ARCH.T5ENCODER, "t5encoder-tiny")
    write_model("llama-tiny", gguf.MODEL_ARCH.LLAMA, "parts", split_max_tensors=12, small_first_shard=True)


if __name__ == "__main__":
    main()
