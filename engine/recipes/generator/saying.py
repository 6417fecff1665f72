"""Other wordings of what Candor's flows say, and the courtesies before them."""
import os, re
from collections import Counter

TONES = ["plain", "warm", "brief", "sorry"]
TROUBLE = re.compile(r"\b(lost|stol\w+|misplaced|missing|robbed|mugged|pickpocket\w*|someone|twice|wrong|never arrived|not arrived|unhappy|"
                     r"annoyed|disappointed|ridiculous|worried|upset|complain\w*|fraud\w*|declined|failed|gone)\b", re.I)
QUESTION = re.compile(r"\?|^(how|what|when|where|why|can|do|does|is|are|which)\b", re.I)
YES = re.compile(r"^(yes|yep|yeah|sure|ok|okay|go ahead|correct|right|please do|that's right)\b", re.I)
THANKS = re.compile(r"\b(thank|thanks|great|perfect|lovely)\b", re.I)

# One list for both: what the program's check takes for a courtesy is what the generator learns to say.
COURTESIES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../src/dialogue/saying/courtesies.txt")
OPENERS = {}
for _line in open(COURTESIES, encoding="utf-8").read().split("\n"):
    if _line.startswith("@"):
        _fitting = OPENERS.setdefault(_line[1:], [])
    elif _line and not _line.startswith("#"):
        _fitting.append(_line)


def courtesy(tone, heard, act, words, rng):
    """What is said before the matter itself; often nothing."""
    if tone in ("plain", "brief") or words.startswith(("I am sorry", "Thank you", "Hello", "You are welcome", "All right", "Goodbye")):
        return ""
    if tone == "sorry":
        return rng.choice(OPENERS["trouble"] if TROUBLE.search(heard) and rng.random() < 0.5 else OPENERS["sorry"])
    if rng.random() < 0.12:
        return ""
    if TROUBLE.search(heard):
        return rng.choice(OPENERS["trouble"])
    if YES.search(heard):
        return rng.choice(OPENERS["yes"])
    if QUESTION.search(heard):
        return rng.choice(OPENERS["question"])
    if len(heard.split()) <= 5:
        return rng.choice(OPENERS["given"])
    return rng.choice(OPENERS["request"])


class Wordings:
    """wordings.txt: sentences with places of their own ({a}) and other wordings of them."""

    def __init__(self, path):
        self.sentences, self.unknown, alternatives = [], Counter(), None
        for line in open(path, encoding="utf-8"):
            line = line.strip()
            if line.startswith("= "):
                alternatives = []
                pattern = "".join(f"(?P<{p[1:-1]}>.+?)" if re.fullmatch(r"\{\w\}", p) else re.escape(p) for p in re.split(r"(\{\w\})", line[2:]))
                self.sentences.append((re.compile(pattern), alternatives))
            elif line and not line.startswith("#"):
                alternatives.append(line)

    def say(self, words, tone, rng):
        """The same in other words, sentence by sentence; what is not known stays as it is."""
        if rng.random() < 0.12:
            return words
        lines = []
        for line in words.split("\n"):
            lines.append(" ".join(self.sentence(s, tone, rng) for s in re.split(r"(?<=[.?!:])\s+(?=[A-Z<])", line)))
        return "\n".join(lines)

    def sentence(self, sentence, tone, rng):
        for pattern, alternatives in self.sentences:
            m = pattern.fullmatch(sentence)
            if m:
                if rng.random() < (0.5 if tone == "brief" else 0.2):
                    return sentence
                text = re.sub(r"\[([^\]]*)\]", lambda c: rng.choice(c.group(1).split("|")), rng.choice(alternatives))
                text = re.sub(r"\{(\w)\}", lambda c: m.group(c.group(1)), text)
                text = text[:1].upper() + text[1:]
                return text
        self.unknown[sentence] += 1
        return sentence
