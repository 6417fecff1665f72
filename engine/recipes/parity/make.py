"""Writes tiny random checkpoints with the classes of Hugging Face `transformers`, and what those classes compute.

    pip install torch transformers safetensors
    python engine/recipes/parity/make.py engine/tests/fixtures/generative

Each folder is a checkpoint as people have them, plus `reference.safetensors`: `tokens` [n], `logits` [n, vocabulary] of
all their positions in float32, and `greedy` [64], the likeliest continuation token by token. Weights in FP8 and AWQ are
made from the bfloat16 ones, and the reference runs on what those codes stand for.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, DeepseekV2Config, DeepseekV3Config, Qwen3MoeConfig

VOCABULARY, PROMPT, NEW = 256, 43, 64
COMMON = dict(vocab_size=VOCABULARY, max_position_embeddings=256, rms_norm_eps=1e-6, tie_word_embeddings=False,
              bos_token_id=0, eos_token_id=1, initializer_range=0.1)
YARN = dict(rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=64, beta_fast=32,
            beta_slow=1, mscale=1.0, mscale_all_dim=0.8)
PLAIN = dict(rope_type="default", rope_theta=10000.0)


def v2(**changes):
    return DeepseekV2Config(**COMMON | dict(
        hidden_size=64, intermediate_size=96, moe_intermediate_size=32, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=4, n_routed_experts=8, n_shared_experts=2, num_experts_per_tok=3, q_lora_rank=None,
        kv_lora_rank=32, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=24, n_group=4, topk_group=2,
        topk_method="group_limited_greedy", routed_scaling_factor=1.5, first_k_dense_replace=1,
        rope_parameters=PLAIN) | changes)


def v3(**changes):
    return DeepseekV3Config(**COMMON | dict(
        hidden_size=64, intermediate_size=96, moe_intermediate_size=32, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=4, n_routed_experts=8, n_shared_experts=1, num_experts_per_tok=3, q_lora_rank=48,
        kv_lora_rank=32, qk_nope_head_dim=16, qk_rope_head_dim=8, v_head_dim=16, n_group=4, topk_group=2,
        routed_scaling_factor=2.5, first_k_dense_replace=1, norm_topk_prob=True, num_mtp_layers=0,
        rope_parameters=YARN) | changes)


def qwen3(**changes):
    return Qwen3MoeConfig(**COMMON | dict(
        hidden_size=64, intermediate_size=96, moe_intermediate_size=32, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, head_dim=24, num_experts=8, num_experts_per_tok=3, norm_topk_prob=True,
        mlp_only_layers=[1], rope_parameters=PLAIN | {"rope_theta": 1000000.0}) | changes)


def draw(config, seed):
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith("norm.weight"):
                tensor.copy_(1 + 0.2 * torch.randn_like(tensor))
            elif name.endswith("e_score_correction_bias"):
                tensor.copy_(0.1 * torch.randn_like(tensor))
            elif "embed_tokens" in name:
                tensor.copy_(torch.randn_like(tensor))
            elif "inv_freq" not in name:
                tensor.copy_(torch.randn_like(tensor) * (2.0 / tensor.shape[-1]) ** 0.5)
    return model


@torch.no_grad()
def reference(model, folder, extra=""):
    """Runs the model in float32 without a cache, so that nothing is shared with what is tested."""
    model = model.float().eval()
    tokens = torch.randint(2, VOCABULARY, (1, PROMPT), generator=torch.Generator().manual_seed(7))
    logits = model(tokens, use_cache=False).logits[0]
    grown, closest = tokens, float("inf")
    for _ in range(NEW):
        last = model(grown, use_cache=False).logits[0, -1]
        best = last.topk(2).values
        closest = min(closest, (best[0] - best[1]).item())
        grown = torch.cat([grown, last.argmax().view(1, 1)], 1)
    out = {"tokens": tokens[0].to(torch.int32), "logits": logits.float().contiguous(),
           "greedy": grown[0, PROMPT:].to(torch.int32).contiguous()}
    save_file(out, folder / f"reference{extra}.safetensors")
    print(f"{folder.name}{extra}: logits of {logits.std():.2f}, closest decision {closest:.4f}, "
          f"{len(set(out['greedy'].tolist()))} different tokens")


def write(folder, config, seed, dtype=torch.bfloat16, shard=None):
    """A checkpoint in `dtype`; the reference runs on exactly those numbers."""
    shutil.rmtree(folder, ignore_errors=True)
    model = draw(config, seed).to(dtype)
    model.save_pretrained(folder, **({"max_shard_size": shard} if shard else {}))
    (folder / "generation_config.json").unlink(missing_ok=True)
    reference(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager"), folder)


def is_map(name, tensor):
    quantised = name.endswith("proj.weight") or name.endswith("proj_with_mqa.weight")
    return quantised and tensor.dim() == 2


def convert(folder, config, seed, pack):
    """Replaces every linear map by what `pack` makes of it: `pack(name, weight) -> (tensors, weight they stand for)`."""
    shutil.rmtree(folder, ignore_errors=True)
    draw(config, seed).to(torch.bfloat16).save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    packed, meant = {}, {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        if is_map(name, tensor):
            tensors, meant[name] = pack(name, tensor.float())
            packed |= tensors
        else:
            packed[name], meant[name] = tensor, tensor.float()
    save_file(meant, folder / "model.safetensors", metadata={"format": "pt"})
    reference(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager"), folder)
    save_file({name: tensor.contiguous() for name, tensor in packed.items()}, folder / "model.safetensors",
              metadata={"format": "pt"})


def fp8(name, weight):
    rows, columns = weight.shape
    scales = torch.empty(-(-rows // 128), -(-columns // 128))
    codes, meant = torch.empty_like(weight, dtype=torch.float8_e4m3fn), torch.empty_like(weight)
    for i in range(scales.shape[0]):
        for j in range(scales.shape[1]):
            block = (slice(128 * i, 128 * i + 128), slice(128 * j, 128 * j + 128))
            scales[i, j] = weight[block].abs().max() / 448
            codes[block] = (weight[block] / scales[i, j]).to(torch.float8_e4m3fn)
            meant[block] = codes[block].float() * scales[i, j]
    return {name: codes, f"{name}_scale_inv": scales}, meant


def awq(name, weight):
    """AutoAWQ's GEMM packing: input-major words of eight outputs in the order 0, 2, 4, 6, 1, 3, 5, 7."""
    rows, columns = weight.shape
    groups = weight.view(rows, columns // 128, 128)
    low, high = groups.amin(-1), groups.amax(-1)
    scales = ((high - low) / 15).half()
    zeros = (-low / scales.float()).round().clamp(0, 15)
    codes = (groups / scales.float()[..., None] + zeros[..., None]).round().clamp(0, 15)
    meant = ((codes - zeros[..., None]) * scales.float()[..., None]).view(rows, columns)

    def words(values):  # [inputs, outputs] -> [inputs, outputs / 8]
        parts = values.to(torch.int64).view(values.shape[0], -1, 8)
        order = [0, 2, 4, 6, 1, 3, 5, 7]
        packed = sum(parts[..., column] << (4 * nibble) for nibble, column in enumerate(order))
        return torch.where(packed >= 2**31, packed - 2**32, packed).to(torch.int32)

    stem = name.removesuffix(".weight")
    return {f"{stem}.qweight": words(codes.view(rows, columns).T), f"{stem}.qzeros": words(zeros.T),
            f"{stem}.scales": scales.T.contiguous()}, meant


def lora(folder, rank=4, alpha=6.0):
    """An adapter in PEFT's format for `folder`, and what the model computes with it merged."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    adapter = folder / "adapter"
    adapter.mkdir(exist_ok=True)
    torch.manual_seed(11)
    targets, tensors = ["q_proj", "v_proj", "o_proj"], {}
    for name, module in model.named_modules():
        if name.rsplit(".", 1)[-1] in targets:
            a, b = torch.randn(rank, module.in_features) / 8, torch.randn(module.out_features, rank) / 2
            tensors[f"base_model.model.{name}.lora_A.weight"] = a
            tensors[f"base_model.model.{name}.lora_B.weight"] = b
            module.weight.data += alpha / rank * b @ a
    save_file(tensors, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "target_modules": targets, "bias": "none",
              "use_rslora": False, "use_dora": False, "rank_pattern": {}, "alpha_pattern": {}}
    (adapter / "adapter_config.json").write_text(json.dumps(config, indent=1))
    reference(model, folder, "-adapter")


if __name__ == "__main__":
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    write(out / "qwen3-moe", qwen3(), 1, shard="200KB")
    lora(out / "qwen3-moe")
    write(out / "deepseek-v2", v2(), 2, dtype=torch.float16)
    write(out / "deepseek-v3", v3(), 13)
    write(out / "deepseek-v3-direct", v3(q_lora_rank=None, rope_parameters=PLAIN, n_group=1, topk_group=1), 4,
          dtype=torch.float32)
    convert(out / "deepseek-v3-fp8", v3(hidden_size=192, moe_intermediate_size=96, num_hidden_layers=2), 5, fp8)
    convert(out / "qwen3-moe-awq", qwen3(hidden_size=128, num_attention_heads=4, head_dim=32, num_experts=4,
            num_experts_per_tok=2, moe_intermediate_size=128, intermediate_size=128, num_hidden_layers=2), 6, awq)
