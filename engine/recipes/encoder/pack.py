"""Packs what training needs into one small folder, so that a machine without network or data sets can train:
rows and evaluation sets as token ids, the starting models with entropy-coded coarse weights.

    python pack.py --minilm DIR [--mpnet DIR] --datasets DIR --out DIR

MiniLM, which the student starts from, keeps about 5.5 bits a weight; MPNet, a teacher that is trained further anyway, about
2.6, and only the words that occur. `load_*` read the folder back.
"""
import argparse, io, json, lzma, os, shutil, zlib
import numpy as np, torch
from tokenizers import Tokenizer
from data import HEADS, SENTIMENT, Corpus
from export import FIXTURE
from model import read_model

MAX_TOKENS = 64
CLS, SEP = 101, 102


def squeeze(t, step):
    """Matrix -> (Huffman-coded steps, scale of a row): uniform steps of `step` standard deviations of the row."""
    scale = (t.std(-1, keepdim=True) * step).half().float().clamp(min=1e-7)
    q = torch.round(t / scale).clamp(-127, 127).to(torch.int8).numpy()
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_HUFFMAN_ONLY)
    return np.frombuffer(packer.compress(q.tobytes()) + packer.flush(), np.uint8), scale.squeeze(-1).half().numpy()


def save_model(path, config, w, step, step_words):
    out = {"config": np.frombuffer(json.dumps(config).encode(), np.uint8)}
    for name, t in w.items():
        if name.startswith("pooler"):
            continue
        if t.ndim == 2 and ("encoder.layer" in name or "word_embeddings" in name):
            out[name + "|q"], out[name + "|s"] = squeeze(t, step_words if "word_embeddings" in name else step)
            out[name + "|shape"] = np.array(t.shape)
        else:
            out[name] = t[:MAX_TOKENS + 2].half().numpy() if "position_embeddings" in name and config["model_type"] == "mpnet" else t.half().numpy()
    np.savez(path, **out)


def load_model(path):
    data = np.load(path)
    config, w = json.loads(bytes(data["config"])), {}
    for key in data.files:
        name, _, part = key.partition("|")
        if part == "q":
            q = np.frombuffer(zlib.decompress(data[key].tobytes(), -15), np.int8).reshape(data[name + "|shape"])
            w[name] = torch.from_numpy(q.astype(np.float32)) * torch.from_numpy(data[name + "|s"].astype(np.float32)).unsqueeze(-1)
        elif not part and key != "config":
            w[name] = torch.from_numpy(data[key].astype(np.float32))
    return config, w


def flat(ids):
    return np.concatenate(ids).astype(np.uint16), np.array([len(i) for i in ids], np.uint8)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--minilm", required=True); a.add_argument("--mpnet"); a.add_argument("--datasets", required=True)
    a.add_argument("--out", required=True); a.add_argument("--subset", type=float, default=1.0, help="share of the rows, to try the recipe")
    a.add_argument("--limit", type=int, default=10**9, help="texts of an evaluation set, to try the recipe")
    a = a.parse_args()
    os.makedirs(a.out, exist_ok=True)
    corpus = Corpus(a.datasets, os.path.dirname(os.path.abspath(__file__)), subset=a.subset)
    print(corpus.summary())
    tokenizer = Tokenizer.from_file(os.path.join(a.minilm, "tokenizer.json"))
    tokenizer.no_padding(); tokenizer.enable_truncation(MAX_TOKENS)
    encode = lambda texts: [e.ids for e in tokenizer.encode_batch(texts)]
    keys = sorted(corpus.rows); rows = [corpus.rows[k] for k in keys]
    ids = encode([r["text"] for r in rows] + corpus.general)
    labels = np.full((len(ids), len(HEADS)), -1, np.int16); kin = np.full(len(ids), -1, np.int8)
    source = sorted({r["source"] for r in rows}) + ["general"]
    where = np.full(len(ids), len(source) - 1, np.uint8)
    for i, (k, r) in enumerate(zip(keys, rows)):
        where[i] = source.index(r["source"])
        kin[i] = HEADS.index(corpus.kin[k]) if k in corpus.kin else -1
        for h, l in r["labels"].items():
            labels[i, HEADS.index(h)] = corpus.labels[h].index(l)
    tokens, lengths = flat(ids)
    arrays, sets = {"tokens": tokens, "lengths": lengths, "labels": labels, "kin": kin, "source": where}, {}
    for part, table in (("val", corpus.val), ("test", corpus.test)):
        for name, texts in table.items():
            texts = texts[:: max(1, len(texts) // a.limit)]
            head = next((h for h in HEADS if name == h or name.startswith(h + "_")), None)
            if not texts or (head is None and name != "embedding"):
                continue
            arrays[f"{part}.{name}.tokens"], arrays[f"{part}.{name}.lengths"] = flat(encode([t for t, _ in texts]))
            gold = [corpus.labels[head].index(y) if head else 0 for _, y in texts]
            arrays[f"{part}.{name}.gold"] = np.array(gold, np.int16)
            sets[f"{part}.{name}"] = head
    tokenizer.enable_truncation(256)
    fixture = [{"text": t, "ids": tokenizer.encode(t).ids} for t in FIXTURE]
    tokenizer.save(os.path.join(a.out, "tokenizer.json"))
    meta = {"labels": {h: corpus.labels[h] for h in HEADS}, "sources": source, "sets": sets, "fixture": fixture}
    used = np.unique(np.concatenate([arrays[k] for k in arrays if k.endswith("tokens")]))
    config, w = read_model(a.minilm)
    save_model(os.path.join(a.out, "minilm.npz"), config, w, 0.07, 0.14)
    if a.mpnet:
        config, w = read_model(a.mpnet)
        name = "embeddings.word_embeddings.weight"       # the same word pieces as BERT's, four places further
        theirs = np.where(used == CLS, 0, np.where(used == SEP, 2, used.astype(np.int64) + 4))
        w[name] = w[name][torch.from_numpy(theirs)]
        save_model(os.path.join(a.out, "mpnet.npz"), config, w, 0.25, 0.7)
    buffer = io.BytesIO(); np.savez(buffer, used=used, meta=np.frombuffer(json.dumps(meta).encode(), np.uint8), **arrays)
    with lzma.open(os.path.join(a.out, "rows.npz.xz"), "wb", preset=6) as f:
        f.write(buffer.getvalue())
    for name in sorted(os.listdir(a.out)):
        print(name, os.path.getsize(os.path.join(a.out, name)))


if __name__ == "__main__":
    main()
