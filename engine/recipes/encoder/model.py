"""The encoder: BERT (Devlin et al. 2019) as MiniLM-L6 has it, its feed-forward blocks upcycled into experts.

Upcycling follows virtual groups (He et al. 2024, "Upcycling Large Language Models into Mixture of Experts"): the
intermediate neurons of a dense block are cut into `shards` slices, every slice is copied `copies` times, and the
router picks exactly one copy of every slice for each token. As the output of the dense block is the sum over its
slices, the upcycled block computes the same function until training tells the copies apart.

Scores are sigmoids and a bias takes part in the selection alone (Wang et al. 2024, "Auxiliary-loss-free load
balancing"; DeepSeek-V3). The gate is 2 sigmoid(scale * logit) with a learned scale that starts at 0, so that every gate
starts at exactly 1 although the router already tells tokens apart.
"""
import json, math, os
import torch, torch.nn as nn, torch.nn.functional as F
from safetensors.torch import load_file


def read_model(folder):
    with open(os.path.join(folder, "config.json")) as f:
        config = json.load(f)
    return config, {k: v.float() for k, v in load_file(os.path.join(folder, "model.safetensors")).items() if v.ndim and v.is_floating_point()}


class DenseFeedForward(nn.Module):
    """The block as it was: the oracle of the initialisation test."""

    def __init__(self, w, prefix):
        super().__init__()
        self.w1, self.b1 = nn.Parameter(w[prefix + "intermediate.dense.weight"].clone()), nn.Parameter(w[prefix + "intermediate.dense.bias"].clone())
        self.w2, self.b2 = nn.Parameter(w[prefix + "output.dense.weight"].clone()), nn.Parameter(w[prefix + "output.dense.bias"].clone())

    def forward(self, x):
        return F.linear(F.gelu(F.linear(x, self.w1, self.b1)), self.w2, self.b2)


class Experts(nn.Module):
    """x [tokens, hidden] -> [tokens, hidden]. Expert g * copies + c is copy c of slice g."""

    by_group = False                     # set by `use_grouped_products` where the GPU can

    def __init__(self, w, prefix, shards=4, copies=4):
        super().__init__()
        w1, b1 = w[prefix + "intermediate.dense.weight"], w[prefix + "intermediate.dense.bias"]
        w2, b2 = w[prefix + "output.dense.weight"], w[prefix + "output.dense.bias"]
        inner, hidden = w1.shape
        self.shards, self.copies, width = shards, copies, inner // shards
        repeat = lambda t: t.repeat_interleave(copies, 0).contiguous()
        self.w1 = nn.Parameter(repeat(w1.view(shards, width, hidden)))                      # [experts, width, hidden]
        self.b1 = nn.Parameter(repeat(b1.view(shards, width)))                              # [experts, width]
        self.w2 = nn.Parameter(repeat(w2.view(hidden, shards, width).transpose(0, 1)))      # [experts, hidden, width]
        self.b2 = nn.Parameter(b2.clone())
        self.router = nn.Parameter(0.02 * torch.randn(shards * copies, hidden))
        self.gate_scale = nn.Parameter(torch.zeros(1))
        self.register_buffer("selection_bias", torch.zeros(shards * copies))
        self.load = None

    def route(self, x, live):
        """live [tokens]: 0 where a token only fills up the grid; it is computed and not counted."""
        with torch.autocast(x.device.type, enabled=False):      # in float32: rounding would change the choice
            logits = F.linear(x.float(), self.router.float())
            scores = torch.sigmoid(logits) + self.selection_bias
            chosen = scores.view(-1, self.shards, self.copies).argmax(-1)
            hot = (chosen.unsqueeze(-1) == torch.arange(self.copies, device=x.device)).view(len(x), -1).to(logits.dtype)
            gates = 2 * torch.sigmoid(self.gate_scale * logits) * hot
        self.load = (hot.detach() * live.unsqueeze(1)).sum(0)
        return gates, chosen, hot.detach().sum(0)

    def forward(self, x, live=None):
        gates, chosen, counts = self.route(x, torch.ones(len(x), device=x.device) if live is None else live)
        return self.grouped(x, gates, chosen, counts) if self.by_group and torch.is_autocast_enabled("cuda") else self.dense(x, gates.to(x.dtype))

    def grouped(self, x, gates, chosen, counts):
        """Only the chosen experts run: tokens sorted by expert, one grouped product for each of the two layers."""
        n, (e, k) = len(x), (self.shards * self.copies, self.shards)
        expert = (chosen + self.copies * torch.arange(k, device=x.device)).flatten()              # [n * k]
        order = torch.argsort(expert, stable=True)
        back = torch.empty_like(order).scatter_(0, order, torch.arange(n * k, device=x.device))
        ends = counts.cumsum(0).to(torch.int32)
        low = lambda t: t.to(torch.bfloat16)
        rows = low(x).unsqueeze(1).expand(n, k, x.shape[1]).reshape(n * k, -1).index_select(0, order)
        hot = (expert.index_select(0, order).unsqueeze(1) == torch.arange(e, device=x.device)).to(torch.bfloat16)
        gate = gates.gather(1, expert.view(n, k)).flatten().index_select(0, order)
        with torch.autocast("cuda", enabled=False):
            inner = F.gelu(torch._grouped_mm(rows, low(self.w1).transpose(1, 2), offs=ends) + hot @ low(self.b1))
            inner = inner * low(gate).unsqueeze(1)
            answers = torch._grouped_mm(inner, low(self.w2).transpose(1, 2), offs=ends)
        return answers.index_select(0, back).view(n, k, -1).sum(1) + low(self.b2)

    def dense(self, x, gates):
        # All experts run and the gates blank what was not chosen: on a GPU and at this size the simplest fast form.
        n, e = len(x), self.shards * self.copies
        b1 = self.b1.unsqueeze(1)
        if torch.is_autocast_enabled(x.device.type):
            x, b1 = x.to(torch.bfloat16), b1.to(torch.bfloat16)
        inner = F.gelu(torch.baddbmm(b1.expand(e, n, -1), x.unsqueeze(0).expand(e, -1, -1), self.w1.transpose(1, 2).to(x.dtype)))
        inner = inner * gates.t().unsqueeze(-1).to(inner.dtype)
        return torch.einsum("enh,edh->nd", inner, self.w2.to(inner.dtype)) + self.b2.to(inner.dtype)

    @torch.no_grad()
    def balance(self, step):
        """Loss-free balancing: raise the bias of copies that got less than their share, lower the others'."""
        load = self.load.view(self.shards, self.copies)
        self.selection_bias += (step * torch.sign(load.mean(1, keepdim=True) - load)).view(-1)


class Encoder(nn.Module):
    """Groups of texts in, a sentence embedding and the heads' logits out. Reads BERT (MiniLM) and MPNet (Song et al. 2020)."""

    def __init__(self, config, w, heads, experts=True, dropout=0.1):
        super().__init__()
        self.hidden, self.heads_count, self.eps = config["hidden_size"], config["num_attention_heads"], config["layer_norm_eps"]
        e, mpnet = "embeddings.", config["model_type"] == "mpnet"
        self.words = nn.Parameter(w[e + "word_embeddings.weight"].clone())
        self.positions = nn.Parameter(w[e + "position_embeddings.weight"].clone())
        self.first_position, self.relative = 2 if mpnet else 0, None
        if mpnet:
            self.register_buffer("types", torch.zeros(self.hidden))
            self.relative = nn.Parameter(w["encoder.relative_attention_bias.weight"].clone())
        else:
            self.types = nn.Parameter(w[e + "token_type_embeddings.weight"][0].clone())
        self.norm = self._norm(w, e + "LayerNorm")
        names = ("attn.q", "attn.k", "attn.v", "attn.o", "LayerNorm") if mpnet else \
            ("self.query", "self.key", "self.value", "output.dense", "output.LayerNorm")
        self.layers = nn.ModuleList()
        for i in range(config["num_hidden_layers"]):
            p, layer = f"encoder.layer.{i}.", nn.Module()
            a = p + "attention."
            layer.qkv, layer.out = nn.Linear(self.hidden, 3 * self.hidden), nn.Linear(self.hidden, self.hidden)
            layer.qkv.weight.data.copy_(torch.cat([w[f"{a}{n}.weight"] for n in names[:3]]))
            layer.qkv.bias.data.copy_(torch.cat([w[f"{a}{n}.bias"] for n in names[:3]]))
            layer.out.weight.data.copy_(w[f"{a}{names[3]}.weight"]); layer.out.bias.data.copy_(w[f"{a}{names[3]}.bias"])
            layer.norm1, layer.norm2 = self._norm(w, a + names[4]), self._norm(w, p + "output.LayerNorm")
            layer.ffn = (Experts if experts else DenseFeedForward)(w, p)
            self.layers.append(layer)
        self.drop = nn.Dropout(dropout)
        self.heads = nn.ModuleDict({k: nn.Linear(2 * self.hidden, n) for k, n in heads.items()})
        for h in self.heads.values():
            nn.init.normal_(h.weight, std=0.02); nn.init.zeros_(h.bias)

    def _norm(self, w, name):
        n = nn.LayerNorm(self.hidden, eps=self.eps)
        n.weight.data.copy_(w[name + ".weight"]); n.bias.data.copy_(w[name + ".bias"])
        return n

    def experts(self):
        return [l.ffn for l in self.layers if isinstance(l.ffn, Experts)]

    def attention_bias(self, mask):
        """mask [n, t] -> what is added to the scores: -inf-like where nothing stands, MPNet's relative positions."""
        none = torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, -1e4)[:, None, None, :]
        if self.relative is None:
            return none.expand(-1, self.heads_count, mask.shape[1], -1)
        at = torch.arange(mask.shape[1], device=mask.device)
        back = at[:, None] - at[None, :]                       # T5's buckets: 16 either way, half of them exact
        side, far = (back < 0).long() * 16, back.abs()
        large = 8 + (torch.log(far.float().clamp(min=1) / 8) / math.log(128 / 8) * 8).long()
        bucket = side + torch.where(far < 8, far, large.clamp(max=15))
        return none + self.relative.index_select(0, bucket.flatten()).view(*bucket.shape, -1).permute(2, 0, 1)[None]

    def forward(self, groups):
        """groups: (ids [n, t] int64, mask [n, t] bool), each of its own width, together one batch
        -> (class token [texts, hidden], mean of all tokens [texts, hidden])"""
        d, h = self.hidden, self.heads_count
        ids = torch.cat([i.flatten() for i, _ in groups])
        at = torch.cat([torch.arange(i.shape[1], device=i.device).repeat(i.shape[0]) for i, _ in groups]) + self.first_position
        live = torch.cat([m.flatten() for _, m in groups]).float()
        biases = [self.attention_bias(m) for _, m in groups]
        x = self.words.index_select(0, ids) + self.positions.index_select(0, at) + self.types
        x = self.drop(self.norm(x))
        for layer in self.layers:
            qkv, outs, start = layer.qkv(x), [], 0
            for (i, _), bias in zip(groups, biases):
                n, t = i.shape
                q, k, v = qkv[start:start + n * t].view(n, t, 3, h, d // h).permute(2, 0, 3, 1, 4)
                outs.append(F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype)).transpose(1, 2).reshape(n * t, d))
                start += n * t
            x = layer.norm1(x + self.drop(layer.out(torch.cat(outs))))
            x = layer.norm2(x + self.drop(layer.ffn(x, live) if isinstance(layer.ffn, Experts) else layer.ffn(x)))
        x, first, mean, start = x.float(), [], [], 0
        for i, m in groups:
            n, t = i.shape
            part, keep = x[start:start + n * t].view(n, t, d), m.unsqueeze(-1).float()
            first.append(part[:, 0]); mean.append((part * keep).sum(1) / keep.sum(1)); start += n * t
        return torch.cat(first), torch.cat(mean)

    def logits(self, first, mean):
        features = self.drop(torch.cat([first, mean], -1))
        return {k: head(features) for k, head in self.heads.items()}


def group_of(ids, device):
    """Token lists -> one group, as wide as the longest."""
    import numpy as np
    lengths = np.array([len(i) for i in ids])
    mask = np.arange(lengths.max())[None] < lengths[:, None]
    grid = np.zeros(mask.shape, dtype=np.int64)
    grid[mask] = np.concatenate(ids)
    return torch.from_numpy(grid).to(device), torch.from_numpy(mask).to(device)


def use_grouped_products(say=print):
    """Turns the sparse form on where this GPU and this PyTorch compute it, forward and backward, as the dense form does."""
    torch.manual_seed(0)
    g = lambda *s: torch.randn(*s) * 0.1
    w = {"p.intermediate.dense.weight": g(256, 64), "p.intermediate.dense.bias": g(256),
         "p.output.dense.weight": g(64, 256), "p.output.dense.bias": g(64)}
    try:
        experts, x = Experts(w, "p.").cuda(), torch.randn(500, 64, device="cuda")
        experts.gate_scale.data.fill_(0.5)
        results = []
        for form in (True, False):
            Experts.by_group = form
            experts.zero_grad(); xx = x.clone().requires_grad_()
            with torch.autocast("cuda", torch.bfloat16):
                y = experts(xx)
            y.float().square().sum().backward()
            results.append([y.float(), xx.grad] + [p.grad for p in experts.parameters()])
        worst = max(float((a - b).norm() / b.norm()) for a, b in zip(*results))
        Experts.by_group = worst < 0.03
        say(f"grouped products: differ by {worst:.4f} from the dense form, used: {Experts.by_group}", flush=True)
    except Exception as error:  # any failure of the fast form means the plain form
        Experts.by_group = False
        say(f"grouped products not used: {error}", flush=True)
