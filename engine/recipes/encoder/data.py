"""Reads the data sets into rows of (text, {head: label}) and says which rows may be trained on.

Only sets whose licence allows shipping derived models are read (the list is in README.md). Test splits are loaded for
the final report alone: nothing here mixes them into training, and `assert_disjoint` stops the run if a training
text also occurs in a test split.
"""
import csv, glob, gzip, hashlib, io, json, os, random, re, zipfile
from collections import defaultdict

HEADS = ("clinc150", "banking77", "hwu64", "desk", "sentiment")
OOS = {"clinc150": "oos", "banking77": "oos", "desk": "other"}   # hwu64 has no label for what lies outside
DESK = ("block_card card_arrival transaction_status dispute_charge balance recent_payments change_contact loan_apply "
        "loan_status complaint talk_to_human greeting thanks goodbye affirm deny cancel correction why_ask "
        "general_question other").split()
SENTIMENT = ["negative", "neutral", "positive"]


def _lines(path):
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8", errors="replace") as f:
        return f.read().split("\n")


def _csv(path):
    with open(path, encoding="utf-8", newline="") as f:
        return list(csv.DictReader(f))


def _share(text, salt=""):
    """A number in [0, 1) that depends on the text alone: splits that do not move when rows are added."""
    return int(hashlib.sha256((salt + text.lower()).encode()).hexdigest()[:8], 16) / 2**32


# ---------------------------------------------------------------- templates

def templates(path, per_intent, rng):
    """Expands a template file: {label: sorted distinct texts}, at most `per_intent` a label."""
    out, label, patterns = {}, None, defaultdict(list)
    for line in open(path, encoding="utf-8"):
        line = line.strip()
        if line.startswith("@"):
            label = line[1:]
        elif line and not line.startswith("#"):
            patterns[label].append(line)
    for label, lines in patterns.items():
        seen = {}
        for i in range(per_intent * 12):
            text = re.sub(r"\[([^\]]*)\]", lambda m: rng.choice(m.group(1).split("|")), lines[i % len(lines)])
            text = re.sub(r"\s+([,.!?])", r"\1", re.sub(r"\s+", " ", text)).strip(" ,")
            if text:
                seen.setdefault(text.lower(), text)
            if len(seen) >= per_intent:
                break
        out[label] = sorted(seen.values())
    return out


def misspell(text, rng):
    """One slip of the keyboard in a word of at least four letters."""
    words = text.split(" ")
    long = [i for i, w in enumerate(words) if len(w) >= 4]
    if not long:
        return text
    i = rng.choice(long); w = words[i]; p = rng.randrange(len(w) - 1)
    words[i] = rng.choice([w[:p] + w[p + 1:], w[:p] + w[p + 1] + w[p] + w[p + 2:], w[:p] + w[p] + w[p:]])
    return " ".join(words)


# ---------------------------------------------------------------- labels of other sets as intents of the desk

BANKING = {
    "block_card": "lost_or_stolen_card compromised_card card_swallowed",
    "card_arrival": "card_arrival card_delivery_estimate",
    "transaction_status": "pending_card_payment pending_transfer pending_top_up pending_cash_withdrawal "
        "transfer_not_received_by_recipient balance_not_updated_after_bank_transfer "
        "balance_not_updated_after_cheque_or_cash_deposit failed_transfer declined_transfer declined_card_payment "
        "declined_cash_withdrawal top_up_failed reverted_card_payment? top_up_reverted Refund_not_showing_up",
    "dispute_charge": "card_payment_not_recognised direct_debit_payment_not_recognised cash_withdrawal_not_recognised "
        "transaction_charged_twice wrong_amount_of_cash_received extra_charge_on_statement request_refund",
    "change_contact": "edit_personal_details",
    "general_question": "exchange_rate fiat_currency_support card_acceptance supported_cards_and_currencies "
        "country_support age_limit atm_support top_up_limits top_up_by_bank_transfer_charge top_up_by_card_charge "
        "top_up_by_cash_or_cheque exchange_charge exchange_via_app topping_up_by_card transfer_into_account "
        "receiving_money card_linking activate_my_card change_pin pin_blocked passcode_forgotten getting_virtual_card "
        "getting_spare_card get_disposable_virtual_card disposable_card_limits visa_or_mastercard verify_my_identity "
        "why_verify_identity verify_source_of_funds verify_top_up automatic_top_up apple_pay_or_google_pay "
        "contactless_not_working card_not_working card_about_to_expire order_physical_card get_physical_card "
        "beneficiary_not_allowed terminate_account card_payment_fee_charged cash_withdrawal_charge "
        "transfer_fee_charged cancel_transfer unable_to_verify_identity virtual_card_not_working",
}
CLINC = {
    "block_card": "freeze_account report_lost_card",
    "card_arrival": "replacement_card_duration",
    "dispute_charge": "report_fraud",
    "balance": "balance",
    "recent_payments": "transactions spending_history",
    "loan_status": "application_status",
    "greeting": "greeting", "thanks": "thank_you", "goodbye": "goodbye", "affirm": "yes", "deny": "no",
    "cancel": "cancel",
    "general_question": "transfer bill_due pay_bill bill_balance min_payment routing interest_rate order_checks "
        "pin_change account_blocked apr credit_limit credit_limit_change improve_credit_score international_fees "
        "redeem_rewards rewards_balance credit_score expiration_date card_declined new_card exchange_rate "
        "travel_notification are_you_a_bot what_can_i_ask_you",
}
CLINC_SKIPPED = {"damaged_card", "maybe", "repeat", "user_name", "change_user_name", "insurance", "insurance_change",
                 "order_status", "rollover_401k", "direct_deposit", "income", "report_fraud"}
NATCS = {
    "block_card": "ReportLostStolenCard", "card_arrival": "AskAboutCardArrival", "dispute_charge": "DisputeCharge",
    "balance": "CheckAccountBalance CheckCreditCardBalance", "recent_payments": "CheckTransactionHistory GetTransactions",
    "change_contact": "UpdateStreetAddress UpdateEmail UpdatePhoneNumber", "loan_apply": "ApplyLoan",
    "general_question": "GetLoanInfo FindBranch FindATM GetBranchHours GetBranchInfo AskAboutTransferTime "
        "AskAboutTransferFees AskAboutATMFees AskAboutCashDeposits GetWithdrawalLimit CheckAccountInterestRate "
        "SetUpOnlineBanking OnlineBankingInfo OrderChecks OrderCheck OpenBankingAccount OpenAccount CloseBankAccount "
        "CloseAccount GetCreditCardInfo GetExchangeRate ChangePin GetBankStatement",
}
MULTIDOGO = {  # noisy labels of dialogue turns: a word of the request must be there
    "block_card": ("reportlostcard", "lost|stole|missing|theft|block"),
    "change_contact": ("updateaddress", "address|update|change|moved"),
    "balance": ("checkbalance", "balance|how much"),
    "dispute_charge": ("disputecharge", "charge|dispute|error|fee|bill"),
    "greeting": ("openinggreeting", ""), "thanks": ("thankyou", "than[kx]"), "goodbye": ("closinggreeting", "bye|day|care|end"),
    "affirm": ("confirmation", "^(yes|yeah|yep|ok|okay|sure|fine|correct|right|yup|please|go ahead)"),
    "deny": ("rejection", "^(no|nope|nothing|not)"),
    "general_question": ("transfermoney closeaccount getroutingnumber orderchecks checkoffereligibility",
                         "transfer|close|routing|check|offer|rate"),
    "other": ("contentonly", "^[a-z ]{3,}$"),
}
NLUPP = {"affirm": {"affirm", "acknowledge"}, "deny": {"deny"}, "goodbye": {"end_call"}, "thanks": {"thank"},
         "greeting": {"greet"}, "talk_to_human": {"handoff"}, "why_ask": {"why"}}


def _by_label(table):
    return {label: desk for desk, labels in table.items() for label in labels.split()}


# ---------------------------------------------------------------- the sets

class Corpus:
    """rows: training rows; val/test: {name: [(text, label)]} by head or set; general: texts for the embedding alone."""

    def __init__(self, folder, here, seed=0, subset=1.0):
        self.folder, self.here, self.rng = folder, here, random.Random(seed)
        self.rows, self.val, self.test, self.general, self.kin = {}, defaultdict(list), defaultdict(list), [], {}
        self.labels = {"desk": DESK, "sentiment": SENTIMENT}
        self._tests()
        self._clinc(); self._banking(); self._natcs(); self._multidogo(); self._nlupp(); self._bitext(); self._hwu()
        self._sentiment(); self._templates(); self._transfer(); self._general()
        if subset < 1.0:
            keys = sorted(self.rows); self.rng.shuffle(keys)
            self.rows = {k: self.rows[k] for k in keys[: int(len(keys) * subset)]}
            self.general = self.general[: int(len(self.general) * subset)]
        self.assert_disjoint()

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def key(self, text):
        return re.sub(r"\s+", " ", text.strip().lower())

    def add(self, text, head=None, label=None, source="", val_share=0.0):
        """One training row; the share `val_share` of texts goes to validation instead. Test texts are refused."""
        text = re.sub(r"\s+", " ", text).strip()
        key = self.key(text)
        if not key or key in self.test_keys:
            return
        if head and (head, key) in self.held:
            return
        known = key in self.rows and head in self.rows[key]["labels"]
        if head and not known and _share(key, head) < val_share:
            self.val[head].append((text, label)); self.held.add((head, key)); return
        row = self.rows.setdefault(key, {"text": text, "labels": {}, "source": source})
        if head:
            row["labels"].setdefault(head, label)

    def _tests(self):
        """Every public test split first, so that `add` can refuse its texts."""
        self.held = set()
        self.clinc = json.load(gzip.open(self.path("clinc150", "data_full.json.gz")))
        self.test["clinc150"] = [(t, y) for t, y in self.clinc["test"]] + [(t, "oos") for t, _ in self.clinc["oos_test"]]
        self.test["banking77"] = [(r["text"], r["category"]) for r in _csv(self.path("banking77", "test.csv"))]
        natcs = _by_label(NATCS)
        for part in ("banking", "finance"):
            for line in _lines(self.path("natcs_intents", f"{part}_test_utterances.jsonl")):
                if line:
                    r = json.loads(line)
                    if r["intent"] in natcs:
                        self.test["desk_natcs"].append((r["utterance"], natcs[r["intent"]]))
        clinc, bank = _by_label(CLINC), _by_label(BANKING)
        self.test["desk_clinc150"] = [(t, clinc.get(y, "other")) for t, y in self.test["clinc150"] if y not in CLINC_SKIPPED]
        self.test["desk_banking77"] = [(t, bank[y]) for t, y in self.test["banking77"] if y in bank]
        for part in ("test",):
            for line in _lines(self.path("sentence_polarity", f"{part}.tsv.gz")):
                if "\t" in line:
                    t, y = line.rsplit("\t", 1)
                    self.test["sentiment"].append((t, "positive" if y.strip() == "1" else "negative"))
        for line in _lines(self.path("pros_cons", "data.tsv.gz")):
            y, _, t = line.partition("\t")
            if t and _share(self.key(t), "pros_cons") < 0.1:
                self.test["sentiment_pros_cons"].append((t, "positive" if y == "pos" else "negative"))
        self.test["hwu64"] = [tuple(l.rsplit("\t", 1)) for l in _lines(self.path("hwu64", "test.tsv"))[1:] if "\t" in l]
        multidogo = [l.split("\t")[3] for f in glob.glob(self.path("multidogo", "turn_level", "*", "test.tsv.gz"))
                     for l in _lines(f) if l.count("\t") >= 5]
        self.test_keys = {self.key(t) for rows in self.test.values() for t, _ in rows}
        # Dialogue turns such as "yes" occur everywhere; only longer ones identify a test row.
        self.test_keys |= {self.key(t) for t in multidogo if len(t.split()) >= 5}

    def _clinc(self):
        desk = _by_label(CLINC)
        self.labels["clinc150"] = sorted({y for _, y in self.clinc["train"]}) + ["oos"]
        # A fifth of the official validation part calibrates, the rest is trained on (the card says so).
        self.val["clinc150"] = [(t, y) for t, y in self.clinc["val"] if _share(t, "clinc-val") < 0.2] + [(t, "oos") for t, _ in self.clinc["oos_val"]]
        self.held |= {("clinc150", self.key(t)) for t, _ in self.val["clinc150"]}
        extra = json.load(gzip.open(self.path("clinc150", "oos_plus_train.json.gz")))
        oos = [t for t, _ in self.clinc["oos_train"]] + [r[0] if isinstance(r, list) else r for r in
               (extra if isinstance(extra, list) else next(iter(extra.values())))]
        domains = json.load(open(self.path("clinc150", "domains.json")))
        money = set(domains["banking"]) | set(domains["credit_cards"]) | {"exchange_rate", "direct_deposit", "income"}
        for t, y in self.clinc["train"] + [r for r in self.clinc["val"] if _share(r[0], "clinc-val") >= 0.2]:
            self.add(t, "clinc150", y, "clinc150")
            if y not in money and _share(t, "bank-oos") < 0.25:
                self.add(t, "banking77", "oos", "clinc150")
            if y in desk:
                self.add(t, "desk", desk[y], "clinc150")
            elif y not in CLINC_SKIPPED and _share(t, "desk-oos") < 0.2:
                self.add(t, "desk", "other", "clinc150")
        for t in oos:
            self.add(t, "clinc150", "oos", "clinc150")
            self.add(t, "banking77", "oos", "clinc150")
            self.add(t, "desk", "other", "clinc150")
        for t, _ in self.clinc["val"] + self.clinc["oos_val"]:
            self.add(t, source="clinc150 validation, unlabelled")

    def _banking(self):
        desk, rows = _by_label(BANKING), _csv(self.path("banking77", "train.csv"))
        self.labels["banking77"] = sorted({r["category"] for r in rows}) + ["oos"]
        for r in rows:
            self.add(r["text"], "banking77", r["category"], "banking77", val_share=0.03)
            if ("banking77", self.key(r["text"])) not in self.held and r["category"] in desk:
                self.add(r["text"], "desk", desk[r["category"]], "banking77")

    def _natcs(self):
        desk = _by_label(NATCS)
        for part in ("banking", "finance"):
            for line in _lines(self.path("natcs_intents", f"{part}_dialogue_turns.jsonl")):
                if not line:
                    continue
                r = json.loads(line); y = r["intent"]
                if desk.get(y) and len(r["utterance"].split()) <= 60:
                    self.add(r["utterance"], "desk", desk[y], "natcs", val_share=0.1)
                else:
                    self.add(r["utterance"], source="natcs")

    def _multidogo(self):
        table = {label: (desk, rule) for desk, (labels, rule) in MULTIDOGO.items() for label in labels.split()}
        cap, count = {"other": 400, "greeting": 500, "thanks": 700, "goodbye": 400, "affirm": 800, "deny": 700}, defaultdict(int)
        for part in ("finance", "insurance", "airline", "software", "media"):
            for line in _lines(self.path("multidogo", "turn_level", part, "train.tsv.gz"))[1:]:
                cells = line.split("\t")
                if len(cells) < 6 or len(cells[3].split()) > 50:
                    continue
                text, y = cells[3], cells[5]
                desk, rule = table.get(y, (None, ""))
                if not desk or (part != "finance" and desk not in cap) or not re.search(rule, text.lower()) \
                        or count[desk] >= cap.get(desk, 10**9) or "<div>" in y:
                    if len(text.split()) >= 4 and part in ("finance", "insurance") and _share(text, "md") < 0.5:
                        self.add(text, source="multidogo")
                    continue
                count[desk] += 1
                self.add(text, "desk", desk, "multidogo", val_share=0.1)
                if y == "thankyou" and re.search("great|help|awesome|nice|good|perfect|excellent|wonderful|quick|much", text):
                    self.add(text, "sentiment", "positive", "multidogo")

    def _nlupp(self):
        for f in sorted(glob.glob(self.path("nlupp", "banking", "*.json"))):
            for r in json.load(open(f)):
                intents = frozenset(r.get("intents", []))
                desk = next((d for d, s in NLUPP.items() if intents and intents <= s), None)
                if desk:
                    self.add(r["text"], "desk", desk, "nlupp", val_share=0.1)
                else:
                    self.add(r["text"], source="nlupp")

    def _bitext(self):
        desk = {"contact_human_agent": "talk_to_human", "complaint": "complaint"}
        for r in _csv(self.path("bitext_cs", "train.csv")):
            if r["intent"] in desk:
                self.add(r["utterance"], "desk", desk[r["intent"]], "bitext", val_share=0.1)
            elif _share(r["utterance"], "bitext") < 0.3:
                self.add(r["utterance"], source="bitext")
            if "W" in r["tags"]:
                self.add(r["utterance"], "sentiment", "negative", "bitext")

    def _hwu(self):
        lines = [l.rpartition("\t")[::2] for l in _lines(self.path("hwu64", "train.tsv"))[1:]]
        for text, y in (l.rpartition("\t")[::2] for l in _lines(self.path("hwu64", "valid.tsv"))[1:]):
            if _share(text, "hwu-val") >= 0.25:
                lines.append((text, y))
            elif text:
                self.val["hwu64"].append((text, y)); self.held.add(("hwu64", self.key(text)))
        self.labels["hwu64"] = sorted({y for t, y in lines if t})
        for text, y in lines:
            if not text:
                continue
            self.add(text, "hwu64", y, "hwu64")
            if y == "general_praise":
                self.add(text, "sentiment", "positive", "hwu64")
            elif y == "general_commandstop":
                self.add(text, "desk", "cancel", "hwu64", val_share=0.1)
            elif y.startswith(("cooking", "recommendation", "iot", "play", "transport", "news", "qa_fact", "social")):
                if _share(text, "hwu") < 0.25:
                    self.add(text, "desk", "other", "hwu64")
                self.add(text, source="hwu64")
            else:
                self.add(text, source="hwu64")

    def _lexicon(self):
        def words(name):
            with open(self.path("opinion_lexicon", name), encoding="latin-1") as f:
                return {l.strip() for l in f if l.strip() and not l.startswith(";")}
        return words("positive-words.txt"), words("negative-words.txt")

    def _sentiment(self):
        good, bad = self._lexicon()
        tokens = lambda t: set(re.findall(r"[a-z'-]+", t.lower()))
        for part in ("train", "dev"):
            for line in _lines(self.path("sentence_polarity", f"{part}.tsv.gz")):
                if "\t" not in line:
                    continue
                t, y = line.rsplit("\t", 1); y = "positive" if y.strip() == "1" else "negative"
                if part == "dev":
                    self.val["sentiment"].append((t, y)); self.held.add(("sentiment", self.key(t)))
                else:
                    self.add(t, "sentiment", y, "sentence_polarity")
        kept = defaultdict(int)
        for line in _lines(self.path("pros_cons", "data.tsv.gz")):
            y, _, t = line.partition("\t"); w = tokens(t)
            # A bare list of features ("battery life") tells nothing by itself, but the box it stood in does.
            if t and kept[y] < 20000:
                kept[y] += 1
                self.add(t, "sentiment", "positive" if y == "pos" else "negative", "pros_cons", val_share=0.01)
        for f in sorted(glob.glob(self.path("product_reviews", "*", "*.txt"))):
            if f.endswith("README.txt"):
                continue
            for line in open(f, encoding="latin-1"):
                head, sep, t = line.strip().partition("##")
                if not sep or line.startswith("*") or len(t.split()) < 3:
                    continue
                s = [int(x) for x in re.findall(r"\[([+-]\d)\]", head)]
                if s and (all(x > 0 for x in s) or all(x < 0 for x in s)):
                    self.add(t, "sentiment", "positive" if s[0] > 0 else "negative", "product_reviews", val_share=0.1)
                elif not s and not (tokens(t) & (good | bad)):
                    self.add(t, "sentiment", "neutral", "product_reviews", val_share=0.1)
        for r in _csv(self.path("ibm_car_rental_satisfaction", "data.csv")):
            self.add(r["Customer_Service"], "sentiment", "positive" if r["Satisfaction"] == "1" else "negative",
                     "ibm_car_rental", val_share=0.1)
        # A question put without a word of opinion is neutral.
        emotive = re.compile(r"!|still|why|not|n't|never|again|wrong|ridiculous|please help")
        for row in list(self.rows.values()):
            t, w = row["text"], tokens(row["text"])
            if row["source"] in ("banking77", "clinc150", "natcs") and not (w & (good | bad)) \
                    and not emotive.search(t.lower()) and _share(t, "neutral") < 0.25:
                self.add(t, "sentiment", "neutral", row["source"], val_share=0.05)

    def _templates(self):
        for name, head, n in (("desk_templates.txt", "desk", 420), ("sentiment_templates.txt", "sentiment", 500)):
            for label, texts in templates(os.path.join(self.here, name), n, self.rng).items():
                assert label in self.labels[head], label
                for t in texts:
                    self.add(t, head, label, "templates", val_share=0.1)
                    if _share(t, "typo") < 0.25:
                        self.add(misspell(t.lower(), self.rng), head, label, "templates")

    def _transfer(self):
        """Texts without labels on which the student follows the teachers: customers' words of every set, and variations
        of labelled rows. `kin` names the head that a variation was made for."""
        for line in _lines(self.path("sgd", "train.jsonl.gz")):
            if line and _share(line[:60], "sgd") < 0.35:
                for t in json.loads(line)["turns"]:
                    if t["speaker"].lower().startswith("u") and 3 <= len(t["utterance"].split()) <= 30 and _share(t["utterance"], "sgd-turn") < 0.5:
                        self.add(t["utterance"], source="sgd")
        for part in ("finance", "insurance", "airline", "software", "media", "fastfood"):
            for line in _lines(self.path("multidogo", "sentence_level", part, "train.tsv.gz"))[1:]:
                cells = line.split("\t")
                if len(cells) > 3 and 3 <= len(cells[3].split()) <= 40 and _share(cells[3], "md2") < (0.8 if part in ("finance", "insurance") else 0.2):
                    self.add(cells[3], source="multidogo")
        for f in sorted(glob.glob(self.path("nlupp", "hotels", "*.json"))):
            for r in json.load(open(f)):
                self.add(r["text"], source="nlupp")
        for r in _csv(self.path("bitext_cs", "train.csv")):
            self.add(r["utterance"], source="bitext")
        openings = ["hi, ", "hello, ", "hey, ", "please, ", "hi there ", "um ", "ok so ", "i want to know ", "quick question: ", "can you tell me "]
        closings = [" please", " thanks", "?", "!", " asap", " right now", ", can you help?", " thank you"]
        for row in [self.rows[k] for k in sorted(self.rows)]:
            text, words, rng = row["text"], row["text"].split(), random.Random(row["text"])
            heads = [h for h in ("clinc150", "banking77", "hwu64") if h in row["labels"]]
            if row["source"] == "sentence_polarity" and len(words) >= 8:
                for _ in range(8):                    # parts of a review: mostly they keep its opinion, the teachers judge
                    n = rng.randint(4, max(5, len(words) - 3)); at = rng.randrange(max(1, len(words) - n))
                    self.vary(" ".join(words[at:at + n]), "sentiment")
            elif row["source"] == "product_reviews" and len(words) >= 8:
                self.vary(" ".join(words[: rng.randint(5, len(words))]), "sentiment")
            elif heads:
                kept = [w for w in words if rng.random() > 0.12] if len(words) > 4 else words
                changed = " ".join(kept)
                if rng.random() < 0.4:
                    changed = misspell(changed, rng)
                if rng.random() < 0.3:
                    changed = rng.choice(openings) + changed
                if rng.random() < 0.3:
                    changed = changed.rstrip(" ?.!") + rng.choice(closings)
                self.vary(changed, heads[0])
                if len(words) > 14:                   # a long request loses its first or its last clause
                    self.vary(" ".join(words[len(words) // 3:] if rng.random() < 0.5 else words[: 2 * len(words) // 3]), heads[0])

    def vary(self, text, head):
        key = self.key(text)
        if key and key not in self.rows:
            self.add(text, source="variation")
            if key in self.rows:
                self.kin[key] = head

    def _general(self):
        """Sentences and passages of general English: the embedding is held to the original on them."""
        texts = []
        with zipfile.ZipFile(self.path("masc_text", "masc_tagged.zip")) as z:
            for name in sorted(n for n in z.namelist() if n.endswith(".txt")):
                words = [w.rsplit("_", 1)[0] for w in z.read(name).decode("utf-8", "replace").split()]
                i = 0
                while i + 8 < len(words):
                    n = self.rng.choice([12, 20, 30, 48, 80])
                    texts.append(re.sub(r"\s+([,.;:!?')])", r"\1", " ".join(words[i:i + n]))); i += n
        self.rng.shuffle(texts)
        self.general = texts[:9000]
        self.test["embedding"] = [(t, "") for t in texts[9000:9500]]

    def assert_disjoint(self):
        public = {self.key(t) for name in ("clinc150", "banking77", "hwu64", "sentiment") for t, _ in self.test[name]}
        assert not public & set(self.rows), "a test text is among the training rows"
        # Held-out validation rows keep no label in training.
        for head, rows in self.val.items():
            for t, _ in rows:
                row = self.rows.get(self.key(t))
                assert not row or head not in row["labels"], (head, t)

    def summary(self):
        from collections import Counter
        lines = []
        for head in HEADS:
            c = Counter(r["labels"][head] for r in self.rows.values() if head in r["labels"])
            lines.append(f"{head}: {sum(c.values())} rows, {len(c)} labels; validation {len(self.val[head])}")
            if head in ("desk", "sentiment"):
                lines.append("   " + ", ".join(f"{k} {v}" for k, v in c.most_common()))
        lines.append(f"all rows {len(self.rows)}, unlabelled {sum(not r['labels'] for r in self.rows.values())}, general {len(self.general)}")
        lines += [f"test {k}: {len(v)}" for k, v in sorted(self.test.items())]
        return "\n".join(lines)


if __name__ == "__main__":
    import sys
    c = Corpus(sys.argv[1], os.path.dirname(os.path.abspath(__file__)))
    print(c.summary())
    for d in DESK:
        rows = [r for r in c.rows.values() if r["labels"].get("desk") == d]
        print(d, "|", " || ".join(r["text"][:60] + " (" + r["source"] + ")" for r in c.rng.sample(rows, min(6, len(rows)))))
    for d in SENTIMENT:
        rows = [r for r in c.rows.values() if r["labels"].get("sentiment") == d]
        print(d, "|", " || ".join(r["text"][:60] + " (" + r["source"] + ")" for r in c.rng.sample(rows, min(10, len(rows)))))
