//! The texts of a training: the bank's examples, and general ones with what the shipped encoder says of them.

use candle_core::Tensor;
use rand::Rng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::encoder::TrainingEncoder;
use super::intents::Recipe;
use super::lora::Lora;
use super::{TrainingError, general};
use crate::backend::cpu;
use crate::tokens::Tokens;
use crate::understanding::evaluate::Labelled;

/// General texts that are less alike than this (cosine of embeddings) to every example teach what is out of scope.
const FOREIGN: f32 = 0.5;
/// Texts encoded together where nothing is trained.
const TOGETHER: usize = 64;

/// A text that takes part.
pub(super) struct Text {
    pub(super) ids: Vec<u32>,
    /// Its own label; general texts have none, or that of foreign ones.
    pub(super) label: Option<usize>,
    pub(super) general: bool,
    pub(super) held_out: bool,
    /// The shipped heads' probabilities, all in a row, as the teacher says them.
    pub(super) taught: Vec<f32>,
    /// The teacher's embedding, of length 1.
    pub(super) embedding: Vec<f32>,
    /// What heads read, as it was before.
    pub(super) features: Vec<f32>,
}

pub(super) struct Set {
    pub(super) texts: Vec<Text>,
    /// Labels of each shipped head.
    pub(super) widths: Vec<usize>,
}

impl Set {
    pub(super) fn of(
        rows: &[Labelled],
        labels: &[String],
        (encoder, tokens): (&TrainingEncoder, &Tokens),
        more: &[String],
        recipe: &Recipe,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self, TrainingError> {
        let blank = |ids, label, general, held_out| Text {
            ids,
            label,
            general,
            held_out,
            taught: Vec::new(),
            embedding: Vec::new(),
            features: Vec::new(),
        };
        let mut texts = Vec::new();
        for (index, label) in labels.iter().enumerate() {
            let mut own: Vec<&Labelled> = rows.iter().filter(|row| row.label == *label).collect();
            own.shuffle(rng);
            let share = (own.len() as f64 * recipe.validation).round();
            // One of five examples can be spared; one of four can not.
            let held = if own.len() < 5 { 0 } else { (1..own.len()).rev().find(|n| *n as f64 <= share).unwrap_or(1) };
            for (place, row) in own.into_iter().enumerate() {
                texts.push(blank(tokens.encode(&row.text)?, Some(index), false, place < held));
            }
        }
        if !texts.iter().any(|text| text.held_out) {
            return Err(TrainingError::Data("no label has five examples: nothing can be held out".to_owned()));
        }
        let own = texts.len();
        if recipe.general_share > 0.0 {
            let pool = general::texts(rng).into_iter().chain(more.iter().filter(|t| !t.trim().is_empty()).cloned());
            for text in pool {
                texts.push(blank(tokens.encode(&text)?, None, true, rng.random_bool(0.1)));
            }
        }
        let widths = encoder.config().heads.values().map(|head| head.labels.len()).collect();
        let mut set = Self { texts, widths };
        let all: Vec<usize> = (0..set.texts.len()).collect();
        for (place, found) in set.encode(encoder, None, &all)? {
            let Some(text) = set.texts.get_mut(place) else { continue };
            (text.taught, text.embedding, text.features) = (found.heads, found.embedding, found.features);
        }
        set.texts.iter_mut().for_each(|text| {
            let mut rest = text.taught.as_mut_slice();
            for width in &set.widths {
                let (head, after) = rest.split_at_mut(*width);
                cpu::softmax(head);
                rest = after;
            }
        });
        let (examples, general) = set.texts.split_at_mut(own);
        for text in general {
            let nearest = examples.iter().map(|own| cpu::dot(&own.embedding, &text.embedding));
            if nearest.fold(f32::MIN, f32::max) < FOREIGN {
                text.label = Some(labels.len() - 1);
            }
        }
        Ok(set)
    }

    /// What the encoder says about the texts at `places`, in no order.
    pub(super) fn encode(
        &self,
        encoder: &TrainingEncoder,
        lora: Option<&Lora>,
        places: &[usize],
    ) -> Result<Vec<(usize, Said)>, TrainingError> {
        let mut places: Vec<(usize, &Text)> =
            places.iter().filter_map(|&place| Some((place, self.texts.get(place)?))).collect();
        places.sort_by_key(|(_, text)| text.ids.len());
        let mut out = Vec::with_capacity(places.len());
        for group in places.chunks(TOGETHER) {
            let ids: Vec<&[u32]> = group.iter().map(|(_, text)| text.ids.as_slice()).collect();
            let features = encoder.forward(&ids, lora, None)?;
            let heads: Vec<Vec<Vec<f32>>> =
                encoder.logits(&features)?.iter().map(Tensor::to_vec2).collect::<Result<_, _>>()?;
            let rows = features.both.to_vec2::<f32>()?.into_iter().zip(features.mean.to_vec2::<f32>()?);
            for (index, ((place, _), (features, mut embedding))) in group.iter().zip(rows).enumerate() {
                let length = cpu::dot(&embedding, &embedding).sqrt().max(1e-12);
                embedding.iter_mut().for_each(|e| *e /= length);
                let heads = heads.iter().filter_map(|head| head.get(index)).flatten().copied().collect();
                out.push((*place, Said { heads, embedding, features }));
            }
        }
        Ok(out)
    }

    pub(super) fn places(&self, which: impl Fn(&Text) -> bool) -> Vec<usize> {
        self.texts.iter().enumerate().filter(|(_, text)| which(text)).map(|(place, _)| place).collect()
    }
}

pub(super) struct Said {
    pub(super) heads: Vec<f32>,
    pub(super) embedding: Vec<f32>,
    pub(super) features: Vec<f32>,
}
