"""Makes the generator's training texts and its tokenizer, packed small.

    python prepare.py --datasets DIR --conversations conversations.jsonl --out DIR

`conversations.jsonl` comes from `cargo run --example record-conversations`. Only sets whose licence allows shipping derived
models are read, and no test split. Texts hold places (`<money1>`) where values stood; a document is

    <|begin|><|user|>...<|assistant|>...<|end|><|user|>...<|system|>what to say<|assistant|>reply<|end|>
"""
import argparse, csv, gzip, hashlib, io, json, os, random, re, zipfile
import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from saying import Wordings, courtesy, TONES

KINDS = ["money", "date", "time", "number", "code", "name", "email", "phone", "text"]
SPECIAL = ["<|begin|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"] + [f"<{k}{i}>" for k in KINDS for i in range(1, 10)]
TEMPLATE = ("<|begin|>{% for message in messages %}{% if not (loop.first and message.role == 'system') %}<|{{ message.role }}|>"
            "{{ message.content }}{% if message.role == 'assistant' %}<|end|>{% endif %}{% endif %}{% endfor %}"
            "{% if add_generation_prompt %}<|assistant|>{% endif %}")

MONTH = "January|February|March|April|May|June|July|August|September|October|November|December"
DAY = "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
VALUES = re.compile("|".join([
    r"(?P<email>[\w.+-]+@[\w-]+\.[\w.]*\w)",
    rf"(?P<date>\b(?:(?:{DAY}),? )?(?:\d{{1,2}}(?:st|nd|rd|th)? (?:of )?(?:{MONTH})|(?:{MONTH}) \d{{1,2}}(?:st|nd|rd|th)?)\b(?:,? \d{{4}}\b)?|\b(?:{DAY})\b|\b\d{{4}}-\d\d-\d\d\b)",
    r"(?P<money>[-]?[€£$] ?\d[\d,]*(?:\.\d+)?|\b\d[\d,]*(?:\.\d+)? (?:dollars|euros|pounds)\b)",
    r"(?P<phone>\(?\b\d{3}\)?[- ]\d{3}[- ]\d{4}\b|\+\d[\d ]{7,14}\d)",
    r"(?P<time>\b\d{1,2}:\d\d(?: ?[ap]\.?m\b\.?)?|\b\d{1,2} ?[ap]\.?m\b\.?|\b\d{1,2} in the (?:morning|afternoon|evening))",
    r"(?P<code>\b[A-Z]{1,3}-?\d{2,}\b|\b\d{4,}\b)", r"(?P<number>\b\d+(?:[.,]\d+)*\b(?: ?%)?)"]))
PLACE = re.compile("<(" + "|".join(KINDS) + r")(\d+)>")


def kind_of(value):
    m = VALUES.fullmatch(value)
    if m:
        return m.lastgroup
    return "name" if re.match(r"[A-Z0-9]", value) and re.search(r"[A-Z]", value) and len(value) > 2 else None


class Places:
    """Values of one conversation and their places."""

    def __init__(self, names=()):
        self.of, self.next = {}, {}
        names = sorted({n for n in names if len(n) > 2 and kind_of(n)}, key=len, reverse=True)
        self.names = re.compile("|".join(r"(?<!\w)" + re.escape(n) + r"(?!\w)" for n in names)) if names else None

    def place(self, kind, value):
        if (kind, value) not in self.of:
            self.next[kind] = self.next.get(kind, 0) + 1
            self.of[kind, value] = f"<{kind}{self.next[kind]}>"
        return self.of[kind, value]

    def out(self, text):
        text = text.replace("<", "‹").replace(">", "›")
        if self.names:
            text = self.names.sub(lambda m: self.place(kind_of(m.group()), m.group()), text)
        parts = re.split(r"(<\w+\d+>)", text)
        return "".join(p if PLACE.fullmatch(p) else VALUES.sub(lambda m: self.place(m.lastgroup, m.group()), p) for p in parts)


def renumber(text):
    """Places numbered by first use within the document; None where there are more than the vocabulary has."""
    seen, counts = {}, {}

    def new(m):
        if m.group() not in seen:
            counts[m.group(1)] = counts.get(m.group(1), 0) + 1
            seen[m.group()] = f"<{m.group(1)}{counts[m.group(1)]}>"
        return seen[m.group()]
    text = PLACE.sub(new, text)
    return text if all(n <= 9 for n in counts.values()) else None


def jsonl(path):
    with gzip.open(path, "rt", encoding="utf-8") as f:
        for line in f:
            if line.strip():
                yield json.loads(line)


def share(text):
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32


def flat(text):
    return re.sub(r"\s+", " ", text).strip()


# ---------------------------------------------------------------- public sets

def sgd(folder, part):
    for d in jsonl(f"{folder}/sgd/{part}.jsonl.gz"):
        names = [v for t in d["turns"] for f in t["frames"] for a in f["actions"] for v in a["values"]]
        places, text = Places(names), ""
        for t in d["turns"]:
            words = places.out(flat(t["utterance"]))
            if t["speaker"] == "USER":
                text += "<|user|>" + words
                continue
            acts = [a["act"].lower().replace("_", " ") + (" " + a["slot"].replace("_", " ") if a["slot"] else "")
                    + (" " + ", ".join(places.out(v) for v in a["values"]) if a["values"] else "") for f in t["frames"] for a in f["actions"]]
            text += "<|system|>acts " + "; ".join(acts) + "<|assistant|>" + words + "<|end|>"
        yield d["dialogue_id"] + part, text


def star(folder):
    for d in jsonl(f"{folder}/star/dialogues.jsonl.gz"):
        names = [v.strip('"') for e in d["Events"] for c in e.get("Constraints", []) or [] if isinstance(c, dict) for v in c.values() if isinstance(v, str)]
        names += [v for e in d["Events"] if isinstance(e.get("Item"), dict) for v in e["Item"].values() if isinstance(v, str) and len(v) < 40]
        places, text = Places(names), ""
        for e in d["Events"]:
            if e["Action"] == "utter" and e["Agent"] == "User":
                text += "<|user|>" + places.out(flat(e["Text"]))
            elif e["Action"] in ("utter", "pick_suggestion") and e["Agent"] == "Wizard":
                label = "<|system|>acts " + e["ActionLabel"].replace("_", " ") if e.get("ActionLabel") else ""
                text += label + "<|assistant|>" + places.out(flat(e["Text"])) + "<|end|>"
        yield str(d["DialogueID"]), text


def multiwoz(folder):
    spaced = lambda t: re.sub(r" ([.,?!;:)])", r"\1", re.sub(r" '", "'", t))
    for key, d in json.load(gzip.open(f"{folder}/multiwoz21_valtest/val.json.gz")).items():
        names = [v for t in d["log"] for acts in t["dialog_act"].values() for _, v in acts if isinstance(v, str)]
        places, text = Places(names), ""
        for i, t in enumerate(d["log"]):
            words = places.out(flat(spaced(t["text"])))
            if i % 2 == 0:
                text += "<|user|>" + words
            else:
                acts = "; ".join(flat(k.lower().replace("-", " ") + " " + ", ".join(places.out(f"{s} {v}".lower() if s == "none" else f"{s} {v}") for s, v in a)) for k, a in t["dialog_act"].items())
                text += f"<|system|>acts {acts}<|assistant|>{words}<|end|>"
        yield key, text


def taskmaster(folder):
    for d in jsonl(f"{folder}/taskmaster4/dialogues.jsonl.gz"):
        places, text = Places(), ""
        for u in d["utterances"]:
            words = places.out(flat(u["text"] or ""))
            if words:
                text += "<|user|>" + words if u["speaker"] == "user" else "<|assistant|>" + words + "<|end|>"
        yield d["conversation_id"], text


def multidogo(folder):
    for domain in sorted(os.listdir(f"{folder}/multidogo/turn_level")):
        talks = {}
        with gzip.open(f"{folder}/multidogo/turn_level/{domain}/train.tsv.gz", "rt", encoding="utf-8") as f:
            for row in csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE):
                talks.setdefault(row["conversationId"], []).append(flat(row["utterance"] or ""))
        for key, lines in talks.items():
            places = Places()
            yield domain + key, "".join("<|user|>" + places.out(l) for l in lines if l)


def evi(folder):
    talks = {}
    with gzip.open(f"{folder}/evi_en/dialogues.en.tsv.gz", "rt", encoding="utf-8") as f:
        for row in csv.DictReader(f, delimiter="\t"):
            talks.setdefault(row["dialogue_id"], []).append((row["item"], flat(row["transcription"] or "")))
    for key, lines in talks.items():
        yield key, "".join(f"<|system|>acts ask {item.replace('_', ' ')}<|user|>{Places().out(words)}" for item, words in lines if words)


def masc(folder):
    """Paragraphs of plain English, as lists of sentences."""
    with zipfile.ZipFile(f"{folder}/masc_text/masc_tagged.zip") as z:
        for name in sorted(z.namelist()):
            if not name.endswith(".txt"):
                continue
            for line in z.read(name).decode("utf-8", "replace").split("\n"):
                words = [w.rsplit("_", 1)[0] for w in line.split() if "_" in w]
                text = re.sub(r" ([.,?!;:)])", r"\1", re.sub(r" (n't|'\w+)", r"\1", " ".join(words)))
                if 4 <= len(words) <= 60 and re.match(r"[A-Z]", text) and text.endswith((".", "!", "?")):
                    yield name, flat(text)


# ---------------------------------------------------------------- Candor's own conversations

HISTORY = 6            # messages before what is to be said, as the program shows them


def request(act, detail, flow, tone, words):
    lines = [act if not detail else f"{act} {detail.replace('_', ' ')}"]
    if flow:
        lines.append("flow " + flow)
    return "\n".join(lines + ["tone " + tone, "words " + words])


def message(role, words):
    return f"<|{role}|>{words}" + ("<|end|>" if role == "assistant" else "")


def candor(path, wordings, rng, a_walk=9):
    """(key, source, document) for what is said and for summaries."""
    for number, line in enumerate(open(path, encoding="utf-8")):
        events, history, key = json.loads(line)["events"], [], f"walk {number // 3}"
        known, unhappy, docs, heard = "", False, [], False
        for event in events:
            if "user" in event:
                history.append(("user", event["user"])); unhappy = event["unhappy"]; heard = True
            elif "summary" in event:
                m = [l for l in event["summary"]["facts"] if l.startswith("Identified as ")]
                known = m[0][len("Identified as "):] if m else ""
                if rng.random() < 0.22 and len(history) > 3:
                    docs.append(("candor summaries", summary(history, known, event["summary"], rng)))
            else:
                act, words = event["act"], event["words"]
                if act in ("say", "ask", "hand_off") and words:
                    tone = "sorry" if unhappy and rng.random() < 0.8 else rng.choice(TONES)
                    last = history[-1] if history else ("assistant", "")
                    cited = act == "say" and event["detail"]
                    reply = words if cited else wordings.say(words, tone, rng)
                    opener = courtesy(tone, last[1], act, words, rng) if last[0] == "user" else ""
                    reply = (opener + " " + reply).strip()
                    name = {"say": "answer" if cited else "say", "ask": "ask", "hand_off": "hand over"}[act]
                    text = "".join(message(*m) for m in history[-HISTORY:])
                    text += message("system", request(name, event["detail"], event["flow"], tone, words)) + message("assistant", reply)
                    docs.append(("candor answers" if cited else "candor replies", text))
                history.append(("assistant", words))
        rng.shuffle(docs)
        for source, text in docs[:a_walk]:
            yield key, source, text


def summary(history, known, lines, rng):
    text = "".join(message(*m) for m in history[-24:])
    ask = "summary" + (f"\nknown {known}" if known else "")
    text += message("system", ask)
    have = set(PLACE.findall(text))
    clean = lambda line: re.sub(r"^Question without an answer: <text\d+>$", "A question could not be answered", re.sub(
        r"^Asked <text\d+>, answered from <text\d+>$", "A question was answered from an article", re.sub(r": <text\d+>$", "", line)))
    out = []
    for part in ("problem", "facts", "done", "open"):
        kept = []
        for line in map(clean, lines[part]):
            if line not in kept and set(PLACE.findall(line)) <= have and not line.startswith("Identified as") or line.startswith("Identified as") and known:
                kept.append(line)
        out.append(f"{part}: " + ("; ".join(kept) or "none"))
    return text + message("assistant", "\n".join(out))


def copied(sentences, rng, n):
    """Passages and flows of other banks: what is said is what is written, with or without a courtesy before it."""
    for i in range(n):
        at = rng.randrange(len(sentences) - 4)
        part = [s for _, s in sentences[at: at + rng.randint(1, 4)]]
        words = Places().out(" ".join(part))
        content = [w.strip(".,;:!?") for w in part[0].split() if len(w) > 4] or ["this"]
        title = " ".join(content[: rng.randint(1, 4)]).capitalize()
        question = rng.choice(["what about {}?", "tell me about {}", "{}?", "how does {} work?", "I have a question about {}", "do you know {}"])
        question = Places().out(question.format(" ".join(rng.sample(content, min(len(content), rng.randint(1, 3))))))
        tone, act = rng.choice(TONES), rng.choice(["answer", "answer", "say", "ask", "hand over"])
        opener = courtesy(tone, question, "say" if act != "ask" else "ask", words, rng)
        text = message("user", question) + message("system", request(act, title if act == "answer" else "", "" if act == "answer" else title, tone, words))
        yield f"copied {i}", text + message("assistant", (opener + " " + words).strip())


def make_tokenizer(texts, out):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=8192, special_tokens=SPECIAL, show_progress=False,
                                                             initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    # Places are words of the text: special tokens would be left out when a reply is read.
    tokenizer.save(os.path.join(out, "tokenizer.json"))
    stored = json.load(open(os.path.join(out, "tokenizer.json")))
    for token in stored["added_tokens"]:
        token["special"] = token["content"].startswith("<|")
    json.dump(stored, open(os.path.join(out, "tokenizer.json"), "w"), ensure_ascii=False)
    json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|begin|>", "eos_token": "<|end|>", "pad_token": "<|end|>",
               "add_bos_token": False, "model_max_length": 2048, "clean_up_tokenization_spaces": False, "chat_template": TEMPLATE},
              open(os.path.join(out, "tokenizer_config.json"), "w"), indent=1)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--datasets", required=True); a.add_argument("--conversations", required=True); a.add_argument("--out", required=True)
    a.add_argument("--sgd-share", type=float, default=0.6); a.add_argument("--seed", type=int, default=0)
    a.add_argument("--a-walk", type=int, default=9)
    a.add_argument("--texts", help="also write Candor's own held-out documents here, a JSON line each, for `candor quantize`")
    a.add_argument("--tokenizer", help="encode with this tokenizer.json, of a model that is trained already, instead of making one")
    a = a.parse_args()
    rng, here = random.Random(a.seed), os.path.dirname(os.path.abspath(__file__))
    os.makedirs(a.out, exist_ok=True)
    documents = []                                                    # (key, source, text)
    add = lambda source, rows: documents.extend((f"{source} {key}", source, text) for key, text in rows if text)
    add("sgd", ((k, t) for k, t in sgd(a.datasets, "train") if share("keep " + k) < a.sgd_share))
    add("star", star(a.datasets)); add("multiwoz", multiwoz(a.datasets)); add("taskmaster", taskmaster(a.datasets))
    add("multidogo", ((k, t) for k, t in multidogo(a.datasets) if share("keep " + k) < 0.35)); add("evi", evi(a.datasets))
    sentences = list(masc(a.datasets))
    by_file = {}
    for name, s in sentences:
        by_file.setdefault(name, []).append(s)
    add("masc", ((f"{name} {i}", Places().out(" ".join(lines[i: i + 6])) + "<|end|>") for name, lines in by_file.items() for i in range(0, len(lines), 6)))
    add("copied", copied(sentences, rng, 9000))
    wordings = Wordings(os.path.join(here, "wordings.txt"))
    for key, source, text in candor(a.conversations, wordings, rng, a.a_walk):
        documents.append((key, source, text))
    print("sentences without other wordings:", wordings.unknown.most_common(25))
    documents = [(k, s, renumber(t)) for k, s, t in documents]
    documents = [(k, s, t) for k, s, t in documents if t]
    held = {k for k, _, _ in documents if share("held out " + k) < 0.02}
    texts = [t for k, _, t in documents if k not in held]
    if a.texts:
        with open(a.texts, "w", encoding="utf-8") as f:
            for k, source, t in documents:
                if k in held and source.startswith("candor"):
                    f.write(json.dumps({"source": source, "text": SPECIAL[0] + t}, ensure_ascii=False) + "\n")

    if not a.tokenizer:
        make_tokenizer(texts, a.out)
    tokenizer = Tokenizer.from_file(a.tokenizer or os.path.join(a.out, "tokenizer.json"))
    sources = sorted({s for _, s, _ in documents})
    train, held_out, held_source, counts = [], [], [], {s: [0, 0] for s in sources}
    for (k, s, _), e in zip(documents, tokenizer.encode_batch([t for _, _, t in documents])):
        ids = [0] + e.ids[:1023]
        counts[s][k in held] += len(ids)
        if k in held:
            held_out.append(ids); held_source.append(sources.index(s))
        else:
            train.append(ids)
    pack = lambda rows: np.array([t for r in rows for t in r], dtype=np.uint16)
    np.savez_compressed(os.path.join(a.out, "corpus.npz"), train=pack(train), held_out=pack(held_out),
                        held_source=np.array(held_source, dtype=np.uint8), sources=np.frombuffer(json.dumps(sources).encode(), dtype=np.uint8))
    print(json.dumps({s: {"train_tokens": c[0], "held_out_tokens": c[1]} for s, c in counts.items()}, indent=1))
    print("documents", len(train), "held out", len(held_out), "bytes", os.path.getsize(os.path.join(a.out, "corpus.npz")))


if __name__ == "__main__":
    main()
