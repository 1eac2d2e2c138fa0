#!/usr/bin/env python3
"""Writes the config that transformers makes of each family's defaults, as config.json has it: Config().to_dict().

usage: script/goldens/default_configs.py tests/data/default_configs.json
"""
import json
import sys

import transformers

CLASSES = ["Bart", "Bert", "Camembert", "DistilBert", "Gemma2", "GPT2", "GPTNeoX", "Llama", "M2M100", "Marian", "MBart", "Mistral", "MT5",
           "Pegasus", "Qwen2", "Qwen3", "Roberta", "T5", "XLMRoberta"]


def main():
    configs = {}
    for name in CLASSES:
        config = getattr(transformers, name + "Config")().to_dict()
        configs[config["model_type"]] = config
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(configs, file, separators=(",", ":"), sort_keys=True)
        file.write("\n")


if __name__ == "__main__":
    main()
