"""Teachers: dense models fine-tuned on the labels, several at once in processes of their own.

A teacher leaves a fifth of the labels out (another fifth each, CLINC150's excepted, which are clean), so that every row has
an opinion from a model that never saw its label.
"""
import json, os, time
import numpy as np, torch, torch.nn.functional as F
from data import HEADS
from fit import Trainer
from measure import calibrate, predict, report
from model import Encoder
from pack import load_model
from rows import Rows, Sampler

SHARE = {"clinc150": 64, "banking77": 56, "hwu64": 48, "desk": 40, "sentiment": 64}
# What was tried and did not pay at this budget (R-drop, a contrastive term) stands in the model card.
TEACHERS = [{"name": f"mpnet-{fold}", "base": "mpnet", "fold": fold} for fold in range(5)] + \
           [{"name": f"minilm-{fold}", "base": "minilm", "fold": fold} for fold in (0, 2)]


def hard_loss(logits, gold, smoothing=0.1):
    """Cross-entropy over the rows that have a label (gold >= 0), without asking the device how many there are."""
    keep = (gold >= 0).float()
    return (F.cross_entropy(logits.float(), gold.clamp(min=0), reduction="none", label_smoothing=smoothing) * keep).sum() / keep.sum().clamp(min=1)


class WithoutLookup(torch.nn.Module):
    """A model whose words are a part of BERT's, asked with BERT's numbers."""

    def __init__(self, model, lookup):
        super().__init__()
        self.model, self.lookup, self.logits = model, lookup, model.logits

    def forward(self, groups):
        return self.model([(self.lookup[i], m) for i, m in groups])


def teach(names, pack, work, deadline, device, tiny):
    """One process: its teachers, then the word that nothing more is to come, also where something went wrong."""
    try:
        train_teachers(names, pack, work, deadline, device, tiny)
    finally:
        open(os.path.join(work, "done-" + names[0]), "w").close()


def train_teachers(names, pack, work, deadline, device, tiny):
    """One after the other until the clock says no; writes what each thinks of every row."""
    torch.backends.cuda.matmul.allow_tf32 = True
    rows = Rows(pack, device); labels = rows.meta["labels"]; heads = {h: len(labels[h]) for h in HEADS}
    known = lambda base: base if os.path.exists(os.path.join(pack, base + ".npz")) else "minilm"
    specs = [t | {"base": known(t["base"])} for t in TEACHERS if t["name"] in names]
    share = {k: max(1, v // tiny) for k, v in SHARE.items()}
    for number, spec in enumerate(specs):
        start, log = time.time(), (lambda *a, **k: print(spec["name"], *a, **k))
        own = (deadline - start) / (len(specs) - number)
        if own < 20 and tiny == 1:
            log("no time left", flush=True); break
        torch.manual_seed(100 + spec["fold"])
        config, w = load_model(os.path.join(pack, spec["base"] + ".npz"))
        model = Encoder(config, w, heads, experts=False).to(device)
        lookup = rows.lookup if spec["base"] == "mpnet" else None
        gold = rows.labels.clone()
        left = torch.from_numpy(rows.fold == spec["fold"]).to(device)
        for i, h in enumerate(HEADS):
            if h != "clinc150":
                gold[left, i] = -1

        def loss_of(groups, picked, classes):
            logits = model.logits(*model(groups))
            return sum(hard_loss(logits[h], gold.index_select(0, picked)[:, i]) for i, h in enumerate(HEADS))

        fast = spec["base"] == "mpnet"
        trainer = Trainer(model, rows, Sampler(rows, share, 100 + spec["fold"]), loss_of, 6e-5 if fast else 2e-4, 1e-3, lookup)
        steps = trainer.run(2 if tiny > 1 else 2600, start + own - 12 if tiny == 1 else 1e10, log)
        asked = WithoutLookup(model, lookup) if lookup is not None else model
        with torch.autocast("cuda", torch.bfloat16, enabled=trainer.cuda), torch.no_grad():
            calibration = calibrate(asked, labels, rows.sets, device)
            figures = report(asked, labels, rows.sets, calibration, device, limit=0 if tiny == 1 else 24)
            model.eval()
            # What it thinks of every row, all heads side by side.
            order = np.argsort(rows.length, kind="stable"); out = np.empty((len(order), sum(heads.values())), np.float16)
            at = 0
            while at < len(order):
                size = max(1, 60_000 // int(max(rows.length[order[min(at + 4096, len(order)) - 1]], 1)))
                part = order[at:at + min(size, 4096)]
                r = torch.from_numpy(part).to(device); width = int(rows.length[part].max())
                ids, mask = rows.grid.index_select(0, r)[:, :width].long(), torch.arange(width, device=device)[None] < rows.lengths.index_select(0, r)[:, None]
                first, mean = asked([(ids, mask)])
                logits = model.logits(first, mean)
                out[part] = torch.cat([torch.softmax(logits[h].float(), -1) for h in HEADS], 1).half().cpu().numpy()
                at += len(part)
            sets = {k: torch.cat([torch.softmax(l, -1) for l in predict(asked, ids if tiny == 1 else ids[:24], device)[0].values()], 1).half().numpy()
                    for k, (head, ids, _) in rows.sets.items() if head}
        torch.save({n: t.half() for n, t in model.state_dict().items()}, os.path.join(work, spec["name"] + ".pt"))
        np.savez(os.path.join(work, spec["name"] + ".sets.npz"), **sets)
        np.save(os.path.join(work, spec["name"] + ".partial.npy"), out)
        with open(os.path.join(work, spec["name"] + ".json"), "w") as f:
            json.dump({**spec, "steps": steps, "figures": figures, "calibration": calibration, "seconds": round(time.time() - start)}, f)
        os.rename(os.path.join(work, spec["name"] + ".partial.npy"), os.path.join(work, spec["name"] + ".npy"))
        log(json.dumps(figures), f"{time.time() - start:.0f}s", flush=True)
        del model, trainer, out
