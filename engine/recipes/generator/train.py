"""Trains Candor's generator and its dense twin, quantises, measures and writes what ships.

    python train.py --data DIR --out DIR [--minutes 4] [--twin-minutes 1.8]

DIR holds `corpus.npz` and `tokenizer.json`, made by prepare.py. One GPU, minutes. Figures are printed as JSON, a line each, and
collected in `figures.json`.
"""
import argparse, json, math, os, re, shutil, time
import numpy as np, torch, torch.nn.functional as F
from tokenizers import Tokenizer
from export import export, quantised_copy, record, write
from model import Generator, SHIPPED, use_grouped_products

BEGIN, END, SYSTEM, USER, ASSISTANT = range(5)
CONTEXT = 0.3                                   # weight of what is read, beside 1 for what is said
PLACE = re.compile(r"<(?:money|date|time|number|code|name|email|phone|text)\d>")


class Corpus:
    """Documents of token ids; a document begins with BEGIN."""

    def __init__(self, file, device, subset=0):
        stored = np.load(file)
        self.train, self.held_out, self.device = stored["train"].astype(np.int32), stored["held_out"].astype(np.int32), device
        self.sources = json.loads(bytes(stored["sources"]).decode())
        self.train_from, self.held_from = (np.append(np.flatnonzero(t == BEGIN), len(t)) for t in (self.train, self.held_out))
        self.held_source = stored["held_source"]
        if subset:
            self.train_from, self.held_from = self.train_from[: subset + 1], self.held_from[-subset - 1:]
            self.held_source = self.held_source[-subset:]

    def rows(self, flat, starts, order, length):
        """Documents one after the other, cut into rows: inputs, targets, weights of the targets."""
        flat = np.concatenate([flat[starts[i]: starts[i + 1]] for i in order])
        # Inside what the assistant says: its mark came later than an end or a new document.
        last = lambda where: np.maximum.accumulate(np.where(where, np.arange(len(flat)), -1))
        within = last(flat == ASSISTANT) > np.maximum(last(flat == END), last(flat == BEGIN))
        n = (len(flat) - 1) // length
        cut = lambda t: torch.from_numpy(np.ascontiguousarray(t[: n * length].reshape(n, length)))
        weight = np.where(within[:-1], 1.0, CONTEXT).astype(np.float32)
        return cut(flat[:-1]).long(), cut(flat[1:]).long(), cut(weight)


def losses(logits, target, weight):
    each = F.cross_entropy(logits.float().flatten(0, 1), target.flatten(), reduction="none")
    return each, (each * weight.flatten()).sum() / weight.sum()


class Trainer:
    def __init__(self, a, corpus, config, dense):
        self.a, self.corpus, self.dense, self.device = a, corpus, dense, corpus.device
        torch.manual_seed(a.seed)
        self.model = Generator(config, dense).to(self.device)
        self.layers = None
        decay = [p for p in self.model.parameters() if p.ndim > 1]
        plain = [p for p in self.model.parameters() if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}],
                                           lr=a.lr, betas=(0.9, 0.95), fused=self.device == "cuda")
        self.parameters = decay + plain

    def autocast(self):
        return torch.autocast("cuda", torch.bfloat16, enabled=self.device == "cuda")

    def step(self, x, y, w, rate, bias_step):
        for group in self.optimizer.param_groups:
            group["lr"] = self.a.lr * rate
        with self.autocast():
            hidden, loads = self.model(x, self.layers)
            logits = self.model.logits(hidden)
        _, loss = losses(logits, y, w)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.balance(loads, bias_step)
        return loss.detach()

    @torch.no_grad()
    def balance(self, loads, step):
        """Loss-free balancing (Wang et al. 2024): raise the bias of experts that got less than their share."""
        for experts, load in zip(self.model.experts(), loads):
            experts.bias += step * torch.sign(load.mean() - load)

    def compile(self):
        """Compiled layers where they work; plain ones elsewhere."""
        if self.device != "cuda" or self.a.no_compile:
            return
        try:
            torch._dynamo.config.recompile_limit = 64
            layers = [torch.compile(layer, dynamic=False) for layer in self.model.layers]
            x, y, w = self.corpus.rows(self.corpus.train, self.corpus.train_from, range(min(2000, len(self.corpus.train_from) - 1)), self.a.length)
            x, y, w = (t[:1].expand(self.a.batch, -1).contiguous().to(self.device) for t in (x, y, w))
            paces = {}
            for name, use in (("plain", None), ("compiled", layers)):
                self.layers = use
                for i in range(6):
                    if i == 3:
                        torch.cuda.synchronize(); start = time.time()
                    self.step(x, y, w, 0.0, 0.0)
                torch.cuda.synchronize(); paces[name] = (time.time() - start) / 3
            self.layers = layers if paces["compiled"] < paces["plain"] else None
            say({"seconds_a_step": paces, "compiled": self.layers is not None})
        except Exception as problem:
            self.layers = None
            say({"compiled": False, "because": str(problem)[:300]})
        # What the trial steps did is forgotten.
        self.optimizer.state.clear()

    def train(self, seconds, most_steps, halfway=None):
        a, start, step, epoch = self.a, time.time(), 0, 0
        rng = np.random.default_rng(a.seed)
        history, done = [], False
        while not done:
            order = rng.permutation(len(self.corpus.train_from) - 1)
            x, y, w = self.corpus.rows(self.corpus.train, self.corpus.train_from, order, a.length)
            per_epoch = len(x) // a.batch
            limit = most_steps or max(1, round(a.epochs * per_epoch))
            x, y, w = (t.to(self.device) for t in (x, y, w))
            for i in range(per_epoch):
                # Synchronising every few steps keeps the clock honest without making the GPU wait.
                progress = max(step / limit, (time.time() - start) / seconds)
                if progress >= 1:
                    done = True
                    break
                rate = min(1.0, (step + 1) / 100) * max(0.02, 0.5 * (1 + math.cos(math.pi * progress)))
                part = slice(i * a.batch, (i + 1) * a.batch)
                loss = self.step(x[part], y[part], w[part], rate, 1e-3 * (1 - progress) + 1e-5)
                step += 1
                if step % 20 == 0 and self.device == "cuda":
                    torch.cuda.synchronize()
                if step % 200 == 0:
                    history.append([step, round(loss.item(), 4), round(time.time() - start, 1)])
                    say({"dense": self.dense, "step": step, "loss": history[-1][1], "seconds": history[-1][2], "epoch": epoch})
                if halfway and progress > 0.6:
                    halfway(self.model); halfway = None
            epoch += 1
            if per_epoch == 0:
                raise SystemExit("the corpus is smaller than one batch")
        if self.device == "cuda":
            torch.cuda.synchronize()
        took = time.time() - start
        return {"steps": step, "tokens": step * a.batch * a.length, "seconds": round(took, 1), "epochs": round(step / per_epoch, 2),
                "tokens_a_second": round(step * a.batch * a.length / took)}

    @torch.no_grad()
    def settle(self, rounds=120):
        """Evens out the biases of the finished weights over training rows, in ever finer steps."""
        rng = np.random.default_rng(99)
        order = rng.permutation(len(self.corpus.train_from) - 1)[: 20 * len(self.corpus.held_from)]
        x, _, _ = self.corpus.rows(self.corpus.train, self.corpus.train_from, order, self.a.length)
        for i in range(rounds):
            rows = x[rng.integers(0, len(x), 2 * self.a.batch)].to(self.device)
            with self.autocast():
                _, loads = self.model(rows, None)
            self.balance(loads, 6e-4 * (1 - i / rounds) ** 2 + 1e-6)


@torch.no_grad()
def held_out(model, corpus, a, mixed=True):
    """Loss in nats a token on everything, on what the assistant says, and by source; MaxVio by layer."""
    model.eval()
    device = corpus.device
    order = np.random.default_rng(5).permutation(len(corpus.held_from) - 1)
    load, out = None, {}

    def loss_of(order):
        nonlocal load
        x, y, w = corpus.rows(corpus.held_out, corpus.held_from, order, min(a.length, 512))
        total, said, n, m = 0.0, 0.0, 0, 0
        for i in range(0, len(x), a.batch):
            part = slice(i, i + a.batch)
            xx, yy, ww = (t[part].to(device) for t in (x, y, w))
            with torch.autocast("cuda", torch.bfloat16, enabled=device == "cuda" and mixed):
                hidden, loads = model(xx)
                logits = model.logits(hidden)
            each = F.cross_entropy(logits.float().flatten(0, 1), yy.flatten(), reduction="none")
            mask = ww.flatten() == 1.0
            total += each.sum().item(); n += each.numel(); said += each[mask].sum().item(); m += int(mask.sum())
            if loads[0].numel() > 1:
                stacked = torch.stack(loads)
                load = stacked if load is None else load + stacked
        return round(total / max(n, 1), 4), round(said / max(m, 1), 4), n

    out["loss"], out["loss_said"], out["tokens"] = loss_of(order)
    if load is not None:
        out["max_violation"] = [round(float(v), 4) for v in load.max(1).values / load.mean(1) - 1]
    whole = load
    by = {}
    for s, name in enumerate(corpus.sources):
        rows = np.array([i for i in order if corpus.held_source[i] == s])
        if len(rows) > 20:
            by[name] = loss_of(rows)[:2]
    load = whole
    out["by_source"] = by
    return out


@torch.no_grad()
def replies(model, prompts, device, tokens):
    """Greedy replies, without a cache: this model is small and it is done once."""
    model.eval()
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    out = [[] for _ in prompts]
    for at in range(0, len(order), 48):
        part = order[at:at + 48]
        lengths = torch.tensor([len(prompts[i]) for i in part], device=device)
        ids = torch.full((len(part), int(lengths.max()) + tokens), END, device=device)
        for row, i in enumerate(part):
            ids[row, : len(prompts[i])] = torch.tensor(prompts[i], device=device)
        going = torch.ones(len(part), dtype=torch.bool, device=device)
        rows = torch.arange(len(part), device=device)
        for _ in range(tokens):
            with torch.autocast("cuda", torch.bfloat16, enabled=device == "cuda"):
                hidden, _ = model(ids[:, : int(lengths.max())])
                logits = model.logits(hidden[rows, lengths - 1])
            going &= logits.argmax(-1) > ASSISTANT
            if not going.any():
                break
            ids[rows, lengths] = torch.where(going, logits.argmax(-1), ids[rows, lengths])
            lengths += going
        for row, i in enumerate(part):
            out[i] = ids[row, len(prompts[i]): int(lengths[row])].tolist()
    return out


def sayings(model, corpus, tokenizer, a, kind="words", most=600):
    """Replies to held-out prompts of Candor's own conversations: are exactly the values of the flow's words in them?"""
    prompts, golds = [], []
    for d in range(len(corpus.held_from) - 1):
        if not corpus.sources[corpus.held_source[d]].startswith("candor"):
            continue
        ids = corpus.held_out[corpus.held_from[d]: corpus.held_from[d + 1]].tolist()
        systems = [i for i, t in enumerate(ids) if t == SYSTEM]
        if not systems:
            continue
        at = next((i for i in range(systems[-1], len(ids)) if ids[i] == ASSISTANT), None)
        if at and at < a.length - 100:
            prompts.append(ids[: at + 1]); golds.append(ids[at + 1: -1])
    pick = np.random.default_rng(3).permutation(len(prompts))[:most]
    prompts, golds = [prompts[i] for i in pick], [golds[i] for i in pick]
    if not prompts:
        return {}, []
    said = replies(model, prompts, corpus.device, a.reply_tokens)
    missing = foreign = exact = wrong = jobs = 0
    samples = []
    for prompt, gold, reply in zip(prompts, golds, said):
        asked = tokenizer.decode(prompt, skip_special_tokens=False).split("<|system|>")[-1]
        words = asked.split("\nwords ")[-1] if "\nwords " in asked else None
        reply, gold = (tokenizer.decode(t, skip_special_tokens=False).strip() for t in (reply, gold))
        exact += reply == gold
        samples.append({"asked": asked, "reply": reply, "gold": gold})
        if words is None:
            continue
        need, have = set(PLACE.findall(words)), set(PLACE.findall(reply))
        jobs += 1; missing += bool(need - have); foreign += bool(have - need); wrong += need != have
    return {"replies": len(said), "like_reference": round(exact / len(said), 4), "with_words": jobs,
            "values_missing": round(missing / max(jobs, 1), 4), "values_foreign": round(foreign / max(jobs, 1), 4),
            "values_wrong": round(wrong / max(jobs, 1), 4)}, samples


FIGURES = {}


def say(line):
    print(json.dumps(line), flush=True)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--data", required=True); a.add_argument("--out", required=True)
    a.add_argument("--minutes", type=float, default=4.0, help="for training the generator")
    a.add_argument("--twin-minutes", type=float, default=1.8, help="for training the dense twin; 0 leaves it out")
    a.add_argument("--epochs", type=float, default=6); a.add_argument("--batch", type=int, default=32)
    a.add_argument("--length", type=int, default=1024); a.add_argument("--lr", type=float, default=1.5e-3)
    a.add_argument("--reply-tokens", type=int, default=110); a.add_argument("--samples", type=int, default=600)
    a.add_argument("--seed", type=int, default=0); a.add_argument("--no-compile", action="store_true")
    a.add_argument("--subset", type=int, default=0, help="documents, to try the recipe")
    a.add_argument("--layers", type=int, default=0, help="to try the recipe"); a.add_argument("--hidden", type=int, default=0)
    a.add_argument("--version", default="generator-1")
    a = a.parse_args()
    begun, device = time.time(), "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    os.makedirs(a.out, exist_ok=True)
    config = dict(SHIPPED)
    if a.layers:
        config["num_hidden_layers"] = a.layers
    if a.hidden:
        config["hidden_size"] = a.hidden
    if device == "cuda":
        use_grouped_products()
    tokenizer = Tokenizer.from_file(os.path.join(a.data, "tokenizer.json"))
    corpus = Corpus(os.path.join(a.data, "corpus.npz"), device, a.subset)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(os.path.join(a.data, name), os.path.join(a.out, name))
    FIGURES["machine"] = {"device": torch.cuda.get_device_name() if device == "cuda" else "cpu", "torch": torch.__version__}
    FIGURES["corpus"] = {"tokens": len(corpus.train), "held_out": len(corpus.held_out), "documents": len(corpus.train_from) - 1}
    say(FIGURES)

    trainer = Trainer(a, corpus, config, dense=False)
    FIGURES["parameters"] = {"all": sum(p.numel() for p in trainer.model.parameters()),
                             "active": sum(p.numel() for n, p in trainer.model.named_parameters() if not (p.ndim == 3))
                             + sum(p.numel() * config["num_experts_per_tok"] // config["n_routed_experts"]
                                   for p in trainer.model.parameters() if p.ndim == 3)}
    trainer.compile()
    FIGURES["training"] = trainer.train(a.minutes * 60, 0, halfway=lambda m: export(m, config, a.out, a.version + "-unfinished"))
    say(FIGURES["training"])
    trainer.settle(120 if device == "cuda" else 4)
    FIGURES["bytes"] = export(trainer.model, config, a.out, a.version)
    save(a)
    FIGURES["bf16"] = held_out(trainer.model, corpus, a)
    say({"generator": FIGURES["bf16"]})
    shipped = quantised_copy(trainer.model, lambda: Generator(config)).to(device)
    FIGURES["int8"] = held_out(shipped, corpus, a)
    say({"generator, int8": FIGURES["int8"]})
    save(a)
    FIGURES["sayings"], samples = sayings(shipped, corpus, tokenizer, a, most=a.samples)
    say(FIGURES["sayings"])
    write(a.out, "samples.json", samples)
    save(a)
    prompts = fixture_prompts(corpus)
    record(shipped.float().cpu(), tokenizer, prompts, a.out, 64 if device == "cuda" else 8)
    say({"exported_after_seconds": round(time.time() - begun, 1)})
    del shipped
    steps = FIGURES["training"]["steps"]
    if a.twin_minutes:
        trainer.model.cpu()
        trainer = Trainer(a, corpus, config, dense=True)
        FIGURES["twin_parameters"] = sum(p.numel() for p in trainer.model.parameters())
        trainer.compile()
        FIGURES["twin_training"] = trainer.train(a.twin_minutes * 60, steps)
        FIGURES["twin"] = held_out(trainer.model, corpus, a)
        say({"twin": FIGURES["twin"], **FIGURES["twin_training"]})
    FIGURES["seconds"] = round(time.time() - begun, 1)
    save(a)
    say(FIGURES)


def save(a):
    write(a.out, "figures.json", FIGURES)


def fixture_prompts(corpus, most=8):
    """Short prompts of Candor's own conversations."""
    prompts = []
    for d in range(len(corpus.held_from) - 1):
        ids = corpus.held_out[corpus.held_from[d]: corpus.held_from[d + 1]].tolist()
        if corpus.sources[corpus.held_source[d]].startswith("candor") and SYSTEM in ids and len(ids) < 240:
            at = len(ids) - 1 - ids[::-1].index(ASSISTANT)
            prompts.append(ids[: at + 1])
    return prompts[:: max(1, len(prompts) // most)][:most]


if __name__ == "__main__":
    main()
