//! Conversations of the last 30 days, in every state. What customers say is in `app/demo/scripts.toml`; every answer
//! is the real assistant's.

use chrono::Duration;
use rand::Rng;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::accounts::Person;
use crate::app::App;
use crate::conversations::{Channel, NewMessage, ResolvedBy, Satisfaction, customer_says, store};
use crate::{AppError, Result};

use super::customers::DemoCustomer;
use super::people::Staff;

#[derive(Deserialize)]
struct Scripts {
    script: Vec<Script>,
}

/// What one customer says and what people did then.
#[derive(Deserialize)]
struct Script {
    weight: u32,
    says: Vec<String>,
    after: After,
    csat: Option<i16>,
    #[serde(default)]
    agent: Vec<String>,
    #[serde(default)]
    answers: Vec<String>,
    #[serde(default)]
    closing: Vec<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum After {
    /// The assistant's last words stand.
    None,
    /// The customer is done.
    Resolved,
    /// Nobody took it yet; an old one was taken and resolved since.
    Waiting,
    /// With an agent.
    Agent,
    /// An agent resolved it.
    AgentResolved,
}

/// Hours within which a conversation may still be open.
const OPEN_HOURS: i64 = 30;

pub(super) async fn fill(
    app: &App,
    rng: &mut ChaCha8Rng,
    customers: &[DemoCustomer],
    staff: &Staff,
    count: u32,
    tell: &impl Fn(&str),
) -> Result<()> {
    let scripts: Scripts = toml::from_str(include_str!("../../demo/scripts.toml"))
        .map_err(|error| AppError::Internal(format!("scripts.toml: {error}")))?;
    let weights = WeightedIndex::new(scripts.script.iter().map(|script| script.weight))
        .map_err(|error| AppError::Internal(format!("scripts.toml: {error}")))?;
    for index in 0..count {
        if index % 25 == 0 {
            tell(&format!("Demonstration bank: conversation {} of {count}", index + 1));
        }
        let (Some(script), Some(customer), Some(agent)) =
            (scripts.script.get(weights.sample(rng)), customers.choose(rng), staff.agents.choose(rng))
        else {
            continue;
        };
        // The last third are of the last day, so that the desk has open work.
        let minutes_ago = if index * 3 >= count * 2 {
            rng.random_range(4..OPEN_HOURS * 60)
        } else {
            rng.random_range(OPEN_HOURS * 60..30 * 24 * 60)
        };
        hold(app, script, customer, agent, minutes_ago).await?;
    }
    Ok(())
}

async fn hold(app: &App, script: &Script, customer: &DemoCustomer, agent: &Person, minutes_ago: i64) -> Result<()> {
    let id = store::start(&app.db, Channel::Web, None, None).await?;
    for words in &script.says {
        customer_says(app, id, &filled_in(words, customer), None, None).await?;
    }
    let mut tx = app.db.begin().await?;
    let after = match script.after {
        After::Waiting if minutes_ago > OPEN_HOURS * 60 => After::AgentResolved,
        After::Agent if minutes_ago > OPEN_HOURS * 60 => After::AgentResolved,
        other => other,
    };
    if matches!(after, After::Agent | After::AgentResolved) {
        with_agent(&mut tx, id, script, agent).await?;
    }
    let by = match after {
        After::AgentResolved => Some(ResolvedBy::Agent),
        After::Resolved => Some(ResolvedBy::Customer),
        After::None | After::Waiting | After::Agent => None,
    };
    if let Some(by) = by {
        store::resolve(&mut tx, id, by).await?;
        if let Some(score) = script.csat {
            store::record_satisfaction(&mut tx, id, &Satisfaction { score, comment: String::new() }).await?;
        }
    }
    set_back(&mut tx, id, Duration::minutes(minutes_ago)).await?;
    tx.commit().await?;
    Ok(())
}

/// What the agent and the customer said to each other.
async fn with_agent(connection: &mut PgConnection, id: Uuid, script: &Script, agent: &Person) -> Result<()> {
    store::assign(connection, id, agent.id).await?;
    let opening = if script.agent.is_empty() {
        vec!["Hello, you are talking to a person now. I have read everything and am looking into it.".to_owned()]
    } else {
        script.agent.clone()
    };
    for words in &opening {
        store::append(connection, id, NewMessage::agent(agent.id, words)).await?;
    }
    for words in &script.answers {
        store::append(connection, id, NewMessage::customer(words)).await?;
    }
    for words in &script.closing {
        store::append(connection, id, NewMessage::agent(agent.id, words)).await?;
    }
    Ok(())
}

fn filled_in(words: &str, customer: &DemoCustomer) -> String {
    words
        .replace("{number}", &customer.number)
        .replace("{born}", &customer.date_of_birth.format("%-d %B %Y").to_string())
        .replace("{postcode}", &customer.postcode)
        .replace("{last4}", &customer.card_last4)
        .replace("{email}", &customer.email)
        .replace("{phone}", &customer.phone)
}

/// Moves a conversation into the past, with half a minute between its messages.
async fn set_back(connection: &mut PgConnection, id: Uuid, ago: Duration) -> Result<()> {
    let seconds = i32::try_from(ago.num_seconds()).unwrap_or(i32::MAX);
    sqlx::query!(
        "update messages set created_at = now() - make_interval(secs => $2) + make_interval(secs => 25 * seq)
         where conversation_id = $1",
        id,
        f64::from(seconds),
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "update conversations set
            created_at = now() - make_interval(secs => $2),
            last_message_at = now() - make_interval(secs => $2) + make_interval(secs => 25 * last_seq),
            waiting_since = case when waiting_since is null then null
                                 else now() - make_interval(secs => $2) + make_interval(secs => 25 * last_seq) end,
            resolved_at = case when resolved_at is null then null
                               else now() - make_interval(secs => $2) + make_interval(secs => 25 * last_seq + 40) end
         where id = $1",
        id,
        f64::from(seconds),
    )
    .execute(connection)
    .await?;
    Ok(())
}
