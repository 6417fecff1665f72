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
mod entries;
mod games;
mod kernel;
mod patterns;
mod pieces;
#[cfg(test)]
mod tests;

use std::ops::Range;

use super::ensemble::Ensemble;
use super::shap::{Explainer, Scratch};
use columns::Columns;
use entries::Entries;
use games::Game;
use kernel::LANES;
use patterns::Patterns;
use pieces::{Piece, cut};

/// Rows for which the tables are read once: many, because the tables come from memory.
const BLOCK: usize = 32 * LANES;

/// Fewer rows than this are explained one by one.
const FEW: usize = 8;

/// Numbers in the tables that are worked on together (128 KiB), which stay in a core's cache meanwhile.
const TOGETHER: usize = 1 << 14;

/// Tables hold at most this many numbers (256 MiB); trees beyond that are explained without.
const MOST_ENTRIES: usize = 1 << 25;

/// An ensemble prepared for explaining many rows.
#[derive(Debug, Clone)]
pub struct Tables {
    features: usize,
    baseline: f64,
    columns: Columns,
    pieces: Vec<Piece>,
    /// The pieces that are worked on together.
    groups: Vec<Range<usize>>,
    entries: Entries,
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
    sums: Vec<f64>,
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
        let entries = Game::new(&cut.columns, background).fill(ensemble, &cut);
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
        Tables {
            features: ensemble.features(),
            baseline,
            columns: cut.columns,
            groups: groups(&cut.pieces),
            pieces: cut.pieces,
            entries,
            rest,
        }
    }

    /// Log-odds when nothing is known: the mean over the training data, or over the background.
    pub fn baseline(&self) -> f64 {
        self.baseline
    }

    /// Bytes that the tables take.
    pub fn size(&self) -> usize {
        self.entries.len() * size_of::<f64>()
    }

    /// Room for one thread's work.
    pub fn workspace(&self) -> Workspace {
        Workspace {
            ranks: vec![0; self.columns.width() * BLOCK],
            sums: vec![0.0; self.features * BLOCK],
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
        if rows.len() < FEW * self.features {
            for (row, out) in rows.chunks_exact(self.features).zip(out.chunks_exact_mut(self.features)) {
                out.fill(0.0);
                self.columns.rank(row, self.features, 1, &mut workspace.ranks);
                kernel::add_one(&self.pieces, &self.entries, &workspace.ranks, out);
            }
        } else {
            self.many(rows, workspace, out);
        }
        self.add_rest(rows, workspace, out);
    }

    /// The tables' part of many rows: a few pieces after another, and for each all rows.
    fn many(&self, rows: &[f64], workspace: &mut Workspace, out: &mut [f64]) {
        let (features, width) = (self.features, self.columns.width().max(1));
        workspace.sums.fill(0.0);
        for (rows, ranks) in rows.chunks(LANES * features).zip(workspace.ranks.chunks_exact_mut(LANES * width)) {
            self.columns.rank(rows, features, LANES, ranks);
        }
        for group in &self.groups {
            let pieces = self.pieces.get(group.clone()).unwrap_or_default();
            let lanes =
                workspace.ranks.chunks_exact(LANES * width).zip(workspace.sums.chunks_exact_mut(LANES * features));
            for (rows, (ranks, sums)) in rows.chunks(LANES * features).zip(lanes) {
                kernel::add(pieces, &self.entries, rows.len() / features, ranks, sums);
            }
        }
        for (out, sums) in out.chunks_mut(LANES * features).zip(workspace.sums.chunks_exact(LANES * features)) {
            for (lane, out) in out.chunks_exact_mut(features).enumerate() {
                for (out, sums) in out.iter_mut().zip(sums.chunks_exact(LANES)) {
                    *out = sums.get(lane).copied().unwrap_or(f64::NAN);
                }
            }
        }
    }

    /// Adds what the trees without tables give.
    fn add_rest(&self, rows: &[f64], workspace: &mut Workspace, out: &mut [f64]) {
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

/// Pieces one after another whose tables have at most [`TOGETHER`] numbers, or a single one with more.
fn groups(pieces: &[Piece]) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut size = 0;
    for (position, piece) in pieces.iter().enumerate() {
        size += piece.size();
        match groups.last_mut() {
            Some(group) if size <= TOGETHER => group.end = position + 1,
            _ => {
                groups.push(position..position + 1);
                size = piece.size();
            }
        }
    }
    groups
}
