//! The low-rank maps that train (Hu et al. 2021): `W·x + alpha/r · B·A·x`, with `B` zero at the start.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor, Var};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::pieces::drop_out;
use crate::models::intents::Target;

/// One pair of maps for each adapted projection of each layer.
pub(super) struct Lora {
    /// `A` `[rank, width]` and `B` `[width, rank]`.
    pub(super) maps: BTreeMap<(usize, Target), (Var, Var)>,
    scale: f64,
    dropout: f32,
}

impl Lora {
    /// Maps of `rank` for the `targets` of `layers` layers, `width` wide.
    pub(super) fn new(
        (layers, width): (usize, usize),
        targets: &[Target],
        (rank, alpha): (usize, f32),
        dropout: f32,
        seed: u64,
    ) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // Uniform with the spread of He et al. 2015 for a = √5, as PEFT draws it.
        let bound = 1.0 / (width as f32).sqrt();
        let mut maps = BTreeMap::new();
        for layer in 0..layers {
            for &target in targets {
                let down: Vec<f32> = (0..rank * width).map(|_| rng.random_range(-bound..bound)).collect();
                let down = Var::from_vec(down, (rank, width), &Device::Cpu)?;
                let up = Var::zeros((width, rank), candle_core::DType::F32, &Device::Cpu)?;
                maps.insert((layer, target), (down, up));
            }
        }
        Ok(Self { maps, scale: f64::from(alpha) / rank as f64, dropout })
    }

    /// Adds what the maps of a projection say of `x` to `y`.
    pub(super) fn add(
        &self,
        place: (usize, Target),
        x: &Tensor,
        y: Tensor,
        rng: Option<&mut ChaCha8Rng>,
    ) -> Result<Tensor> {
        let Some((down, up)) = self.maps.get(&place) else { return Ok(y) };
        let x = match rng {
            Some(rng) => drop_out(x, self.dropout, rng)?,
            None => x.clone(),
        };
        let said = x.matmul(&down.as_tensor().t()?)?.matmul(&up.as_tensor().t()?)?;
        y + (said * self.scale)?
    }

    /// All that trains.
    pub(super) fn variables(&self) -> impl Iterator<Item = Var> + '_ {
        self.maps.values().flat_map(|(down, up)| [down.clone(), up.clone()])
    }
}
