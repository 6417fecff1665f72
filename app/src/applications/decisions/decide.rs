//! Deciding: kept with its audit entries, its letter and the news to the CRM in one transaction.

use candor_engine::risk::Policy;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::accounts::{Person, Role};
use crate::app::App;
use crate::audit::{self, Entry};
use crate::error::OnConstraint;
use crate::live::{CREDIT, Event};
use crate::{AppError, Result, webhooks};

use super::super::assessments::{self, StoredAssessment};
use super::super::{Application, Status, application, letters, policies, reasons};
use super::store::{Decision, DecisionStatus, find, lock_open};
use super::{Outcome, Verdict, verdict};

/// What will happen when a verdict is confirmed, worked out before anything is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consequence {
    /// It goes against the policy's proposal.
    pub is_override: bool,
    /// It takes force only when a second person confirms it.
    pub needs_second: bool,
}

/// Works out what deciding so means. The amount from which an override needs a second person is the one of the policy
/// in force now, whatever policy the score was made under.
#[must_use]
pub fn consequence(
    application: &Application,
    stored: &StoredAssessment,
    in_force: &Policy,
    outcome: Outcome,
) -> Consequence {
    let is_override = verdict::is_override(outcome, &stored.assessment);
    Consequence {
        is_override,
        needs_second: is_override && application.amount_minor >= in_force.second_person_above_minor,
    }
}

/// Decides an application. `assessment` is the one the officer saw.
///
/// # Errors
/// [`AppError::Invalid`] for what the verdict lacks, [`AppError::Conflict`] when the application was decided, or scored
/// again, in the meantime.
pub async fn decide(
    app: &App,
    person: &Person,
    application: Uuid,
    assessment: Uuid,
    verdict: &Verdict,
) -> Result<Decision> {
    person.require(Role::decides_credit)?;
    let mut transaction = app.commits.begin().await?;
    let application = application::lock(&mut *transaction, application).await?;
    let stored = assessments::latest(&mut transaction, application.id).await?;
    may_be_decided(&application, &stored, assessment)?;
    verdict.check(&stored.assessment)?;
    let policy = policies::active(&mut transaction).await?;
    let consequence = consequence(&application, &stored, &policy.body, verdict.outcome);
    let decision = keep(&mut transaction, person, &application, &stored, verdict, consequence).await?;
    let entry = if consequence.needs_second {
        set_status(&mut transaction, application.id, Status::PendingSecond).await?;
        "decision.proposed"
    } else {
        take_force(app, &mut transaction, &application, &stored, &decision).await?;
        "decision.made"
    };
    record(&mut transaction, person, entry, &application, &stored, &decision).await?;
    app.commits.commit(transaction).await?;
    tell(app, application.id, entry).await;
    Ok(decision)
}

/// A second person confirms: the decision takes force. That it is another person, and a senior officer, is held by the
/// database; its refusal comes back as an answer.
///
/// # Errors
/// [`AppError::Forbidden`] for the same person and for who is no senior officer, [`AppError::Conflict`] when nothing
/// waits for a second person.
pub async fn confirm(app: &App, person: &Person, decision: Uuid) -> Result<Decision> {
    person.require(Role::decides_credit)?;
    let mut transaction = app.db.begin().await?;
    let open = lock_open(&mut transaction, decision).await?;
    let application = application::lock(&mut *transaction, open.application_id).await?;
    finish(&mut transaction, open.id, DecisionStatus::Final, Some(person.id)).await?;
    let decision = find(&mut *transaction, open.id).await?;
    let stored = assessments::assessment(&mut *transaction, decision.assessment_id).await?;
    take_force(app, &mut transaction, &application, &stored, &decision).await?;
    record(&mut transaction, person, "decision.seconded", &application, &stored, &decision).await?;
    transaction.commit().await?;
    tell(app, application.id, "decision.seconded").await;
    Ok(decision)
}

/// A second person refuses, or the first one takes the decision back: the application waits for a decision again.
///
/// # Errors
/// As [`confirm`]; [`AppError::Invalid`] without a reason.
pub async fn refuse(app: &App, person: &Person, decision: Uuid, why: &str) -> Result<Decision> {
    person.require(Role::decides_credit)?;
    if why.trim().chars().count() < verdict::OVERRIDE_REASON_LETTERS {
        return Err(AppError::field("why", "Say why, in at least 10 characters."));
    }
    let mut transaction = app.db.begin().await?;
    let open = lock_open(&mut transaction, decision).await?;
    let application = application::lock(&mut *transaction, open.application_id).await?;
    let takes_back = open.decided_by == person.id;
    finish(&mut transaction, open.id, DecisionStatus::Rejected, (!takes_back).then_some(person.id)).await?;
    set_status(&mut transaction, application.id, Status::Referred).await?;
    let decision = find(&mut *transaction, open.id).await?;
    let action = if takes_back { "decision.taken_back" } else { "decision.refused" };
    let entry = Entry {
        actor: &person.actor(),
        action,
        subject_kind: "application",
        subject_id: application.id.to_string(),
        details: json!({ "decision": decision.id, "number": application.number, "outcome": decision.outcome, "why": why.trim() }),
    };
    audit::append(&mut transaction, entry).await?;
    transaction.commit().await?;
    tell(app, application.id, action).await;
    Ok(decision)
}

fn may_be_decided(application: &Application, stored: &StoredAssessment, seen: Uuid) -> Result<()> {
    if !application.status.may_be_decided() {
        return Err(AppError::Conflict(format!(
            "This application is {} already. Nothing was changed.",
            application.status.label().to_lowercase()
        )));
    }
    if stored.id != seen {
        return Err(AppError::Conflict(
            "This application was scored again since you opened it. Look at the new score first.".to_owned(),
        ));
    }
    Ok(())
}

async fn keep(
    connection: &mut PgConnection,
    person: &Person,
    application: &Application,
    stored: &StoredAssessment,
    verdict: &Verdict,
    consequence: Consequence,
) -> Result<Decision> {
    let id = Uuid::now_v7();
    let status = if consequence.needs_second { DecisionStatus::Proposed } else { DecisionStatus::Final };
    let reason = consequence.is_override.then(|| verdict.override_reason.trim());
    sqlx::query!(
        "insert into decisions
            (id, application_id, assessment_id, outcome, reason_codes, comment, is_override, override_reason,
             needs_second, status, decided_by, finished_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, case when $9 then null else now() end)",
        id,
        application.id,
        stored.id,
        verdict.outcome.as_str(),
        verdict.kept_codes(),
        verdict.comment.trim(),
        consequence.is_override,
        reason,
        consequence.needs_second,
        status.as_str(),
        person.id,
    )
    .execute(&mut *connection)
    .await
    .on_constraint("decisions_override_reason", || {
        AppError::field(
            "override_reason",
            "This goes against the policy's proposal. Say why, in at least 10 characters.",
        )
    })?;
    find(connection, id).await
}

async fn finish(connection: &mut PgConnection, decision: Uuid, status: DecisionStatus, by: Option<Uuid>) -> Result<()> {
    let done = sqlx::query!(
        "update decisions set status = $2, seconded_by = $3, finished_at = now() where id = $1",
        decision,
        status.as_str(),
        by,
    )
    .execute(connection)
    .await;
    match done {
        Err(sqlx::Error::Database(cause)) if cause.constraint() == Some("decisions_four_eyes") => {
            Err(AppError::Forbidden("A second person confirms this decision, not the one who made it.".to_owned()))
        }
        other => other
            .on_constraint("decisions_second_senior", || {
                AppError::Forbidden("A senior credit officer confirms this decision.".to_owned())
            })
            .map(drop),
    }
}

/// A decision becomes final: the application's status, the letter, the news.
async fn take_force(
    app: &App,
    connection: &mut PgConnection,
    application: &Application,
    stored: &StoredAssessment,
    decision: &Decision,
) -> Result<()> {
    let status = match decision.outcome {
        Outcome::Approved => Status::Approved,
        Outcome::Declined => Status::Declined,
        Outcome::Referred => Status::Referred,
        Outcome::Documents => Status::Documents,
    };
    set_status(connection, application.id, status).await?;
    if decision.outcome.has_letter() {
        letters::send(&app.config, connection, application, stored, decision).await?;
    }
    if !status.is_open() {
        webhooks::record(connection, "application.decided", &news(application, stored, decision, status)).await?;
    }
    Ok(())
}

/// What the CRM is told of a final decision.
fn news(application: &Application, stored: &StoredAssessment, decision: &Decision, status: Status) -> Value {
    let reasons: Vec<Value> = decision
        .reason_codes
        .iter()
        .filter_map(|code| reasons::find(code, &stored.assessment))
        .map(|reason| json!({ "code": reason.code, "text": reason.text }))
        .collect();
    json!({
        "application_id": application.id,
        "number": application.number,
        "external_id": application.external_id,
        "contact_id": application.customer_id,
        "status": status,
        "reasons": reasons,
        "decision_id": decision.id,
    })
}

async fn set_status(connection: &mut PgConnection, application: Uuid, status: Status) -> Result<()> {
    sqlx::query!(
        "update applications set status = $2, decided_at = case when $3 then null else now() end,
                completed_at = case when $2 <> 'documents' then completed_at end
         where id = $1",
        application,
        status.as_str(),
        status.is_open(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The audit entry of a decision, and one more for an override.
async fn record(
    connection: &mut PgConnection,
    person: &Person,
    action: &str,
    application: &Application,
    stored: &StoredAssessment,
    decision: &Decision,
) -> Result<()> {
    let actor = person.actor();
    let entry = |action, details| Entry {
        actor: &actor,
        action,
        subject_kind: "application",
        subject_id: application.id.to_string(),
        details,
    };
    let details = json!({
        "decision": decision.id,
        "number": application.number,
        "assessment": stored.id,
        "outcome": decision.outcome,
        "reason_codes": decision.reason_codes,
        "amount_minor": application.amount_minor,
        "proposal": stored.assessment.proposal,
        "probability": stored.assessment.probability,
        "policy_version": stored.assessment.policy_version,
        "needs_second": decision.needs_second,
        "decided_by": decision.decided_by,
        "seconded_by": decision.seconded_by,
    });
    audit::append(connection, entry(action, details)).await?;
    if decision.is_override && decision.seconded_by.is_none() {
        let details = json!({
            "decision": decision.id,
            "number": application.number,
            "proposal": stored.assessment.proposal,
            "outcome": decision.outcome,
            "reason": decision.override_reason,
        });
        audit::append(connection, entry("decision.override", details)).await?;
    }
    Ok(())
}

async fn tell(app: &App, application: Uuid, kind: &str) {
    let event = Event {
        topic: CREDIT.to_owned(),
        kind: "decided".to_owned(),
        data: json!({ "id": application, "what": kind }),
    };
    app.live.publish(event).await;
}
