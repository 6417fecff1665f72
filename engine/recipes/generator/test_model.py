"""The recipe's model computes what Hugging Face's DeepseekV3ForCausalLM does with the same tensors, and balancing evens out.

    python -m pytest test_model.py
"""
import json, os
import torch
from safetensors.torch import save_file
from model import Experts, Generator, SHIPPED

TINY = dict(SHIPPED, hidden_size=64, num_hidden_layers=2, vocab_size=256, moe_intermediate_size=32, intermediate_size=160,
            kv_lora_rank=32, num_attention_heads=2, num_key_value_heads=2)


def test_same_logits_as_hugging_face(tmp_path):
    from transformers import AutoModelForCausalLM
    torch.manual_seed(0)
    model = Generator(TINY).eval()
    for experts in model.experts():
        experts.bias.normal_(std=0.1)
        experts.router.data.mul_(20)
    tensors = {name: t.clone().contiguous() for name, t in model.named_tensors().items()}
    save_file(tensors, os.path.join(tmp_path, "model.safetensors"), metadata={"format": "pt"})
    json.dump(TINY, open(os.path.join(tmp_path, "config.json"), "w"))
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    ids = torch.randint(0, 256, (3, 40))
    with torch.no_grad():
        ours = model.logits(model(ids)[0])
        assert torch.allclose(ours, theirs(ids).logits, atol=1e-4), (ours - theirs(ids).logits).abs().max()


def test_tensors_go_out_and_come_back():
    torch.manual_seed(1)
    model, other = Generator(TINY), Generator(TINY)
    other.load_tensors(model.named_tensors())
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values()))


def test_every_weight_gets_a_gradient():
    torch.manual_seed(2)
    model = Generator(TINY)
    hidden, _ = model(torch.randint(0, 256, (4, 64)))
    model.logits(hidden).square().mean().backward()
    assert all(p.grad is not None and float(p.grad.abs().sum()) > 0 for p in model.parameters())


def test_the_bias_evens_out_a_skewed_router():
    torch.manual_seed(3)
    experts = Experts(TINY)
    experts.router.data[0] += 0.3
    x = torch.randn(2000, 64) + 0.5
    skew = lambda load: float(load.max() / load.mean() - 1)
    before = skew(experts(x)[1])
    for i in range(400):
        load = experts(x)[1]
        experts.bias += 5e-3 * (1 - i / 400) * torch.sign(load.mean() - load)
    assert before > 0.5 and skew(experts(x)[1]) < 0.05
