"""The encoder: BERT (Devlin et al. 2019) as MiniLM-L6 has it, its feed-forward blocks upcycled into experts.

Upcycling follows virtual groups (He et al. 2024, "Upcycling Large Language Models into Mixture of Experts"): the
intermediate neurons of a dense block are cut into `shards` slices, every slice is copied `copies` times, and the
router picks exactly one copy of every slice for each token. As the output of the dense block is the sum over its
slices, the upcycled block computes the same function until training tells the copies apart.

Scores are sigmoids and a bias takes part in the selection alone (Wang et al. 2024, "Auxiliary-loss-free load
balancing"; DeepSeek-V3). The gate is 2 sigmoid(scale * logit) with a learned scale that starts at 0, so that every gate
starts at exactly 1 although the router already tells tokens apart.
"""
import json, os
import torch, torch.nn as nn, torch.nn.functional as F
from safetensors.torch import load_file


def read_minilm(folder):
    with open(os.path.join(folder, "config.json")) as f:
        config = json.load(f)
    return config, {k: v.float() for k, v in load_file(os.path.join(folder, "model.safetensors")).items()}


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

    def route(self, x):
        with torch.autocast(x.device.type, enabled=False):      # in float32: rounding would change the choice
            logits = F.linear(x.float(), self.router.float())
            scores = torch.sigmoid(logits) + self.selection_bias
            chosen = scores.view(-1, self.shards, self.copies).argmax(-1)
            hot = F.one_hot(chosen, self.copies).view(len(x), -1).to(logits.dtype)
            gates = 2 * torch.sigmoid(self.gate_scale * logits) * hot
        self.load = hot.sum(0).detach()
        return gates, chosen

    def forward(self, x):
        gates, chosen = self.route(x)
        return self.grouped(x, gates, chosen) if self.by_group and torch.is_autocast_enabled("cuda") else self.dense(x, gates.to(x.dtype))

    def grouped(self, x, gates, chosen):
        """Only the chosen experts run: tokens sorted by expert, one grouped product for each of the two layers."""
        n, (e, k) = len(x), (self.shards * self.copies, self.shards)
        expert = (chosen + self.copies * torch.arange(k, device=x.device)).flatten()              # [n * k]
        order = torch.argsort(expert, stable=True)
        back = torch.empty_like(order).scatter_(0, order, torch.arange(n * k, device=x.device))
        ends = self.load.cumsum(0).to(torch.int32)
        low = lambda t: t.to(torch.bfloat16)
        rows = low(x).unsqueeze(1).expand(n, k, x.shape[1]).reshape(n * k, -1).index_select(0, order)
        hot = F.one_hot(expert.index_select(0, order), e).to(torch.bfloat16)
        gate = gates.gather(1, expert.view(n, k)).flatten().index_select(0, order)
        with torch.autocast("cuda", enabled=False):
            inner = F.gelu(torch._grouped_mm(rows, low(self.w1).transpose(1, 2), offs=ends) + hot @ low(self.b1))
            inner = inner * low(gate).unsqueeze(1)
            answers = torch._grouped_mm(inner, low(self.w2).transpose(1, 2), offs=ends)
        return answers.index_select(0, back).view(n, k, -1).sum(1) + low(self.b2)

    def dense(self, x, gates):
        # All experts run and the gates blank what was not chosen: on a GPU and at this size the simplest fast form.
        inner = F.gelu(torch.matmul(x.unsqueeze(0), self.w1.transpose(1, 2)) + self.b1.unsqueeze(1))
        inner = inner * gates.t().unsqueeze(-1).to(inner.dtype)
        return torch.einsum("enh,edh->nd", inner, self.w2.to(inner.dtype)) + self.b2.to(inner.dtype)

    @torch.no_grad()
    def balance(self, step):
        """Loss-free balancing: raise the bias of copies that got less than their share, lower the others'."""
        load = self.load.view(self.shards, self.copies)
        self.selection_bias += (step * torch.sign(load.mean(1, keepdim=True) - load)).view(-1)


class Encoder(nn.Module):
    """Packed tokens in, a sentence embedding and the heads' logits out."""

    def __init__(self, config, w, heads, experts=True, dropout=0.1):
        super().__init__()
        self.hidden, self.heads_count, self.eps = config["hidden_size"], config["num_attention_heads"], config["layer_norm_eps"]
        e = "embeddings."
        self.words = nn.Parameter(w[e + "word_embeddings.weight"].clone())
        self.positions = nn.Parameter(w[e + "position_embeddings.weight"].clone())
        self.types = nn.Parameter(w[e + "token_type_embeddings.weight"][0].clone())
        self.norm = self._norm(w, e + "LayerNorm")
        self.layers = nn.ModuleList()
        for i in range(config["num_hidden_layers"]):
            p, layer = f"encoder.layer.{i}.", nn.Module()
            a = p + "attention."
            layer.qkv, layer.out = nn.Linear(self.hidden, 3 * self.hidden), nn.Linear(self.hidden, self.hidden)
            layer.qkv.weight.data.copy_(torch.cat([w[f"{a}self.{n}.weight"] for n in ("query", "key", "value")]))
            layer.qkv.bias.data.copy_(torch.cat([w[f"{a}self.{n}.bias"] for n in ("query", "key", "value")]))
            layer.out.weight.data.copy_(w[a + "output.dense.weight"]); layer.out.bias.data.copy_(w[a + "output.dense.bias"])
            layer.norm1, layer.norm2 = self._norm(w, a + "output.LayerNorm"), self._norm(w, p + "output.LayerNorm")
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

    def forward(self, batch):
        """-> (class token [n, hidden], mean of all tokens [n, hidden])"""
        n, t, d, h = batch.count, batch.width, self.hidden, self.heads_count
        x = self.drop(self.norm(F.embedding(batch.ids, self.words) + self.positions[batch.positions] + self.types))
        for layer in self.layers:
            qkv = layer.qkv(x)
            padded = qkv.new_zeros(n * t, 3 * d).index_copy(0, batch.slots, qkv)
            q, k, v = padded.view(n, t, 3, h, d // h).permute(2, 0, 3, 1, 4)
            a = F.scaled_dot_product_attention(q, k, v, attn_mask=batch.mask[:, None, None, :])
            a = a.transpose(1, 2).reshape(n * t, d).index_select(0, batch.slots)
            x = layer.norm1(x + self.drop(layer.out(a)))
            x = layer.norm2(x + self.drop(layer.ffn(x)))
        x = x.float()
        mean = x.new_zeros(n, d).index_add(0, batch.rows, x) / batch.lengths.unsqueeze(1)
        return x.index_select(0, batch.first), mean

    def logits(self, first, mean):
        features = self.drop(torch.cat([first, mean], -1))
        return {k: head(features) for k, head in self.heads.items()}


class Batch:
    """Texts with their tokens laid end to end; `slots` are their places in a padded [count, width] grid."""

    def __init__(self, ids, device):
        import numpy as np
        lengths = np.fromiter((len(i) for i in ids), dtype=np.int64, count=len(ids))
        self.count, self.width = len(ids), int(lengths.max())
        mask = np.arange(self.width)[None, :] < lengths[:, None]
        rows = np.repeat(np.arange(self.count), lengths)
        positions = np.concatenate([np.arange(l) for l in lengths])
        first = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        move = lambda a: torch.from_numpy(a).to(device, non_blocking=True)
        self.ids, self.positions, self.rows = move(np.concatenate(ids).astype(np.int64)), move(positions), move(rows)
        self.slots, self.first, self.mask = move(rows * self.width + positions), move(first), move(mask)
        self.lengths = move(lengths.astype(np.float32))


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
