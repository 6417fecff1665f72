"""all-MiniLM-L6-v2 in the layout of Candor's encoder, to measure few-shot training on an encoder that saw none of the data.

    pip install numpy safetensors
    python minilm_as_experts.py --minilm DIR --encoder engine/weights/encoder --out weights/encoder
    CANDOR_WEIGHTS=weights candor train intents --data few.csv --out own      (copy engine/weights/risk beside it)

The dense feed-forward blocks become four slices that always run, with gates of exactly 1: the same function. The heads
that the program expects (desk, sentiment) are there and say nothing.
"""
import argparse, json, os, shutil
import numpy as np
from safetensors.numpy import load_file, save_file


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--minilm", required=True); a.add_argument("--encoder", required=True); a.add_argument("--out", required=True)
    a = a.parse_args()
    w = {k: v.astype(np.float32) for k, v in load_file(os.path.join(a.minilm, "model.safetensors")).items() if v.ndim}
    dense = json.load(open(os.path.join(a.minilm, "config.json"))) if os.path.exists(os.path.join(a.minilm, "config.json")) else {}
    config = json.load(open(os.path.join(a.encoder, "config.json")))
    width, slices = config["hidden_size"], 4
    out = {"words": w["embeddings.word_embeddings.weight"], "positions": w["embeddings.position_embeddings.weight"],
           "types": w["embeddings.token_type_embeddings.weight"][0]}
    for part in ("weight", "bias"):
        out[f"norm.{part}"] = w[f"embeddings.LayerNorm.{part}"]
    for i in range(config["num_hidden_layers"]):
        old, new = f"encoder.layer.{i}.", f"layers.{i}."
        for part in ("weight", "bias"):
            out[f"{new}qkv.{part}"] = np.concatenate([w[f"{old}attention.self.{m}.{part}"] for m in ("query", "key", "value")])
            out[f"{new}out.{part}"] = w[f"{old}attention.output.dense.{part}"]
            out[f"{new}norm1.{part}"] = w[f"{old}attention.output.LayerNorm.{part}"]
            out[f"{new}norm2.{part}"] = w[f"{old}output.LayerNorm.{part}"]
        rise, fall = w[f"{old}intermediate.dense.weight"], w[f"{old}output.dense.weight"]
        inner = rise.shape[0] // slices
        out[f"{new}ffn.w1"] = rise.reshape(slices, inner, width)
        out[f"{new}ffn.b1"] = w[f"{old}intermediate.dense.bias"].reshape(slices, inner)
        out[f"{new}ffn.w2"] = fall.reshape(width, slices, inner).transpose(1, 0, 2)
        out[f"{new}ffn.b2"] = w[f"{old}output.dense.bias"]
        out[f"{new}ffn.router"] = np.zeros((slices, width), np.float32)
        out[f"{new}ffn.selection_bias"], out[f"{new}ffn.gate_scale"] = np.zeros(slices, np.float32), np.zeros(1, np.float32)
    heads = {name: config["heads"][name] for name in ("desk", "sentiment")}
    for name, head in heads.items():
        out[f"heads.{name}.weight"] = np.zeros((len(head["labels"]), 2 * width), np.float32)
        out[f"heads.{name}.bias"] = np.zeros(len(head["labels"]), np.float32)
    config.update(version="all-MiniLM-L6-v2", num_experts=slices, num_experts_per_tok=slices, n_group=slices, moe_intermediate_size=inner,
                  layer_norm_eps=dense.get("layer_norm_eps", 1e-12), heads=heads, out_of_scope={"desk": config["out_of_scope"]["desk"]})
    config.pop("quantization", None)
    os.makedirs(a.out, exist_ok=True)
    save_file({k: np.ascontiguousarray(v) for k, v in out.items()}, os.path.join(a.out, "model.safetensors"))
    json.dump(config, open(os.path.join(a.out, "config.json"), "w"), indent=1)
    shutil.copy(os.path.join(a.encoder, "tokenizer.json"), a.out)


if __name__ == "__main__":
    main()
