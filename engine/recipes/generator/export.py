"""Writes a model as Candor reads it: int8 with one scale a row, in shards, and what it answered to recorded prompts."""
import json, os
import torch
from safetensors.torch import save_file

SHARD_BYTES = 15 * 1024 * 1024 - 65536


def int8(t):
    """Rows of a matrix as int8 and a float32 scale each."""
    scale = t.abs().amax(1).clamp(min=1e-12) / 127
    return torch.round(t / scale[:, None]).clamp(-127, 127).to(torch.int8), scale


def is_quantised(name, t):
    return t.ndim == 2 and not name.endswith("mlp.gate.weight")


@torch.no_grad()
def quantised_copy(model, make):
    """The model with the weights that will be shipped, as float32."""
    copy = make()
    tensors = {}
    for name, t in model.named_tensors().items():
        t = t.detach().float().cpu()
        if is_quantised(name, t):
            q, scale = int8(t)
            t = q.float() * scale[:, None]
        tensors[name] = t
    copy.load_tensors(tensors)
    return copy.eval()


@torch.no_grad()
def export(model, config, out, version):
    tensors = {}
    for name, t in model.named_tensors().items():
        t = t.detach().float().cpu().contiguous()
        if is_quantised(name, t):
            tensors[name], tensors[name + "_scale"] = int8(t)
        else:
            tensors[name] = t
    for file in os.listdir(out):
        if file.endswith(".safetensors"):
            os.remove(os.path.join(out, file))
    shards, size = [{}], 0
    for name in sorted(tensors):
        n = tensors[name].numel() * tensors[name].element_size()
        if size + n > SHARD_BYTES:
            shards.append({}); size = 0
        shards[-1][name] = tensors[name].contiguous(); size += n
    where, total = {}, 0
    for i, shard in enumerate(shards):
        file = f"model-{i + 1:05}-of-{len(shards):05}.safetensors"
        save_file(shard, os.path.join(out, file), metadata={"format": "pt"})
        where |= {name: file for name in shard}
        total += sum(t.numel() * t.element_size() for t in shard.values())
    write(out, "model.safetensors.index.json", {"metadata": {"total_size": total}, "weight_map": where})
    write(out, "config.json", dict(config, version=version, bos_token_id=0, eos_token_id=1, pad_token_id=1,
                                   quantization={"quant_method": "int8", "granularity": "row"}))
    write(out, "generation_config.json", {"bos_token_id": 0, "eos_token_id": [1, 0, 2, 3, 4], "do_sample": False, "max_new_tokens": 160})
    return total


def write(out, name, value):
    with open(os.path.join(out, name), "w") as f:
        json.dump(value, f, indent=1)


@torch.no_grad()
def record(model, tokenizer, prompts, out, tokens=64):
    """fixture.json: what this model answers, in float32 on the CPU. Logits are those after the prompt's last token."""
    rows = []
    for i, ids in enumerate(prompts):
        logits, reply = None, []
        for _ in range(tokens):
            x = torch.tensor([ids + reply])
            last = model.logits(model(x)[0][:, -1:])[0, 0]
            logits = last if logits is None else logits
            reply.append(int(last.argmax()))
            if reply[-1] == 1:
                break
        top = torch.topk(logits, 32)
        row = {"prompt": tokenizer.decode(ids, skip_special_tokens=False), "ids": ids, "reply": reply,
               "text": tokenizer.decode(reply, skip_special_tokens=True),
               "top": [[int(t), round(float(l), 5)] for l, t in zip(*top)]}
        if i < 2:
            row["logits"] = [round(float(l), 5) for l in logits]
        rows.append(row)
    write(out, "fixture.json", rows)
