"""NLU++ and EVI as lines for `candor evaluate entities`.

    python entities.py --nlupp DIR > nlupp.jsonl          (NLU++, banking and hotels; written as of Tuesday, 15 March 2022)
    python entities.py --evi DIR > evi.jsonl              (EVI, what callers said, as a machine heard it, when asked who they are)

Of EVI a turn counts when the caller was asked for that item and something was heard; its value is that of the profile they had been given.
"""
import argparse, csv, glob, gzip, json, os, sys

csv.field_size_limit(10 ** 7)


def nlupp(folder):
    for file in sorted(glob.glob(os.path.join(folder, "*", "fold*.json"))):
        for row in json.load(open(file)):
            entities = []
            for slot, found in (row.get("slots") or {}).items():
                value = found.get("value")
                if slot in ("date", "date_from", "date_to") and isinstance(value, dict) and value.get("year") and value.get("month") and value.get("day"):
                    entities.append({"kind": "date", "text": found["text"], "value": "%04d-%02d-%02d" % (value["year"], value["month"], value["day"])})
                elif slot in ("date", "date_from", "date_to"):
                    entities.append({"kind": "date", "text": found["text"]})
                elif slot == "amount_of_money":
                    code = value.get("currency") if isinstance(value, dict) else None
                    known = {"value": "%.2f %s" % (value["amount"], code)} if code in ("GBP", "EUR", "USD", "CHF") else {}
                    entities.append({"kind": "money", "text": found["text"], **known})
                elif slot == "person_name":
                    entities.append({"kind": "name", "text": found["text"], "value": found["text"]})
            yield {"text": row["text"], "today": "2022-03-15", "kinds": ["date", "money", "name"], "entities": entities}


def evi(folder):
    records = {r["scenario_id"]: r for r in csv.DictReader(gzip.open(os.path.join(folder, "records.en.csv.gz"), "rt"))}
    kinds = {"dob": "date", "postcode": "postcode", "name": "name"}
    for turn in csv.DictReader(gzip.open(os.path.join(folder, "dialogues.en.tsv.gz"), "rt"), delimiter="\t"):
        kind, record = kinds.get(turn["item"]), records.get(turn["scenario_id"])
        if kind and record and turn["transcription"].strip():
            entities = [{"kind": kind, "value": record[turn["item"]]}]
            yield {"text": turn["transcription"], "today": "2022-03-15", "kinds": [kind], "entities": entities}


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--nlupp"); a.add_argument("--evi")
    a = a.parse_args()
    for row in (nlupp(a.nlupp) if a.nlupp else evi(a.evi)):
        sys.stdout.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
