//! What trains, and the way it does.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var};
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::TrainingError;
use super::adamw::{AdamW, cosine};
use super::encoder::{Features, TrainingEncoder};
use super::intents::{Progress, Recipe};
use super::lora::Lora;
use super::material::{Set, Text};
use super::outcome::Answer;
use super::pieces::{drop_out, log_softmax};
use crate::backend::cpu;
use crate::models::intents::NamedTensors;

/// At the start, an example at its label's mean gets a logit about half so much above the centre's.
const SPREAD: f32 = 8.0;
/// Steps of an epoch when the examples are few.
const SHORTEST: usize = 12;

/// Places that are drawn in random order, all of them before any comes again.
pub(super) struct Deck {
    pub(super) places: Vec<usize>,
    pub(super) next: usize,
}

impl Deck {
    pub(super) fn of(places: Vec<usize>) -> Self {
        Self { places, next: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(super) fn draw(&mut self, rng: &mut ChaCha8Rng) -> Option<usize> {
        if self.next == 0 {
            self.places.shuffle(rng);
        }
        let drawn = self.places.get(self.next).copied();
        self.next = (self.next + 1) % self.places.len().max(1);
        drawn
    }
}

/// What trains.
pub(super) struct Student<'a> {
    pub(super) encoder: &'a TrainingEncoder,
    pub(super) lora: Lora,
    /// `[labels, 2 · width]` and `[labels]`.
    pub(super) head: (Var, Var),
    pub(super) labels: usize,
}

impl<'a> Student<'a> {
    /// Adapters that say nothing yet, and a head that points to the means of each label's features.
    pub(super) fn new(
        encoder: &'a TrainingEncoder,
        set: &Set,
        labels: &[String],
        recipe: &Recipe,
    ) -> Result<Self, TrainingError> {
        let width = encoder.config().hidden_size;
        let shape = (encoder.config().num_hidden_layers, width);
        let lora = Lora::new(shape, &recipe.targets, (recipe.rank, recipe.alpha), recipe.dropout, recipe.seed)?;
        let mut means = Vec::with_capacity(labels.len());
        for label in 0..labels.len() {
            let (mut sum, mut count) = (vec![0.0f32; 2 * width], 0.0f32);
            for text in set.texts.iter().filter(|text| !text.held_out && text.label == Some(label)) {
                sum.iter_mut().zip(&text.features).for_each(|(s, f)| *s += f);
                count += 1.0;
            }
            sum.iter_mut().for_each(|s| *s /= count.max(1.0));
            means.push((sum, count));
        }
        let seen = means.iter().filter(|(_, count)| *count > 0.0).count() as f32;
        let mut centre = vec![0.0f32; 2 * width];
        for (mean, _) in &means {
            centre.iter_mut().zip(mean).for_each(|(c, m)| *c += m / seen);
        }
        let rows: Vec<Vec<f32>> = means
            .iter()
            .map(|(mean, count)| match *count {
                0.0 => vec![0.0; 2 * width],
                _ => mean.iter().zip(&centre).map(|(m, c)| m - c).collect(),
            })
            .collect();
        let squares: Vec<f32> = rows.iter().map(|row| cpu::dot(row, row)).collect();
        let factor = SPREAD * seen / squares.iter().sum::<f32>().max(1e-6);
        // The nearest mean gets the highest logit.
        let (mut weight, mut bias) = (Vec::new(), Vec::new());
        for (row, square) in rows.iter().zip(&squares) {
            bias.push(-factor * (cpu::dot(row, &centre) + 0.5 * square));
            weight.extend(row.iter().map(|r| factor * r));
        }
        let head = (
            Var::from_vec(weight, (labels.len(), 2 * width), &Device::Cpu)?,
            Var::from_vec(bias, labels.len(), &Device::Cpu)?,
        );
        Ok(Self { encoder, lora, head, labels: labels.len() })
    }

    pub(super) fn variables(&self) -> impl Iterator<Item = Var> + '_ {
        self.lora.variables().chain([self.head.0.clone(), self.head.1.clone()])
    }

    pub(super) fn logits(&self, features: &Tensor) -> candle_core::Result<Tensor> {
        features.matmul(&self.head.0.as_tensor().t()?)?.broadcast_add(self.head.1.as_tensor())
    }

    /// Passes over the examples until they are over or nothing gets better; gives the epochs run and the one kept.
    pub(super) fn learn(
        &mut self,
        set: &Set,
        recipe: &Recipe,
        rng: &mut ChaCha8Rng,
        tell: &mut dyn FnMut(&Progress),
    ) -> Result<(usize, usize), TrainingError> {
        let mut own = Deck::of(set.places(|text| !text.general && !text.held_out));
        let mut general = Deck::of(set.places(|text| text.general && !text.held_out));
        let wanted = recipe.batch.max(2) as f64 * recipe.general_share;
        let beside =
            if general.is_empty() { 0 } else { (0..recipe.batch).rev().find(|n| *n as f64 <= wanted).unwrap_or(0) };
        let each = recipe.batch.max(2) - beside;
        let per_epoch = own.len().div_ceil(each).max(SHORTEST);
        let steps = per_epoch * recipe.epochs;
        let mut adam = AdamW::new(self.variables(), recipe.decay)?;
        let (mut step, mut ran) = (0, 0);
        let (mut most, mut gained, mut kept, mut accuracy) = (0, 0, (0, Vec::new()), None);
        for epoch in 1..=recipe.epochs {
            ran = epoch;
            for _ in 0..per_epoch {
                let mut batch: Vec<usize> = (0..each).filter_map(|_| own.draw(rng)).collect();
                batch.extend((0..beside).filter_map(|_| general.draw(rng)));
                let loss = self.loss(set, &batch, recipe, rng)?;
                let gradients = loss.backward()?;
                adam.step(&gradients, cosine(recipe.rate, step, steps, steps / 20))?;
                step += 1;
                let loss = f64::from(loss.to_scalar::<f32>()?);
                tell(&Progress { step, steps, epoch: epoch - 1, loss, accuracy });
            }
            let answers = self.answers(set, |text| text.held_out && !text.general)?;
            let right = answers.iter().filter(|answer| answer.best() == answer.label).count();
            accuracy = Some(right as f64 / answers.len().max(1) as f64);
            if right > most || gained == 0 {
                (most, gained) = (right, epoch);
            }
            // With few examples held out, the best epoch is mostly luck: the last one that is not clearly worse is kept.
            let (count, least) = (answers.len() as f64, most as f64);
            let chance = (least * (1.0 - least / count.max(1.0))).sqrt().max(1.0);
            if right as f64 + chance >= least {
                let now = self.variables().map(|variable| variable.as_tensor().copy());
                kept = (epoch, now.collect::<Result<Vec<_>, _>>()?);
            }
            if epoch - gained >= recipe.patience {
                break;
            }
        }
        for (variable, value) in self.variables().zip(&kept.1) {
            variable.set(value)?;
        }
        Ok((ran, kept.0))
    }

    /// Surprise about the labels, and how far the shipped heads and the embedding have moved.
    pub(super) fn loss(
        &self,
        set: &Set,
        places: &[usize],
        recipe: &Recipe,
        rng: &mut ChaCha8Rng,
    ) -> candle_core::Result<Tensor> {
        let texts: Vec<&Text> = places.iter().filter_map(|place| set.texts.get(*place)).collect();
        let ids: Vec<&[u32]> = texts.iter().map(|text| text.ids.as_slice()).collect();
        let n = texts.len();
        let features = self.encoder.forward(&ids, Some(&self.lora), Some(rng))?;

        let spread = recipe.smoothing / self.labels as f32;
        let mut wanted = vec![0.0f32; n * self.labels];
        for (row, text) in wanted.chunks_exact_mut(self.labels).zip(&texts) {
            if let Some(label) = text.label {
                row.fill(spread);
                row.iter_mut().skip(label).take(1).for_each(|p| *p += 1.0 - recipe.smoothing);
            }
        }
        let labelled = texts.iter().filter(|text| text.label.is_some()).count().max(1);
        let wanted = Tensor::from_vec(wanted, (n, self.labels), &Device::Cpu)?;
        let said = log_softmax(&self.logits(&drop_out(&features.both, recipe.dropout, rng)?)?)?;
        let surprise = ((wanted * said)?.sum_all()? * (-1.0 / labelled as f64))?;
        (surprise + self.drift(set, &texts, &features)?)?.reshape(())
    }

    /// Divergence of the shipped heads' answers from the teacher's, mean over texts and heads, and one less the cosine of general
    /// texts' embeddings.
    pub(super) fn drift(&self, set: &Set, texts: &[&Text], features: &Features) -> candle_core::Result<Tensor> {
        let n = texts.len();
        let mut total = Tensor::zeros((), candle_core::DType::F32, &Device::Cpu)?;
        let mut first = 0;
        for (logits, &width) in self.encoder.logits(features)?.iter().zip(&set.widths) {
            let taught: Vec<f32> = texts
                .iter()
                .flat_map(|text| text.taught.get(first..first + width).unwrap_or_default().iter().copied())
                .collect();
            first += width;
            let certain: f64 = taught.iter().map(|p| f64::from(*p) * f64::from(p.max(1e-30)).ln()).sum();
            let taught = Tensor::from_vec(taught, (n, width), &Device::Cpu)?;
            let divergence = ((taught * log_softmax(logits)?)?.sum_all()?.neg()? + certain)?;
            total = (total + (divergence * (1.0 / (n * set.widths.len()) as f64))?)?;
        }
        let count = texts.iter().filter(|text| text.general).count();
        if count > 0 {
            let wanted: Vec<f32> = texts
                .iter()
                .flat_map(|text| text.embedding.iter().map(|e| if text.general { *e } else { 0.0 }))
                .collect();
            let wanted = Tensor::from_vec(wanted, features.mean.shape(), &Device::Cpu)?;
            let lengths = (features.mean.sqr()?.sum_keepdim(1)? + 1e-12)?.sqrt()?;
            let alike = (features.mean.broadcast_div(&lengths)? * wanted)?.sum_all()?;
            total = (total + ((alike * (-1.0 / count as f64))? + 1.0)?)?;
        }
        Ok(total)
    }

    /// The own head's logits of labelled texts.
    pub(super) fn answers(&self, set: &Set, which: impl Fn(&Text) -> bool) -> Result<Vec<Answer>, TrainingError> {
        let mut out = Vec::new();
        for (place, said) in set.encode(self.encoder, Some(&self.lora), &set.places(which))? {
            let Some(label) = set.texts.get(place).and_then(|text| text.label) else { continue };
            let width = said.features.len();
            let features = Tensor::from_vec(said.features, (1, width), &Device::Cpu)?;
            out.push(Answer { logits: self.logits(&features)?.flatten_all()?.to_vec1()?, label });
        }
        Ok(out)
    }

    /// On held-out general texts: by shipped head, how many keep their most likely label; and the embeddings' mean cosine.
    pub(super) fn kept_skill(&self, set: &Set) -> Result<(BTreeMap<String, f64>, f64), TrainingError> {
        let places = set.places(|text| text.held_out && text.general);
        let best = |p: &[f32]| p.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(index, _)| index);
        let (mut same, mut cosine) = (vec![0usize; set.widths.len()], 0.0f64);
        for (place, said) in set.encode(self.encoder, Some(&self.lora), &places)? {
            let Some(text) = set.texts.get(place) else { continue };
            cosine += f64::from(cpu::dot(&text.embedding, &said.embedding));
            let mut first = 0;
            for (same, &width) in same.iter_mut().zip(&set.widths) {
                let head = first..first + width;
                first += width;
                let (now, before) = (said.heads.get(head.clone()), text.taught.get(head));
                *same += usize::from(now.and_then(best) == before.and_then(best));
            }
        }
        let count = places.len().max(1) as f64;
        let names = self.encoder.config().heads.keys().cloned();
        Ok((names.zip(same.into_iter().map(|same| same as f64 / count)).collect(), cosine / count))
    }

    pub(super) fn low_rank(&self) -> Result<NamedTensors, TrainingError> {
        let mut out = BTreeMap::new();
        for ((layer, target), (down, up)) in &self.lora.maps {
            for (part, variable) in [("lora_A", down), ("lora_B", up)] {
                out.insert(format!("{}.{part}.weight", target.tensor(*layer)), values(variable)?);
            }
        }
        Ok(out)
    }

    pub(super) fn classifier(&self) -> Result<NamedTensors, TrainingError> {
        let (weight, bias) = &self.head;
        Ok(BTreeMap::from([("weight".to_owned(), values(weight)?), ("bias".to_owned(), values(bias)?)]))
    }
}

pub(super) fn values(variable: &Var) -> Result<(Vec<usize>, Vec<f32>), TrainingError> {
    let tensor = variable.as_tensor();
    Ok((tensor.dims().to_vec(), tensor.flatten_all()?.to_vec1()?))
}
