//! How well questions are answered from the articles: found, answered rightly, wrongly, or honestly not at all.

use candor_engine::Engine;
use candor_engine::dialogue::memory::MemoryBank;
use candor_engine::dialogue::{Action, Input, State};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use tokio::sync::Mutex;

use crate::bank::{self, SharedTransaction};
use crate::{AppError, Result};

use super::articles::{ArticleStatus, published, save};
use super::search::{Index, PostgresKnowledge, search};
use super::source::read_source;

/// Passages among which the right one must be.
const PLACES: usize = 3;

/// A question with the article that answers it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Question {
    /// As a customer writes it.
    pub question: String,
    /// Address of the article, or several with `|` between them where each answers; empty where none does.
    #[serde(default)]
    pub article: String,
}

impl Question {
    fn is_answered_by(&self, slug: &str) -> bool {
        self.article.split('|').any(|article| article == slug)
    }
}

/// What an evaluation found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ArticlesReport {
    /// Questions asked.
    pub questions: usize,
    /// Those that an article answers.
    pub answerable: usize,
    /// Share of answerable questions whose article is among the first three passages found.
    pub recall_at_3: f64,
    /// Share of answerable questions answered from their article.
    pub answered: f64,
    /// Share of answerable questions not answered, but with their passage among those offered as buttons.
    pub offered: f64,
    /// Share of unanswerable questions that no article was quoted for.
    pub declined: f64,
    /// Share of all questions answered from an article that does not answer them.
    pub wrong_answers: f64,
    /// What went otherwise.
    pub failures: Vec<Otherwise>,
}

/// A question that went otherwise.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Otherwise {
    /// The question.
    pub question: String,
    /// The article that answers it; empty for none.
    pub article: String,
    /// The article that was quoted, if one was.
    pub quoted: Option<String>,
    /// The first passages found, with their scores.
    pub found: Vec<(String, f32)>,
}

/// Asks every question of the published articles, or of the shipped ones where the database has none. Changes nothing.
///
/// # Errors
/// When the database fails or the engine stops.
pub async fn evaluate(db: &PgPool, engine: &Engine, questions: &[Question]) -> Result<ArticlesReport> {
    let mut transaction = db.begin().await?;
    if published(&mut *transaction).await?.is_empty() {
        for (slug, text) in crate::demo::article_files() {
            let article = read_source(&slug, &text).map_err(|error| AppError::Internal(format!("article {error}")))?;
            save(&mut transaction, engine, &article, ArticleStatus::Published, None).await?;
        }
    }
    let shared: SharedTransaction = Mutex::new(transaction);
    let index = Index::default();
    let mut report = ArticlesReport { questions: questions.len(), ..ArticlesReport::default() };
    let (mut recalled, mut answered, mut offered, mut declined, mut wrong) = (0, 0, 0, 0, 0);
    for asked in questions {
        let understanding =
            engine.understand(&asked.question).await.map_err(|error| AppError::Unavailable(error.to_string()))?;
        let found =
            search(&index, &mut **shared.lock().await, &asked.question, &understanding.embedding, PLACES).await?;
        let recalls = found.iter().any(|found| asked.is_answered_by(&found.slug));
        let (quoted, buttons) = replied(engine, &index, &shared, &understanding).await?;
        let offers = found.iter().any(|found| asked.is_answered_by(&found.slug) && buttons.contains(&found.heading));
        let answerable = !asked.article.is_empty();
        let right = quoted.as_deref().map_or(!answerable, |quoted| asked.is_answered_by(quoted));
        report.answerable += usize::from(answerable);
        recalled += usize::from(answerable && recalls);
        answered += usize::from(answerable && right);
        offered += usize::from(answerable && quoted.is_none() && offers);
        declined += usize::from(!answerable && quoted.is_none());
        wrong += usize::from(quoted.is_some() && !right);
        if !right || (answerable && !recalls) {
            report.failures.push(Otherwise {
                question: asked.question.clone(),
                article: asked.article.clone(),
                quoted,
                found: found.into_iter().map(|found| (found.slug, found.score)).collect(),
            });
        }
    }
    shared.into_inner().rollback().await?;
    report.recall_at_3 = share(recalled, report.answerable);
    report.answered = share(answered, report.answerable);
    report.offered = share(offered, report.answerable);
    report.declined = share(declined, report.questions - report.answerable);
    report.wrong_answers = share(wrong, report.questions);
    Ok(report)
}

/// The article that the assistant quotes for a question, if it quotes one, and the labels of its buttons.
async fn replied(
    engine: &Engine,
    index: &Index,
    shared: &SharedTransaction,
    understanding: &candor_engine::Understanding,
) -> Result<(Option<String>, Vec<String>)> {
    let today = bank::today();
    let knowledge = PostgresKnowledge::new(index, shared);
    let input = Input { text: &understanding.text, seq: 1, understanding, parts: &[], today, choice: None };
    let bank = MemoryBank::demonstration(today);
    let turn = engine.dialogue().next(State::default(), input, &bank, &knowledge).await;
    let turn = turn.map_err(|error| AppError::Internal(error.to_string()))?;
    let quoted = turn.actions.iter().find_map(|action| match action {
        Action::Say { citations, .. } => citations.first().map(|citation| citation.article_slug.clone()),
        _ => None,
    });
    let buttons = turn.actions.iter().flat_map(Action::choices).map(|choice| choice.label.clone()).collect();
    Ok((quoted, buttons))
}

fn share(part: usize, whole: usize) -> f64 {
    let count = |of: usize| f64::from(u32::try_from(of).unwrap_or(u32::MAX));
    if whole == 0 { 1.0 } else { count(part) / count(whole) }
}
