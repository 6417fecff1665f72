"""The pack on the device, and how a step's rows are drawn from it."""
import io, json, lzma, os
import numpy as np, torch
from data import HEADS

WIDTHS = (16, 24, 40, 64)                     # a step holds texts in groups of these widths: its shapes never change


class Rows:
    """labels [rows, heads] hold -1 where a row has none; `care` is how much a head's teacher counts on a row."""

    def __init__(self, folder, device):
        with lzma.open(os.path.join(folder, "rows.npz.xz")) as f:
            data = np.load(io.BytesIO(f.read()))
        self.meta = json.loads(bytes(data["meta"]))
        split = lambda name: np.split(data[name + "tokens"].astype(np.int64), np.cumsum(data[name + "lengths"].astype(np.int64))[:-1])
        self.ids = split("")
        self.length = data["lengths"].astype(np.int64)
        n = len(self.ids)
        grid = np.zeros((n, WIDTHS[-1]), np.int16)
        grid[np.arange(WIDTHS[-1])[None] < self.length[:, None]] = data["tokens"].astype(np.int16)
        to = lambda x: torch.from_numpy(x).to(device)
        self.grid, self.lengths = to(grid), to(self.length)
        self.gold, kin, source = data["labels"].astype(np.int64), data["kin"], data["source"]
        self.labels, self.device = to(self.gold), device
        self.source = np.array(self.meta["sources"])[source]
        labelled, general = (self.gold >= 0).any(1), self.source == "general"
        self.pools = {h: np.flatnonzero(self.gold[:, i] >= 0) for i, h in enumerate(HEADS)}
        self.pools |= {"general": np.flatnonzero(general), "variation": np.flatnonzero((kin >= 0) & ~labelled),
                       "unlabelled": np.flatnonzero(~labelled & ~general & (kin < 0))}
        care = np.full(self.gold.shape, 0.25, np.float32)
        care[self.pools["unlabelled"]] = 0.5
        care[self.gold >= 0] = 1.0
        at = np.flatnonzero(kin >= 0); care[at, kin[at]] = 1.0
        self.care = to(care)
        self.sets = {k: (head, split(k + "."), data[k + ".gold"]) for k, head in self.meta["sets"].items()}
        used = data["used"].astype(np.int64)
        lookup = np.zeros(30522, np.int64); lookup[used] = np.arange(len(used))
        self.lookup = to(lookup)               # MPNet came with the words that occur alone
        self.fold = np.random.default_rng(7).integers(0, 5, n)

    def room(self, n):
        """Space for n more rows without a label, which `Fresh` fills while the student learns."""
        more = lambda t: torch.cat([t, torch.zeros(n, *t.shape[1:], dtype=t.dtype, device=t.device)])
        self.grid, self.lengths, self.care = more(self.grid), more(self.lengths), more(self.care)
        self.labels = torch.cat([self.labels, torch.full((n, self.labels.shape[1]), -1, dtype=self.labels.dtype, device=self.device)])
        self.gold = np.concatenate([self.gold, np.full((n, self.gold.shape[1]), -1, self.gold.dtype)])

    def groups(self, rows, lookup=None):
        """[rows of each width] -> the model's groups."""
        out = []
        for width, r in zip(WIDTHS, rows):
            if len(r):
                ids = self.grid.index_select(0, r)[:, :width].long()
                mask = torch.arange(width, device=r.device)[None] < self.lengths.index_select(0, r)[:, None]
                out.append((ids if lookup is None else lookup[ids], mask))
        return out


class Sampler:
    """Draws the same number of rows of each pool and width every time, every row once before any comes again."""

    def __init__(self, rows, share, seed):
        self.rng, self.queues, self.parts = np.random.default_rng(seed), {}, []
        bucket = np.searchsorted(WIDTHS, rows.length)
        for pool, n in share.items():
            members = rows.pools[pool]
            if not len(members):
                continue
            count = np.bincount(bucket[members], minlength=len(WIDTHS))
            exact = n * count / count.sum(); quota = np.floor(exact).astype(int)
            for b in np.argsort(quota - exact)[: n - quota.sum()]:
                quota[b] += 1
            last = np.flatnonzero(count)[-1]
            if not quota[last]:                # the longest rows have nowhere wider to go
                quota[quota.argmax()] -= 1; quota[last] = 1
            waiting = []
            for b in range(len(WIDTHS)):
                waiting.append(members[bucket[members] == b])
                if quota[b]:
                    self.parts.append((pool, b, int(quota[b]), np.concatenate(waiting))); waiting = []
        self.sizes = [sum(n for _, b, n, _ in self.parts if b == w) for w in range(len(WIDTHS))]
        self.fed = {}
        self.gold, self.base = rows.gold, np.cumsum([0] + [len(rows.meta["labels"][h]) for h in HEADS])

    def feed(self, pool, members, bucket):
        """New rows take the place of the pool's first ones; `bucket`: the width each of them needs."""
        below = -1
        for p, b, _, _ in self.parts:
            if p == pool:
                self.fed.setdefault(b, []).append(members[(bucket > below) & (bucket <= b)]); below = b

    def draw(self):
        """-> (row numbers ordered by width, a class for the contrastive term: same label, same number)"""
        picked, classes = [[] for _ in WIDTHS], [[] for _ in WIDTHS]
        for pool, b, n, members in self.parts:
            queue = self.queues.setdefault((pool, b), [])
            while len(queue) < n:
                if pool == "variation" and b in self.fed:
                    members = np.concatenate(self.fed[b])
                queue.extend(self.rng.permutation(members).tolist())
            taken = np.array(queue[-n:]); del queue[-n:]
            picked[b].append(taken)
            h = HEADS.index(pool) if pool in HEADS else None
            classes[b].append(-1 - taken if h is None else self.base[h] + self.gold[taken, h])
        join = lambda parts: np.concatenate([np.concatenate(p) for p in parts if p]).astype(np.int64)
        return join(picked), join(classes)
