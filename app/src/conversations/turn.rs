//! A customer's message and the assistant's answer to it.
//!
//! The message is kept first, in a transaction of its own: whatever happens afterwards, nothing the customer wrote is
//! lost. The answer is one transaction too: what the assistant read and did at the bank, its messages, the
//! dialogue's state and the audit entries are all kept or all undone. The conversation's row is locked meanwhile,
//! so two messages sent at once are answered one after the other, in their order.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use candor_engine::dialogue::{self, Action, Choice, HandOffReason, Input, State, Turn};
use candor_engine::understanding::Error as EngineFailure;
use candor_engine::{Sentiment, Understanding};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use sqlx::PgConnection;
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::Result;
use crate::app::App;
use crate::applications;
use crate::bank::{self, PostgresBank, SharedTransaction};
use crate::jobs::{self, Failure, Handler, Job};
use crate::knowledge::PostgresKnowledge;

use super::conversation::{Channel, Conversation, ResolvedBy, Status};
use super::message::{Author, Message, NewMessage, customer_text};
use super::store;
use super::summary::summarise_later;

/// The choice value behind "Talk to a person". It works even while the engine does not.
pub const PERSON_CHOICE: &str = "human";
/// The choice value behind "Try again" after the assistant could not answer.
const AGAIN_CHOICE: &str = "again";
/// At most so many messages that piled up are answered at once; older ones stay in the conversation for the desk.
const PENDING: i64 = 3;
/// Waits between attempts while the engine's queue is full.
const PAUSES: [Duration; 2] = [Duration::from_millis(150), Duration::from_millis(450)];
/// Minutes of silence after which a customer on the web has to be identified again.
const IDENTIFIED_MINUTES: i64 = 30;

/// Keeps a customer's message and answers it, unless a person has the conversation.
///
/// `client_key` is the sender's own key: the same key again stores nothing, and answers with what is there. `choice`
/// is the value of the button that was pressed. Returns the message and all that the customer may see after it.
///
/// # Errors
/// [`crate::AppError::Invalid`] on the field `text`, [`crate::AppError::NotFound`] without such a conversation.
/// After the message is kept, trouble of engine or bank is no error: the assistant says so and offers a person.
pub async fn customer_says(
    app: &App,
    conversation: Uuid,
    text: &str,
    client_key: Option<String>,
    choice: Option<String>,
) -> Result<Vec<Message>> {
    let text = customer_text(text)?;
    let new = NewMessage::customer(text).with_client_key(client_key).with_choice(choice);
    let mut transaction = app.db.begin().await?;
    let kept = receive(&mut transaction, conversation, new).await?;
    transaction.commit().await?;
    if kept.fresh {
        store::announce_message(&app.live, &kept.message).await;
    }
    for message in answer(app, &kept.message).await? {
        store::announce_message(&app.live, &message).await;
    }
    store::customer_messages_after(&app.db, conversation, kept.message.seq - 1).await
}

/// Keeps a customer's message in the caller's transaction; a resolved conversation is reopened by it.
///
/// # Errors
/// [`crate::AppError::NotFound`] without such a conversation.
async fn receive(connection: &mut PgConnection, conversation: Uuid, new: NewMessage) -> Result<store::Appended> {
    if store::lock(&mut *connection, conversation).await?.status != Status::Resolved {
        return store::append(connection, conversation, new).await;
    }
    // Reopened first, so that the message counts as one that awaits an answer; a resend reopens nothing.
    let mut savepoint = sqlx::Connection::begin(connection).await?;
    store::reopen(&mut savepoint, conversation).await?;
    let kept = store::append(&mut savepoint, conversation, new).await?;
    if kept.fresh {
        savepoint.commit().await?;
    } else {
        savepoint.rollback().await?;
    }
    Ok(kept)
}

/// The kind of job that answers a message which came in by a program.
const ANSWER_JOB: &str = "answer";

/// Keeps a message like [`receive`] and queues its answer in the same transaction, so that the answer comes even when
/// the program stops in between.
///
/// # Errors
/// [`crate::AppError::NotFound`] without such a conversation.
pub async fn receive_for_later(connection: &mut PgConnection, conversation: Uuid, new: NewMessage) -> Result<Message> {
    let kept = receive(connection, conversation, new).await?;
    if kept.fresh {
        let payload = serde_json::json!({ "conversation": conversation, "seq": kept.message.seq });
        jobs::enqueue(connection, ANSWER_JOB, &payload, Utc::now()).await?;
    }
    Ok(kept.message)
}

/// Answers messages that came in by a program.
pub struct AnswerLater;

/// The payload of the job.
#[derive(Deserialize)]
struct AnswerPayload {
    conversation: Uuid,
    seq: i64,
}

#[async_trait]
impl Handler for AnswerLater {
    fn kind(&self) -> &'static str {
        ANSWER_JOB
    }

    async fn run(&self, app: &App, job: &Job) -> Result<(), Failure> {
        let payload = AnswerPayload::deserialize(&job.payload).map_err(|error| Failure::give_up(error.to_string()))?;
        let messages = store::messages_after(&app.db, payload.conversation, payload.seq - 1).await?;
        let Some(message) = messages.first() else { return Ok(()) };
        for answer in answer(app, message).await? {
            store::announce_message(&app.live, &answer).await;
        }
        Ok(())
    }
}

/// A message with what the engine makes of it as a whole and in its clauses.
struct Understood {
    whole: Understanding,
    parts: Vec<Understanding>,
}

/// Understands a text; waits a little while the engine's queue is full.
async fn understand(app: &App, text: &str) -> Result<Understood, EngineFailure> {
    let mut pauses = PAUSES.iter();
    loop {
        match understand_once(app, text).await {
            Err(EngineFailure::Overloaded) => match pauses.next() {
                Some(pause) => tokio::time::sleep(*pause).await,
                None => return Err(EngineFailure::Overloaded),
            },
            done => return done,
        }
    }
}

async fn understand_once(app: &App, text: &str) -> Result<Understood, EngineFailure> {
    let clauses = app.engine.dialogue().clauses(text);
    let (whole, parts) = futures::join!(
        app.engine.understand(text),
        futures::future::try_join_all(clauses.iter().map(|clause| app.engine.understand(clause))),
    );
    Ok(Understood { whole: whole?, parts: parts? })
}

/// Answers what the customer wrote and nobody answered yet, `message` included. Returns what was written.
async fn answer(app: &App, message: &Message) -> Result<Vec<Message>> {
    let conversation = message.conversation_id;
    store::announce_typing(&app.live, conversation, Author::Assistant, "", true).await;
    // Understood before the conversation is locked, so that nobody waits for the engine while holding the lock.
    let mut understood = HashMap::new();
    let mut failure = None;
    match understand(app, &message.text).await {
        Ok(understanding) => {
            understood.insert(message.id, understanding);
        }
        Err(error) => failure = Some(error),
    }
    let mut transaction = app.db.begin().await?;
    let locked = store::lock(&mut transaction, conversation).await?;
    if locked.status != Status::Assistant {
        if let Some(understood) = understood.get(&message.id) {
            let intent =
                locked.intent.is_none().then_some((understood.whole.intent.as_str(), understood.whole.confidence));
            store::record_understanding(&mut transaction, message, &understood.whole, intent).await?;
        }
        transaction.commit().await?;
        return Ok(Vec::new());
    }
    let pending = store::unanswered(&mut *transaction, &locked, PENDING).await?;
    for other in &pending {
        if failure.is_none() && !understood.contains_key(&other.id) {
            match understand(app, &other.text).await {
                Ok(understanding) => {
                    understood.insert(other.id, understanding);
                }
                Err(error) => failure = Some(error),
            }
        }
    }
    if pending.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(failure) = failure {
        tracing::warn!(%failure, "a message could not be understood");
        let written = without_engine(&mut transaction, &locked, &pending).await?;
        transaction.commit().await?;
        return Ok(written);
    }
    match assistant_turns(app, transaction, &locked, &pending, &understood).await? {
        Ok(written) => Ok(written),
        Err(error) => {
            tracing::error!(%error, "the assistant could not answer");
            let mut transaction = app.db.begin().await?;
            let locked = store::lock(&mut transaction, conversation).await?;
            if locked.status != Status::Assistant {
                return Ok(Vec::new());
            }
            let written = without_engine(&mut transaction, &locked, &pending).await?;
            transaction.commit().await?;
            Ok(written)
        }
    }
}

/// Runs the dialogue over the pending messages. The inner error means: undone, the customer should be told.
async fn assistant_turns(
    app: &App,
    transaction: sqlx::Transaction<'static, sqlx::Postgres>,
    conversation: &Conversation,
    pending: &[Message],
    understood: &HashMap<Uuid, Understood>,
) -> Result<Result<Vec<Message>, dialogue::Error>> {
    let today = bank::today();
    let shared: SharedTransaction = Mutex::new(transaction);
    let bank = PostgresBank::new(&shared, conversation.id, today);
    let knowledge = PostgresKnowledge::new(&app.knowledge, &shared);
    let mut state = remembered(&mut **shared.lock().await, conversation, pending).await?;
    let mut written = Vec::new();
    let mut handed_off = false;
    for message in pending {
        let again = pending.len() > 1 && message.choice.as_deref() == Some(AGAIN_CHOICE);
        let Some(understanding) = understood.get(&message.id).filter(|_| !again) else { continue };
        let input = Input {
            text: &message.text,
            seq: message.seq,
            understanding: &understanding.whole,
            parts: &understanding.parts,
            today,
            choice: message.choice.as_deref(),
        };
        let flow = state.flow().map(str::to_owned);
        let turn = match app.engine.dialogue().next(state.clone(), input, &bank, &knowledge).await {
            // The flows were changed under a running conversation: it begins anew, the customer stays identified.
            Err(dialogue::Error::State(problem)) => {
                tracing::warn!(problem, "a conversation's state was given up");
                let fresh = state.identified.clone().map_or_else(State::default, State::signed_in);
                app.engine.dialogue().next(fresh, input, &bank, &knowledge).await
            }
            done => done,
        };
        let mut turn = match turn {
            Ok(turn) => turn,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(saying) = &app.saying {
            let unhappy = understanding.whole.sentiment == Sentiment::Negative;
            saying.word(&app.engine.dialogue(), unhappy, &mut turn).await;
        }
        let mut connection = shared.lock().await;
        let intent = opened(flow.as_deref(), &turn, message, &understanding.whole);
        store::record_understanding(&mut connection, message, &understanding.whole, intent).await?;
        for action in &turn.actions {
            let new = NewMessage::assistant(action, Some(understanding.whole.model_version.clone()))?;
            written.push(store::append(&mut connection, conversation.id, new).await?.message);
            handed_off |= matches!(action, Action::HandOff { .. });
        }
        state = turn.state;
        if handed_off {
            break;
        }
    }
    let last = pending.last().map_or(0, |message| message.seq);
    // The guard of this lock must go before the transaction is taken out of it.
    let submitted = {
        let mut connection = shared.lock().await;
        store::record_dialogue(&mut connection, conversation.id, &state, last).await?;
        if handed_off {
            store::set_status(&mut connection, conversation.id, Status::Waiting).await?;
            if app.saying.is_some() {
                summarise_later(&mut connection, conversation.id).await?;
            }
        } else if state.finished {
            store::resolve(&mut connection, conversation.id, ResolvedBy::Assistant).await?;
        }
        bank.finish(&mut connection).await?
    };
    shared.into_inner().commit().await?;
    for application in &submitted {
        applications::announce(app, application).await;
    }
    let moved = if handed_off { Some(Status::Waiting) } else { state.finished.then_some(Status::Resolved) };
    if let Some(status) = moved {
        announce_status(app, conversation.id, status).await;
    }
    Ok(Ok(written))
}

/// The dialogue's state as stored. Who was silent for long is not taken for the same person any more.
async fn remembered(connection: &mut PgConnection, conversation: &Conversation, pending: &[Message]) -> Result<State> {
    let mut state = State::deserialize(&conversation.dialogue).unwrap_or_default();
    if conversation.channel == Channel::Web
        && let Some(first) = pending.first()
    {
        let before: Option<DateTime<Utc>> = store::last_written_before(connection, conversation.id, first.seq).await?;
        if before.is_some_and(|before| first.created_at - before > TimeDelta::minutes(IDENTIFIED_MINUTES)) {
            state.identified = None;
        }
    } else if state.identified.is_none() {
        // Other channels know whom they speak for.
        state.identified = conversation.customer_id.map(|id| dialogue::CustomerId(id.to_string()));
    }
    Ok(state)
}

/// The intent that a message opened: the flow that it started, else what the engine says outside any flow.
fn opened<'a>(
    flow_before: Option<&str>,
    turn: &'a Turn,
    message: &Message,
    understanding: &'a Understanding,
) -> Option<(&'a str, f32)> {
    match turn.state.flow() {
        Some(flow) if Some(flow) != flow_before => {
            let certain = message.choice.is_some();
            Some((flow, if certain { 1.0 } else { understanding.confidence }))
        }
        None if flow_before.is_none() && understanding.in_scope && message.choice.is_none() => {
            Some((&understanding.intent, understanding.confidence))
        }
        _ => None,
    }
}

/// What the customer is told while the engine or the bank's records do not answer. Asked for a person, the assistant
/// hands over all the same.
async fn without_engine(
    connection: &mut PgConnection,
    conversation: &Conversation,
    pending: &[Message],
) -> Result<Vec<Message>> {
    let person = pending.iter().any(|message| message.choice.as_deref() == Some(PERSON_CHOICE));
    let action = if person {
        Action::HandOff {
            reason: HandOffReason::Asked,
            text: "A colleague takes over and answers you here. You do not have to repeat anything.".to_owned(),
        }
    } else {
        Action::Say {
            text: "I can not answer at this moment. Your message is kept. Please try again in a minute, or talk to a \
                   person."
                .to_owned(),
            citations: Vec::new(),
            choices: vec![
                Choice { label: "Try again".to_owned(), value: AGAIN_CHOICE.to_owned() },
                Choice { label: "Talk to a person".to_owned(), value: PERSON_CHOICE.to_owned() },
            ],
        }
    };
    let written = store::append(connection, conversation.id, NewMessage::assistant(&action, None)?).await?.message;
    if person {
        let mut state = State::deserialize(&conversation.dialogue).unwrap_or_default();
        state.handed_off = true;
        store::record_dialogue(connection, conversation.id, &state, written.seq).await?;
        store::set_status(connection, conversation.id, Status::Waiting).await?;
    }
    Ok(vec![written])
}

async fn announce_status(app: &App, conversation: Uuid, status: Status) {
    store::announce(&app.live, conversation, "status", serde_json::json!({ "status": status })).await;
}
