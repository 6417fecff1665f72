//! How long explaining another library's model takes, beside which `tests/peers/risk.py` puts that library itself.

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::super::interactions::Interactions;
use super::super::shap::Explainer;
use super::super::tables::{BackgroundError, Tables, Workspace};
use super::Imported;

/// Times per row, in microseconds, of the first output.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ImportedBench {
    /// Where the model comes from.
    pub format: String,
    /// Its trees.
    pub trees: usize,
    /// Their leaves in all.
    pub leaves: usize,
    /// The most splits on a path.
    pub depth: usize,
    /// Its inputs.
    pub features: usize,
    /// Different rows that were used.
    pub rows: usize,
    /// The margin alone.
    pub score_us: f64,
    /// The first explanation after the model was read, without tables.
    pub explain_cold_us: f64,
    /// Rows one after another, without tables.
    pub explain_us: f64,
    /// Rows of a table, on one thread.
    pub table_us: f64,
    /// The same on every processor.
    pub table_parallel_us: f64,
    /// The processors.
    pub threads: usize,
    /// Preparing the tables, in milliseconds.
    pub table_prepare_ms: f64,
    /// Their size.
    pub table_bytes: usize,
    /// Pairwise interactions.
    pub interactions_us: f64,
    /// Interventional values, on one thread.
    pub interventional_us: Option<f64>,
    /// Background rows that these were taken over.
    pub background: usize,
    /// Preparing the interventional tables, in milliseconds.
    pub interventional_prepare_ms: Option<f64>,
}

/// Measures the first output of a model on encoded rows; each measurement takes about `time`.
///
/// # Errors
/// When a background row does not fit.
pub fn bench_imported(
    model: &Imported,
    rows: &[Vec<f64>],
    background: &[Vec<f64>],
    time: Duration,
) -> Result<Option<ImportedBench>, BackgroundError> {
    let (Some(output), Some(first)) = (model.outputs.first(), rows.first()) else { return Ok(None) };
    let ensemble = &output.ensemble;
    let explainer = Explainer::new(ensemble);
    let (mut scratch, mut out) = (explainer.scratch(), vec![0.0; ensemble.features()]);
    let cold = Instant::now();
    explainer.explain(first, &mut scratch, &mut out);
    let explain_cold_us = micros(cold.elapsed());
    let score_us = repeat(rows, time, |row| {
        black_box(explainer.margin(black_box(row)));
    });
    let explain_us = repeat(rows, time, |row| {
        explainer.explain(black_box(row), &mut scratch, &mut out);
        black_box(&out);
    });
    let start = Instant::now();
    let tables = Tables::path_dependent(ensemble);
    let table_prepare_ms = micros(start.elapsed()) / 1e3;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let interactions = Interactions::new(ensemble);
    let mut room = interactions.scratch();
    let mut matrix = vec![0.0; ensemble.features() * ensemble.features()];
    let interactions_us = repeat(rows, time, |row| {
        interactions.explain(black_box(row), &mut room, &mut matrix);
        black_box(&matrix);
    });
    let mut bench = ImportedBench {
        format: model.format.to_string(),
        trees: ensemble.trees().len(),
        leaves: ensemble.trees().iter().map(|tree| tree.len() / 2 + 1).sum(),
        depth: ensemble.trees().iter().map(super::super::ensemble::Tree::depth).max().unwrap_or(0),
        features: ensemble.features(),
        rows: rows.len(),
        score_us,
        explain_cold_us,
        explain_us,
        table_us: table(&tables, rows, 1, time),
        table_parallel_us: table(&tables, rows, threads, time),
        threads,
        table_prepare_ms,
        table_bytes: tables.size(),
        interactions_us,
        interventional_us: None,
        background: background.len(),
        interventional_prepare_ms: None,
    };
    drop(tables);
    if !background.is_empty() {
        let start = Instant::now();
        let tables = Tables::interventional(ensemble, background)?;
        bench.interventional_prepare_ms = Some(micros(start.elapsed()) / 1e3);
        bench.interventional_us = Some(table(&tables, rows, 1, time));
    }
    Ok(Some(bench))
}

/// Explains all rows again and again: the mean time of a row.
fn table(tables: &Tables, rows: &[Vec<f64>], threads: usize, time: Duration) -> f64 {
    let flat = rows.concat();
    let mut out = vec![0.0; flat.len()];
    let mut workspaces: Vec<Workspace> = vec![tables.workspace(); threads];
    let per_pass = repeat(&[()], time, |()| {
        tables.explain_in_parallel(black_box(&flat), &mut workspaces, &mut out);
        black_box(&out);
    });
    per_pass / u32::try_from(rows.len().max(1)).map_or(f64::NAN, f64::from)
}

/// Runs over the items again and again, once at least without being measured: the mean time of one.
fn repeat<T>(items: &[T], time: Duration, mut work: impl FnMut(&T)) -> f64 {
    if let Some(first) = items.first() {
        work(first);
    }
    let start = Instant::now();
    let mut done = 0_u32;
    while start.elapsed() < time && !items.is_empty() {
        for item in items {
            work(item);
            done = done.saturating_add(1);
        }
    }
    micros(start.elapsed()) / f64::from(done.max(1))
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
