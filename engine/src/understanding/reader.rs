//! Reads texts: tokens, the encoder's queue, then heads and entities.

use std::path::Path;
use std::sync::Arc;

use super::intent::{Decision, Head};
use super::{Error, Sentiment, Understanding, chinese, find_entities};
use crate::EngineError;
use crate::backend::cuda;
use crate::layers::Precision;
use crate::models::Device;
use crate::models::intents::{IntentAdapter, OWN};
use crate::models::moe_encoder::{self, Encoded, MoeEncoder};
use crate::runtime::Worker;
use crate::tokens::Tokens;
use crate::weights::Folder;

/// Alternatives named beside the chosen intent.
const ALTERNATIVES: usize = 3;

/// Intents about the conversation, not about the bank's business: a bank's own intents do not stand in for them.
const ABOUT_THE_CONVERSATION: [&str; 8] =
    ["affirm", "cancel", "correction", "deny", "greeting", "talk_to_human", "thanks", "why_ask"];

/// The encoder with its heads, ready for callers.
pub(crate) struct Reader {
    model: Arc<MoeEncoder>,
    worker: Worker,
    tokens: Tokens,
    version: String,
    heads: Vec<(String, Head)>,
    desk: usize,
    sentiment: usize,
    own: Option<usize>,
    gpu: Option<String>,
}

impl Reader {
    /// Loads the encoder, with the bank's own intents of the folder `own`, and starts its worker.
    ///
    /// # Errors
    /// When a file is missing or inconsistent, a head that the desk needs is missing, a GPU was asked for and can not be used,
    /// or no thread starts.
    pub(crate) fn load(
        folder: &Folder,
        own: Option<&Path>,
        (capacity, threads): (usize, usize),
        (device, precision): (Device, Precision),
    ) -> Result<Self, EngineError> {
        let failed = |reason: String| EngineError::Model { model: "encoder".to_owned(), reason };
        let adapter = own.map(IntentAdapter::read).transpose();
        let adapter = adapter.map_err(|e| {
            let model = own.map_or_else(String::new, |own| own.display().to_string());
            EngineError::Model { model, reason: e.to_string() }
        })?;
        let (config, tensors) = moe_encoder::read(folder, adapter.as_ref()).map_err(|e| failed(e.to_string()))?;
        let gpu = match device {
            Device::Cpu => None,
            Device::Auto | Device::Cuda => match cuda::Encoder::open(&config, &tensors) {
                Ok(gpu) => {
                    tracing::info!(gpu = gpu.name(), "the GPU reads texts");
                    Some(gpu)
                }
                Err(why) if device == Device::Cuda => return Err(failed(format!("the GPU can not be used: {why}"))),
                Err(why) => {
                    tracing::info!(%why, "the processor reads texts");
                    None
                }
            },
        };
        let model = MoeEncoder::of(config, &tensors, precision).map_err(|e| failed(e.to_string()))?;
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
        let own = place(OWN).ok();
        let version = config.version.clone();
        let model = Arc::new(model);
        let name = gpu.as_ref().map(|gpu| gpu.name().to_owned());
        let worker = Worker::start(Arc::clone(&model), gpu, capacity, threads)?;
        Ok(Self { model, worker, tokens, version, heads, desk, sentiment, own, gpu: name })
    }

    /// The GPU that texts are read on, where it is not the processor.
    pub(crate) fn gpu(&self) -> Option<&str> {
        self.gpu.as_deref()
    }

    pub(crate) fn worker(&self) -> &Worker {
        &self.worker
    }

    /// The logits of the head at `place`.
    pub(crate) fn logits(&self, place: usize, encoded: &Encoded) -> Vec<f32> {
        self.model.logits(place, encoded)
    }

    /// The head of that name, with its place.
    pub(crate) fn head(&self, name: &str) -> Option<(usize, &Head)> {
        self.heads.iter().enumerate().find(|(_, (n, _))| n == name).map(|(place, (_, head))| (place, head))
    }

    /// Names of the heads.
    pub(crate) fn head_names(&self) -> impl Iterator<Item = &str> {
        self.heads.iter().map(|(name, _)| name.as_str())
    }

    /// Queues a text at once; the future waits for the answer.
    pub(crate) fn encode(&self, text: &str) -> impl Future<Output = Result<Encoded, Error>> + Send + use<> {
        let queued = self.tokens(text).and_then(|ids| self.worker.submit(ids));
        async move { queued?.await.map_err(|_| Error::Stopped) }
    }

    /// The tokens of a text.
    pub(crate) fn tokens(&self, text: &str) -> Result<Vec<u32>, Error> {
        // The tokenizer refuses no text; if it did, the caller would be told that the engine does not answer.
        self.tokens.encode(text).map_err(|_| Error::Stopped)
    }

    pub(crate) fn count_tokens(&self, text: &str) -> usize {
        self.tokens.encode(text).map_or(0, |ids| ids.len())
    }

    pub(crate) async fn embed(&self, text: &str) -> Result<Vec<f32>, Error> {
        let read_as = chinese::in_english(text);
        self.encode(read_as.as_deref().unwrap_or(text)).await.map(|encoded| encoded.embedding())
    }

    pub(crate) async fn understand(&self, text: &str) -> Result<Understanding, Error> {
        let read_as = chinese::in_english(text);
        let encoded = self.encode(read_as.as_deref().unwrap_or(text)).await?;
        let (sentiment, sentiment_score) = self.sentiment(&encoded);
        let mut understanding = Understanding {
            text: text.to_owned(),
            read_as,
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
        if let Some((head, logits, decision)) = self.intent(&encoded) {
            let mut named = decision.ranked.into_iter().map(|(index, p)| (head.label(index).to_owned(), p));
            understanding.in_scope = decision.in_scope;
            if decision.in_scope {
                (understanding.intent, understanding.confidence) = named.next().unwrap_or_default();
            } else {
                let foreign = head.out_of_scope();
                understanding.intent = foreign.map_or_else(String::new, |index| head.label(index).to_owned());
                let p = head.probabilities(&logits);
                understanding.confidence = foreign.and_then(|index| p.get(index).copied()).unwrap_or_default();
            }
            understanding.alternatives = named.take(ALTERNATIVES).collect();
        }
        understanding.embedding = encoded.embedding();
        Ok(understanding)
    }

    /// What understanding a text takes beside the encoder: the decisions of the heads that serve.
    pub(crate) fn judge(&self, encoded: &Encoded) -> (bool, Sentiment) {
        (self.intent(encoded).is_some_and(|(_, _, decision)| decision.in_scope), self.sentiment(encoded).0)
    }

    /// The head that decides about a text, its logits and its decision: the bank's own where the text is in its scope,
    /// unless the desk's takes it, more surely, for a word about the conversation; else the desk's.
    fn intent(&self, encoded: &Encoded) -> Option<(&Head, Vec<f32>, Decision)> {
        let asked = |place: usize| {
            let ((_, head), logits) = (self.heads.get(place)?, self.logits(place, encoded));
            let decision = head.decide(&logits);
            Some((head, logits, decision))
        };
        let desk = asked(self.desk)?;
        let Some(own) = self.own.and_then(asked).filter(|own| own.2.in_scope) else { return Some(desk) };
        let sureness = |decision: &Decision| decision.ranked.first().map_or(0.0, |best| best.1);
        let conversation = desk.2.in_scope
            && desk.2.ranked.first().is_some_and(|best| ABOUT_THE_CONVERSATION.contains(&desk.0.label(best.0)));
        Some(if conversation && sureness(&desk.2) > sureness(&own.2) { desk } else { own })
    }

    /// The most likely sentiment, and positive less negative probability.
    pub(crate) fn sentiment(&self, encoded: &Encoded) -> (Sentiment, f32) {
        let Some((_, head)) = self.heads.get(self.sentiment) else { return (Sentiment::Neutral, 0.0) };
        let p = head.probabilities(&self.logits(self.sentiment, encoded));
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
