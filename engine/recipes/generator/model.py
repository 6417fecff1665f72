"""The generator: DeepSeek-V3's architecture (multi-head latent attention, sigmoid-scored experts with a selection bias and one
shared expert) at 47 M parameters, with Hugging Face's parameter names, and its dense twin of equal active compute."""
import math
import torch, torch.nn as nn, torch.nn.functional as F

SHIPPED = {
    "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "vocab_size": 8192, "hidden_size": 384,
    "intermediate_size": 1280, "moe_intermediate_size": 256, "num_hidden_layers": 8, "num_attention_heads": 6,
    "num_key_value_heads": 6, "n_shared_experts": 1, "n_routed_experts": 16, "num_experts_per_tok": 4, "n_group": 1,
    "topk_group": 1, "first_k_dense_replace": 0, "norm_topk_prob": True, "routed_scaling_factor": 1.0,
    "scoring_func": "sigmoid", "topk_method": "noaux_tc", "kv_lora_rank": 128, "q_lora_rank": None, "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 32, "v_head_dim": 64, "max_position_embeddings": 2048, "rope_theta": 10000.0,
    "rope_scaling": None, "rope_interleave": True, "rms_norm_eps": 1e-6, "hidden_act": "silu", "attention_bias": False,
    "attention_dropout": 0.0, "initializer_range": 0.02, "tie_word_embeddings": True, "use_cache": True, "moe_layer_freq": 1,
    "torch_dtype": "float32"}


def linear(outputs, inputs, std=0.02):
    weight = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(weight.weight, std=std)
    return weight


class Norm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x):
        x32 = x.float()
        return (x32 * torch.rsqrt(x32.square().mean(-1, keepdim=True) + self.eps)).to(x.dtype) * self.weight.to(x.dtype)


class FeedForward(nn.Module):
    def __init__(self, width, inner, depth):
        super().__init__()
        self.gate_proj, self.up_proj = linear(inner, width), linear(inner, width)
        self.down_proj = linear(width, inner, 0.02 / math.sqrt(2 * depth))

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Experts(nn.Module):
    by_group = False                          # set by `use_grouped_products` where the GPU can

    def __init__(self, c):
        super().__init__()
        e, d, h, depth = c["n_routed_experts"], c["hidden_size"], c["moe_intermediate_size"], c["num_hidden_layers"]
        self.count, self.chosen = e, c["num_experts_per_tok"]
        g = lambda *shape, std=0.02: nn.Parameter(torch.randn(*shape) * std)
        self.gate_proj, self.up_proj, self.down_proj = g(e, h, d), g(e, h, d), g(e, d, h, std=0.02 / math.sqrt(2 * depth))
        self.router = g(e, d)
        self.register_buffer("bias", torch.zeros(e))
        self.shared = FeedForward(d, h * c["n_shared_experts"], depth)

    def forward(self, x):
        shape = x.shape
        x = x.reshape(-1, shape[-1])
        with torch.autocast(x.device.type, enabled=False):        # in float32: rounding would change the choice
            scores = torch.sigmoid(F.linear(x.float(), self.router.float()))
            top = (scores.detach() + self.bias).topk(self.chosen, -1).indices
            gates = scores.gather(1, top)
            gates = gates / (gates.sum(-1, keepdim=True) + 1e-20)
            load = torch.zeros(self.count, device=x.device).scatter_add_(
                0, top.flatten(), torch.ones(top.numel(), device=x.device))
        y = self.grouped(x, gates, top, load) if self.by_group and torch.is_autocast_enabled("cuda") else self.dense(x, gates, top)
        return (y + self.shared(x)).view(shape), load

    def grouped(self, x, gates, top, load):
        """Only the chosen experts run: tokens sorted by expert, one grouped product for each matrix."""
        n, k = top.shape
        expert = top.flatten()
        order = torch.argsort(expert, stable=True)
        back = torch.empty_like(order).scatter_(0, order, torch.arange(n * k, device=x.device))
        ends = load.cumsum(0).to(torch.int32)
        low = lambda t: t.to(torch.bfloat16)
        rows = low(x).index_select(0, order // k)
        gate = low(gates).flatten().index_select(0, order)
        with torch.autocast("cuda", enabled=False):
            product = lambda a, w: torch._grouped_mm(a, low(w).transpose(1, 2), offs=ends)
            inner = F.silu(product(rows, self.gate_proj)) * product(rows, self.up_proj) * gate.unsqueeze(1)
            out = product(inner, self.down_proj)
        return out.index_select(0, back).view(n, k, -1).sum(1)

    def dense(self, x, gates, top):
        """Every expert runs and the gates blank what was not chosen."""
        gate = torch.zeros(len(x), self.count, device=x.device, dtype=gates.dtype).scatter(1, top, gates)
        inner = F.silu(torch.matmul(x, self.gate_proj.transpose(1, 2))) * torch.matmul(x, self.up_proj.transpose(1, 2))
        return torch.einsum("enh,edh->nd", inner * gate.t().unsqueeze(-1).to(inner.dtype), self.down_proj.to(inner.dtype))


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads, self.nope, self.rope, self.value = c["num_attention_heads"], c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"]
        self.rank, d = c["kv_lora_rank"], c["hidden_size"]
        self.q_proj = linear(self.heads * (self.nope + self.rope), d)
        self.kv_a_proj_with_mqa = linear(self.rank + self.rope, d)
        self.kv_a_layernorm = Norm(self.rank, c["rms_norm_eps"])
        self.kv_b_proj = linear(self.heads * (self.nope + self.value), self.rank, 0.05)
        self.o_proj = linear(d, self.heads * self.value, 0.02 / math.sqrt(2 * c["num_hidden_layers"]))

    def forward(self, x, cos, sin):
        b, n, _ = x.shape
        q = self.q_proj(x).view(b, n, self.heads, -1).transpose(1, 2)
        compressed, k_rope = self.kv_a_proj_with_mqa(x).split([self.rank, self.rope], -1)
        kv = self.kv_b_proj(self.kv_a_layernorm(compressed)).view(b, n, self.heads, -1).transpose(1, 2)
        k, v = kv.split([self.nope, self.value], -1)
        k_rope = turned(k_rope.unsqueeze(1), cos, sin).expand(-1, self.heads, -1, -1)
        q = torch.cat([q[..., : self.nope], turned(q[..., self.nope:], cos, sin)], -1)
        k = torch.cat([k, k_rope.to(k.dtype)], -1)
        y = F.scaled_dot_product_attention(q.to(v.dtype), k.to(v.dtype), v, is_causal=True)
        return self.o_proj(y.transpose(1, 2).reshape(b, n, -1))


def turned(x, cos, sin):
    """Rotary positions over neighbouring pairs; the halves come out one after the other, as in Hugging Face's code."""
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Layer(nn.Module):
    def __init__(self, c, dense):
        super().__init__()
        self.input_layernorm, self.post_attention_layernorm = (Norm(c["hidden_size"], c["rms_norm_eps"]) for _ in range(2))
        self.self_attn = Attention(c)
        self.dense = dense
        active = c["moe_intermediate_size"] * (c["num_experts_per_tok"] + c["n_shared_experts"])
        self.mlp = FeedForward(c["hidden_size"], active, c["num_hidden_layers"]) if dense else Experts(c)

    def forward(self, x, cos, sin):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin)
        y = self.post_attention_layernorm(x)
        if self.dense:
            return x + self.mlp(y), y.new_zeros(1)
        y, load = self.mlp(y)
        return x + y, load


class Generator(nn.Module):
    """Token ids in, logits and the load of every layer's experts out."""

    def __init__(self, c, dense=False):
        super().__init__()
        self.config, self.compiled = c, None
        self.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        nn.init.normal_(self.embed_tokens.weight, std=0.02)
        self.layers = nn.ModuleList([Layer(c, dense) for _ in range(c["num_hidden_layers"])])
        self.norm = Norm(c["hidden_size"], c["rms_norm_eps"])
        half = c["qk_rope_head_dim"] // 2
        angles = torch.outer(torch.arange(c["max_position_embeddings"]).float(), c["rope_theta"] ** (-torch.arange(half).float() / half))
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, ids, layers=None):
        x = self.embed_tokens(ids)
        cos, sin = self.cos[: ids.shape[1]], self.sin[: ids.shape[1]]
        if torch.is_autocast_enabled(x.device.type):
            x, cos, sin = (t.to(torch.bfloat16) for t in (x, cos, sin))
        loads = []
        for layer in layers or self.layers:
            x, load = layer(x, cos, sin)
            loads.append(load)
        return self.norm(x), loads

    def logits(self, hidden):
        return F.linear(hidden, self.embed_tokens.weight)

    def experts(self):
        return [layer.mlp for layer in self.layers if not layer.dense]

    def named_tensors(self):
        """Weights under the names of Hugging Face's DeepseekV3ForCausalLM (one matrix an expert, as published)."""
        out = {}
        for name, t in self.state_dict().items():
            name = "model." + name
            if ".mlp.shared." in name:
                out[name.replace(".mlp.shared.", ".mlp.shared_experts.")] = t
            elif name.endswith(".mlp.router"):
                out[name.replace(".router", ".gate.weight")] = t
            elif name.endswith(".mlp.bias"):
                out[name.replace(".bias", ".gate.e_score_correction_bias")] = t
            elif t.ndim == 3:
                stem, kind = name.rsplit(".", 1)
                for i, one in enumerate(t):
                    out[f"{stem}.experts.{i}.{kind}.weight"] = one
            else:
                out[name] = t
        return out

    @torch.no_grad()
    def load_tensors(self, tensors):
        """The inverse of `named_tensors`."""
        for name, t in self.state_dict().items():
            full = "model." + name
            if ".mlp.shared." in full:
                full = full.replace(".mlp.shared.", ".mlp.shared_experts.")
            elif full.endswith(".mlp.router"):
                full = full.replace(".router", ".gate.weight")
            elif full.endswith(".mlp.bias"):
                full = full.replace(".bias", ".gate.e_score_correction_bias")
            if t.ndim == 3:
                stem, kind = full.rsplit(".", 1)
                for i in range(len(t)):
                    t[i].copy_(tensors[f"{stem}.experts.{i}.{kind}.weight"])
            else:
                t.copy_(tensors[full])


def use_grouped_products(say=print):
    """Turns the sparse form on where this GPU and this PyTorch compute it, forward and backward, as the dense form does."""
    torch.manual_seed(0)
    try:
        experts = Experts(dict(SHIPPED, hidden_size=64, moe_intermediate_size=64)).cuda()
        x, results = torch.randn(500, 64, device="cuda"), []
        for form in (True, False):
            Experts.by_group = form
            experts.zero_grad()
            xx = x.clone().requires_grad_()
            with torch.autocast("cuda", torch.bfloat16):
                y = experts(xx)[0]
            y.float().square().sum().backward()
            results.append([y.float(), xx.grad] + [p.grad for p in experts.parameters()])
        worst = max(float((a - b).norm() / b.norm().clamp(min=1e-9)) for a, b in zip(*results))
        Experts.by_group = worst < 0.05
        say(f"grouped products: differ by {worst:.4f} from the dense form, used: {Experts.by_group}", flush=True)
    except Exception as problem:                                                 # a GPU or PyTorch without them
        Experts.by_group = False
        say(f"grouped products are not available here: {problem}", flush=True)
