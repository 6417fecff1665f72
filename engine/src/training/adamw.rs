//! AdamW (Loshchilov and Hutter 2019) and the cosine schedule.

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var};

/// Decay of the means of gradients and of their squares, and what keeps the step finite.
const FIRST: f64 = 0.9;
const SECOND: f64 = 0.999;
const TINY: f64 = 1e-8;
/// Longer gradients are shortened to this length.
const LONGEST: f64 = 1.0;

/// What is remembered of each variable.
pub(super) struct AdamW {
    moments: Vec<(Var, Tensor, Tensor)>,
    decay: f64,
    steps: i32,
}

impl AdamW {
    /// Moves these variables; each step also pulls them towards zero by `decay` times the rate.
    pub(super) fn new(variables: impl Iterator<Item = Var>, decay: f64) -> Result<Self> {
        let moments = variables.map(|variable| {
            let zero = variable.as_tensor().zeros_like()?;
            Ok((variable, zero.clone(), zero))
        });
        Ok(Self { moments: moments.collect::<Result<_>>()?, decay, steps: 0 })
    }

    /// One step against the gradients.
    ///
    /// # Errors
    /// When a variable has no gradient: it would stay as it is without a sign.
    pub(super) fn step(&mut self, gradients: &GradStore, rate: f64) -> Result<()> {
        self.steps += 1;
        let (mut found, mut squares) = (Vec::with_capacity(self.moments.len()), 0.0);
        for (variable, _, _) in &self.moments {
            let gradient = gradients.get(variable);
            let gradient = gradient.ok_or_else(|| candle_core::Error::Msg("a variable has no gradient".to_owned()))?;
            squares += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
            found.push(gradient);
        }
        let shortened = (LONGEST / squares.sqrt().max(LONGEST)).min(1.0);
        let (first, second) = (1.0 - FIRST.powi(self.steps), 1.0 - SECOND.powi(self.steps));
        for ((variable, mean, square), gradient) in self.moments.iter_mut().zip(found) {
            let gradient = (gradient * shortened)?;
            *mean = ((&*mean * FIRST)? + (&gradient * (1.0 - FIRST))?)?;
            *square = ((&*square * SECOND)? + (gradient.sqr()? * (1.0 - SECOND))?)?;
            let spread = ((&*square / second)?.sqrt()? + TINY)?;
            let step = ((&*mean / first)? / spread)?;
            let kept = (variable.as_tensor() * (1.0 - rate * self.decay))?;
            variable.set(&(kept - (step * rate)?)?.detach())?;
        }
        Ok(())
    }
}

/// The rate of step `step` of `steps`: rising over the first `warm`, then falling to nothing along a cosine.
#[must_use]
pub(super) fn cosine(rate: f64, step: usize, steps: usize, warm: usize) -> f64 {
    if step < warm {
        return rate * (step + 1) as f64 / warm as f64;
    }
    let done = (step - warm) as f64 / (steps.max(warm + 1) - warm) as f64;
    rate * 0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn steps_lead_to_the_lowest_point() {
        let x = Var::from_vec(vec![3.0f32, -2.0], 2, &Device::Cpu).unwrap();
        let unused = Var::from_vec(vec![1.0f32], 1, &Device::Cpu).unwrap();
        let aim = Tensor::from_vec(vec![1.0f32, 0.5], 2, &Device::Cpu).unwrap();
        let loss = || (x.as_tensor() - &aim).unwrap().sqr().unwrap().sum_all().unwrap();
        let mut adam = AdamW::new(std::iter::once(x.clone()), 0.0).unwrap();
        for step in 0..400 {
            adam.step(&loss().backward().unwrap(), cosine(0.1, step, 400, 20)).unwrap();
        }
        assert!(loss().to_scalar::<f32>().unwrap() < 1e-4);
        let mut blind = AdamW::new(std::iter::once(unused), 0.0).unwrap();
        assert!(blind.step(&loss().backward().unwrap(), 0.1).is_err(), "a missing gradient is an error");
    }

    #[test]
    fn the_rate_rises_and_falls_to_nothing() {
        let at = |step| cosine(2.0, step, 110, 10);
        assert!((at(0) - 0.2).abs() < 1e-9 && (at(10) - 2.0).abs() < 1e-9 && (at(60) - 1.0).abs() < 1e-9);
        assert!(at(110) < 1e-9);
    }
}
