//! Exact attributions for many rows, from tables that are made once.
//!
//! What a leaf gives to the features of its path depends on the row only through which of the path's splits the row passes,
//! so it can be tabulated: in the path-dependent game of `shap.rs`, and just as well in the interventional game with any number of
//! background rows, which only decide what the tables hold (the idea of WOODELF, Nadel and Wettenstein 2025, and of Fast
//! TreeSHAP v2, Yang 2021). A tree is cut into pieces: a node, everything below it, and the path above it, so small that all ways
//! to go at its nodes can be listed. A piece's entry holds the sum over its leaves, one number per feature of the piece. Explaining a row is
//! then: which way it goes at every node (`columns.rs`, 64 nodes in a few instructions), and for every piece one look-up
//! and a few additions. Trees that are too deep for tables go to the quadrature, or to the patterns of the background.
//!
//! Every sum has one order, with whatever instructions: the same row gives the same bits on every machine.

mod columns;
mod games;
mod kernel;
mod patterns;
mod pieces;
#[cfg(test)]
mod tests;

use super::ensemble::Ensemble;
use super::shap::{Explainer, Scratch};
use columns::Columns;
use games::Game;
use patterns::Patterns;
use pieces::{Unit, cut};

/// Rows that are worked on together: enough to use a table while it is in the cache.
const BLOCK: usize = 1024;

/// Tables hold at most this many numbers (256 MiB); trees beyond that are explained without.
const MOST_ENTRIES: usize = 1 << 25;

/// An ensemble prepared for explaining many rows.
#[derive(Debug, Clone)]
pub struct Tables {
    features: usize,
    baseline: f64,
    columns: Columns,
    units: Vec<Unit>,
    entries: Vec<f64>,
    rest: Rest,
}

/// The trees that have no tables.
#[derive(Debug, Clone)]
enum Rest {
    None,
    PathDependent(Box<Explainer>),
    Interventional(Box<Patterns>),
}

/// Room for one thread's work.
#[derive(Debug, Clone)]
pub struct Workspace {
    ranks: Vec<u16>,
    row: Vec<f64>,
    scratch: Option<Scratch>,
    right: Vec<bool>,
}

/// A background that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BackgroundError {
    /// Nothing to compare with.
    #[error("the background has no rows")]
    Empty,
    /// The rows do not fit the model.
    #[error("a background row must have one value per feature")]
    Width,
}

impl Tables {
    /// Prepares path-dependent attributions.
    pub fn path_dependent(ensemble: &Ensemble) -> Tables {
        Tables::new(ensemble, None)
    }

    /// Prepares interventional attributions: an unknown feature takes its values from the background rows, all of them
    /// alike. Preparing costs some time for every background row; explaining does not.
    ///
    /// # Errors
    /// When there is no background or a row has another width.
    pub fn interventional(ensemble: &Ensemble, background: &[Vec<f64>]) -> Result<Tables, BackgroundError> {
        if background.is_empty() {
            return Err(BackgroundError::Empty);
        }
        if background.iter().any(|row| row.len() != ensemble.features()) {
            return Err(BackgroundError::Width);
        }
        Ok(Tables::new(ensemble, Some(background)))
    }

    fn new(ensemble: &Ensemble, background: Option<&[Vec<f64>]>) -> Tables {
        let cut = cut(ensemble, MOST_ENTRIES);
        let mut ranks = Vec::new();
        for row in background.unwrap_or_default() {
            let from = ranks.len();
            ranks.resize(from + cut.columns.width(), 0);
            if let Some(ranks) = ranks.get_mut(from..) {
                cut.columns.rank(row, ranks);
            }
        }
        let rows = background.map(|rows| (rows.len(), ranks.as_slice()));
        let entries = Game { columns: &cut.columns, background: rows }.fill(ensemble, &cut);
        let others =
            Ensemble::of(cut.others.iter().filter_map(|&tree| ensemble.trees().get(tree)), ensemble.features());
        let rest = match background {
            _ if cut.others.is_empty() => Rest::None,
            None => Rest::PathDependent(Box::new(Explainer::new(&others))),
            Some(rows) => Rest::Interventional(Box::new(Patterns::new(&others, rows))),
        };
        let baseline = match background {
            None => ensemble.baseline(),
            Some(rows) => {
                let sum: f64 = rows.iter().map(|row| ensemble.margin(row)).sum();
                sum / u32::try_from(rows.len()).map_or(f64::NAN, f64::from)
            }
        };
        Tables { features: ensemble.features(), baseline, columns: cut.columns, units: cut.units, entries, rest }
    }

    /// Log-odds when nothing is known: the mean over the training data, or over the background.
    pub fn baseline(&self) -> f64 {
        self.baseline
    }

    /// Bytes that the tables take.
    pub fn size(&self) -> usize {
        size_of_val(self.entries.as_slice())
    }

    /// Room for one thread's work.
    pub fn workspace(&self) -> Workspace {
        Workspace {
            ranks: vec![0; self.columns.width() * BLOCK],
            row: vec![0.0; self.features],
            scratch: match &self.rest {
                Rest::PathDependent(explainer) => Some(explainer.scratch()),
                _ => None,
            },
            right: match &self.rest {
                Rest::Interventional(patterns) => vec![false; patterns.nodes()],
                _ => Vec::new(),
            },
        }
    }

    /// Writes every row's attributions. `rows` and `out` hold one value per feature, row after row; NaN is a
    /// missing value. Allocates nothing.
    pub fn explain(&self, rows: &[f64], workspace: &mut Workspace, out: &mut [f64]) {
        if self.features == 0 {
            return;
        }
        let width = BLOCK * self.features;
        for (rows, out) in rows.chunks(width).zip(out.chunks_mut(width)) {
            self.block(rows, workspace, out);
        }
    }

    /// Explains on several threads at once, each a part of the rows.
    pub fn explain_in_parallel(&self, rows: &[f64], workspaces: &mut [Workspace], out: &mut [f64]) {
        let all = rows.len() / self.features.max(1);
        let width = all.div_ceil(workspaces.len().max(1)).max(1) * self.features.max(1);
        std::thread::scope(|scope| {
            let mut parts = rows.chunks(width).zip(out.chunks_mut(width)).zip(workspaces);
            let own = parts.next();
            for ((rows, out), workspace) in parts {
                scope.spawn(move || self.explain(rows, workspace, out));
            }
            if let Some(((rows, out), workspace)) = own {
                self.explain(rows, workspace, out);
            }
        });
    }

    fn block(&self, rows: &[f64], workspace: &mut Workspace, out: &mut [f64]) {
        out.fill(0.0);
        let width = self.columns.width();
        for (row, ranks) in rows.chunks_exact(self.features).zip(workspace.ranks.chunks_exact_mut(width)) {
            self.columns.rank(row, ranks);
        }
        let count = rows.len() / self.features;
        if let Some(ranks) = workspace.ranks.get(..count * width) {
            kernel::add(&self.units, &self.entries, ranks, width, out, self.features);
        }
        match (&self.rest, &mut workspace.scratch) {
            (Rest::PathDependent(explainer), Some(scratch)) => {
                for (row, out) in rows.chunks_exact(self.features).zip(out.chunks_exact_mut(self.features)) {
                    explainer.explain(row, scratch, &mut workspace.row);
                    out.iter_mut().zip(&workspace.row).for_each(|(sum, part)| *sum += part);
                }
            }
            (Rest::Interventional(patterns), _) => {
                for (row, out) in rows.chunks_exact(self.features).zip(out.chunks_exact_mut(self.features)) {
                    patterns.add(row, &mut workspace.right, out);
                }
            }
            _ => {}
        }
    }
}
