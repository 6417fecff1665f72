#!/usr/bin/env python3
"""AUC of `candor train risk` beside tuned LightGBM and XGBoost, on the same folds and the same inputs.

    pip install lightgbm xgboost pandas scikit-learn
    CANDOR_DATASETS=... CANDOR=target/release/candor python tests/peers/auc.py [SET ...] [--folds 3] [--tries 12] [--kept FILE]

Every fold's training part goes to each of the three. The peers are tuned by random search over `--tries` settings, each
with early stopping in a cross-validation of five folds inside the training part, and are then grown again on all of it with the
mean number of rounds. Candor does what the command always does (`--test-percent 0`: no rows are kept back). Inputs are
the ones that Candor takes: protected columns are inputs of none of the three. With `--kept` every peer's result is kept in
a file and not measured again, so that a run can be resumed, and Candor be measured anew beside the same peers.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import lightgbm
import numpy
import pandas
import xgboost
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

# Of the peers.
THREADS = 2
# Label, the word for "bad", and columns that are identifiers or tell the outcome.
SETS = {
    "uci_german_credit": ("class", "0", []),
    "sba_case": ("Default", "1", ["Selected", "LoanNr_ChkDgt", "Name", "ChgOffDate", "BalanceGross", "MIS_Status",
                                  "ChgOffPrinGr", "daysterm", "xx"]),
    "hmeq": ("BAD", "1", []),
    "vehicle_insurance_fraud": ("FraudFound", "Yes", ["PolicyNumber"]),
    "uci_taiwan_credit_default": ("default", "1", ["ID"]),
    "credit_risk_laotse": ("loan_status", "1", []),
    "give_me_some_credit": ("SeriousDlqin2yrs", "1", []),
}


def read(name):
    folder = Path(os.environ["CANDOR_DATASETS"]) / name
    table = pandas.read_csv(next(folder.glob("data.csv*")))
    label, positive, ignore = SETS[name]
    table = table.drop(columns=[c for c in table if c in ignore or c.startswith("Unnamed")])
    table[label] = (table[label].astype(str) == positive).astype(int)
    return table, label


def candor(train, test, label, folder):
    train.to_csv(folder / "train.csv", index=False)
    test.to_csv(folder / "test.csv", index=False)
    program = os.environ.get("CANDOR", "candor")
    start = time.time()
    out = subprocess.run([program, "train", "risk", "--data", folder / "train.csv", "--label", label, "--out", folder / "model",
                          "--test-percent", "0"], check=True, capture_output=True, text=True)
    seconds = time.time() - start
    report = json.loads(out.stdout)
    lines = subprocess.run([program, "explain", "--model", folder / "model" / "model.json", "--data", folder / "test.csv"],
                           check=True, capture_output=True, text=True).stdout.splitlines()
    scores = [json.loads(line)["margin"] for line in lines]
    inputs = [name for name, _ in report["importance"]]
    return roc_auc_score(test[label], scores), seconds, inputs, report


def draw(random):
    return {"depth": int(random.integers(2, 10)), "rate": float(random.choice([0.03, 0.05, 0.08])),
            "leaf": float(10 ** random.uniform(-0.5, 1.5)), "penalty": float(10 ** random.uniform(-1, 1.3)),
            "rows": float(random.uniform(0.6, 1.0)), "columns": float(random.uniform(0.4, 1.0))}


class LightGbm:
    def __init__(self, d, seed):
        self.params = {"objective": "binary", "verbosity": -1, "seed": seed, "deterministic": True, "num_threads": THREADS,
                       "learning_rate": d["rate"], "max_depth": d["depth"], "num_leaves": min(2 ** d["depth"] - 1, 127),
                       "min_child_weight": d["leaf"], "min_child_samples": 5, "lambda_l2": d["penalty"],
                       "bagging_fraction": d["rows"], "bagging_freq": 1, "feature_fraction": d["columns"], "metric": "auc"}

    def early(self, x, y, xv, yv):
        data = lightgbm.Dataset(x, y, params={"verbosity": -1})
        model = lightgbm.train(self.params, data, 1500, valid_sets=[lightgbm.Dataset(xv, yv, reference=data)],
                               callbacks=[lightgbm.early_stopping(50, verbose=False)])
        return model.best_score["valid_0"]["auc"], model.best_iteration

    def final(self, x, y, rounds, xt):
        return lightgbm.train(self.params, lightgbm.Dataset(x, y, params={"verbosity": -1}), rounds).predict(xt)


class XgBoost:
    def __init__(self, d, seed):
        self.params = {"objective": "binary:logistic", "tree_method": "hist", "seed": seed, "nthread": THREADS, "eta": d["rate"],
                       "max_depth": d["depth"], "min_child_weight": d["leaf"], "lambda": d["penalty"], "subsample": d["rows"],
                       "colsample_bytree": d["columns"], "eval_metric": "auc"}

    def data(self, x, y=None):
        return xgboost.DMatrix(x, y, enable_categorical=True)

    def early(self, x, y, xv, yv):
        model = xgboost.train(self.params, self.data(x, y), 1500, evals=[(self.data(xv, yv), "v")], early_stopping_rounds=50,
                              verbose_eval=False)
        return model.best_score, model.best_iteration + 1

    def final(self, x, y, rounds, xt):
        return xgboost.train(self.params, self.data(x, y), rounds).predict(self.data(xt))


def peer(kind, x, y, xt, yt, tries):
    start, random, best = time.time(), numpy.random.default_rng(1), None
    for _ in range(tries):
        settings = draw(random)
        scores, rounds = [], []
        for learn, held in StratifiedKFold(5, shuffle=True, random_state=1).split(x, y):
            score, count = kind(settings, 1).early(x.iloc[learn], y.iloc[learn], x.iloc[held], y.iloc[held])
            scores.append(score)
            rounds.append(count)
            if len(y) > 50_000 and len(scores) == 2:
                break
        if best is None or numpy.mean(scores) > best[0]:
            best = (numpy.mean(scores), settings, max(1, int(numpy.mean(rounds))))
    scores = kind(best[1], 1).final(x, y, best[2], xt)
    return roc_auc_score(yt, scores), time.time() - start


class Kept:
    """Results by set, fold, peer and inputs, in a JSON file where one is named."""

    def __init__(self, path):
        self.path = path
        self.results = json.loads(path.read_text()) if path and path.exists() else {}

    def get(self, key, make):
        if key not in self.results:
            self.results[key] = make()
            if self.path:
                self.path.write_text(json.dumps(self.results, indent=1))
        return self.results[key]


def of_peers(table, inputs):
    both = table[inputs].copy()
    for column in both.select_dtypes(exclude="number"):
        both[column] = both[column].astype("category")
    # LightGBM refuses names with signs that JSON uses.
    both.columns = [f"input{position}" for position in range(len(inputs))]
    return both


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("sets", nargs="*")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--tries", type=int, default=12)
    parser.add_argument("--first", type=int, help="only so many of the folds")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--kept", type=Path, help="file of the peers' results")
    parser.add_argument("--only-candor", action="store_true")
    args = parser.parse_args()
    global THREADS
    THREADS = args.threads
    kept = Kept(args.kept)
    print("| data | rows | folds | Candor | LightGBM | XGBoost | Candor less the better | seconds |\n|---|---|---|---|---|---|---|---|")
    for name in args.sets or list(SETS):
        table, label = read(name)
        results, seconds = [], []
        folds = StratifiedKFold(args.folds, shuffle=True, random_state=7).split(table, table[label])
        for fold, (learn, held) in enumerate(list(folds)[: args.first]):
            train, test = table.iloc[learn], table.iloc[held]
            with tempfile.TemporaryDirectory() as folder:
                ours, took, inputs, report = candor(train, test, label, Path(folder))
            print(f"{name}: candor {ours:.4f} in {took:.0f} s, depth {report['shape']['depth']}, {report['trees']} trees",
                  file=sys.stderr, flush=True)
            row, times = [ours], [took]
            if not args.only_candor:
                inputs.sort()
                both = of_peers(table, inputs)
                x, xt = both.iloc[learn], both.iloc[held]
                for kind in (LightGbm, XgBoost):
                    key = f"{name}, fold {fold} of {args.folds}, {kind.__name__}, {args.tries} tries, {','.join(inputs)}"
                    score, took = kept.get(key, lambda: peer(kind, x, train[label], xt, test[label], args.tries))
                    print(f"{name}: {kind.__name__} {score:.4f} in {took:.0f} s", file=sys.stderr, flush=True)
                    row.append(score)
                    times.append(took)
            results.append(row)
            seconds.append(times)
        mean, took = numpy.mean(results, axis=0), numpy.sum(seconds, axis=0)
        cells = [f"{value:.4f}" for value in mean] + ([] if args.only_candor else [f"{mean[0] - max(mean[1:]):+.4f}"])
        print(f"| {name} | {len(table)} | {len(results)} of {args.folds} | " + " | ".join(cells) + " | "
              + ", ".join(f"{t:.0f}" for t in took) + " |", flush=True)


main()
