"""Predictions, calibration and the figures of the model card."""
import numpy as np, torch, torch.nn.functional as F
from data import OOS
from model import Encoder, group_of


@torch.no_grad()
def predict(model, ids, device, tokens=40_000):
    """-> ({head: logits [n, labels]}, embeddings [n, hidden]) on the CPU, in the order given."""
    model.eval()
    lengths = np.array([len(i) for i in ids])
    order, at = np.argsort(lengths, kind="stable"), 0
    logits, embeddings = {}, None
    while at < len(order):
        end = at + 1
        while end < len(order) and (end + 1 - at) * lengths[order[end]] <= tokens:
            end += 1
        part = torch.from_numpy(order[at:end])
        first, mean = model([group_of([ids[i] for i in order[at:end]], device)])
        if embeddings is None:
            embeddings = torch.empty(len(ids), mean.shape[1])
        embeddings[part] = F.normalize(mean.float(), dim=-1).cpu()
        for h, l in model.logits(first, mean).items():
            logits.setdefault(h, torch.empty(len(ids), l.shape[1]))[part] = l.float().cpu()
        at = end
    return logits, embeddings


def in_scope(head, labels):
    return [i for i, l in enumerate(labels) if l != OOS.get(head)]


def auroc(positive, negative):
    """Probability that a positive scores above a negative, ties counted half."""
    scores = np.concatenate([positive, negative])
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n, m = len(positive), len(negative)
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def ece(confidence, correct, bins=15):
    """Expected calibration error, equal-width bins (Guo et al. 2017)."""
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    return float(sum(abs(correct[which == b].mean() - confidence[which == b].mean()) * (which == b).mean()
                     for b in range(bins) if (which == b).any()))


def decide(head, labels, logits, temperature):
    """-> (chosen in-scope label, its probability): the softmax runs over all labels, `oos` included."""
    p, inside = torch.softmax(logits / temperature, -1).numpy(), in_scope(head, labels)
    best = p[:, inside].argmax(-1)
    return np.array(inside)[best], p[:, inside].max(-1)


def calibrate(model, labels, sets, device, logits_of=None):
    """{head: temperature, threshold} from validation rows: least cross-entropy; then answering a question right counts twice
    as much as turning a foreign one away. `sets`: {"val.HEAD": (head, ids, gold)}."""
    out = {}
    for head, names in labels.items():
        if "val." + head not in sets:
            out[head] = {"temperature": 1.0, "threshold": 0.0}; continue
        _, ids, gold = sets["val." + head]
        if head == "banking77":          # its validation rows hold nothing out of scope: questions of other domains
            _, more, theirs = sets["val.clinc150"]
            keep = np.flatnonzero(theirs == labels["clinc150"].index("oos"))
            ids, gold = ids + [more[i] for i in keep], np.concatenate([gold, np.full(len(keep), names.index("oos"))])
        logits = (logits_of or (lambda ids: predict(model, ids, device)[0]))(ids)[head]
        gold = torch.from_numpy(gold.astype(np.int64))
        grid = torch.linspace(0.2, 2.5, 231)
        temperature = float(grid[torch.stack([F.cross_entropy(logits / t, gold) for t in grid]).argmin()])
        threshold = 0.0
        if head in OOS:
            chosen, confidence = decide(head, names, logits, temperature)
            known = gold.numpy() != names.index(OOS[head])
            if not known.all():
                served = lambda t: 2 * ((chosen == gold.numpy()) & (confidence >= t))[known].mean() + (confidence < t)[~known].mean()
                threshold = float(max(np.linspace(0.05, 0.95, 91), key=served))
        out[head] = {"temperature": round(temperature, 4), "threshold": round(threshold, 4)}
    return out


def report(model, labels, sets, calibration, device, minilm=None, limit=0):
    """Figures on the public test splits, by set."""
    out, cut = {}, lambda x: x[:limit] if limit else x
    for name, (head, ids, gold) in sets.items():
        part, _, name = name.partition(".")
        if part != "test" or head is None:
            continue
        names, gold = labels[head], cut(gold).astype(np.int64)
        logits = predict(model, cut(ids), device)[0][head]
        c = calibration[head]
        if head == "sentiment":
            best = logits.argmax(-1).numpy()
            polar = logits[:, [0, 2]].argmax(-1).numpy() * 2
            out[name] = {"rows": len(gold), "accuracy": round(float((best == gold).mean()), 4),
                         "accuracy_of_two": round(float((polar == gold).mean()), 4)}
            continue
        chosen, confidence = decide(head, names, logits, c["temperature"])
        known = gold != names.index(OOS[head]) if head in OOS else np.ones(len(gold), bool)
        right = (chosen == gold)[known]
        out[name] = {"rows": len(gold), "accuracy": round(float(right.mean()), 4),
                     "accuracy_served": round(float((right & (confidence[known] >= c["threshold"])).mean()), 4),
                     "ece": round(ece(confidence[known], right), 4)}
        if not known.all():
            oos = torch.softmax(logits / c["temperature"], -1)[:, names.index(OOS[head])].numpy()
            energy = torch.logsumexp(logits[:, in_scope(head, names)], -1).numpy()
            out[name] |= {"oos_auroc": round(auroc(confidence[known], confidence[~known]), 4),
                          "oos_auroc_by_label": round(auroc(-oos[known], -oos[~known]), 4),
                          "oos_auroc_by_energy": round(auroc(energy[known], energy[~known]), 4),
                          "oos_recall": round(float((confidence[~known] < c["threshold"]).mean()), 4)}
    if minilm is not None:
        ids = cut(sets["test.embedding"][1] + sets["test.banking77"][1][:500])
        dense = Encoder(*minilm, {"none": 1}, experts=False).to(device)
        ours, theirs = predict(model, ids, device)[1], predict(dense, ids, device)[1]
        a, b = (ours @ ours.t()).flatten().numpy(), (theirs @ theirs.t()).flatten().numpy()
        out["embedding"] = {"rows": len(ids), "cosine_to_minilm": round(float((ours * theirs).sum(-1).mean()), 4),
                            "correlation_of_similarities": round(float(np.corrcoef(a, b)[0, 1]), 4)}
    return out


@torch.no_grad()
def expert_load(model, ids, device, size=1024):
    """Tokens by layer and expert over an evaluation set: [layers, experts]."""
    model.eval(); total = None
    order = np.argsort([len(i) for i in ids], kind="stable")
    for at in range(0, len(order), size):
        model([group_of([ids[i] for i in order[at:at + size]], device)])
        now = torch.stack([e.load for e in model.experts()])
        total = now if total is None else total + now
    return total


def violation(load):
    """MaxVio = (busiest - mean) / mean by layer (Wang et al. 2024)."""
    return [round(float(t.max() / t.mean() - 1), 4) for t in load]
