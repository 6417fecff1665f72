"""int8 weights with a scale per row, in safetensors shards, and the recorded inputs that the Rust code is checked with."""
import json, os
import numpy as np, torch, torch.nn.functional as F
from safetensors.torch import save_file
from model import group_of

SHARD_BYTES = 15_600_000
FIXTURE = ["I lost my card yesterday", "hi", "What is the exchange rate between pounds and euros?",
           "no, the other card ending 4421", "my transfer of £250.00 to Anna hasn't arrived!!",
           "naïve café – 你好 unaffordable antidisestablishmentarianism",
           "This is ridiculous. I have called three times, waited for more than two weeks, written two letters and nobody at "
           "your bank was able to tell me where my payment to the landlord went, while the fees keep adding up every day and "
           "my landlord threatens to end the contract unless the rent is there by Friday, so please find out what happened, "
           "tell me when the money will arrive and pay me back the fee that you took for it."]


def quantised(name, t):
    """Matrices are stored as int8 rows: the words' vectors, attention and the experts."""
    return t.ndim >= 2 and not name.startswith(("heads.", "positions")) and "router" not in name


def int8(t):
    """Symmetric, one scale per row: -> (int8 like t, float32 scale without the last dimension)."""
    scale = (t.abs().amax(-1) / 127).clamp(min=1e-12)
    return torch.round(t / scale.unsqueeze(-1)).clamp(-127, 127).to(torch.int8), scale.float()


@torch.no_grad()
def shipped_copy(model, into):
    """The model with the weights as they will be read back."""
    state = {}
    for name, t in model.state_dict().items():
        t = t.detach().cpu().float()
        if quantised(name, t):
            q, scale = int8(t); t = q.float() * scale.unsqueeze(-1)
        elif name == "positions":
            t = t.half().float()
        state[name] = t
    into.load_state_dict(state)
    return into.eval()


def export(model, config, labels, calibration, fixture, out, version):
    tensors = {}
    for name, t in model.state_dict().items():
        t = t.detach().float().contiguous()
        if quantised(name, t):
            tensors[name], tensors[name + ".scale"] = int8(t)
        else:
            tensors[name] = t.half() if name == "positions" else t
    shards, size = [{}], 0
    pieces = []
    for name in sorted(tensors):
        pieces.append((name, tensors[name], tensors[name].numel() * tensors[name].element_size()))
    for name, t, n in pieces:
        if size + n > SHARD_BYTES:
            shards.append({}); size = 0
        shards[-1][name] = t; size += n
    where = {}
    for i, shard in enumerate(shards):
        file = f"model-{i + 1:05}-of-{len(shards):05}.safetensors"
        save_file(shard, os.path.join(out, file), metadata={"format": "pt"})
        where |= {name: file for name in shard}
    with open(os.path.join(out, "model.safetensors.index.json"), "w") as f:
        json.dump({"metadata": {"total_size": sum(n for _, _, n in pieces)}, "weight_map": where}, f, indent=1)
    experts = model.experts()[0]
    description = {
        "architectures": ["MoeEncoder"], "model_type": "moe_encoder", "version": version,
        "hidden_size": config["hidden_size"], "num_hidden_layers": config["num_hidden_layers"],
        "num_attention_heads": config["num_attention_heads"], "vocab_size": config["vocab_size"],
        "max_position_embeddings": config["max_position_embeddings"], "layer_norm_eps": config["layer_norm_eps"],
        "num_experts": experts.shards * experts.copies, "num_experts_per_tok": experts.shards, "n_group": experts.shards,
        "moe_intermediate_size": experts.w1.shape[1], "max_tokens": 256,
        "quantization": {"quant_method": "int8", "granularity": "row"},
        "heads": {h: {"labels": labels[h], **calibration[h]} for h in labels},
        "out_of_scope": {"clinc150": "oos", "banking77": "oos", "desk": "other"}}
    with open(os.path.join(out, "config.json"), "w") as f:
        json.dump(description, f, indent=1)
    record(model, fixture, out)


@torch.no_grad()
def record(model, fixture, out):
    """fixture.json: what this model answers, in float32 on the CPU."""
    model.eval(); model.float().cpu(); rows = []
    for text, ids in ((f["text"], f["ids"]) for f in fixture):
        first, mean = model([group_of([ids], "cpu")])
        logits = {h: [round(float(x), 6) for x in l[0]] for h, l in model.logits(first, mean).items()}
        rows.append({"text": text, "ids": ids, "logits": logits,
                     "embedding": [round(float(x), 7) for x in F.normalize(mean, dim=-1)[0]]})
    with open(os.path.join(out, "fixture.json"), "w") as f:
        json.dump(rows, f)
