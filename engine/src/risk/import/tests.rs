//! Every fixture against the numbers of the library that wrote it: `tests/peers/make_fixtures.py` made them.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::super::interactions::Interactions;
use super::super::shap::Explainer;
use super::super::tables::Tables;
use super::{ExplainError, ImportError, Imported, ImportedExplainer, Inputs, Link};

/// What the library says of its model.
#[derive(Deserialize)]
struct Truth {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    margins: Vec<Vec<f64>>,
    shap: Option<Vec<Vec<Vec<f64>>>>,
    baseline: Option<Vec<f64>>,
    interactions: Option<Vec<Vec<Vec<f64>>>>,
    background: Option<Vec<Vec<String>>>,
    interventional: Option<Vec<Vec<f64>>>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/risk")
}

/// Models with their truths, by name.
fn fixtures(prefix: &str) -> Vec<(String, Vec<u8>, Truth)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some((stem, _)) = name.split_once(".model.").filter(|(stem, _)| stem.starts_with(prefix)) {
            let truth = std::fs::read(folder().join(format!("{stem}.json"))).unwrap();
            let model = std::fs::read(folder().join(&name)).unwrap();
            found.push((name, model, serde_json::from_slice(&truth).unwrap()));
        }
    }
    assert!(!found.is_empty(), "no fixtures of {prefix}");
    found.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    found
}

fn close(ours: f64, theirs: f64) -> bool {
    (ours - theirs).abs() <= 1e-5 * theirs.abs().max(1.0)
}

fn agrees(name: &str, bytes: &[u8], truth: &Truth) {
    let model = Imported::read(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(model.columns.len(), truth.columns.len(), "{name}");
    if model.named {
        assert!(model.columns.iter().map(|column| &column.name).eq(&truth.columns), "{name}: {:?}", model.columns);
    }
    for (output, sum) in model.outputs.iter().enumerate() {
        let explainer = Explainer::new(&sum.ensemble);
        let (mut scratch, mut ours) = (explainer.scratch(), vec![0.0; truth.columns.len()]);
        for (at, cells) in truth.rows.iter().enumerate() {
            let row: Vec<f64> = model
                .columns
                .iter()
                .zip(cells)
                .map(|(column, cell)| model.encode(column, cell.as_str()).unwrap())
                .collect();
            let (margin, theirs) = (explainer.margin(&row), truth.margins[at][output]);
            assert!(close(margin, theirs), "{name}, row {at}, output {output}: margin {margin} is not {theirs}");
            let Some(shap) = &truth.shap else { continue };
            assert!(model.covers, "{name}");
            explainer.explain(&row, &mut scratch, &mut ours);
            for (feature, (ours, theirs)) in ours.iter().zip(&shap[at][output]).enumerate() {
                assert!(close(*ours, *theirs), "{name}, row {at}, feature {feature}: {ours} is not {theirs}");
            }
            let baseline = truth.baseline.as_ref().unwrap()[output];
            let ours = sum.ensemble.baseline();
            assert!(close(ours, baseline), "{name}: baseline {ours} is not {baseline}");
        }
    }
}

#[test]
fn xgboost_models_give_their_own_margins_and_attributions() {
    for (name, bytes, truth) in fixtures("xgboost") {
        agrees(&name, &bytes, &truth);
    }
}

#[test]
fn lightgbm_models_give_their_own_margins_and_attributions() {
    for (name, bytes, truth) in fixtures("lightgbm") {
        agrees(&name, &bytes, &truth);
    }
}

#[test]
fn onnx_models_give_their_own_margins() {
    for (name, bytes, truth) in fixtures("onnx") {
        agrees(&name, &bytes, &truth);
    }
}

fn encoded(model: &Imported, rows: &[Vec<String>]) -> Vec<Vec<f64>> {
    let row = |cells: &Vec<String>| {
        model.columns.iter().zip(cells).map(|(column, cell)| model.encode(column, cell.as_str()).unwrap()).collect()
    };
    rows.iter().map(row).collect()
}

#[test]
fn values_over_a_background_are_those_of_shap() {
    let mut seen = 0;
    for (name, bytes, truth) in fixtures("") {
        let (Some(background), Some(values)) = (&truth.background, &truth.interventional) else { continue };
        let model = Imported::read(&bytes).unwrap();
        let tables = Tables::interventional(&model.outputs[0].ensemble, &encoded(&model, background)).unwrap();
        let rows = encoded(&model, &truth.rows).concat();
        let mut ours = vec![0.0; rows.len()];
        tables.explain(&rows, &mut tables.workspace(), &mut ours);
        for (ours, theirs) in ours.iter().zip(values.concat()) {
            assert!(close(*ours, theirs), "{name}: {ours} is not {theirs}");
        }
        seen += 1;
    }
    assert!(seen >= 4, "{seen} fixtures with a background");
}

#[test]
fn interactions_are_those_of_xgboost() {
    let mut seen = 0;
    for (name, bytes, truth) in fixtures("xgboost") {
        let Some(matrices) = &truth.interactions else { continue };
        let model = Imported::read(&bytes).unwrap();
        let interactions = Interactions::new(&model.outputs[0].ensemble);
        let width = model.columns.len();
        let (mut scratch, mut ours) = (interactions.scratch(), vec![0.0; width * width]);
        for (row, theirs) in encoded(&model, &truth.rows).iter().zip(matrices) {
            interactions.explain(row, &mut scratch, &mut ours);
            for (ours, theirs) in ours.iter().zip(theirs.concat()) {
                assert!(close(*ours, theirs), "{name}: {ours} is not {theirs}");
            }
        }
        seen += 1;
    }
    assert!(seen >= 2, "{seen} fixtures with interactions");
}

#[test]
fn a_table_is_matched_by_name_or_where_the_file_has_none_by_position() {
    let bytes = std::fs::read(folder().join("onnx_boosted.model.onnx")).unwrap();
    let model = Imported::read(&bytes).unwrap();
    assert_eq!(Inputs::new(&model, ["a", "b", "c", "d", "e", "g"].into_iter()).unwrap().names()[5], "g");
    let error = Inputs::new(&model, ["f0", "f1", "f2", "f3", "f4"].into_iter()).unwrap_err();
    assert_eq!(error.0, ["f5"]);
    assert_eq!(ImportedExplainer::new(&model, None).unwrap_err(), ExplainError::NoCovers);

    let bytes = std::fs::read(folder().join("xgboost_multiclass.model.ubj")).unwrap();
    let model = Imported::read(&bytes).unwrap();
    let inputs = Inputs::new(&model, ["x5", "x4", "id", "x3", "x2", "x1", "x0"].into_iter()).unwrap();
    let mut rows = Vec::new();
    inputs.encode(|place| Some(["5", "4", "?", "", "2", "1", "0"][place]), &mut rows).unwrap();
    assert!(rows[3].is_nan() && rows[0] == 0.0 && rows[5] == 5.0);
    let explainer = ImportedExplainer::new(&model, None).unwrap();
    let mut block = explainer.block();
    block.explain(&rows);
    let line = serde_json::to_value(block.row(0, inputs.names())).unwrap();
    for class in ["0", "1", "2"] {
        let parts = line["attributions"][class].as_object().unwrap().values().map(|part| part.as_f64().unwrap());
        let sum = line["baseline"][class].as_f64().unwrap() + parts.sum::<f64>();
        assert!((sum - line["margin"][class].as_f64().unwrap()).abs() < 1e-9, "{line}");
    }
    let error = inputs.encode(|_| Some("many"), &mut rows).unwrap_err();
    assert_eq!((error.column.as_str(), error.text.as_str()), ("x0", "many"));
}

fn text(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap()
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let xgboost = text("xgboost_binary.model.json");
    let lightgbm = text("lightgbm_binary.model.txt");
    let cases = [
        (xgboost.replace("binary:logistic", "rank:secret"), "rank:secret"),
        (xgboost.replace("\"gbtree\"", "\"gblinear\""), "gblinear"),
        (xgboost.replace("\"size_leaf_vector\":\"1\"", "\"size_leaf_vector\":\"2\""), "multi_output_tree"),
        (lightgbm.replace("objective=binary", "objective=secret"), "secret"),
        (lightgbm.replace("is_linear=0", "is_linear=1"), "linear_tree"),
        (lightgbm.replace("version=v4", "version=v9"), "v9"),
    ];
    for (model, name) in cases {
        let error = Imported::read(model.as_bytes()).unwrap_err();
        assert!(
            matches!(error, ImportError::Unsupported { .. }) && error.to_string().contains(name),
            "{name}: {error}"
        );
    }
    let onnx = std::fs::read(folder().join("onnx_boosted.model.onnx")).unwrap();
    let at = onnx.windows(8).position(|window| window == b"LOGISTIC").unwrap();
    let mut probit = onnx.clone();
    probit.splice(at..at + 8, *b"LOGISTIK");
    let error = Imported::read(&probit).unwrap_err();
    assert!(matches!(error, ImportError::Unsupported { .. }) && error.to_string().contains("LOGISTIK"), "{error}");
}

#[test]
fn broken_and_foreign_files_are_refused_with_what_is_wrong() {
    let xgboost = text("xgboost_binary.model.json");
    let lightgbm = text("lightgbm_binary.model.txt");
    let cases: [(Vec<u8>, &str); 9] = [
        (Vec::new(), "empty"),
        (b"\x80\x04\x95".to_vec(), "pickle"),
        (b"CBM1\x00".to_vec(), "CatBoost"),
        (b"binf\x00".to_vec(), "old binary"),
        (b"hello".to_vec(), "no XGBoost"),
        (xgboost.replace("\"sum_hessian\"", "\"sum_hessiam\"").into_bytes(), "sum_hessian"),
        (xgboost.replace("\"left_children\":[1", "\"left_children\":[0").into_bytes(), "two ways lead to node 0"),
        (lightgbm.replace("leaf_count=", "leaf_count=1 ").into_bytes(), "leaf_count has"),
        (lightgbm.replace("left_child=", "left_child=99").into_bytes(), "cannot be read"),
    ];
    for (bytes, expected) in cases {
        let error = Imported::read(&bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn predictions_are_the_librarys() {
    let mut margins = [0.5, -0.5];
    Link::Softmax.apply(&mut margins);
    assert!((margins[0] - 0.731_058_578_630_004_9).abs() < 1e-15 && (margins[0] + margins[1] - 1.0).abs() < 1e-15);
    for (link, expected) in [
        (Link::Logistic { slope: 2.0 }, 0.731_058_578_630_004_9),
        (Link::Exponential, 1.648_721_270_700_128_2),
        (Link::SignedSquare, 0.25),
        (Link::Softplus, 0.974_076_984_180_107),
        (Link::Sign, 1.0),
        (Link::Identity, 0.5),
    ] {
        let mut margin = [0.5];
        link.apply(&mut margin);
        assert!((margin[0] - expected).abs() < 1e-12, "{link:?}: {margin:?}");
    }
}
