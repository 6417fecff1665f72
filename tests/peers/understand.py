"""How fast onnxruntime runs the dense all-MiniLM-L6-v2, in float32 and with dynamically quantised int8 weights.

    pip install onnx onnxruntime numpy safetensors
    python understand.py --minilm DIR [--candor "candor bench understand"] [--seconds 3]

Texts of 16 and 64 tokens, one and 32 at once, the threads that the machine has. With --candor that command is run in the same go and
the ratios are printed: latency below 1 and throughput above 1 are ours. The graph is made of ONNX operations that onnxruntime has
fused kernels for (LayerNormalization, Gelu), so that it is the peer at its best.
"""
import argparse, json, os, shlex, subprocess, tempfile, time
import numpy as np, onnx, onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.numpy import load_file


def graph(folder):
    config = json.load(open(os.path.join(folder, "config.json")))
    w = load_file(os.path.join(folder, "model.safetensors"))
    d, heads = config["hidden_size"], config["num_attention_heads"]
    nodes, constants, count = [], [], [0]

    def const(a):
        count[0] += 1
        constants.append(numpy_helper.from_array(a, f"c{count[0]}"))
        return f"c{count[0]}"

    def op(kind, *inputs, **attributes):
        count[0] += 1
        nodes.append(helper.make_node(kind, list(inputs), [f"t{count[0]}"], **attributes))
        return f"t{count[0]}"

    ints = lambda *a: const(np.array(a, np.int64))
    f32 = lambda name: w[name].astype(np.float32)
    linear = lambda x, name: op("Add", op("MatMul", x, const(np.ascontiguousarray(f32(name + ".weight").T))), const(f32(name + ".bias")))
    norm = lambda x, name: op("LayerNormalization", x, const(f32(name + ".weight")), const(f32(name + ".bias")), epsilon=config["layer_norm_eps"], axis=-1)
    length = op("Shape", "ids", start=1, end=2)
    places = op("Slice", const(f32("embeddings.position_embeddings.weight")), ints(0), length, ints(0))
    x = op("Add", op("Gather", const(f32("embeddings.word_embeddings.weight")), "ids"), places)
    x = norm(op("Add", x, const(f32("embeddings.token_type_embeddings.weight")[0])), "embeddings.LayerNorm")
    split = lambda y, order: op("Transpose", op("Reshape", y, ints(0, 0, heads, d // heads)), perm=order)
    for i in range(config["num_hidden_layers"]):
        p = f"encoder.layer.{i}."
        q, k, v = (linear(x, f"{p}attention.self.{n}") for n in ("query", "key", "value"))
        scores = op("MatMul", split(q, [0, 2, 1, 3]), split(k, [0, 2, 3, 1]))
        scores = op("Softmax", op("Div", scores, const(np.array(np.sqrt(d / heads), np.float32))), axis=-1)
        mixed = op("Reshape", op("Transpose", op("MatMul", scores, split(v, [0, 2, 1, 3])), perm=[0, 2, 1, 3]), ints(0, 0, d))
        x = norm(op("Add", x, linear(mixed, p + "attention.output.dense")), p + "attention.output.LayerNorm")
        inner = op("Gelu", linear(x, p + "intermediate.dense"))
        x = norm(op("Add", x, linear(inner, p + "output.dense")), p + "output.LayerNorm")
    nodes.append(helper.make_node("ReduceMean", [x, ints(1)], ["embedding"], keepdims=0))
    made = helper.make_graph(nodes, "minilm", [helper.make_tensor_value_info("ids", TensorProto.INT64, ["texts", "tokens"])],
                             [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["texts", d])], constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def measure(path, seconds):
    options = ort.SessionOptions()
    options.intra_op_num_threads = os.cpu_count()
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    out = []
    for tokens in (16, 64):
        for batch in (1, 32):
            ids = np.random.default_rng(0).integers(1000, 20000, (batch, tokens)); ids[:, 0], ids[:, -1] = 101, 102
            for _ in range(3):
                session.run(None, {"ids": ids})
            taken, start = [], time.perf_counter()
            while len(taken) < 10 or time.perf_counter() - start < seconds:
                before = time.perf_counter(); session.run(None, {"ids": ids}); taken.append((time.perf_counter() - before) * 1000)
            out.append({"tokens": tokens, "batch": batch, "rounds": len(taken), "p50_ms": float(np.percentile(taken, 50)),
                        "p99_ms": float(np.percentile(taken, 99)), "texts_per_second": len(taken) * batch * 1000 / sum(taken)})
    return out


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--minilm", required=True); a.add_argument("--candor"); a.add_argument("--seconds", type=float, default=3.0)
    a = a.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plain, small = os.path.join(folder, "f32.onnx"), os.path.join(folder, "int8.onnx")
        onnx.save(graph(a.minilm), plain)
        quantize_dynamic(plain, small, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"])
        found = {"f32": measure(plain, a.seconds), "int8": measure(small, a.seconds)}
    print(json.dumps({"onnxruntime": ort.__version__, "threads": os.cpu_count(), **found}))
    if a.candor:
        ours = json.loads(subprocess.run(shlex.split(a.candor), check=True, capture_output=True, text=True).stdout)["figures"]
        for o, t in zip(ours, found["int8"]):
            assert (o["tokens"], o["batch"]) == (t["tokens"], t["batch"])
            print(json.dumps({"tokens": o["tokens"], "batch": o["batch"], "latency_to_int8": o["p50_ms"] / t["p50_ms"],
                              "throughput_to_int8": o["texts_per_second"] / t["texts_per_second"]}))


if __name__ == "__main__":
    main()
