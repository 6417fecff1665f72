//! How long `treeshap`, `shap-rs` and `hessboost` take to explain rows with an XGBoost model:
//! `candor-peers FOLDER SECONDS`, where the folder holds what `risk.py` wrote: `xgboost.json`, its dump `dump.json` and `rows.csv`.
//! One thread; the best of repeated passes, in microseconds a row, beside the largest difference from `contributions.csv`.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use hessboost::data::DMatrix;
use hessboost::model::{BoostedModel, ModelFormat};
use ndarray::Array2;
use shap_rs::Explainer;
use shap_rs::explainers::TreeExplainer;
use shap_rs::tree::adapters::from_xgboost_json;

type Fault = Box<dyn std::error::Error>;

fn main() -> Result<(), Fault> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("which folder?")?;
    let time = Duration::from_secs_f64(arguments.next().ok_or("how many seconds?")?.parse()?);
    let model = std::fs::read_to_string(format!("{folder}/xgboost.json"))?;
    let rows = table(&std::fs::read_to_string(format!("{folder}/rows.csv"))?)?;
    let truth = table(&std::fs::read_to_string(format!("{folder}/contributions.csv"))?)?;
    let (count, width) = rows.dim();
    let flat: Vec<f64> = rows.iter().copied().collect();
    let mut figures = BTreeMap::new();
    let mut keep = |name: &str, us: f64, values: Vec<f64>| {
        let far = values.iter().zip(&truth).fold(0.0, |far: f64, (a, b)| far.max((a - b).abs()));
        figures.insert(name.to_owned(), serde_json::json!({ "us": us, "largest_difference": far }));
    };

    let trees = treeshap::TreeModel::from_xgboost_json(model.as_bytes()).map_err(|fault| format!("{fault:?}"))?;
    for (name, explainer) in [
        ("treeshap", treeshap::TreeExplainer::path_dependent(&trees)),
        ("treeshap_linear", treeshap::TreeExplainer::linear(&trees)),
    ] {
        let explainer = explainer.map_err(|fault| format!("{fault:?}"))?;
        let mut out = vec![0.0; flat.len()];
        let us = best(time, count, || {
            let _ = black_box(explainer.shap_values_batch_into(black_box(&flat), 0, &mut out));
        });
        keep(name, us, out);
    }

    let dump = std::fs::read_to_string(format!("{folder}/dump.json"))?;
    let ensemble = from_xgboost_json(&dump, width, 1, vec![0.0]).map_err(|fault| format!("{fault:?}"))?;
    let explainer = TreeExplainer::new(&ensemble);
    let mut last = None;
    let us = best(time, count, || last = black_box(explainer.explain(rows.view()).ok()));
    let values = last.ok_or("shap-rs explains nothing")?.values().iter().copied().collect();
    keep("shap_rs", us, values);

    let boosted = BoostedModel::load(format!("{folder}/xgboost.json"), ModelFormat::XgboostJson)?;
    let single: Vec<f32> = flat.iter().map(|&value| value as f32).collect();
    let matrix = DMatrix::from_dense(&single, count, width)?;
    let mut last = None;
    let us = best(time, count, || last = black_box(boosted.predict_contribs(&matrix, ..).ok()));
    let values = last.ok_or("hessboost explains nothing")?;
    let values = values.as_slice().chunks(width + 1).flat_map(|row| &row[..width]).map(|&value| f64::from(value));
    keep("hessboost", us, values.collect());
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

/// The best of repeated passes, in microseconds a row.
fn best(time: Duration, rows: usize, mut work: impl FnMut()) -> f64 {
    let (start, mut best) = (Instant::now(), f64::INFINITY);
    while start.elapsed() < time || best.is_infinite() {
        let begin = Instant::now();
        work();
        best = best.min(begin.elapsed().as_secs_f64());
    }
    best / rows as f64 * 1e6
}

fn table(text: &str) -> Result<Array2<f64>, Fault> {
    let mut lines = text.lines();
    let width = lines.next().ok_or("an empty table")?.split(',').count();
    let values: Result<Vec<f64>, _> = lines.flat_map(|line| line.split(',')).map(str::parse).collect();
    let values = values?;
    Ok(Array2::from_shape_vec((values.len() / width, width), values)?)
}
