"""Measures llama.cpp on a random Q8_0 model of the shape `tiny`, to be set beside
`candor bench decode --shape tiny --format int8`.

    pip install gguf numpy
    python engine/recipes/decode/peer.py LIBRARIES [--context 256] [--threads 2] [--seconds 3]

LIBRARIES is a folder with llama.cpp's shared libraries (`libllama*.so`, `libggml*.so`, one `libggml-cpu-*.so` for each
kind of processor), as its releases and the npm package `@node-llama-cpp/linux-x64` have them.
"""

import argparse
import ctypes
import json
import statistics
import tempfile
import time
from pathlib import Path

import gguf
import numpy as np

LAYERS, WIDTH, INNER, EXPERTS, CHOSEN, VOCABULARY = 8, 384, 256, 16, 5, 8192
HEADS, KV_HEADS, SIZE = 6, 2, 64


def write(path):
    rng = np.random.default_rng(1)
    out = gguf.GGUFWriter(path, "qwen3moe")
    out.add_context_length(8192)
    out.add_embedding_length(WIDTH)
    out.add_block_count(LAYERS)
    out.add_feed_forward_length(1280)
    out.add_expert_feed_forward_length(INNER)
    out.add_expert_count(EXPERTS)
    out.add_expert_used_count(CHOSEN)
    out.add_head_count(HEADS)
    out.add_head_count_kv(KV_HEADS)
    out.add_key_length(SIZE)
    out.add_value_length(SIZE)
    out.add_rope_freq_base(1e6)
    out.add_layer_norm_rms_eps(1e-6)
    out.add_vocab_size(VOCABULARY)
    out.add_tokenizer_model("no_vocab")

    def matrix(name, *shape):
        weights = rng.standard_normal(shape, dtype=np.float32) / shape[-1] ** 0.5
        kind = gguf.GGMLQuantizationType.Q8_0
        out.add_tensor(name, gguf.quants.quantize(weights, kind), raw_dtype=kind)

    def plain(name, *shape, value=None):
        numbers = rng.standard_normal(shape, dtype=np.float32) / shape[-1] ** 0.5 if value is None else np.full(shape, value, np.float32)
        out.add_tensor(name, numbers)

    matrix("token_embd.weight", VOCABULARY, WIDTH)
    plain("output_norm.weight", WIDTH, value=1)
    matrix("output.weight", VOCABULARY, WIDTH)
    for n in range(LAYERS):
        plain(f"blk.{n}.attn_norm.weight", WIDTH, value=1)
        plain(f"blk.{n}.ffn_norm.weight", WIDTH, value=1)
        plain(f"blk.{n}.attn_q_norm.weight", SIZE, value=1)
        plain(f"blk.{n}.attn_k_norm.weight", SIZE, value=1)
        matrix(f"blk.{n}.attn_q.weight", HEADS * SIZE, WIDTH)
        matrix(f"blk.{n}.attn_k.weight", KV_HEADS * SIZE, WIDTH)
        matrix(f"blk.{n}.attn_v.weight", KV_HEADS * SIZE, WIDTH)
        matrix(f"blk.{n}.attn_output.weight", WIDTH, HEADS * SIZE)
        plain(f"blk.{n}.ffn_gate_inp.weight", EXPERTS, WIDTH)
        matrix(f"blk.{n}.ffn_gate_exps.weight", EXPERTS, INNER, WIDTH)
        matrix(f"blk.{n}.ffn_up_exps.weight", EXPERTS, INNER, WIDTH)
        matrix(f"blk.{n}.ffn_down_exps.weight", EXPERTS, WIDTH, INNER)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


class Parameters(ctypes.Structure):
    """Room for a structure of parameters that is only passed on as it was answered."""
    _fields_ = [("bytes", ctypes.c_uint64 * 64)]


class Batch(ctypes.Structure):
    _fields_ = [("n", ctypes.c_int32)] + [(name, ctypes.c_void_p) for name in ("token", "embd", "pos", "n_seq", "seq", "logits")]


def load(folder):
    libraries = {}
    for stem in ("libggml-base", "libggml", "libllama"):
        path = next(p for p in sorted(Path(folder).glob(f"{stem}*.so*")) if p.name.startswith((f"{stem}.so", f"{stem}.v")))
        libraries[stem] = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    ggml, llama = libraries["libggml"], libraries["libllama"]
    ggml.ggml_backend_load_all_from_path(str(folder).encode())
    for name in ("llama_model_default_params", "llama_context_default_params"):
        getattr(llama, name).restype = Parameters
    llama.llama_model_load_from_file.restype = llama.llama_init_from_model.restype = ctypes.c_void_p
    llama.llama_model_load_from_file.argtypes = [ctypes.c_char_p, Parameters]
    llama.llama_init_from_model.argtypes = [ctypes.c_void_p, Parameters]
    llama.llama_batch_get_one.restype = Batch
    llama.llama_decode.argtypes = [ctypes.c_void_p, Batch]
    llama.llama_set_n_threads.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32]
    llama.llama_get_logits.restype = ctypes.POINTER(ctypes.c_float)
    llama.llama_get_logits.argtypes = [ctypes.c_void_p]
    llama.llama_n_ctx.argtypes = [ctypes.c_void_p]
    llama.llama_print_system_info.restype = ctypes.c_char_p
    return llama


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("libraries")
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3)
    a = parser.parse_args()
    llama = load(a.libraries)
    llama.llama_backend_init()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.gguf"
        write(path)
        size = path.stat().st_size
        model = llama.llama_model_load_from_file(str(path).encode(), llama.llama_model_default_params())
        context = llama.llama_init_from_model(model, llama.llama_context_default_params())
    llama.llama_set_n_threads(context, a.threads, a.threads)

    def decode(tokens):
        array = (ctypes.c_int32 * len(tokens))(*tokens)
        batch = llama.llama_batch_get_one(array, len(tokens))
        assert llama.llama_decode(context, batch) == 0
        return llama.llama_get_logits(context)

    start = time.perf_counter()
    decode([i * 7919 % VOCABULARY for i in range(a.context)])
    prefill = a.context / (time.perf_counter() - start)
    steps, token, room = [], 1, llama.llama_n_ctx(context) - a.context
    while len(steps) < room and sum(steps) < a.seconds:
        start = time.perf_counter()
        logits = decode([token])
        steps.append(time.perf_counter() - start)
        token = int(np.ctypeslib.as_array(logits, (VOCABULARY,)).argmax())
    print(json.dumps({"engine": "llama.cpp", "system": llama.llama_print_system_info().decode(), "weights_mb": size / 1e6,
                      "context": a.context, "threads": a.threads, "steps": len(steps), "prefill_tokens_per_second": prefill,
                      "tokens_per_second": len(steps) / sum(steps), "step_ms": 1e3 * statistics.median(steps)}))
