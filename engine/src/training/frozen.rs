//! Operations with weights that do not train: their gradients go to what came in, and nothing is computed for the rest.
//!
//! candle's own product computes gradients of both factors, half of them for nothing here; its fused layer norm has no
//! backward at all. Each operation's backward is checked against differences in the tests below.

use std::ops::Range;
use std::sync::Arc;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Storage, Tensor, bail};

use crate::backend::cpu::{self, vectorised};

/// Rows of a batch that one of several maps takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Which map.
    pub(super) map: usize,
    /// Its rows.
    pub(super) rows: Range<usize>,
}

/// Affine maps with frozen weights; a row goes through the one that its part names.
#[derive(Debug, Clone)]
pub(super) struct Affine {
    /// `[maps, outputs, inputs]`.
    weight: Tensor,
    /// `[maps, outputs]`.
    bias: Option<Arc<[f32]>>,
}

impl Affine {
    /// `weight` `[maps, outputs, inputs]`, `bias` `[maps, outputs]`, row-major.
    pub(super) fn new(weight: Vec<f32>, bias: Option<Vec<f32>>, shape: (usize, usize, usize)) -> Result<Self> {
        Ok(Self { weight: Tensor::from_vec(weight, shape, &candle_core::Device::Cpu)?, bias: bias.map(Arc::from) })
    }

    /// `x` `[n, inputs]` -> `[n, outputs]` through the only map.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.by_parts(x, Arc::from([Part { map: 0, rows: 0..x.dim(0)? }]))
    }

    /// `x` `[n, inputs]` -> `[n, outputs]`; the parts cover all rows in order.
    pub(super) fn by_parts(&self, x: &Tensor, parts: Arc<[Part]>) -> Result<Tensor> {
        let map = Map { weight: self.weight.clone(), bias: self.bias.clone(), parts, back: false };
        x.contiguous()?.apply_op1(map)
    }
}

struct Map {
    weight: Tensor,
    bias: Option<Arc<[f32]>>,
    parts: Arc<[Part]>,
    /// Whether rows are outputs and come back as inputs.
    back: bool,
}

impl CustomOp1 for Map {
    fn name(&self) -> &'static str {
        "affine"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, outputs, inputs) = self.weight.dims3()?;
        let (from, to) = if self.back { (outputs, inputs) } else { (inputs, outputs) };
        let (n, columns) = layout.shape().dims2()?;
        let Some((start, _)) = layout.contiguous_offsets() else { bail!("rows are not contiguous") };
        if columns != from {
            bail!("rows have {columns} columns, not {from}");
        }
        let (weight, _) = self.weight.storage_and_layout();
        let Storage::Cpu(weight) = &*weight else { bail!("weights are not in memory") };
        let mut out = Vec::with_capacity(n * to);
        for part in self.parts.iter() {
            let count = part.rows.len();
            let rows = Layout::contiguous_with_offset((count, from), start + part.rows.start * from);
            let map = Layout::contiguous_with_offset((outputs, inputs), part.map * outputs * inputs);
            let map = if self.back { map } else { map.transpose(0, 1)? };
            out.extend_from_slice(storage.matmul(weight, (1, count, to, from), &rows, &map)?.as_slice::<f32>()?);
        }
        if out.len() != n * to {
            bail!("parts cover {} of {} numbers", out.len(), n * to);
        }
        if let Some(bias) = &self.bias {
            for part in self.parts.iter() {
                let bias = bias.get(part.map * to..(part.map + 1) * to).unwrap_or_default();
                let rows = out.get_mut(part.rows.start * to..part.rows.end * to).unwrap_or_default();
                rows.chunks_exact_mut(to.max(1)).for_each(|row| row.iter_mut().zip(bias).for_each(|(o, b)| *o += b));
            }
        }
        Ok((CpuStorage::F32(out), Shape::from((n, to))))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let back = Map { weight: self.weight.clone(), bias: None, parts: Arc::clone(&self.parts), back: true };
        gradient.contiguous()?.apply_op1_no_bwd(&back).map(Some)
    }
}

/// The exact GELU, with the error function that serving uses.
pub(super) fn gelu(x: &Tensor) -> Result<Tensor> {
    x.apply_op1(Gelu)
}

struct Gelu;

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut out = numbers(storage, layout)?.to_vec();
        cpu::gelu(&mut out);
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        back(x, gradient, gelu_slopes)
    }
}

vectorised! {
    /// Multiplies gradients by the slope of GELU: `Φ(x) + x · φ(x)`.
    fn gelu_slopes(x: &[f32], gradients: &mut [f32]) -> () {
        for (g, x) in gradients.iter_mut().zip(x) {
            let below = 0.5 * (1.0 + cpu::erf(*x * std::f32::consts::FRAC_1_SQRT_2));
            *g *= below + *x * 0.398_942_3 * cpu::exp(-0.5 * *x * *x);
        }
    }
}

/// A layer norm with frozen weights.
#[derive(Debug, Clone)]
pub(super) struct Norm {
    weight: Arc<[f32]>,
    bias: Arc<[f32]>,
    epsilon: f32,
}

impl Norm {
    /// `weight` and `bias` are as wide as a row.
    pub(super) fn new(weight: Vec<f32>, bias: Vec<f32>, epsilon: f32) -> Self {
        Self { weight: weight.into(), bias: bias.into(), epsilon }
    }

    /// Normalises each row of `x` `[n, width]`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.apply_op1(self.clone())
    }
}

impl CustomOp1 for Norm {
    fn name(&self) -> &'static str {
        "layer norm"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut out = numbers(storage, layout)?.to_vec();
        cpu::normalise(&mut out, None, &self.weight, &self.bias, self.epsilon);
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        back(x, gradient, |x, gradient| norm_slopes(x, &self.weight, self.epsilon, gradient))
    }
}

vectorised! {
    /// Gradients of normalised rows to gradients of the rows: with `h = g · weight` and the normalised row `y`,
    /// `(h - mean(h) - y · mean(h · y)) / σ`.
    fn norm_slopes(x: &[f32], weight: &[f32], epsilon: f32, gradients: &mut [f32]) -> () {
        let width = weight.len().max(1);
        let share = 1.0 / width as f32;
        for (x, g) in x.chunks_exact(width).zip(gradients.chunks_exact_mut(width)) {
            let mean = x.iter().sum::<f32>() * share;
            let variance = x.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() * share;
            let factor = 1.0 / (variance + epsilon).sqrt();
            let (mut plain, mut along) = (0.0, 0.0);
            for ((g, w), x) in g.iter_mut().zip(weight).zip(x) {
                *g *= w;
                plain += *g;
                along += *g * (x - mean) * factor;
            }
            let (plain, along) = (plain * share, along * share);
            for (g, x) in g.iter_mut().zip(x) {
                *g = (*g - plain - (x - mean) * factor * along) * factor;
            }
        }
    }
}

fn numbers<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else { bail!("numbers are not contiguous") };
    Ok(storage.as_slice::<f32>()?.get(start..end).unwrap_or_default())
}

/// The gradient of `x`: `change` turns the result's gradient into it in place.
fn back(x: &Tensor, gradient: &Tensor, change: impl FnOnce(&[f32], &mut [f32])) -> Result<Option<Tensor>> {
    let mut out = gradient.flatten_all()?.to_vec1::<f32>()?;
    let (storage, layout) = x.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else { bail!("numbers are not in memory") };
    change(numbers(storage, layout)?, &mut out);
    Tensor::from_vec(out, gradient.shape(), &candle_core::Device::Cpu).map(Some)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    fn drawn(count: usize, salt: usize) -> Vec<f32> {
        (0..count).map(|i| ((i * 7919 + salt * 104_729) % 1009) as f32 / 504.5 - 1.0).collect()
    }

    /// Gradients of `Σ weights · f(x)` against differences of second order.
    fn check(shape: (usize, usize), f: impl Fn(&Tensor) -> Tensor) {
        let start = drawn(shape.0 * shape.1, 1);
        let value = |x: &Tensor| {
            let y = f(x);
            let weights = Tensor::from_vec(drawn(y.elem_count(), 2), y.shape(), &Device::Cpu).unwrap();
            (y * weights).unwrap().sum_all().unwrap()
        };
        let x = Var::from_vec(start.clone(), shape, &Device::Cpu).unwrap();
        let gradients = value(x.as_tensor()).backward().unwrap();
        let found = gradients.get(&x).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (i, found) in found.iter().enumerate() {
            let at = |step: f32| {
                let mut moved = start.clone();
                moved[i] += step;
                let x = Tensor::from_vec(moved, shape, &Device::Cpu).unwrap();
                f64::from(value(&x).to_scalar::<f32>().unwrap())
            };
            let want = (at(1e-2) - at(-1e-2)) / 2e-2;
            assert!((f64::from(*found) - want).abs() < 2e-3 * want.abs().max(1.0), "{i}: {found}, not {want}");
        }
    }

    #[test]
    fn gradients_are_the_slopes() {
        check((5, 8), |x| gelu(x).unwrap());
        let norm = Norm::new(drawn(8, 3), drawn(8, 4), 1e-5);
        check((3, 8), |x| norm.forward(x).unwrap());
        let affine = Affine::new(drawn(3 * 4 * 6, 5), Some(drawn(3 * 4, 6)), (3, 4, 6)).unwrap();
        let parts: Arc<[Part]> = [(2, 0..1), (0, 1..4), (1, 4..5)].map(|(map, rows)| Part { map, rows }).into();
        check((5, 6), |x| affine.by_parts(x, parts.clone()).unwrap());
    }

    #[test]
    fn a_row_goes_through_the_map_of_its_part() {
        let affine = Affine::new(vec![1.0, 2.0, 10.0, 20.0], Some(vec![0.5, -0.5]), (2, 1, 2)).unwrap();
        let x = Tensor::from_vec(vec![1.0f32, 1.0, 2.0, 0.0], (2, 2), &Device::Cpu).unwrap();
        let parts = [Part { map: 1, rows: 0..1 }, Part { map: 0, rows: 1..2 }];
        let y = affine.by_parts(&x, parts.into()).unwrap();
        assert_eq!(y.to_vec2::<f32>().unwrap(), [[29.5], [2.5]]);
        let short = [Part { map: 1, rows: 0..1 }];
        assert!(affine.by_parts(&x, short.into()).is_err(), "a row without a map");
    }
}
