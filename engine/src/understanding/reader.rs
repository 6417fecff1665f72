//! Reads texts: tokens, the encoder's queue, then heads and entities.

use std::sync::Arc;

use super::intent::Head;
use super::{Error, Sentiment, Understanding, find_entities};
use crate::EngineError;
use crate::layers::Precision;
use crate::models::moe_encoder::{Encoded, MoeEncoder};
use crate::runtime::Worker;
use crate::tokens::Tokens;
use crate::weights::Folder;

/// Alternatives named beside the chosen intent.
const ALTERNATIVES: usize = 3;

/// The encoder with its heads, ready for callers.
pub(crate) struct Reader {
    worker: Worker,
    tokens: Tokens,
    version: String,
    heads: Vec<(String, Head)>,
    desk: usize,
    sentiment: usize,
}

impl Reader {
    /// Loads the encoder and starts its worker.
    ///
    /// # Errors
    /// When a file is missing or inconsistent, a head that the desk needs is missing, or no thread starts.
    pub(crate) fn load(
        folder: &Folder,
        (capacity, threads): (usize, usize),
        precision: Precision,
    ) -> Result<Self, EngineError> {
        let failed = |reason: String| EngineError::Model { model: "encoder".to_owned(), reason };
        let model = MoeEncoder::open(folder, precision).map_err(|e| failed(e.to_string()))?;
        let config = model.config();
        let tokens = Tokens::open(folder, config.max_tokens).map_err(|e| failed(e.to_string()))?;
        let heads: Vec<(String, Head)> =
            model.heads().filter_map(|name| Some((name.to_owned(), Head::of(config, name)?))).collect();
        let place = |name: &str| {
            heads.iter().position(|(n, _)| n == name).ok_or_else(|| failed(format!("there is no head {name}")))
        };
        let (desk, sentiment) = (place("desk")?, place("sentiment")?);
        for kind in [Sentiment::Negative, Sentiment::Positive] {
            if heads.get(sentiment).is_none_or(|(_, head)| head.index(kind.as_str()).is_none()) {
                return Err(failed(format!("the head sentiment has no label {}", kind.as_str())));
            }
        }
        let version = config.version.clone();
        let worker = Worker::start(Arc::new(model), capacity, threads)?;
        Ok(Self { worker, tokens, version, heads, desk, sentiment })
    }

    pub(crate) fn worker(&self) -> &Worker {
        &self.worker
    }

    /// The head of that name, with the place of its logits in [`Encoded::logits`].
    pub(crate) fn head(&self, name: &str) -> Option<(usize, &Head)> {
        self.heads.iter().enumerate().find(|(_, (n, _))| n == name).map(|(place, (_, head))| (place, head))
    }

    /// Names of the heads.
    pub(crate) fn head_names(&self) -> impl Iterator<Item = &str> {
        self.heads.iter().map(|(name, _)| name.as_str())
    }

    /// Queues a text at once; the future waits for the answer.
    pub(crate) fn encode(&self, text: &str) -> impl Future<Output = Result<Encoded, Error>> + Send + use<> {
        // The tokenizer refuses no text; if it did, the caller would be told that the engine does not answer.
        let queued = self.tokens.encode(text).map_err(|_| Error::Stopped).and_then(|ids| self.worker.submit(ids));
        async move { queued?.await.map_err(|_| Error::Stopped) }
    }

    pub(crate) fn count_tokens(&self, text: &str) -> usize {
        self.tokens.encode(text).map_or(0, |ids| ids.len())
    }

    pub(crate) async fn embed(&self, text: &str) -> Result<Vec<f32>, Error> {
        self.encode(text).await.map(|encoded| encoded.embedding)
    }

    pub(crate) async fn understand(&self, text: &str) -> Result<Understanding, Error> {
        let encoded = self.encode(text).await?;
        let (sentiment, sentiment_score) = self.sentiment(&encoded);
        let mut understanding = Understanding {
            text: text.to_owned(),
            intent: String::new(),
            confidence: 0.0,
            in_scope: false,
            sentiment,
            sentiment_score,
            entities: find_entities(text, chrono::Local::now().date_naive()),
            alternatives: Vec::new(),
            embedding: Vec::new(),
            model_version: self.version.clone(),
        };
        if let (Some((_, head)), Some(logits)) = (self.heads.get(self.desk), encoded.logits.get(self.desk)) {
            let decision = head.decide(logits);
            let mut named = decision.ranked.into_iter().map(|(index, p)| (head.label(index).to_owned(), p));
            understanding.in_scope = decision.in_scope;
            if decision.in_scope {
                (understanding.intent, understanding.confidence) = named.next().unwrap_or_default();
            } else {
                let foreign = head.out_of_scope();
                understanding.intent = foreign.map_or_else(String::new, |index| head.label(index).to_owned());
                let p = head.probabilities(logits);
                understanding.confidence = foreign.and_then(|index| p.get(index).copied()).unwrap_or_default();
            }
            understanding.alternatives = named.take(ALTERNATIVES).collect();
        }
        understanding.embedding = encoded.embedding;
        Ok(understanding)
    }

    /// The most likely sentiment, and positive less negative probability.
    pub(crate) fn sentiment(&self, encoded: &Encoded) -> (Sentiment, f32) {
        let (Some((_, head)), Some(logits)) = (self.heads.get(self.sentiment), encoded.logits.get(self.sentiment))
        else {
            return (Sentiment::Neutral, 0.0);
        };
        let p = head.probabilities(logits);
        let of =
            |kind: Sentiment| head.index(kind.as_str()).and_then(|index| p.get(index).copied()).unwrap_or_default();
        let (negative, neutral, positive) = (of(Sentiment::Negative), of(Sentiment::Neutral), of(Sentiment::Positive));
        let kind = if negative > neutral && negative >= positive {
            Sentiment::Negative
        } else if positive > neutral {
            Sentiment::Positive
        } else {
            Sentiment::Neutral
        };
        (kind, positive - negative)
    }
}
