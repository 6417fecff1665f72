"""Trains Candor's encoder: dense teachers side by side, then the one upcycled student that ships, then int8.

    python pack.py --minilm DIR --mpnet DIR --datasets DIR --out PACK
    python train.py --pack PACK --out DIR --minutes 8.5

One GPU. The teachers take the first part of the time, the student the rest; README.md says what comes out.
"""
import argparse, glob, json, multiprocessing, os, shutil, subprocess, sys, tempfile, time
import numpy as np, torch, torch.nn.functional as F
from data import HEADS
from export import export, shipped_copy
from fit import Trainer
from fresh import Fresh, supply
from measure import auroc, calibrate, expert_load, predict, report, violation
from model import Encoder, Experts, group_of, use_grouped_products
from pack import load_model
from rows import Rows, Sampler
from teach import hard_loss, teach

SHARE = {"clinc150": 80, "banking77": 80, "hwu64": 60, "desk": 80, "sentiment": 88, "variation": 376, "unlabelled": 124, "general": 24}
# A process each, dealt out among the GPUs in turn.
WORKERS = [["mpnet-2"], ["mpnet-0"], ["mpnet-3"], ["mpnet-1"], ["mpnet-4"], ["minilm-0", "minilm-2"]]
ROOM = 1_500_000              # new rows kept, 2.3 kB each
HARD, HOLD = 0.3, 2.0         # weight of the labels beside the teachers', of the original embedding
# The texts over which the load of the experts is even: the test sets in the proportions they have, drawn from training rows.
MIXTURE = [("clinc150", "clinc150", 3600), ("oos", "clinc150", 800), ("banking77", "banking77", 2464), ("hwu64", "hwu64", 861), ("natcs", "desk", 685),
           ("sentence_polarity", "sentiment", 1429), ("pros_cons", "sentiment", 4296)]


def spread(total, parts):
    return torch.split(total, parts, -1)


def opinions(work, rows, widths, say):
    """Mean of the teachers' probabilities for every row [rows, labels of all heads]. Half of a row's target comes from
    teachers that never saw its label, which softens wrong ones. MiniLM's weight is what validation likes best."""
    names = sorted(n[:-5] for n in (os.path.basename(p) for p in glob.glob(os.path.join(work, "*.json"))) if os.path.exists(os.path.join(work, n[:-5] + ".npy")))
    if not names:
        return None, {"teachers": []}
    specs = {n: json.load(open(os.path.join(work, n + ".json"))) for n in names}
    sets = {n: np.load(os.path.join(work, n + ".sets.npz")) for n in names}
    ends = np.cumsum([0] + widths)

    def judged(weight):
        mean = lambda k: sum(weight[n] * sets[n][k].astype(np.float64) for n in names) / sum(weight.values())
        loss, figures = 0.0, {}
        for key, (head, _, gold) in rows.sets.items():
            if head is None:
                continue
            h = HEADS.index(head); p = mean(key)[:, ends[h]:ends[h + 1]]; gold = gold[: len(p)].astype(np.int64)
            if key.startswith("val."):
                loss -= np.log(np.maximum(p[np.arange(len(p)), gold], 1e-6)).mean()
            else:
                names_of = rows.meta["labels"][head]
                inside = [i for i, l in enumerate(names_of) if l != "oos" and not (head == "desk" and l == "other")]
                known = np.isin(gold, inside)
                best = np.array(inside)[p[:, inside].argmax(1)]
                figures[key[5:]] = {"accuracy": round(float((best == gold)[known].mean()), 4)}
                if head == "sentiment":
                    figures[key[5:]]["accuracy_of_two"] = round(float((p[:, [0, 2]].argmax(1) * 2 == gold).mean()), 4)
        return loss, figures

    weights = {small: {n: small if specs[n]["base"] == "minilm" else 1.0 for n in names} for small in (0.0, 0.25, 0.5, 1.0)}
    weights = {s: w for s, w in weights.items() if sum(w.values()) > 0}
    best = min(weights, key=lambda s: judged(weights[s])[0])
    weight = weights[best]
    say("weight of MiniLM among the teachers", best, json.dumps(judged(weight)[1]), flush=True)
    total = torch.zeros(len(rows.ids), sum(widths), device=rows.device)
    own, count = torch.zeros_like(total), torch.zeros(len(rows.ids), 1, device=rows.device)
    for n in names:
        p = torch.from_numpy(np.load(os.path.join(work, n + ".npy"))).to(rows.device).float() * weight[n]
        total += p
        mine = torch.from_numpy((rows.fold == specs[n]["fold"]).astype(np.float32)).to(rows.device).unsqueeze(1) * weight[n]
        own += p * (mine > 0); count += mine
    whole = sum(weight.values())
    rest = (whole - count).clamp(min=1e-6)
    both = ((count > 0) & (rest > 1e-3)).float()
    soft = both * (0.5 * own / count.clamp(min=1e-6) + 0.5 * (total - own) / rest) + (1 - both) * total / whole
    with open(os.path.join(work, "weights.part"), "w") as f:
        json.dump(weight, f)
    os.rename(os.path.join(work, "weights.part"), os.path.join(work, "weights"))
    return soft.half(), {"teachers": [specs[n] for n in names], "ensemble": judged(weight)[1], "weight_of_minilm": best,
                         "ensemble_of_mpnet_alone": judged(weights[0.0])[1] if 0.0 in weights else None}


@torch.no_grad()
def settle(model, rows, device, rounds, count, say):
    """Evens the load of the shipped weights out over a wide mixture: the biases move by how far each copy's share is off."""
    model.eval(); rng = np.random.default_rng(5); picked = []
    whole = sum(n for _, _, n in MIXTURE)
    for source, head, n in MIXTURE:
        gold = rows.gold[: len(rows.ids), HEADS.index(head)]
        outside = gold == rows.meta["labels"][head].index("oos") if head == "clinc150" else np.zeros(len(gold), bool)
        pool = np.flatnonzero(outside if source == "oos" else (rows.source == source) & (gold >= 0) & ~outside)
        if len(pool):
            picked.append(rng.choice(pool, min(len(pool), max(1, round(count * n / whole))), replace=False))
    picked = np.concatenate(picked); picked = picked[np.argsort(rows.length[picked], kind="stable")]
    groups = [group_of([rows.ids[i] for i in picked[at:at + 1024]], device) for at in range(0, len(picked), 1024)]
    best, kept = None, None
    for i in range(rounds + 1):
        load = 0
        for g in groups:
            model([g]); load = load + torch.stack([e.load for e in model.experts()])
        worst = max(violation(load))
        if best is None or worst < best:
            best, kept = worst, [e.selection_bias.clone() for e in model.experts()]
        for e, l in zip(model.experts(), load):
            l = l.view(e.shards, e.copies); share = l / l.mean(1, keepdim=True)
            e.selection_bias += (0.05 * (1 - i / (rounds + 1)) ** 1.5 + 0.002) * (1 - share).clamp(-1, 1).view(-1)
    for e, b in zip(model.experts(), kept):
        e.selection_bias.copy_(b)
    say(f"settled: MaxVio {best:.4f} over {len(picked)} training texts", flush=True)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--pack", required=True); a.add_argument("--out", required=True)
    a.add_argument("--minutes", type=float, default=8.5); a.add_argument("--teachers-share", type=float, default=0.42)
    a.add_argument("--lr", type=float, default=3e-4); a.add_argument("--version", default="encoder-3")
    a.add_argument("--tiny", type=int, default=1, help="tries the recipe: batches so many times smaller, two steps a model")
    a.add_argument("--role", default="main"); a.add_argument("--names", default=""); a.add_argument("--work"); a.add_argument("--begun", type=float)
    a.add_argument("--eager", action="store_true")
    a = a.parse_args()
    begun = a.begun or time.time()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    teachers_end, end = begun + a.teachers_share * a.minutes * 60, begun + a.minutes * 60
    if a.role == "teacher":
        return teach(a.names.split(","), a.pack, a.work, teachers_end, device, a.tiny)
    if a.role == "fresh":
        while not os.path.exists(os.path.join(a.work, "weights")):
            time.sleep(0.5)
        weights = json.load(open(os.path.join(a.work, "weights")))
        return supply(a.pack, a.work, [n for n in weights if weights[n] > 0], weights, end - 45, device, a.tiny)
    if a.role == "student":
        return student(a, begun, teachers_end, end, device)
    os.makedirs(a.out, exist_ok=True)
    work = a.work or tempfile.mkdtemp()
    common = [sys.executable, os.path.abspath(__file__), "--pack", a.pack, "--out", a.out, "--minutes", str(a.minutes), "--work", work, "--begun", str(begun),
              "--teachers-share", str(a.teachers_share), "--lr", str(a.lr), "--version", a.version, "--tiny", str(a.tiny)]
    environment = os.environ | {"OMP_NUM_THREADS": "4" if device == "cuda" else "1"}
    workers, gpus = WORKERS if device == "cuda" else [["minilm-2", "mpnet-4"]], max(1, torch.cuda.device_count())
    on = lambda gpu: environment | {"CUDA_VISIBLE_DEVICES": str(gpu)}
    teachers = [subprocess.Popen(common + ["--role", "teacher", "--names", ",".join(names)], env=on(i % gpus)) for i, names in enumerate(workers)]
    teachers.append(subprocess.Popen(common + ["--role", "fresh"], env=on(gpus - 1)))
    pupil = subprocess.Popen(common + ["--role", "student"], env=on(0))
    if pupil.wait() != 0 and end - time.time() > 90:
        print("the student failed: once more without a graph", flush=True)
        for t in teachers[:-1]:
            t.wait()
        subprocess.run(common + ["--role", "student", "--eager"], env=on(0), check=True)
    for t in teachers:
        t.terminate(); t.wait()
    shutil.rmtree(work, ignore_errors=True)
    print(f"done in {time.time() - begun:.0f}s", flush=True)


def student(a, begun, teachers_end, end, device):
    say = print
    torch.backends.cuda.matmul.allow_tf32 = True
    tiny = a.tiny > 1
    rows = Rows(a.pack, device); labels = rows.meta["labels"]; heads = {h: len(labels[h]) for h in HEADS}
    widths = list(heads.values())
    say({k: len(v) for k, v in rows.pools.items()}, f"read after {time.time() - begun:.0f}s", flush=True)
    config, minilm = load_model(os.path.join(a.pack, "minilm.npz"))
    dense = Encoder(config, minilm, {"none": 1}, experts=False).to(device)
    target = predict(dense, rows.ids, device)[1].half().to(device); del dense
    room = ROOM if device == "cuda" else 2_000
    rows.room(room); target = torch.cat([target, target.new_zeros(room, target.shape[1])])
    if device == "cuda":
        use_grouped_products(say)
    sampler = Sampler(rows, {k: max(1, v // a.tiny) for k, v in SHARE.items()}, 1)
    say("texts a step by width", sampler.sizes, "rows", sum(sampler.sizes), flush=True)
    soft = None

    def loss_of(groups, picked, classes):
        first, mean = model(groups)
        logits, care = model.logits(first, mean), rows.care.index_select(0, picked)
        loss = HOLD * (1 - F.cosine_similarity(mean, target.index_select(0, picked).float()).mean())
        teacher = None if soft is None else spread(soft.index_select(0, picked).float(), widths)
        for i, h in enumerate(HEADS):
            hard = hard_loss(logits[h], rows.labels.index_select(0, picked)[:, i])
            if teacher is None:
                loss = loss + hard
            else:
                distil = -(teacher[i] * F.log_softmax(logits[h].float(), -1)).sum(-1)
                loss = loss + HARD * hard + (1 - HARD) * (care[:, i] * distil).sum() / care[:, i].sum()
        return loss

    fresh = lambda: Encoder(config, minilm, heads).to(device)
    # Which form of the experts is faster in a graph on this card: a few replays of each, with targets of noise.
    if device == "cuda" and not a.eager:
        pace = {}
        for form in ([True, False] if Experts.by_group else [False]):
            Experts.by_group = form
            soft = torch.full((len(rows.grid), sum(widths)), 1e-2, device=device, dtype=torch.float16)
            torch.manual_seed(1); model = fresh(); trial = Trainer(model, rows, sampler, loss_of, 1e-6, 1e-6)
            trial.model.train(); trial.capture(say)
            if trial.graph is not None:
                torch.cuda.synchronize(); t = time.time()
                for _ in range(10):
                    trial.graph.replay()
                torch.cuda.synchronize(); pace[form] = (time.time() - t) / 10
            del trial, model; soft = None; torch.cuda.empty_cache()
        Experts.by_group = min(pace, key=pace.get) if pace else False
        say("seconds a step, experts by group or all", pace, f"after {time.time() - begun:.0f}s", flush=True)
    done = lambda: len(glob.glob(os.path.join(a.work, "done-*"))) >= (len(WORKERS) if device == "cuda" else 1)
    while not done() and time.time() < (teachers_end + 15 if not tiny else begun + 3000):
        time.sleep(0.5)
    soft, history = opinions(a.work, rows, widths, say)
    if soft is not None:
        soft = torch.cat([soft, soft.new_zeros(room, soft.shape[1])])
    fresh_rows = Fresh(rows, sampler, soft, target, a.work, len(rows.ids))
    say(f"teachers read after {time.time() - begun:.0f}s", flush=True)
    torch.manual_seed(1); model = fresh()
    trainer = Trainer(model, rows, sampler, loss_of, a.lr, 5 * a.lr, graph=not a.eager)
    limit = 24 if tiny else 0
    history["along_the_way"] = []

    def look(at, step):
        part = {k: v for k, v in rows.sets.items() if k in ("val.clinc150", "val.banking77", "val.hwu64", "val.sentiment", "test.clinc150", "test.banking77", "test.sentiment", "test.hwu64")}
        c = calibrate(model, labels, part, device)
        history["along_the_way"].append({"step": step, "share_of_time": at, "figures": report(model, labels, part, c, device, limit=limit)})
        say("along the way", json.dumps(history["along_the_way"][-1]), flush=True)

    reserve = 42 if not tiny else 0
    steps = trainer.run(2 if tiny else 40_000, 1e10 if tiny else end - reserve, say, [(0.4, look), (0.75, look)], fresh_rows.take)
    say(f"trained after {time.time() - begun:.0f}s", flush=True)
    torch.save(model.state_dict(), os.path.join(a.work, "student.pt"))
    guarded = lambda name, f: history.__setitem__(name, f())
    shipped = shipped_copy(model, Encoder(config, minilm, heads)).to(device)
    settle(shipped, rows, device, 3 if tiny else 60, 200 if tiny else 8_000, say)
    calibration = calibrate(shipped, labels, rows.sets, device)
    shutil.copy(os.path.join(a.pack, "tokenizer.json"), os.path.join(a.out, "tokenizer.json"))
    cpu = Encoder(config, minilm, heads); cpu.load_state_dict(shipped.state_dict())
    export(cpu, config, labels, calibration, rows.meta["fixture"], a.out, a.version)
    say(f"exported after {time.time() - begun:.0f}s", flush=True)

    def write():
        history["settings"] = {"steps": steps, "rows_a_step": sum(sampler.sizes), "new_rows": fresh_rows.taken, "by_group": Experts.by_group, "lr": a.lr, "minutes": a.minutes,
                               "graph": trainer.graph is not None, "seconds": round(time.time() - begun), "device": torch.cuda.get_device_name() if device == "cuda" else "cpu"}
        with open(os.path.join(a.out, "measured.json"), "w") as f:
            json.dump(history, f, indent=1)

    write()
    for name, measure in (
            ("shipped", lambda: report(shipped, labels, rows.sets, calibration, device, (config, minilm), limit)),
            ("expert_load", lambda: {"by_set": {k: violation(expert_load(shipped, v[1][:limit] if limit else v[1], device)) for k, v in rows.sets.items() if k in EVALUATED},
                                     "max_violation": violation(expert_load(shipped, sum((v[1][:limit] if limit else v[1] for k, v in rows.sets.items() if k in EVALUATED), []), device))}),
            ("float32", lambda: report(model, labels, rows.sets, calibrate(model, labels, rows.sets, device), device, limit=limit))):
        try:
            history[name] = measure(); say(name, json.dumps(history[name]), f"{time.time() - begun:.0f}s", flush=True); write()
        except Exception as error:
            say(name, "not measured:", error, flush=True)
        if time.time() > end + 15 and not tiny:
            break


EVALUATED = ["test." + n for n in ("clinc150", "banking77", "hwu64", "desk_natcs", "sentiment", "sentiment_pros_cons")]

if __name__ == "__main__":
    main()
