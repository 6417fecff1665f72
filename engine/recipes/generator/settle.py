"""Evens out the load of an exported model's experts on texts that it was not trained on, and measures it on others.

    python settle.py --data DIR --model DIR

Trained texts are routed a little differently from new ones, so the biases are settled on one half of the held-out documents and
reported on the other. Layer by layer: each layer's scores are computed once, its bias is found for them, and the next
layer sees what that bias chooses. Writes the biases, `fixture.json` and `figures.json`.
"""
import argparse, glob, json, os
import numpy as np, torch, torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from export import record, write
from model import Experts, Generator
from train import ASSISTANT, Corpus, SYSTEM


def sparse(self, x, gates, top):
    """Only the chosen experts run, one after the other: the fastest form on a CPU."""
    out = torch.zeros_like(x)
    for e in range(self.count):
        row, place = (top == e).nonzero(as_tuple=True)
        h = x[row]
        h = F.silu(h @ self.gate_proj[e].t()) * (h @ self.up_proj[e].t())
        out.index_add_(0, row, (h @ self.down_proj[e].t()) * gates[row, place, None])
    return out


@torch.no_grad()
def chunks(f, x, size=16):
    return torch.cat([f(x[i: i + size]) for i in range(0, len(x), size)])


@torch.no_grad()
def even_bias(scores, bias, chosen, rounds=400):
    for i in range(rounds):
        load = torch.bincount((scores + bias).topk(chosen, -1).indices.flatten(), minlength=scores.shape[1]).float()
        bias += 4e-3 * (1 - i / rounds) ** 2 * torch.sign(load.mean() - load)
    return bias - bias.mean()


@torch.no_grad()
def walk(model, ids, blend):
    """Through the layers with all rows at once; moves each layer's bias first by `blend` of the way to the one that evens out the load
    of these rows. Answers hidden states and loads."""
    x, loads = model.embed_tokens(ids), []
    cos, sin = model.cos[: ids.shape[1]], model.sin[: ids.shape[1]]
    for layer in model.layers:
        x = x + chunks(lambda part: layer.self_attn(layer.input_layernorm(part), cos, sin), x)
        y = layer.post_attention_layernorm(x)
        experts = layer.mlp
        if blend:
            even = even_bias(torch.sigmoid(F.linear(y.flatten(0, 1), experts.router)), experts.bias.clone(), experts.chosen)
            before = experts.bias - experts.bias.mean()
            experts.bias.copy_(before + blend * (even - before))
        load, parts = torch.zeros(experts.count), []
        for i in range(0, len(y), 16):
            out, one = experts(y[i: i + 16])
            load += one; parts.append(out)
        x = x + torch.cat(parts)
        loads.append(load)
        print(f"layer {len(loads)}: {float(load.max() / load.mean() - 1):.4f}", flush=True)
    return model.norm(x), loads


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--data", required=True); a.add_argument("--model", required=True); a.add_argument("--length", type=int, default=512)
    a.add_argument("--blend", type=float, default=0.5, help="a few rows are a noisy witness: the training rows keep half a say")
    a.add_argument("--rows", type=int, default=10**9, help="rows of each half at most")
    a = a.parse_args()
    Experts.dense = sparse
    config = json.load(open(os.path.join(a.model, "config.json")))
    tensors = {}
    for file in sorted(glob.glob(os.path.join(a.model, "model-*.safetensors"))):
        tensors |= load_file(file)
    plain = {n: t.float() * tensors[n + "_scale"][:, None] if t.dtype == torch.int8 else t for n, t in tensors.items() if not n.endswith("_scale")}
    model = Generator(config); model.load_tensors(plain); model.eval().requires_grad_(False)
    corpus = Corpus(os.path.join(a.data, "corpus.npz"), "cpu")
    order = np.random.default_rng(5).permutation(len(corpus.held_from) - 1)
    halves = order[::2], order[1::2]
    rows = [corpus.rows(corpus.held_out, corpus.held_from, half, a.length) for half in halves]
    rows = [tuple(t[: limit] for t in three) for limit, three in zip((a.rows, a.rows * 3 // 2), rows)]
    figures = json.load(open(os.path.join(a.model, "figures.json")))
    walk(model, rows[0][0], a.blend)
    x, y, w = rows[1]
    hidden, loads = walk(model, x, 0.0)
    total = said = 0.0
    for i in range(0, len(x), 8):
        each = F.cross_entropy(model.logits(hidden[i: i + 8]).flatten(0, 1), y[i: i + 8].flatten(), reduction="none")
        mask = w[i: i + 8].flatten() == 1.0
        total += each.sum().item(); said += each[mask].sum().item()
    figures["settled"] = {"tokens_settled_on": rows[0][0].numel(), "tokens": y.numel(), "loss": round(total / y.numel(), 4),
                          "loss_said": round(said / float((w == 1.0).sum()), 4),
                          "max_violation": [round(float(l.max() / l.mean() - 1), 4) for l in loads]}
    print(json.dumps(figures["settled"]), flush=True)
    write(a.model, "figures.json", figures)
    biases = {n: t for n, t in model.named_tensors().items() if n.endswith("e_score_correction_bias")}
    for file in sorted(glob.glob(os.path.join(a.model, "model-*.safetensors"))):
        shard = load_file(file)
        shard = {n: (biases[n].clone().contiguous() if n in biases else t) for n, t in shard.items()}
        save_file(shard, file, metadata={"format": "pt"})
    tokenizer = Tokenizer.from_file(os.path.join(a.model, "tokenizer.json"))
    prompts = [row["ids"] for row in json.load(open(os.path.join(a.model, "fixture.json")))]
    record(model, tokenizer, prompts, a.model)


if __name__ == "__main__":
    main()
