"""Trains Candor's encoder: upcycle MiniLM, train teachers, distil them into the one model that ships, quantise.

    python train.py --minilm DIR --datasets DIR --out DIR

One GPU, minutes. README.md says what comes out and what was measured.
"""
import argparse, json, math, os, shutil, time
import numpy as np, torch, torch.nn.functional as F
from tokenizers import Tokenizer
from data import HEADS, OOS, Corpus
from export import export, shipped_copy
from measure import calibrate, expert_load, predict, report
from model import Batch, Encoder, read_minilm, use_grouped_products

MAX_TOKENS = 64
SHARE = {"clinc150": 80, "banking77": 64, "desk": 64, "sentiment": 40}   # labelled rows of a step, by head
GENERAL, UNLABELLED = 16, 56                                            # rows without labels: plain English, customers
WEIGHT = {"clinc150": 1.0, "banking77": 1.0, "desk": 1.0, "sentiment": 0.5}


class Rows:
    """Everything that is trained on, tokenised once. labels[head][i] is -1 where row i has none."""

    def __init__(self, corpus, tokenizer, folds, device):
        rows = [corpus.rows[k] for k in sorted(corpus.rows)]
        texts = [r["text"] for r in rows] + corpus.general
        self.ids = [np.array(e.ids) for e in tokenizer.encode_batch(texts)]
        index = {h: {l: i for i, l in enumerate(corpus.labels[h])} for h in HEADS}
        self.labels = {h: np.full(len(texts), -1) for h in HEADS}
        for i, r in enumerate(rows):
            for h, l in r["labels"].items():
                self.labels[h][i] = index[h][l]
        self.pools = {h: np.flatnonzero(self.labels[h] >= 0) for h in HEADS}
        labelled = np.any([self.labels[h] >= 0 for h in HEADS], axis=0)
        self.pools["general"] = np.arange(len(rows), len(texts))
        self.pools["unlabelled"] = np.flatnonzero(~labelled[: len(rows)])
        self.fold = np.random.default_rng(7).integers(0, max(folds, 1), len(texts))
        self.device, self.target = device, None


def draw(rng, pool, queue, n):
    """n rows of a pool, every row once before any comes again."""
    taken = []
    while len(taken) < n:
        if not queue:
            queue.extend(rng.permutation(pool).tolist())
        taken.append(queue.pop())
    return taken


def supervised_contrast(z, group, temperature=0.07):
    """Khosla et al. 2020: rows of one label attract each other."""
    z = F.normalize(z, dim=-1); s = z @ z.t() / temperature
    eye = torch.eye(len(z), device=z.device, dtype=torch.bool)
    s = s.masked_fill(eye, -1e9)
    positive = (group[:, None] == group[None]) & ~eye
    logp = s - torch.logsumexp(s, 1, keepdim=True)
    return -((logp * positive).sum(1) / positive.sum(1).clamp(min=1)).mean()


def train(config, minilm, rows, heads, steps, lr, seed, soft=None, left_out=None, say=print):
    """One model. `soft` are the teachers' probabilities by head; rows of fold `left_out` give no labels."""
    torch.manual_seed(seed); rng = np.random.default_rng(seed); device = rows.device; start = time.time()
    model = Encoder(config, minilm, heads).to(device)
    head = lambda n: n.startswith("heads.")
    named = list(model.named_parameters())
    group = lambda keep, rate, decay: {"params": [p for n, p in named if keep(n, p)], "lr": rate, "base": rate, "weight_decay": decay}
    optimizer = torch.optim.AdamW([
        group(lambda n, p: not head(n) and p.ndim > 1, lr, 0.01), group(lambda n, p: not head(n) and p.ndim <= 1, lr, 0.0),
        group(lambda n, p: head(n), 5 * lr, 0.01)], betas=(0.9, 0.98), fused=device == "cuda")
    # The mean of the last steps' weights generalises better than the last step's.
    average, decay = [p.detach().clone() for _, p in named], 0.998
    usable = {h: pool if left_out is None else pool[rows.fold[pool] != left_out] for h, pool in rows.pools.items()}
    queues = {h: [] for h in usable}
    share = dict(SHARE, general=GENERAL, **({"unlabelled": UNLABELLED} if soft is not None else {}))
    base = np.cumsum([0] + [heads[h] for h in HEADS])
    for step in range(steps):
        picked, groups = [], []
        for name, n in share.items():
            chosen = draw(rng, usable[name], queues[name], n); picked += chosen
            if name in HEADS:
                groups += (base[HEADS.index(name)] + rows.labels[name][chosen]).tolist()
            else:
                groups += [-1 - i for i in chosen]
        picked = np.array(picked)
        ids = [rows.ids[i] for i in picked]
        batch = Batch(ids + ids, device)                                  # two views: dropout differs
        groups = torch.tensor(groups * 2, device=device)
        rate = min(1.0, (step + 1) / (0.06 * steps)) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for g in optimizer.param_groups:
            g["lr"] = g["base"] * rate
        with torch.autocast("cuda", torch.bfloat16, enabled=device == "cuda"):
            first, mean = model(batch)
            logits = model.logits(first, mean)
        loss = 0.1 * supervised_contrast(first.float(), groups)
        loss = loss + 2.0 * (1 - F.cosine_similarity(mean, rows.target[np.concatenate([picked, picked])].to(device).float()).mean())
        for h in HEADS:
            out, gold = logits[h].float(), rows.labels[h][picked]
            keep = gold >= 0 if left_out is None else (gold >= 0) & (rows.fold[picked] != left_out)
            where = np.flatnonzero(np.concatenate([keep, keep]))
            gold = torch.from_numpy(np.concatenate([gold, gold])[where]).to(device)
            hard = F.cross_entropy(out[torch.from_numpy(where).to(device)], gold, label_smoothing=0.1)
            if soft is None:
                loss = loss + WEIGHT[h] * hard
            else:
                teacher = soft[h][np.concatenate([picked, picked])].to(device)
                distil = -(teacher * F.log_softmax(out, -1)).sum(-1)
                own = torch.from_numpy(np.where(np.concatenate([keep, keep]), 1.0, 0.25).astype(np.float32)).to(device)
                loss = loss + WEIGHT[h] * (0.3 * hard + 0.7 * (own * distil).sum() / own.sum())
        optimizer.zero_grad(set_to_none=True); loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        for e in model.experts():
            e.balance(2e-3 * (1 - step / steps) + 2e-5)
        d = min(decay, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(average, [p.detach() for _, p in named], 1 - d)
        if step % 500 == 0 or step == steps - 1:
            say(f"  step {step} loss {loss.item():.3f} {time.time() - start:.0f}s", flush=True)
    with torch.no_grad():
        for (_, p), a in zip(named, average):
            p.copy_(a)
    settle(model, rows, rng, min(600, steps))
    return model


@torch.no_grad()
def settle(model, rows, rng, rounds=600):
    """Balances the averaged weights' routers over training rows: the average has never run before."""
    model.eval()
    names = list(SHARE)
    for i in range(rounds):
        picked = np.concatenate([rng.choice(rows.pools[h], 2 * SHARE[h]) for h in names])
        with torch.autocast("cuda", torch.bfloat16, enabled=rows.device == "cuda"):
            model(Batch([rows.ids[j] for j in picked], rows.device))
        for e in model.experts():
            e.balance(1e-3 * (1 - i / rounds) ** 2 + 1e-6)


@torch.no_grad()
def original_embeddings(config, minilm, ids, device):
    dense = Encoder(config, minilm, {"none": 1}, experts=False).to(device).eval()
    order, out = np.argsort([len(i) for i in ids]), torch.empty(len(ids), config["hidden_size"], dtype=torch.float16)
    for at in range(0, len(order), 512):
        part = order[at:at + 512]
        out[part] = F.normalize(dense(Batch([ids[i] for i in part], device))[1], dim=-1).half().cpu()
    return out


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--minilm", required=True); a.add_argument("--datasets", required=True); a.add_argument("--out", required=True)
    a.add_argument("--teachers", type=int, default=5); a.add_argument("--teacher-steps", type=int, default=2000)
    a.add_argument("--steps", type=int, default=5000); a.add_argument("--lr", type=float, default=2e-4)
    a.add_argument("--subset", type=float, default=1.0, help="share of the training rows, to try the recipe")
    a.add_argument("--limit", type=int, default=0, help="texts per evaluation, to try the recipe")
    a.add_argument("--minutes", type=float, default=1e9, help="fewer teachers and steps where they would take longer")
    a.add_argument("--version", default="encoder-1")
    a = a.parse_args()
    start, device = time.time(), "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = True
    if device == "cuda":
        use_grouped_products()
    os.makedirs(a.out, exist_ok=True)
    corpus = Corpus(a.datasets, os.path.dirname(os.path.abspath(__file__)), subset=a.subset)
    print(corpus.summary(), flush=True)
    config, minilm = read_minilm(a.minilm)
    tokenizer = Tokenizer.from_file(os.path.join(a.minilm, "tokenizer.json"))
    tokenizer.no_padding(); tokenizer.enable_truncation(MAX_TOKENS)
    heads = {h: len(corpus.labels[h]) for h in HEADS}
    rows = Rows(corpus, tokenizer, a.teachers, device)
    rows.target = original_embeddings(config, minilm, rows.ids, device)
    print(f"read {len(rows.ids)} rows, {sum(map(len, rows.ids)) / len(rows.ids):.1f} tokens each, {time.time() - start:.0f}s", flush=True)
    cut = lambda s: s[: a.limit] if a.limit else s
    val = {k: cut(v) for k, v in corpus.val.items()}; test = {k: cut(v) for k, v in corpus.test.items()}
    soft, trained, history = None, 0, {}
    if a.teachers:
        total = {h: torch.zeros(len(rows.ids), n) for h, n in heads.items()}
        own = {h: torch.zeros(len(rows.ids), n) for h, n in heads.items()}
        for t in range(a.teachers):
            took = time.time()
            if t and took - start + (took - begun) / t > 0.55 * a.minutes * 60:
                break
            begun = took if t == 0 else begun
            left_out = t if a.teachers > 1 else None
            teacher = train(config, minilm, rows, heads, a.teacher_steps, a.lr, 100 + t, left_out=left_out)
            pace = (time.time() - took) / a.teacher_steps
            probabilities = {h: torch.softmax(l, -1) for h, l in predict(teacher, rows.ids, device)[0].items()}
            mine = torch.from_numpy(rows.fold == t)
            for h in heads:
                total[h] += probabilities[h]; own[h][mine] = probabilities[h][mine]
            trained += 1
            calibration = calibrate(teacher, corpus.labels, val, tokenizer, device)
            history[f"teacher_{t}"] = report(teacher, corpus.labels, test, calibration, tokenizer, device)
            print(f"teacher {t}", json.dumps(history[f"teacher_{t}"]), f"{time.time() - took:.0f}s", flush=True)
            del teacher
        # Half of a row's target comes from the teacher that never saw its label: it softens wrong labels.
        soft = {}
        for h in heads:
            mean = total[h] / trained
            seen = torch.from_numpy((rows.fold < trained) & (trained > 1)).unsqueeze(1)
            soft[h] = torch.where(seen, 0.5 * own[h] + 0.5 * (total[h] - own[h]) / max(trained - 1, 1), mean)
        # A step of the student has a fifth more rows than a teacher's; half a minute is left for measuring.
        a.steps = min(a.steps, int((a.minutes * 60 - (time.time() - start) - 30) / (1.3 * pace)))
    model = train(config, minilm, rows, heads, a.steps, a.lr, 1, soft=soft)
    print(f"trained after {time.time() - start:.0f}s", flush=True)
    history["float32"] = report(model, corpus.labels, test, calibrate(model, corpus.labels, val, tokenizer, device), tokenizer, device)
    print("float32", json.dumps(history["float32"]), flush=True)
    model = shipped_copy(model, Encoder(config, minilm, heads)).to(device)
    calibration = calibrate(model, corpus.labels, val, tokenizer, device)
    history["shipped"] = report(model, corpus.labels, test, calibration, tokenizer, device, minilm=(config, minilm))
    # The sets in the proportions of training: the balance holds for that mixture, not for each set by itself.
    mixture = [t for s, n in (("clinc150", 2800), ("banking77", 2240), ("desk_natcs", 685), ("desk_clinc150", 1555), ("sentiment", 1400))
               for t, _ in test[s][-n:]]
    history["expert_load"] = expert_load(model, mixture, tokenizer, device)
    print("shipped", json.dumps(history["shipped"]), flush=True)
    print("calibration", json.dumps(calibration), "MaxVio", history["expert_load"]["max_violation"], flush=True)
    tokenizer.enable_truncation(256); tokenizer.save(os.path.join(a.out, "tokenizer.json"))
    export(model.cpu(), config, corpus.labels, calibration, tokenizer, a.out, a.version)
    history["seconds"], history["device"] = round(time.time() - start), torch.cuda.get_device_name() if device == "cuda" else "cpu"
    history["settings"] = vars(a) | {"minilm": None, "datasets": None, "out": None, "teachers_trained": trained}
    with open(os.path.join(a.out, "metrics.json"), "w") as f:
        json.dump(history, f, indent=1)
    print(f"done in {time.time() - start:.0f}s", flush=True)


if __name__ == "__main__":
    main()
