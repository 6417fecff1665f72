"""How long other libraries take to explain a model's rows, beside ours, in one run on one thread; ratios as JSON.

    (cd tests/peers/rust && cargo build --release)
    python tests/peers/risk.py --candor target/release/candor [--rust tests/peers/rust/target/release/candor-peers] [--seconds 2]

needs xgboost, lightgbm, shap, numpy; `--rust` times the crates treeshap, shap-rs and hessboost too. Trains 300 trees of depth 6 on 30 features of made-up data, saves the models and rows in a
temporary folder and times every library on the same rows.
"""
import argparse
import json
import os
import subprocess
import tempfile
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAYON_NUM_THREADS", "1")

import lightgbm
import numpy as np
import shap
import xgboost

TREES, DEPTH, FEATURES, ROWS = 300, 6, 30, 200


def per_row(work, rows, seconds):
    """Best of repeated passes, in microseconds a row: what else runs on the machine only ever adds."""
    best, start = float("inf"), time.perf_counter()
    while time.perf_counter() - start < seconds or best == float("inf"):
        begin = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begin)
    return best / rows * 1e6


def table(path, x):
    np.savetxt(path, x, delimiter=",", header=",".join(f"f{k}" for k in range(x.shape[1])), comments="", fmt="%.9g")


def ours(candor, seconds, model, folder):
    command = [candor, "bench", "risk", "--seconds", str(seconds), "--model", model,
               "--data", f"{folder}/rows.csv", "--background", f"{folder}/background.csv"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def crates(program, seconds, folder):
    """Times of other Rust crates, and how far their values are from xgboost's own."""
    out = subprocess.run([program, folder, str(seconds)], capture_output=True, text=True, check=True).stdout
    return json.loads(out)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--candor", required=True)
    arguments.add_argument("--rust", help="the built program of tests/peers/rust")
    arguments.add_argument("--seconds", type=float, default=2.0)
    options = arguments.parse_args()
    rng = np.random.default_rng(11)
    x = rng.normal(size=(20_000, FEATURES)).astype(np.float32)
    y = (x[:, :6].sum(axis=1) + x[:, 6] * x[:, 7] + rng.normal(size=len(x)) > 0).astype(int)
    rows = x[:ROWS]
    figures = {"trees": TREES, "depth": DEPTH, "features": FEATURES, "rows": ROWS, "us_per_row": {}}
    times = figures["us_per_row"]
    with tempfile.TemporaryDirectory() as folder:
        table(f"{folder}/rows.csv", rows)
        table(f"{folder}/background.csv", x[1000:2000])
        names = [f"f{k}" for k in range(FEATURES)]
        booster = xgboost.train({"max_depth": DEPTH, "eta": 0.1, "objective": "binary:logistic", "nthread": 1},
                                xgboost.DMatrix(x, y, feature_names=names), TREES)
        booster.set_param({"nthread": 1})
        booster.save_model(f"{folder}/xgboost.json")
        light = lightgbm.train({"max_depth": DEPTH, "num_leaves": 2 ** DEPTH, "objective": "binary", "num_threads": 1,
                                "verbose": -1, "min_data_in_leaf": 5}, lightgbm.Dataset(x, y), TREES)
        light.save_model(f"{folder}/lightgbm.txt")
        wide = rows.astype(np.float64)
        times["candor"] = ours(options.candor, options.seconds, f"{folder}/xgboost.json", folder)
        times["candor_on_lightgbm"] = ours(options.candor, options.seconds, f"{folder}/lightgbm.txt", folder)["table_us"]
        matrix = xgboost.DMatrix(rows, feature_names=names)
        times["xgboost"] = per_row(lambda: booster.predict(matrix, pred_contribs=True), ROWS, options.seconds)
        times["xgboost_interactions"] = per_row(
            lambda: booster.predict(xgboost.DMatrix(rows[:4], feature_names=names), pred_interactions=True), 4, options.seconds)
        times["lightgbm"] = per_row(lambda: light.predict(wide, pred_contrib=True, num_threads=1), ROWS, options.seconds)
        if options.rust:
            with open(f"{folder}/dump.json", "w") as file:
                file.write("[" + ",".join(booster.get_dump(with_stats=True, dump_format="json")) + "]")
            np.savetxt(f"{folder}/contributions.csv", booster.predict(matrix, pred_contribs=True)[:, :-1], delimiter=",",
                       header=",".join(names), comments="", fmt="%.9g")
            found = crates(options.rust, options.seconds, folder)
            figures["largest_difference_from_xgboost"] = {name: one["largest_difference"] for name, one in found.items()}
            times |= {name: one["us"] for name, one in found.items()}
        explainer = shap.TreeExplainer(booster)
        times["shap"] = per_row(lambda: explainer.shap_values(rows), ROWS, options.seconds)
        explainer = shap.TreeExplainer(booster, x[1000:1100], feature_perturbation="interventional", model_output="raw")
        times["shap_interventional_100"] = per_row(lambda: explainer.shap_values(rows), ROWS, options.seconds)
    figures["versions"] = {module.__name__: module.__version__ for module in (xgboost, lightgbm, shap)}
    peers = ("xgboost", "lightgbm", "shap", "treeshap", "treeshap_linear", "shap_rs", "hessboost")
    best = min(times[peer] for peer in peers if peer in times)
    own = times["candor"]
    figures["ratios"] = {
        "best_peer_over_table": best / own["table_us"],
        "best_peer_over_single_row": best / own["explain_us"],
        "each_peer_over_table": {peer: times[peer] / own["table_us"] for peer in peers if peer in times},
        "two_threads_speedup": own["table_us"] / own["table_parallel_us"],
        "shap_interventional_100_over_ours_1000": times["shap_interventional_100"] / own["interventional_us"],
        "xgboost_interactions_over_ours": times["xgboost_interactions"] / own["interactions_us"],
    }
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
