#!/usr/bin/env python3
"""A golden GGUF file and its weights, made by the gguf package (bench/peers/requirements.txt pins the version).

Writes into tests/data/gguf/
  blocks.gguf         metadata of every type, and a tensor of random blocks for every type that rapt unpacks
  blocks.safetensors  what the package's dequantize makes of those tensors, f32

usage: $(bench/peers/setup) script/goldens/gguf_files.py
"""

from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFValueType as Value
from safetensors.numpy import save_file

OUTPUT = Path(__file__).resolve().parents[2] / "tests" / "data" / "gguf"

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


def main():
    random = np.random.default_rng(2017)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(OUTPUT / "blocks.gguf", "test")
    add_metadata(writer)
    expected = {}
    for type in TYPES:
        elements = 1280 if type.name.endswith("_K") else 512
        data = random_blocks(random, type, elements)
        with np.errstate(all="ignore"):
            expected[type.name] = gguf.quants.dequantize(data, type).astype(np.float32)
        writer.add_tensor(type.name, data, raw_dtype=type, raw_shape=data.shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    save_file(expected, OUTPUT / "blocks.safetensors")


if __name__ == "__main__":
    main()
