//! The reply that is suggested above the composer, with where it comes from.
//!
//! It is what the assistant would do next, computed by the same dialogue manager over the same records, with one
//! difference: nothing can be performed. Where the assistant would only hand over, the best passage of an article
//! stands in.

use std::time::Duration;

use async_trait::async_trait;
use candor_engine::Understanding;
use candor_engine::dialogue::{
    Account, Action, Bank, BankError, Card, Customer, CustomerId, IdentityClaim, Input, LoanApplication, Operation,
    Payment, PaymentFilter, Receipt, Refusal, State,
};
use candor_engine::understanding::Error as EngineFailure;
use serde::Deserialize as _;

use crate::app::App;
use crate::bank::{self, PostgresBank, SharedTransaction};
use crate::conversations::Conversation;
use crate::knowledge::{self, PostgresKnowledge};
use crate::{AppError, Result};

use super::thread::Question;

/// A page does not wait longer for a suggestion.
const PATIENCE: Duration = Duration::from_millis(800);
/// Passages less alike than this answer another question.
const ALIKE: f32 = 0.45;
/// The same for full-text rank, where the engine does not answer: about two rare words in common.
const WORDS_ALIKE: f32 = 0.15;
/// Passages to choose from.
const PASSAGES: usize = 3;

/// A reply that may be sent as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Suggestion {
    /// `article` or `flow`.
    pub(super) kind: &'static str,
    /// The article's slug or the flow's name, as recorded when it is used.
    pub(super) source: String,
    /// The source in words.
    pub(super) label: String,
    /// The source's address, where it has one.
    pub(super) link: Option<String>,
    /// The words.
    pub(super) text: String,
}

/// The suggestion for a question, if there is a good one in time.
pub(super) async fn suggest(app: &App, conversation: &Conversation, question: &Question) -> Option<Suggestion> {
    match tokio::time::timeout(PATIENCE, find(app, conversation, question)).await {
        Ok(Ok(suggestion)) => suggestion,
        Ok(Err(error)) => {
            tracing::warn!(%error, conversation = conversation.number, "no suggestion");
            None
        }
        Err(_) => {
            tracing::warn!(conversation = conversation.number, "no suggestion in time");
            None
        }
    }
}

async fn find(app: &App, conversation: &Conversation, question: &Question) -> Result<Option<Suggestion>> {
    let understanding = match understand(app, question).await {
        Ok(understanding) => Some(understanding),
        Err(error) => {
            tracing::info!(%error, conversation = conversation.number, "the suggestion is found by words only");
            None
        }
    };
    if let Some(understanding) = &understanding
        && let Some(suggestion) = next_step(app, conversation, question, understanding).await?
    {
        return Ok(Some(suggestion));
    }
    let (embedding, enough) = match &understanding {
        Some(understanding) => (understanding.embedding.as_slice(), ALIKE),
        None => (&[][..], WORDS_ALIKE),
    };
    let mut connection = app.db.acquire().await?;
    let found = knowledge::search(&app.knowledge, &mut connection, &question.text, embedding, PASSAGES).await?;
    let best = found.into_iter().find(|found| found.nearness() >= enough);
    Ok(best.map(|found| article(&found.slug, &found.title, found.text)))
}

/// What the message means, with its embedding, which is not stored.
async fn understand(app: &App, question: &Question) -> Result<Understanding, EngineFailure> {
    match &question.understanding {
        Some(known) => {
            let embedding = app.engine.embed(&question.text).await?;
            Ok(Understanding { embedding, ..known.clone() })
        }
        None => app.engine.understand(&question.text).await,
    }
}

/// What the assistant would say next, if it would neither act nor hand over.
async fn next_step(
    app: &App,
    conversation: &Conversation,
    question: &Question,
    understanding: &Understanding,
) -> Result<Option<Suggestion>> {
    let mut state = State::deserialize(&conversation.dialogue).unwrap_or_default();
    state.hand_back();
    let mut parts = Vec::new();
    for clause in app.engine.dialogue().clauses(&question.text) {
        parts.push(app.engine.understand(clause).await.map_err(unavailable)?);
    }
    let today = bank::today();
    let transaction = SharedTransaction::new(app.db.begin().await?);
    let records = PostgresBank::new(&transaction, conversation.id, today);
    let input = Input { text: &question.text, seq: question.seq, understanding, parts: &parts, today, choice: None };
    let articles = PostgresKnowledge::new(&app.knowledge, &transaction);
    let turn = app.engine.dialogue().next(state, input, &Reader { records: &records }, &articles).await;
    drop(records);
    transaction.into_inner().rollback().await?;
    // Records that may not be read here, or a state of an older version: an article may still help.
    let Ok(turn) = turn else { return Ok(None) };
    if turn.actions.iter().any(|action| matches!(action, Action::Act { .. } | Action::HandOff { .. })) {
        return Ok(None);
    }
    let text = turn.actions.iter().map(Action::text).collect::<Vec<_>>().join("\n");
    let cited = turn.actions.iter().find_map(|action| match action {
        Action::Say { citations, .. } => citations.first(),
        _ => None,
    });
    let suggestion = match (cited, turn.state.flow()) {
        (Some(cited), _) => article(&cited.article_slug, &cited.title, text),
        (None, Some(flow)) => {
            let manager = app.engine.dialogue();
            let title = manager.flow(flow).map_or(flow, |known| known.title.as_str());
            Suggestion {
                kind: "flow",
                source: flow.to_owned(),
                label: format!("Next step of “{title}”"),
                link: None,
                text,
            }
        }
        (None, None) => return Ok(None),
    };
    Ok(Some(suggestion))
}

fn article(slug: &str, title: &str, text: String) -> Suggestion {
    Suggestion {
        kind: "article",
        source: slug.to_owned(),
        label: format!("Article “{title}”"),
        link: Some(format!("/help/{slug}")),
        text,
    }
}

fn unavailable(error: impl std::fmt::Display) -> AppError {
    AppError::Unavailable(error.to_string())
}

/// The bank's records for looking only: who suggests must not do.
struct Reader<'b> {
    records: &'b dyn Bank,
}

#[async_trait]
impl Bank for Reader<'_> {
    /// Identifying counts attempts, so it is left to the conversation itself.
    async fn identify(&self, _: &IdentityClaim) -> Result<Option<Customer>, BankError> {
        Err(BankError::Unavailable("a suggestion identifies nobody".to_owned()))
    }

    async fn customer(&self, customer: &CustomerId) -> Result<Customer, BankError> {
        self.records.customer(customer).await
    }

    async fn cards(&self, customer: &CustomerId) -> Result<Vec<Card>, BankError> {
        self.records.cards(customer).await
    }

    async fn accounts(&self, customer: &CustomerId) -> Result<Vec<Account>, BankError> {
        self.records.accounts(customer).await
    }

    async fn payments(&self, customer: &CustomerId, filter: &PaymentFilter) -> Result<Vec<Payment>, BankError> {
        self.records.payments(customer, filter).await
    }

    async fn applications(&self, customer: &CustomerId) -> Result<Vec<LoanApplication>, BankError> {
        self.records.applications(customer).await
    }

    /// Answers as if a person had to do it: the turn then ends in a hand-off, which is no suggestion.
    async fn perform(&self, _: Option<&CustomerId>, _: &str, _: &Operation) -> Result<Receipt, Refusal> {
        Err(Refusal::NeedsPerson("a suggestion performs nothing".to_owned()))
    }
}
