"""llama.cpp on a GPU beside `candor bench decode`: a GGUF file of Qwen3-30B-A3B's shape with drawn weights, llama.cpp's
libraries with CUDA, and `llama_gpu.cpp`, which says how long its steps take.

    python llama_gpu.py make bf16|q4_0 FILE [LAYERS]
    python llama_gpu.py build SOURCES FOLDER      SOURCES: a checkout of llama.cpp; needs nvcc and cmake
    FOLDER/llama_gpu FILE 1024 1,8,32

Weights repeat one drawn block from different places; the routers' are drawn for each layer. Without flash attention
(`-DGGML_CUDA_FA=ON` on the command line of `build` adds it): its kernels take most of the time that building takes.
"""

import os
import struct
import subprocess
import sys

import numpy as np

WIDTH, VOCABULARY, EXPERTS, INNER, HEADS, KV_HEADS, SIZE = 2048, 151936, 128, 768, 32, 4, 128
F32, Q4_0, BF16 = 0, 2, 30
BLOCK = 1 << 28


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def fact(name, value):
    kinds = {int: (4, "<I"), float: (6, "<f")}
    if isinstance(value, str):
        return text(name) + struct.pack("<I", 8) + text(value)
    kind, form = kinds[type(value)]
    return text(name) + struct.pack("<I", kind) + struct.pack(form, value)


def tensors(layers, kind):
    yield "token_embd.weight", (WIDTH, VOCABULARY), kind
    yield "output_norm.weight", (WIDTH,), F32
    yield "output.weight", (WIDTH, VOCABULARY), kind
    for layer in range(layers):
        name = f"blk.{layer}.".__add__
        yield name("attn_norm.weight"), (WIDTH,), F32
        yield name("attn_q.weight"), (WIDTH, HEADS * SIZE), kind
        yield name("attn_k.weight"), (WIDTH, KV_HEADS * SIZE), kind
        yield name("attn_v.weight"), (WIDTH, KV_HEADS * SIZE), kind
        yield name("attn_output.weight"), (HEADS * SIZE, WIDTH), kind
        yield name("attn_q_norm.weight"), (SIZE,), F32
        yield name("attn_k_norm.weight"), (SIZE,), F32
        yield name("ffn_norm.weight"), (WIDTH,), F32
        yield name("ffn_gate_inp.weight"), (WIDTH, EXPERTS), F32
        yield name("ffn_gate_exps.weight"), (WIDTH, INNER, EXPERTS), kind
        yield name("ffn_up_exps.weight"), (WIDTH, INNER, EXPERTS), kind
        yield name("ffn_down_exps.weight"), (INNER, WIDTH, EXPERTS), kind


def size_of(shape, kind):
    numbers = int(np.prod(shape))
    return numbers * 4 if kind == F32 else numbers * 2 if kind == BF16 else numbers // 32 * 18


def block_of(kind, random):
    if kind == BF16:
        numbers = (random.random(BLOCK // 2, dtype=np.float32) - 0.5) * 0.07
        return (numbers.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    blocks = np.zeros(BLOCK // 18, dtype=[("scale", "<f2"), ("codes", "u1", 16)])
    blocks["scale"] = 0.005
    blocks["codes"] = random.integers(0, 256, (len(blocks), 16), dtype=np.uint8)
    return blocks.tobytes()


def make(kind, path, layers):
    kind = {"bf16": BF16, "q4_0": Q4_0}[kind]
    random = np.random.default_rng(1)
    q = "qwen3moe."
    facts = {
        "general.architecture": "qwen3moe", q + "block_count": layers, q + "context_length": 65536,
        q + "embedding_length": WIDTH, q + "feed_forward_length": 6144, q + "attention.head_count": HEADS,
        q + "attention.head_count_kv": KV_HEADS, q + "attention.key_length": SIZE, q + "attention.value_length": SIZE,
        q + "attention.layer_norm_rms_epsilon": 1e-6, q + "rope.freq_base": 1e6, q + "expert_count": EXPERTS,
        q + "expert_used_count": 8, q + "expert_feed_forward_length": INNER, q + "vocab_size": VOCABULARY,
        "tokenizer.ggml.model": "no_vocab",
    }
    all_of_them, infos, offset = list(tensors(layers, kind)), b"", 0
    for name, shape, of in all_of_them:
        infos += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, of, offset)
        offset += -(-size_of(shape, of) // 32) * 32
    head = b"GGUF" + struct.pack("<IQQ", 3, len(all_of_them), len(facts))
    head += b"".join(fact(name, value) for name, value in facts.items()) + infos
    block = memoryview(block_of(kind, random))
    unit = 2 if kind == BF16 else 18
    with open(path, "wb", buffering=0) as file:
        file.write(head + bytes(-len(head) % 32))
        for _, shape, of in all_of_them:
            left = size_of(shape, of)
            pad = bytes(-left % 32)
            if of == F32:
                numbers = np.ones(shape, np.float32) if len(shape) == 1 else (random.random(shape, np.float32) - 0.5) * 0.07
                file.write(numbers.tobytes())
                left = 0
            at = int(random.integers(0, len(block) // (4 * unit))) * unit
            while left:
                left -= file.write(block[at:at + min(left, len(block) - at)])
                at = 0
            file.write(pad)


def build(sources, folder, *options):
    os.makedirs(folder, exist_ok=True)
    here = os.path.dirname(os.path.abspath(__file__))
    settings = ["-DGGML_CUDA=ON", "-DGGML_CUDA_FA=OFF", "-DCMAKE_CUDA_ARCHITECTURES=90-real", "-DGGML_NATIVE=ON"]
    settings += ["-DLLAMA_BUILD_COMMON=OFF", "-DLLAMA_BUILD_APP=OFF", "-DLLAMA_OPENSSL=OFF", "-DBUILD_SHARED_LIBS=ON", "-DCMAKE_BUILD_TYPE=Release"]
    subprocess.run(["cmake", "-S", sources, "-B", folder, *settings, *options], check=True)
    subprocess.run(["cmake", "--build", folder, "--target", "llama", "-j", str(os.cpu_count())], check=True)
    libraries = os.path.join(folder, "bin")
    command = ["g++", "-O2", "-std=c++17", os.path.join(here, "llama_gpu.cpp"), "-o", os.path.join(folder, "llama_gpu")]
    command += [f"-I{sources}/include", f"-I{sources}/ggml/include", f"-L{libraries}", f"-Wl,-rpath,{libraries}"]
    subprocess.run([*command, "-lllama", "-lggml", "-lggml-base"], check=True)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", kind, path, *rest]:
            make(kind, path, int(rest[0]) if rest else 48)
        case ["build", sources, folder, *options]:
            build(sources, folder, *options)
        case _:
            sys.exit(__doc__)
