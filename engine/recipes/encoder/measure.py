"""Predictions, calibration and the figures of the model card."""
import numpy as np, torch, torch.nn.functional as F
from data import OOS
from model import Batch, Encoder


@torch.no_grad()
def predict(model, ids, device, size=1024):
    """-> ({head: logits [n, labels]}, embeddings [n, hidden]) on the CPU, in the order given."""
    model.eval()
    order = np.argsort([len(i) for i in ids], kind="stable")
    logits, embeddings = {}, None
    for at in range(0, len(order), size):
        part = torch.from_numpy(order[at:at + size])
        first, mean = model(Batch([ids[i] for i in order[at:at + size]], device))
        if embeddings is None:
            embeddings = torch.empty(len(ids), mean.shape[1])
        embeddings[part] = F.normalize(mean, dim=-1).cpu()
        for h, l in model.logits(first, mean).items():
            logits.setdefault(h, torch.empty(len(ids), l.shape[1]))[part] = l.float().cpu()
    return logits, embeddings


def encode(tokenizer, rows):
    return [np.array(e.ids) for e in tokenizer.encode_batch([t for t, _ in rows])]


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


def calibrate(model, labels, val, tokenizer, device):
    """{head: temperature, threshold} from validation rows: least cross-entropy; then answering a question right counts twice
    as much as turning a foreign one away."""
    out = {}
    for head, names in labels.items():
        rows = list(val.get(head, []))
        if not rows:
            out[head] = {"temperature": 1.0, "threshold": 0.0}; continue
        if head == "banking77":          # its validation rows hold nothing out of scope: questions of other domains
            rows += [(t, "oos") for t, y in val["clinc150"] if y == "oos"]
        index = {l: i for i, l in enumerate(names)}
        logits = predict(model, encode(tokenizer, rows), device)[0][head]
        gold = torch.tensor([index[y] for _, y in rows])
        grid = torch.linspace(0.2, 2.5, 231)
        temperature = float(grid[torch.stack([F.cross_entropy(logits / t, gold) for t in grid]).argmin()])
        threshold = 0.0
        if head in OOS:
            chosen, confidence = decide(head, names, logits, temperature)
            known = gold.numpy() != index[OOS[head]]
            if known.all():
                out[head] = {"temperature": temperature, "threshold": 0.0}; continue
            served = lambda t: 2 * ((chosen == gold.numpy()) & (confidence >= t))[known].mean() + (confidence < t)[~known].mean()
            threshold = float(max(np.linspace(0.05, 0.95, 91), key=served))
        out[head] = {"temperature": round(temperature, 4), "threshold": round(threshold, 4)}
    return out


def report(model, labels, test, calibration, tokenizer, device, minilm=None):
    """Figures on the public test splits, by set."""
    out = {}
    for name, rows in test.items():
        head = name.split("_")[0] if name.split("_")[0] in labels else None
        if head is None or not rows:
            continue
        names = labels[head]; index = {l: i for i, l in enumerate(names)}
        logits = predict(model, encode(tokenizer, rows), device)[0][head]
        gold = np.array([index[y] for _, y in rows]); c = calibration[head]
        if head == "sentiment":
            best = logits.argmax(-1).numpy()
            polar = logits[:, [0, 2]].argmax(-1).numpy() * 2
            out[name] = {"rows": len(rows), "accuracy": round(float((best == gold).mean()), 4),
                         "accuracy_of_two": round(float((polar == gold).mean()), 4)}
            continue
        chosen, confidence = decide(head, names, logits, c["temperature"])
        known = gold != index[OOS[head]]
        right = (chosen == gold)[known]
        out[name] = {"rows": len(rows), "accuracy": round(float(right.mean()), 4),
                     "accuracy_served": round(float((right & (confidence[known] >= c["threshold"])).mean()), 4),
                     "ece": round(ece(confidence[known], right), 4)}
        if not known.all():
            oos = torch.softmax(logits / c["temperature"], -1)[:, index[OOS[head]]].numpy()
            energy = torch.logsumexp(logits[:, in_scope(head, names)], -1).numpy()
            out[name] |= {"oos_auroc": round(auroc(confidence[known], confidence[~known]), 4),
                          "oos_auroc_by_label": round(auroc(-oos[known], -oos[~known]), 4),
                          "oos_auroc_by_energy": round(auroc(energy[known], energy[~known]), 4),
                          "oos_recall": round(float((confidence[~known] < c["threshold"]).mean()), 4)}
    if minilm is not None:
        rows = test["embedding"] + test["banking77"][:500]
        ids = encode(tokenizer, rows)
        dense = Encoder(*minilm, {"none": 1}, experts=False).to(device)
        ours, theirs = predict(model, ids, device)[1], predict(dense, ids, device)[1]
        a, b = (ours @ ours.t()).flatten().numpy(), (theirs @ theirs.t()).flatten().numpy()
        out["embedding"] = {"rows": len(rows), "cosine_to_minilm": round(float((ours * theirs).sum(-1).mean()), 4),
                            "correlation_of_similarities": round(float(np.corrcoef(a, b)[0, 1]), 4)}
    return out


@torch.no_grad()
def expert_load(model, texts, tokenizer, device):
    """Share of tokens by expert over an evaluation set, and MaxVio = (busiest - mean) / mean by layer."""
    model.eval(); total = None
    ids = encode(tokenizer, [(t, "") for t in texts])
    for at in range(0, len(ids), 512):
        model(Batch(ids[at:at + 512], device))
        now = [e.load.cpu() for e in model.experts()]
        total = now if total is None else [a + b for a, b in zip(total, now)]
    return {"max_violation": [round(float(t.max() / t.mean() - 1), 4) for t in total],
            "share": [[round(float(x / t.sum()), 4) for x in t] for t in total]}
