//! One layer: scales are searched and folded in, weights are cut and rounded, and all of it is written.

use super::AwqError;
use super::clip;
use super::groups::{Group, Kind, Layer, Reads, Source, Tokens, missing};
use super::observe::Observed;
use super::round::{Dense, round};
use super::scales::{Part, Sample, search};
use super::write::Writer;
use crate::weights::Checkpoint;

/// What became of a layer.
pub(super) struct Gain {
    /// Maps of 4 bits.
    pub(super) maps: usize,
    /// The squared error of the products with scales as a share of that without.
    pub(super) share: f64,
}

/// Quantises layer `number` and writes it.
pub(super) fn quantise(
    kind: &Kind,
    checkpoint: &Checkpoint<'_>,
    number: usize,
    observed: &Observed,
    threads: usize,
    writer: &mut Writer,
) -> Result<Gain, AwqError> {
    let mut layer = Layer::new(checkpoint);
    let groups = layer.groups(kind, number)?;
    let mut found = Vec::with_capacity(groups.len());
    let mut gain = Gain { maps: 0, share: 0.0 };
    let (mut plain, mut scaled) = (0.0, 0.0);
    for group in &groups {
        let inputs = layer.inputs(group, observed)?;
        let scales = if matches!(group.source, Source::Nowhere) || !layer.fits(group) {
            None
        } else {
            let parts: Vec<Part<'_>> = group
                .maps
                .iter()
                .zip(&inputs.each)
                .filter_map(|((map, tokens), own)| {
                    let input = if *tokens == Tokens::All { &inputs.all } else { own };
                    Some(Part { weight: layer.maps.get(map)?, input })
                })
                .collect();
            let best = search(&parts, &inputs.all.magnitudes(), threads);
            plain += best.error.0;
            scaled += best.error.1;
            Some(best.scales)
        };
        found.push((scales, inputs));
    }
    for (group, (scales, inputs)) in groups.iter().zip(&mut found) {
        if let Some(scales) = scales {
            layer.fold(group, scales)?;
            let all = std::iter::once(&mut inputs.all);
            for sample in all.chain(&mut inputs.each) {
                for line in sample.values.chunks_exact_mut(scales.len().max(1)) {
                    line.iter_mut().zip(scales.iter()).for_each(|(x, scale)| *x /= scale);
                }
            }
        }
    }
    for (group, (_, inputs)) in groups.iter().zip(&found) {
        for ((map, tokens), own) in group.maps.iter().zip(&inputs.each) {
            let input = if *tokens == Tokens::All { &inputs.all } else { own };
            let weight = layer.maps.get(map).ok_or_else(|| missing(map))?;
            if weight.fits() {
                let limits = if cuts(map) {
                    clip::limits(weight, input)
                } else {
                    vec![f32::INFINITY; weight.values.len() / crate::weights::stored::GROUP]
                };
                writer.four_bits(map, weight, &round(weight, &limits))?;
                gain.maps += 1;
            } else {
                writer.sixteen_bits(map, weight)?;
            }
        }
        if let Some(router) = &group.router {
            writer.thirty_two_bits(router, layer.maps.get(router).ok_or_else(|| missing(router))?)?;
        }
    }
    for (name, values) in &layer.vectors {
        writer.vector(name, values)?;
    }
    gain.share = if plain > 0.0 { scaled / plain } else { 1.0 };
    Ok(gain)
}

/// Writes layer `number` with drawn scales folded in and nothing rounded; answers how many groups took some.
#[cfg(test)]
pub(super) fn fold_with(
    kind: &Kind,
    checkpoint: &Checkpoint<'_>,
    number: usize,
    writer: &mut Writer,
    draw: &mut dyn FnMut() -> f32,
) -> Result<usize, AwqError> {
    let mut layer = Layer::new(checkpoint);
    let groups = layer.groups(kind, number)?;
    let mut changed = 0;
    for group in groups.iter().filter(|group| !matches!(group.source, Source::Nowhere)) {
        let columns = group.maps.first().and_then(|(map, _)| layer.maps.get(map)).map_or(0, |map| map.columns);
        let scales: Vec<f32> = (0..columns).map(|_| draw()).collect();
        layer.fold(group, &scales)?;
        changed += 1;
    }
    layer.maps.iter().try_for_each(|(name, map)| writer.thirty_two_bits(name, map))?;
    layer.vectors.iter().try_for_each(|(name, values)| writer.vector(name, values))?;
    Ok(changed)
}

/// Writes what stands outside the layers.
pub(super) fn rest(kind: &Kind, checkpoint: &Checkpoint<'_>, writer: &mut Writer) -> Result<(), AwqError> {
    let mut layer = Layer::new(checkpoint);
    layer.vector("model.norm.weight")?;
    let mut names = vec!["model.embed_tokens".to_owned()];
    if !kind.tied {
        names.push("lm_head".to_owned());
    }
    for name in names {
        layer.map(&name)?;
        writer.sixteen_bits(&name, layer.maps.get(&name).ok_or_else(|| missing(&name))?)?;
    }
    layer.vectors.iter().try_for_each(|(name, values)| writer.vector(name, values))
}

/// Whether a map's weights may be cut: queries and keys are not, because attention is sharp (AutoAWQ).
fn cuts(map: &str) -> bool {
    !["q_", "k_"].iter().any(|part| map.contains(part))
}

/// What the maps of a group read.
struct Inputs {
    /// Every token.
    all: Sample,
    /// Of each map that reads only some tokens, those; of the others nothing.
    each: Vec<Sample>,
}

impl Layer<'_, '_> {
    /// What a group reads. A map of an expert reads the tokens that were sent there, times their weights; an expert that no
    /// token was sent to is searched on all of them.
    fn inputs(&self, group: &Group, observed: &Observed) -> Result<Inputs, AwqError> {
        let whole = match &group.reads {
            Reads::Attention => &observed.attention,
            Reads::Inner(name) => observed.inner.get(name).ok_or_else(|| missing(name))?,
            Reads::FeedForward | Reads::Between { .. } => &observed.feed_forward,
        };
        if let Reads::Between { gate, up } = &group.reads {
            let tokens = group.maps.first().map_or(Tokens::All, |(_, tokens)| *tokens);
            let part = sent(whole, observed, tokens, false);
            let read = part.as_ref().unwrap_or(whole);
            let (gate, up) = (self.maps.get(gate), self.maps.get(up));
            let (gate, up) = gate.zip(up).ok_or_else(|| missing("gate_proj"))?;
            let mut all = Sample { width: up.rows, values: Vec::with_capacity(read.rows() * up.rows) };
            for x in read.lines() {
                let product = |map: &'_ Dense| -> Vec<f32> {
                    map.lines().map(|line| crate::backend::cpu::dot(line, x)).collect()
                };
                let gated = product(gate).into_iter().zip(product(up));
                all.values.extend(gated.map(|(g, u)| g * crate::backend::cpu::sigmoid(g) * u));
            }
            if let (Tokens::Expert(_), true) = (tokens, part.is_some()) {
                let weights = weights(observed, tokens);
                let weighed = all.values.chunks_exact(all.width.max(1)).zip(weights);
                let values = weighed.flat_map(|(line, w)| line.iter().map(move |x| x * w)).collect();
                let each = vec![Sample { width: all.width, values }];
                return Ok(Inputs { all, each });
            }
            let each = vec![all.clone()];
            return Ok(Inputs { all, each });
        }
        let each = group.maps.iter().map(|(_, tokens)| match tokens {
            Tokens::All => Sample::default(),
            Tokens::Expert(_) => sent(whole, observed, *tokens, true).unwrap_or_else(|| whole.clone()),
        });
        Ok(Inputs { all: whole.clone(), each: each.collect() })
    }

    /// Multiplies the columns of a group's maps by the scales, and divides what feeds them.
    fn fold(&mut self, group: &Group, scales: &[f32]) -> Result<(), AwqError> {
        for name in group.maps.iter().map(|(name, _)| name).chain(&group.router) {
            let map = self.maps.get_mut(name).ok_or_else(|| missing(name))?;
            for line in map.lines_mut() {
                line.iter_mut().zip(scales).for_each(|(w, scale)| *w *= scale);
            }
        }
        match &group.source {
            Source::Norm(name) => {
                let norm = self.vectors.get_mut(name).ok_or_else(|| missing(name))?;
                norm.iter_mut().zip(scales).for_each(|(w, scale)| *w /= scale);
            }
            Source::Rows(name, rows) => {
                let bias = self.vectors.get_mut(&format!("{name}.bias"));
                if let Some(bias) = bias {
                    for (row, scale) in rows.iter().zip(scales) {
                        if let Some(value) = bias.get_mut(*row) {
                            *value /= scale;
                        }
                    }
                }
                let map = self.maps.get_mut(name).ok_or_else(|| missing(name))?;
                let columns = map.columns;
                for (row, scale) in rows.iter().zip(scales) {
                    let line = map.values.get_mut(row * columns..(row + 1) * columns).unwrap_or_default();
                    line.iter_mut().for_each(|w| *w /= scale);
                }
            }
            Source::Nowhere => {}
        }
        Ok(())
    }
}

/// The weights of the tokens that were sent to an expert.
fn weights(observed: &Observed, tokens: Tokens) -> impl Iterator<Item = f32> {
    let of = move |choices: &Vec<(u32, f32)>| match tokens {
        Tokens::All => Some(1.0),
        Tokens::Expert(expert) => choices.iter().find(|(e, _)| *e == expert).map(|(_, weight)| *weight),
    };
    observed.choices.iter().filter_map(of)
}

/// The rows of the tokens that were sent to an expert, times their weights where `weighed`; nothing when there are none.
fn sent(whole: &Sample, observed: &Observed, tokens: Tokens, weighed: bool) -> Option<Sample> {
    let Tokens::Expert(expert) = tokens else { return None };
    let mut sample = Sample { width: whole.width, values: Vec::new() };
    for (line, choices) in whole.lines().zip(&observed.choices) {
        if let Some((_, weight)) = choices.iter().find(|(e, _)| *e == expert) {
            let factor = if weighed { *weight } else { 1.0 };
            sample.values.extend(line.iter().map(|x| x * factor));
        }
    }
    (!sample.values.is_empty()).then_some(sample)
}
