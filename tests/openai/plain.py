"""Writes the shipped generator as a checkpoint that other engines read: bytes times their scales, in 32 bits.

    python plain.py engine/weights/generator OUT
    transformers serve OUT --port 8000        # or vllm serve OUT, or SGLang

Needs `safetensors` and `torch`. What such a server is for: Candor's own test of a server that is not Candor
(`CANDOR_TEST_OPENAI_SERVER=http://127.0.0.1:8000/v1 CANDOR_TEST_OPENAI_MODEL=OUT cargo test --test http foreign`), and
`candor evaluate saying --model http://127.0.0.1:8000/v1`.
"""

import glob
import json
import os
import shutil
import sys

import torch
from safetensors.torch import load_file, save_file

source, out = sys.argv[1:]
os.makedirs(out, exist_ok=True)
tensors = {}
for file in sorted(glob.glob(os.path.join(source, "model-*.safetensors"))):
    tensors |= load_file(file)
plain = {name: (tensor.float() * tensors[name + "_scale"][:, None]).contiguous() if tensor.dtype == torch.int8 else tensor
         for name, tensor in tensors.items() if not name.endswith("_scale")}
save_file(plain, os.path.join(out, "model.safetensors"), metadata={"format": "pt"})
config = json.load(open(os.path.join(source, "config.json")))
del config["quantization"]
json.dump(config, open(os.path.join(out, "config.json"), "w"), indent=1)
for file in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
    shutil.copy(os.path.join(source, file), out)
