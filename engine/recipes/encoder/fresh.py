"""New texts for the student while it learns: rows changed at random, judged by all teachers.

A student that sees its labelled rows a hundred times knows them by heart, and its teachers, who have seen them too, hardly say
more than the label. So words are left out, exchanged and cut off, anew every time, and the teachers say what is left of the meaning
(data augmentation for distillation, as in TinyBERT, Jiao et al. 2020). One process makes them, on the last GPU.
"""
import json, os, time
import numpy as np, torch, torch.nn.functional as F
from data import HEADS
from model import Encoder
from pack import load_model
from rows import WIDTHS, Rows

# Which rows are changed, and how often: film reviews apart from other opinions.
SOURCES = {"clinc150": 0.22, "banking77": 0.24, "hwu64": 0.16, "desk": 0.12, "sentiment": 0.08, "sentence_polarity": 0.18}
CHUNK = 24_000


def change(grid, lengths, rng):
    """Token rows [n, width] with their lengths, changed: [n, width], lengths. The marks at both ends stay."""
    n, width = grid.shape
    at = torch.arange(width, device=grid.device)[None]
    inside = (at > 0) & (at < lengths[:, None] - 1)
    draw = lambda *shape: torch.rand(*shape, device=grid.device, generator=rng)
    # A word of another row in the place of one, in half of the rows.
    swap = inside & (draw(n, width) < 0.12 * (draw(n, 1) < 0.5))
    other = grid[torch.randperm(n, device=grid.device, generator=rng)]
    foreign = (at > 0) & (other > 999)                    # words alone, no marks and no padding
    grid = torch.where(swap & foreign, other, grid)
    # Words are left out, in some rows many; of longer texts often a part alone remains.
    keep = ~inside | (draw(n, width) >= 0.3 * draw(n, 1) ** 1.5)
    words = (lengths - 2).clamp(min=1).float()[:, None]
    share = torch.where((words >= 8) & (draw(n, 1) < 0.5), 0.35 + 0.65 * draw(n, 1), torch.ones(n, 1, device=grid.device))
    first = 1 + (draw(n, 1) * (1 - share) * words)
    keep &= ~inside | ((at >= first.floor()) & (at < first.floor() + (share * words).ceil()))
    keep &= at < lengths[:, None]
    short = (keep & inside).sum(1) < torch.minimum(torch.full_like(lengths, 2), lengths - 2)
    keep = torch.where(short[:, None], at < lengths[:, None], keep)
    order = torch.argsort((~keep).to(torch.int8), dim=1, stable=True)
    count = keep.sum(1)
    return torch.where(at < count[:, None], grid.gather(1, order), 0), count


@torch.no_grad()
def supply(pack, work, teachers, weights, deadline, device, tiny=1):
    """Writes chunk after chunk of new rows into `work` until the clock says no. teachers: names; weights: how much each counts."""
    torch.backends.cuda.matmul.allow_tf32 = True
    rows = Rows(pack, device); heads = {h: len(rows.meta["labels"][h]) for h in HEADS}
    config, minilm = load_model(os.path.join(pack, "minilm.npz"))
    original = Encoder(config, minilm, {"none": 1}, experts=False).to(device).eval()
    asked = []
    for name in teachers:
        base = json.load(open(os.path.join(work, name + ".json")))["base"]
        model = Encoder(*load_model(os.path.join(pack, base + ".npz")), heads, experts=False)
        model.load_state_dict(torch.load(os.path.join(work, name + ".pt")))
        asked.append((model.to(device).eval(), base == "mpnet", weights[name]))
    pools = {h: rows.pools[h] if h in HEADS else np.flatnonzero(rows.source == h) for h in SOURCES}
    kin_of = [HEADS.index(h if h in HEADS else "sentiment") for h in SOURCES]
    whole, number = sum(w for _, _, w in asked), 0
    rng, dice = torch.Generator(device).manual_seed(17), np.random.default_rng(17)
    while time.time() < deadline:
        parts = [dice.choice(pools[h], int(CHUNK // tiny ** 2 * share)) for h, share in SOURCES.items()]
        kin = np.repeat(kin_of, [len(p) for p in parts])
        picked = torch.from_numpy(np.concatenate(parts)).to(device)
        grid, lengths = change(rows.grid.index_select(0, picked).long(), rows.lengths.index_select(0, picked), rng)
        order = torch.argsort(lengths); grid, lengths, kin = grid[order], lengths[order], kin[order.cpu().numpy()]
        soft = torch.zeros(len(grid), sum(heads.values()), device=device)
        target = torch.empty(len(grid), original.hidden, device=device, dtype=torch.float16)
        with torch.autocast("cuda", torch.bfloat16, enabled=device != "cpu"):
            for at in range(0, len(grid), 2_000):
                piece = slice(at, at + 2_000); width = int(lengths[piece][-1])
                ids, mask = grid[piece, :width], torch.arange(width, device=device)[None] < lengths[piece][:, None]
                target[piece] = original([(ids, mask)])[1].half()
                for model, mpnet, weight in asked:
                    first, mean = model([(rows.lookup[ids] if mpnet else ids, mask)])
                    logits = model.logits(first, mean)
                    soft[piece] += weight / whole * torch.cat([F.softmax(logits[h].float(), -1) for h in HEADS], 1)
        name = os.path.join(work, f"fresh-{number:04}.npz")
        np.savez(name + ".part.npz", grid=grid.to(torch.int16).cpu().numpy(), lengths=lengths.cpu().numpy(), kin=kin,
                 soft=soft.half().cpu().numpy(), target=target.cpu().numpy())
        os.rename(name + ".part.npz", name); number += 1


class Fresh:
    """The student's side: takes finished chunks into the room that `Rows.room` made, forgets the oldest where it is full."""

    def __init__(self, rows, sampler, soft, target, work, start):
        self.rows, self.sampler, self.soft, self.target, self.work = rows, sampler, soft, target, work
        self.start, self.at, self.number, self.taken = start, start, 0, 0

    def take(self):
        name = os.path.join(self.work, f"fresh-{self.number:04}.npz")
        if not os.path.exists(name):
            return
        with np.load(name) as file:
            data = {k: file[k] for k in file.files}
        os.remove(name); self.number += 1
        n = len(data["grid"])
        if self.at + n > len(self.rows.grid):
            self.at = self.start
        place = slice(self.at, self.at + n); to = lambda x: torch.from_numpy(x).to(self.rows.device)
        self.rows.grid[place] = to(data["grid"]); self.rows.lengths[place] = to(data["lengths"])
        care = np.full((n, len(HEADS)), 0.25, np.float32); care[np.arange(n), data["kin"]] = 1.0
        self.rows.care[place] = to(care)
        self.soft[place] = to(data["soft"]); self.target[place] = to(data["target"])
        self.sampler.feed("variation", np.arange(self.at, self.at + n), np.searchsorted(WIDTHS, data["lengths"]))
        self.at += n; self.taken += n
