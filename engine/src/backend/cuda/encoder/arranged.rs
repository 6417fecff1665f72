//! The encoder's weights in the order in which its kernels read them: see `encoder.cu`.
#![expect(clippy::indexing_slicing, reason = "tensors have the shapes that they were asked for with")]

use crate::models::moe_encoder::Config;
use crate::weights::stored::{half_to_single, single_to_half};
use crate::weights::{Error, Tensors};

/// Width of a token's vector, and neurons of an expert.
pub(super) const WIDTH: usize = 384;
/// Attention heads.
const HEADS: usize = 12;
/// Experts of a layer, and the groups of which each gives one to a token.
pub(super) const EXPERTS: usize = 16;
pub(super) const GROUPS: usize = 4;
/// Inner places of a slab.
const SLAB: usize = 16;
/// Numbers of a matrix.
const MATRIX: usize = WIDTH * WIDTH;

/// Matrices `[WIDTH, WIDTH]` one after another.
#[derive(Default)]
pub(super) struct Matrices {
    /// Float16, each row divided by its scale, by slabs.
    pub(super) slabs: Vec<u16>,
    /// The scale of each row.
    pub(super) scales: Vec<f32>,
}

impl Matrices {
    fn push(&mut self, weights: &[f32]) {
        let rows: Vec<&[f32]> = weights.chunks_exact(WIDTH).collect();
        let scales: Vec<f32> = rows.iter().map(|row| scale_of(row)).collect();
        for slab in 0..WIDTH / SLAB {
            for slot in 0..WIDTH {
                let row = row_of(slot);
                let (first, second) = rows[row][SLAB * slab..SLAB * (slab + 1)].split_at(SLAB / 2);
                // Halves change places in every second four rows: those that are read together lie in different banks.
                let halves = if slot % 8 < 4 { [first, second] } else { [second, first] };
                self.slabs.extend(halves.into_iter().flatten().map(|weight| single_to_half(weight / scales[row])));
            }
        }
        self.scales.extend(scales);
    }
}

/// What a row is divided by: rows that were stored as int8 become whole numbers.
fn scale_of(row: &[f32]) -> f32 {
    let highest = row.iter().fold(0.0f32, |highest, weight| highest.max(weight.abs()));
    if highest > 0.0 { highest / 127.0 } else { 1.0 }
}

/// The row that lies in a slot.
fn row_of(slot: usize) -> usize {
    32 * (slot / 32) + 8 * (slot % 8 / 2) + 2 * (slot / 8 % 4) + slot % 2
}

/// Weight and bias of a norm.
pub(super) type Norm = (Vec<f32>, Vec<f32>);

/// One layer.
pub(super) struct Layer {
    /// Queries, keys and values.
    pub(super) qkv: Matrices,
    pub(super) qkv_bias: Vec<f32>,
    pub(super) out: Matrices,
    pub(super) out_bias: Vec<f32>,
    pub(super) after_attention: Norm,
    /// Each weight as two float16, by slab, half of the experts and lane.
    pub(super) router: Vec<u32>,
    pub(super) selection_bias: Vec<f32>,
    pub(super) sharpness: Vec<f32>,
    /// Of each expert the first product and the second.
    pub(super) experts: Vec<u16>,
    pub(super) up_scales: Vec<f32>,
    pub(super) up_bias: Vec<f32>,
    pub(super) down_scales: Vec<f32>,
    pub(super) down_bias: Vec<f32>,
    pub(super) after_experts: Norm,
}

/// The encoder without its heads.
pub(super) struct Arranged {
    pub(super) words: Vec<u16>,
    pub(super) word_scales: Vec<f32>,
    /// With the segment's vector.
    pub(super) places: Vec<f32>,
    pub(super) norm: Norm,
    pub(super) layers: Vec<Layer>,
}

/// Whether the kernels are made for such a model.
pub(super) fn fits(config: &Config) -> bool {
    let Config { hidden_size, num_attention_heads, num_experts, n_group, moe_intermediate_size, .. } = *config;
    (hidden_size, moe_intermediate_size) == (WIDTH, WIDTH)
        && num_attention_heads == HEADS
        && (num_experts, n_group) == (EXPERTS, GROUPS)
}

impl Arranged {
    /// Reads and arranges all weights.
    ///
    /// # Errors
    /// When a tensor is missing or has another shape.
    pub(super) fn read(config: &Config, tensors: &Tensors) -> Result<Self, Error> {
        let norm = |name: &str| -> Result<Norm, Error> {
            Ok((tensors.get(&format!("{name}.weight"), &[WIDTH])?, tensors.get(&format!("{name}.bias"), &[WIDTH])?))
        };
        let all = tensors.get("words", &[config.vocab_size, WIDTH])?;
        let word_scales: Vec<f32> = all.chunks_exact(WIDTH).map(scale_of).collect();
        let spread = all.chunks_exact(WIDTH).zip(&word_scales);
        let words = spread.flat_map(|(row, scale)| row.iter().map(move |word| single_to_half(word / scale))).collect();
        let mut places = tensors.get("positions", &[config.max_position_embeddings, WIDTH])?;
        let segment = tensors.get("types", &[WIDTH])?;
        for place in places.chunks_exact_mut(WIDTH) {
            place.iter_mut().zip(&segment).for_each(|(place, segment)| *place += segment);
        }
        let layers =
            (0..config.num_hidden_layers).map(|layer| Layer::read(layer, tensors)).collect::<Result<_, _>>()?;
        Ok(Self { words, word_scales, places, norm: norm("norm")?, layers })
    }
}

impl Layer {
    fn read(layer: usize, tensors: &Tensors) -> Result<Self, Error> {
        let get = |part: &str, shape: &[usize]| tensors.get(&format!("layers.{layer}.{part}"), shape);
        let norm = |name: &str| -> Result<Norm, Error> {
            Ok((get(&format!("{name}.weight"), &[WIDTH])?, get(&format!("{name}.bias"), &[WIDTH])?))
        };
        let (mut qkv, mut out) = (Matrices::default(), Matrices::default());
        get("qkv.weight", &[3 * WIDTH, WIDTH])?.chunks_exact(MATRIX).for_each(|part| qkv.push(part));
        out.push(&get("out.weight", &[WIDTH, WIDTH])?);
        let (w1, w2) = (get("ffn.w1", &[EXPERTS, WIDTH, WIDTH])?, get("ffn.w2", &[EXPERTS, WIDTH, WIDTH])?);
        let (mut experts, mut up_scales, mut down_scales) = (Vec::new(), Vec::new(), Vec::new());
        for (w1, w2) in w1.chunks_exact(MATRIX).zip(w2.chunks_exact(MATRIX)) {
            for (weights, scales) in [(w1, &mut up_scales), (w2, &mut down_scales)] {
                let mut one = Matrices::default();
                one.push(weights);
                experts.extend(one.slabs);
                scales.extend(one.scales);
            }
        }
        Ok(Self {
            qkv,
            qkv_bias: get("qkv.bias", &[3 * WIDTH])?,
            out,
            out_bias: get("out.bias", &[WIDTH])?,
            after_attention: norm("norm1")?,
            router: router(&get("ffn.router", &[EXPERTS, WIDTH])?),
            selection_bias: get("ffn.selection_bias", &[EXPERTS])?,
            sharpness: get("ffn.gate_scale", &[1])?,
            experts,
            up_scales,
            up_bias: get("ffn.b1", &[EXPERTS, WIDTH])?,
            down_scales,
            down_bias: get("ffn.b2", &[WIDTH])?,
            after_experts: norm("norm2")?,
        })
    }
}

/// Each weight as what it is in float16 and what that leaves: four pairs for each slab, half of the experts and lane.
fn router(weights: &[f32]) -> Vec<u32> {
    let mut out = Vec::with_capacity(weights.len());
    for slab in 0..WIDTH / SLAB {
        for side in 0..EXPERTS / 8 {
            for lane in 0..32 {
                let first = (8 * side + lane / 4) * WIDTH + SLAB * slab + 2 * (lane % 4);
                for low in [false, true] {
                    for place in [first, first + 8] {
                        let half = |weight: f32| {
                            let high = single_to_half(weight);
                            if low { single_to_half(weight - half_to_single(high)) } else { high }
                        };
                        out.push(u32::from(half(weights[place])) | u32::from(half(weights[place + 1])) << 16);
                    }
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_slot_and_whole_numbers_stay_whole() {
        let mut rows: Vec<usize> = (0..WIDTH).map(row_of).collect();
        // A lane's sums of four neighbouring tiles, 2t and 2t + 1 of each, are eight neighbouring outputs.
        let lane: Vec<usize> = (0..4).flat_map(|tile| [8 * tile + 2, 8 * tile + 3]).map(row_of).collect();
        assert_eq!(lane, (8..16).collect::<Vec<_>>());
        rows.sort_unstable();
        assert_eq!(rows, (0..WIDTH).collect::<Vec<_>>());

        let code = |row: usize, column: usize| ((row * 31 + column * 7) % 255) as f32 - 127.0;
        let weights: Vec<f32> = (0..MATRIX)
            .map(|place| {
                let (row, column) = (place / WIDTH, place % WIDTH);
                if column == row { 127.0 * 0.013 } else { code(row, column) * 0.013 }
            })
            .collect();
        let mut matrices = Matrices::default();
        matrices.push(&weights);
        for (slot, line) in matrices.slabs[3 * SLAB * WIDTH..4 * SLAB * WIDTH].chunks_exact(SLAB).enumerate() {
            let row = row_of(slot);
            for (place, bits) in line.iter().enumerate() {
                let column = 3 * SLAB + if slot % 8 < 4 { place } else { (place + 8) % 16 };
                let wanted = if column == row { 127.0 } else { code(row, column) };
                assert_eq!(half_to_single(*bits), wanted, "{row} {column}");
            }
        }
    }
}
