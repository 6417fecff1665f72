//! Linear maps that low-rank adapters may be added to.

use crate::backend::{Adapter, Backend};
use crate::models::causal::{AdapterError, AdapterId, ForwardError};
use crate::weights::{Stored, Weights};

use super::BuildError;

/// The matrices `[rank, columns]` and `[rows, rank]` of an adapter for one map.
pub(crate) type LowRank = (Stored, Stored);

/// One or several linear maps of the same input, with the adapters that were loaded for them.
pub(crate) struct Projection<B: Backend> {
    matrix: B::Matrix,
    columns: usize,
    /// Each map's name in checkpoints, and its rows in the output.
    parts: Vec<(String, std::ops::Range<usize>)>,
    adapters: Vec<Adapter<B::Matrix>>,
}

impl<B: Backend> Projection<B> {
    /// Reads the maps `prefix.name` of so many rows each; their outputs lie side by side.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape.
    pub(crate) fn open(
        backend: &B,
        weights: &dyn Weights,
        prefix: &str,
        maps: &[(&str, usize)],
        columns: usize,
    ) -> Result<Self, BuildError> {
        let (mut stored, mut parts, mut bias, mut first) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for (name, rows) in maps {
            let name = format!("{prefix}.{name}");
            stored.push(weights.matrix(&name, *rows, columns)?);
            let tensor = format!("{name}.bias");
            if weights.has(&tensor) {
                bias.resize(first, 0.0);
                bias.extend(weights.vector(&tensor, &[*rows])?);
            }
            parts.push((name, first..first + rows));
            first += rows;
        }
        let bias = (!bias.is_empty()).then(|| {
            bias.resize(first, 0.0);
            bias
        });
        Ok(Self { matrix: backend.matrix(stored, bias)?, columns, parts, adapters: Vec::new() })
    }

    /// `out[n, rows] = x · Wᵀ`, with what the sequences' adapters add.
    ///
    /// # Errors
    /// When the device fails.
    pub(crate) fn forward(
        &self,
        backend: &B,
        step: &B::Step,
        x: &B::Buffer,
        out: &mut B::Buffer,
    ) -> Result<(), ForwardError> {
        backend.linear(step, x, &self.matrix, out)?;
        if self.adapters.is_empty() { Ok(()) } else { backend.adapt(step, x, &self.adapters, out) }
    }

    /// Takes those tensors of an adapter that belong here: `lora` answers the matrices `[rank, columns]` and
    /// `[rows, rank]` of a map by its name.
    ///
    /// # Errors
    /// When a matrix does not fit.
    pub(crate) fn adapt(
        &mut self,
        backend: &B,
        id: AdapterId,
        scale: f32,
        lora: &mut dyn FnMut(&str) -> Result<Option<LowRank>, AdapterError>,
    ) -> Result<(), AdapterError> {
        for (name, rows) in &self.parts {
            let Some((down, up)) = lora(name)? else { continue };
            if down.columns != self.columns || up.rows != rows.len() || up.columns != down.rows {
                let (given, wanted) = ([down.columns, up.rows], [self.columns, rows.len()]);
                return Err(AdapterError(format!("{name} goes from {wanted:?} inputs and outputs, not {given:?}")));
            }
            let refused = |error: ForwardError| AdapterError(error.to_string());
            let (down, up) = (backend.matrix(vec![down], None), backend.matrix(vec![up], None));
            let (down, up) = (down.map_err(refused)?, up.map_err(refused)?);
            self.adapters.push(Adapter { id, down, up, scale, first: rows.start });
        }
        Ok(())
    }

    /// Forgets an adapter.
    pub(crate) fn forget(&mut self, id: AdapterId) {
        self.adapters.retain(|adapter| adapter.id != id);
    }
}
