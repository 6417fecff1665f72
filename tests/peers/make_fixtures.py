"""Small models of other libraries with their own margins, SHAP values and interactions, for `cargo test -p candor-engine import`.

    python tests/peers/make_fixtures.py engine/tests/fixtures/risk [--old DIR ...]

needs xgboost, lightgbm, shap, scikit-learn, skl2onnx, onnxmltools, onnxruntime, pandas. `--old` names folders that
`pip install --target DIR --no-deps xgboost==VERSION` filled: each older XGBoost writes its models in a process of its own.

Every model NAME gets NAME.<its own ending> and NAME.json: columns, rows (cells as text, "" for missing), margins
(row, output), and where the library has them shap (row, output, feature), baseline (output), interactions
(row, feature, feature), background (rows) with interventional (row, feature) values.
"""
import json
import os
import subprocess
import sys

import numpy as np

RNG = np.random.default_rng(7)
ROWS = 12


def data(rows=400, features=6, missing=0.15, zeros=0.0):
    """Numbers in single precision with missing values, ties and zeros, and a noisy label that needs interactions."""
    x = RNG.normal(size=(rows, features)).astype(np.float32)
    x[:, 1] = np.round(x[:, 1] * 2) / 2
    if zeros:
        x[RNG.random(x.shape) < zeros] = 0.0
    score = x[:, 0] + np.where(x[:, 1] > 0, x[:, 2], -x[:, 2]) + 0.3 * RNG.normal(size=rows)
    if missing:
        x[RNG.random(x.shape) < missing] = np.nan
    return x, score


def cell(value):
    if isinstance(value, str):
        return value
    value = float(value)
    return "" if np.isnan(value) else repr(value)


def write(folder, name, columns, rows, margins, **more):
    rows = [[cell(value) for value in row] for row in rows]
    margins = np.asarray(margins, dtype=np.float64).reshape(len(rows), -1).tolist()
    content = {"columns": list(columns), "rows": rows, "margins": margins}
    content.update({key: np.asarray(value, dtype=np.float64).tolist() for key, value in more.items()
                    if value is not None and key != "background"})
    if more.get("background") is not None:
        content["background"] = [[cell(value) for value in row] for row in more["background"]]
    with open(os.path.join(folder, f"{name}.json"), "w") as file:
        json.dump(content, file, separators=(",", ":"))
        file.write("\n")


def xgb(folder, tag, modern):
    import xgboost

    def keep(name, booster, matrix, rows, columns, endings=("json",), interactions=False, **more):
        for ending in endings:
            booster.save_model(os.path.join(folder, f"{tag}_{name}.model.{ending}"))
        margins = booster.predict(matrix, output_margin=True)
        shap = booster.predict(matrix, pred_contribs=True)
        shap = shap.reshape(len(rows), -1, shap.shape[-1])
        pairs = booster.predict(matrix, pred_interactions=True)[:, :-1, :-1] if interactions else None
        write(folder, f"{tag}_{name}", columns, rows, margins, shap=shap[:, :, :-1], baseline=shap[0, :, -1],
              interactions=pairs, **more)

    x, score = data()
    names = [f"x{k}" for k in range(x.shape[1])]
    label = (score > 0).astype(int)
    train = xgboost.DMatrix(x, label, feature_names=names)
    test = xgboost.DMatrix(x[:ROWS], feature_names=names)
    base = {"max_depth": 4, "eta": 0.3, "nthread": 1, "seed": 1}
    binary = {**base, "objective": "binary:logistic", "base_score": 0.2}
    booster = xgboost.train(binary, train, 12)
    more = {}
    if modern:
        import shap as peer
        background = x[100:140]
        explainer = peer.TreeExplainer(booster, background, feature_perturbation="interventional", model_output="raw")
        more = {"background": background, "interventional": explainer.shap_values(x[:ROWS])}
    keep("binary", booster, test, x[:ROWS], names, ("json", "ubj") if modern else ("json",), modern, **more)
    multi = xgboost.DMatrix(x, np.digitize(score, [-1, 1]), feature_names=names)
    keep("multiclass", xgboost.train({**base, "objective": "multi:softprob", "num_class": 3}, multi, 5), test,
         x[:ROWS], names, ("ubj",) if modern else ("json",))
    if not modern:
        return
    keep("learned_start", xgboost.train({**base, "objective": "binary:logistic"}, train, 6), test, x[:ROWS], names)
    keep("dart", xgboost.train({**binary, "booster": "dart", "rate_drop": 0.4, "one_drop": 1}, train, 15), test,
         x[:ROWS], names, ("json", "ubj"))
    keep("logitraw", xgboost.train({**base, "objective": "binary:logitraw"}, train, 4), test, x[:ROWS], names)
    keep("forest", xgboost.train({**binary, "num_parallel_tree": 3, "subsample": 0.7}, train, 3), test, x[:ROWS], names)
    counts = xgboost.DMatrix(x, np.round(np.exp(score / 2)), feature_names=names)
    keep("poisson", xgboost.train({**base, "objective": "count:poisson"}, counts, 8), test, x[:ROWS], names)
    values = xgboost.DMatrix(x, score, feature_names=names)
    keep("regression", xgboost.train(base, values, 8), test, x[:ROWS], names)
    two = xgboost.DMatrix(x, np.stack([score, -2 * score], axis=1), feature_names=names)
    keep("two_targets", xgboost.train(base, two, 4), test, x[:ROWS], names)

    import pandas
    frame = pandas.DataFrame(x, columns=names)
    codes = RNG.integers(0, 9, size=len(x))
    label = (score + np.where(np.isin(codes, [1, 4, 7]), 2.0, 0.0) > 0.5).astype(int)
    frame["kind"] = pandas.Categorical([None if k % 11 == 0 else f"kind {c}" for k, c in enumerate(codes)])
    matrix = xgboost.DMatrix(frame, label, enable_categorical=True)
    rows = frame[:ROWS].astype(object).where(frame[:ROWS].notna(), "").values.tolist()
    for name, onehot in (("categories", 1), ("categories_onehot", 100)):
        booster = xgboost.train({**binary, "max_cat_to_onehot": onehot}, matrix, 8)
        keep(name, booster, xgboost.DMatrix(frame[:ROWS], enable_categorical=True), rows, list(frame.columns))


def lgb(folder):
    import lightgbm
    import pandas

    base = {"num_leaves": 12, "min_data_in_leaf": 5, "verbose": -1, "num_threads": 1, "seed": 1, "deterministic": True}

    def keep(name, params, frame, label, rounds=10, **more):
        booster = lightgbm.train({**base, **params}, lightgbm.Dataset(frame, label, **more), rounds)
        booster.save_model(os.path.join(folder, f"lightgbm_{name}.model.txt"))
        head = frame[:ROWS]
        # A forest predicts from the mean over its trees; its raw scores are their sum.
        scale = 1 / rounds if params.get("boosting") == "rf" else 1
        margins = scale * booster.predict(head, raw_score=True)
        shap = scale * booster.predict(head, pred_contrib=True).reshape(len(head), -1, frame.shape[1] + 1)
        if params["objective"] == "binary":
            odds = booster.predict(head)
            assert np.allclose(np.log(odds / (1 - odds)), params.get("sigmoid", 1) * margins, atol=1e-6), name
        rows = head.astype(object).where(head.notna(), "").values.tolist() if hasattr(head, "notna") else head.tolist()
        write(folder, f"lightgbm_{name}", booster.feature_name(), rows, margins, shap=shap[:, :, :-1],
              baseline=shap[0, :, -1])

    x, score = data()
    x = x.astype(np.float64)
    label = (score > 0).astype(int)
    keep("binary", {"objective": "binary", "sigmoid": 1.7}, x, label)
    keep("no_missing", {"objective": "binary", "use_missing": False}, x, label)
    keep("regression_sqrt", {"objective": "regression", "reg_sqrt": True}, x, score)
    keep("poisson", {"objective": "poisson"}, x, np.round(np.exp(score / 2)))
    keep("multiclass", {"objective": "multiclass", "num_class": 3}, x, np.digitize(score, [-1, 1]), 5)
    keep("ova", {"objective": "multiclassova", "num_class": 3}, x, np.digitize(score, [-1, 1]), 4)
    keep("forest", {"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.7}, x, label)
    keep("dart", {"objective": "binary", "boosting": "dart", "drop_rate": 0.5}, x, label)
    keep("single_leaf", {"objective": "binary", "min_data_in_leaf": 10_000}, x, label, 2)
    zeros, score = data(zeros=0.3)
    keep("zero_as_missing", {"objective": "binary", "zero_as_missing": True}, zeros.astype(np.float64),
         (score > 0).astype(int))
    codes = RNG.integers(0, 40, size=len(x))
    label = (score + np.where(codes % 3 == 1, 2.0, 0.0) > 0.5).astype(int)
    coded = np.column_stack([x, np.where(RNG.random(len(x)) < 0.1, np.nan, codes)])
    sets = {"objective": "binary", "max_cat_to_onehot": 1, "min_data_per_group": 2, "cat_smooth": 1.0}
    keep("categories", sets, coded, label, categorical_feature=[6])
    frame = pandas.DataFrame(x, columns=[f"x{k}" for k in range(6)])
    frame["kind"] = pandas.Categorical([None if k % 11 == 0 else f"kind {c}" for k, c in enumerate(codes)])
    keep("pandas", sets, frame, label)


def onnx(folder):
    import onnx.helper
    import onnxruntime
    import shap
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.ensemble import (GradientBoostingClassifier, GradientBoostingRegressor, HistGradientBoostingClassifier,
                                  RandomForestClassifier, RandomForestRegressor)

    # skl2onnx 1.20 hands truth values to onnx, which from 1.23 on takes only whole numbers.
    make_attribute = onnx.helper.make_attribute

    def tolerant(key, value, *rest, **more):
        whole = isinstance(value, list) and any(isinstance(entry, (bool, np.bool_)) for entry in value)
        return make_attribute(key, [int(entry) for entry in value] if whole else value, *rest, **more)

    onnx.helper.make_attribute = tolerant

    def keep(name, model, x, margins, background=None):
        converted = convert_sklearn(model, initial_types=[("input", FloatTensorType([None, x.shape[1]]))],
                                    options={id(model): {"zipmap": False}} if hasattr(model, "classes_") else None,
                                    target_opset={"": 17, "ai.onnx.ml": 3})
        path = os.path.join(folder, f"onnx_{name}.model.onnx")
        with open(path, "wb") as file:
            file.write(converted.SerializeToString())
        session = onnxruntime.InferenceSession(path)
        answers = session.run(None, {"input": x[:ROWS]})
        print(f"  {name}: onnxruntime answers {np.asarray(answers[-1])[0]}, margin {np.atleast_1d(margins[0])}")
        values = None
        if background is not None:
            values = shap.TreeExplainer(model, background, feature_perturbation="interventional").shap_values(x[:ROWS])
            values = np.asarray(values)
        write(folder, f"onnx_{name}", [f"f{k}" for k in range(x.shape[1])], x[:ROWS], margins,
              background=background, interventional=values)

    x, score = data(missing=0.0)
    label = (score > 0).astype(int)
    small = {"n_estimators": 8, "max_depth": 4, "random_state": 1}
    model = GradientBoostingClassifier(**small).fit(x, label)
    keep("boosted", model, x, model.decision_function(x[:ROWS]), x[100:140])
    model = GradientBoostingClassifier(**small).fit(x, np.digitize(score, [-1, 1]))
    keep("boosted_multiclass", model, x, model.decision_function(x[:ROWS]))
    model = GradientBoostingRegressor(**small).fit(x, score)
    keep("boosted_regression", model, x, model.predict(x[:ROWS]), x[100:140])
    model = RandomForestRegressor(**small).fit(x, score)
    keep("forest_regression", model, x, model.predict(x[:ROWS]), x[100:140])
    model = RandomForestClassifier(**small).fit(x, np.digitize(score, [-1, 1]))
    keep("forest", model, x, model.predict_proba(x[:ROWS]))
    x, score = data()
    model = HistGradientBoostingClassifier(max_iter=8, max_leaf_nodes=10, random_state=1).fit(x, score > 0)
    keep("hist", model, x, model.decision_function(x[:ROWS]))

    import lightgbm
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType as Floats
    model = lightgbm.LGBMClassifier(n_estimators=6, num_leaves=10, verbose=-1, n_jobs=1, random_state=1)
    model.fit(x, (score > 0).astype(int))
    converted = convert_lightgbm(model, initial_types=[("input", Floats([None, x.shape[1]]))], zipmap=True, target_opset=14)
    with open(os.path.join(folder, "onnx_lightgbm.model.onnx"), "wb") as file:
        file.write(converted.SerializeToString())
    write(folder, "onnx_lightgbm", [f"f{k}" for k in range(6)], x[:ROWS], model.predict(x[:ROWS], raw_score=True))


if __name__ == "__main__":
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    if sys.argv[2:3] == ["--as"]:
        xgb(folder, sys.argv[3], modern=False)
        sys.exit()
    xgb(folder, "xgboost", modern=True)
    lgb(folder)
    onnx(folder)
    for old in sys.argv[3:]:
        version = subprocess.run([sys.executable, "-c", "import xgboost; print(xgboost.__version__)"],
                                 env={**os.environ, "PYTHONPATH": old}, capture_output=True, text=True).stdout.strip()
        tag = "xgboost" + "".join(version.split(".")[:2])
        subprocess.run([sys.executable, __file__, folder, "--as", tag], env={**os.environ, "PYTHONPATH": old}, check=True)
