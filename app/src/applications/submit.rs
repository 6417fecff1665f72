//! Submitting an application: checked, scored, kept and recorded in one transaction.

use candor_engine::dialogue::{Employment, Housing, LoanParticulars};
use candor_engine::risk::{self, Assessment};
use chrono::{DateTime, Days, SubsecRound, Utc};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::accounts::{random_token, token_hash};
use crate::app::App;
use crate::audit::{self, Actor, Entry};
use crate::error::{FieldError, OnConstraint};
use crate::live::{CREDIT, Event};
use crate::{AppError, Result, webhooks};

use super::application::{self, PURPOSES};
use super::in_force::in_force;
use super::words::{self, CustomerWords};
use super::{Applicant, Application, Channel, Session, Status, assessments, factors, models, scoring};

/// Days the bank has for a decision: 12 CFR 1002.9(a)(1).
const DAYS_TO_DECIDE: u64 = 30;
/// The largest amount that can be asked for, in cents.
const MOST_MINOR: i64 = 100_000_000_000;

/// An application about to be submitted.
#[derive(Debug, Clone, PartialEq)]
pub struct NewApplication {
    /// Who applies.
    pub applicant: Applicant,
    /// Amount in cents.
    pub amount_minor: i64,
    /// ISO 4217 code.
    pub currency: String,
    /// Term in months.
    pub term_months: u32,
    /// What it is for: one of [`PURPOSES`].
    pub purpose: String,
    /// Where it comes from.
    pub channel: Channel,
    /// The branch, for [`Channel::Branch`].
    pub branch: Option<String>,
    /// The customer, where one is known.
    pub customer_id: Option<Uuid>,
    /// The conversation it comes from.
    pub conversation_id: Option<Uuid>,
    /// The CRM's own key.
    pub external_id: Option<String>,
    /// Device and session.
    pub session: Session,
    /// Factors that the caller knows better than the program, for instance the bank's own credit score.
    pub known: risk::Application,
    /// The draft it was filled in as: the same draft is submitted once.
    pub draft: Option<Draft>,
    /// When it arrives; [`NewApplication::new`] takes now.
    pub received_at: DateTime<Utc>,
    /// Who submits it, for the audit log; the applicant where it is `None`.
    pub submitted_by: Option<Actor>,
}

/// The draft behind an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The draft's key.
    pub id: Uuid,
    /// The token of the status page, made from the draft's own.
    pub status_token: String,
}

impl NewApplication {
    /// An application of `applicant`, arriving now, with nothing else known.
    #[must_use]
    pub fn new(applicant: Applicant, amount_minor: i64, term_months: u32, purpose: &str, channel: Channel) -> Self {
        Self {
            applicant,
            amount_minor,
            currency: "EUR".to_owned(),
            term_months,
            purpose: purpose.to_owned(),
            channel,
            branch: None,
            customer_id: None,
            conversation_id: None,
            external_id: None,
            session: Session::default(),
            known: risk::Application::default(),
            draft: None,
            received_at: Utc::now().trunc_subsecs(6),
            submitted_by: None,
        }
    }

    /// What a customer told the assistant, with the particulars that the bank's records hold (`applicant`: name, date of
    /// birth, mail and postal address). The monthly income after tax counts twelve times.
    #[must_use]
    pub fn from_conversation(
        particulars: &LoanParticulars,
        applicant: Applicant,
        customer: Uuid,
        conversation: Uuid,
    ) -> Self {
        let applicant = Applicant {
            phone: particulars.phone.clone(),
            months_at_address: Some(particulars.months_at_address),
            months_at_previous_address: particulars.months_at_previous_address,
            employment: Some(employment(particulars.employment).to_owned()),
            housing: Some(housing(particulars.housing).to_owned()),
            yearly_income_minor: Some(particulars.monthly_income.minor.saturating_mul(12)),
            ..applicant
        };
        Self {
            currency: particulars.amount.currency.clone(),
            customer_id: Some(customer),
            conversation_id: Some(conversation),
            ..Self::new(
                applicant,
                particulars.amount.minor,
                particulars.term_months,
                particulars.purpose.as_str(),
                Channel::Chat,
            )
        }
    }

    fn check(&self) -> Result<()> {
        let mut faults = self.applicant.faults(self.received_at.date_naive());
        let mut refuse = |wrong: bool, field: &str, message: &str| {
            if wrong {
                faults.push(FieldError::new(field, message));
            }
        };
        refuse(!(1..=MOST_MINOR).contains(&self.amount_minor), "amount", "Write an amount above 0.");
        refuse(!(1..=480).contains(&self.term_months), "term_months", "Write a number of months from 1 to 480.");
        refuse(!PURPOSES.iter().any(|(code, _)| *code == self.purpose), "purpose", "Choose what the loan is for.");
        let currency = self.currency.len() == 3 && self.currency.chars().all(|sign| sign.is_ascii_uppercase());
        refuse(!currency, "currency", "Write a currency code such as EUR.");
        refuse(
            self.session.minutes.is_some_and(|minutes| !(0.0..=100_000.0).contains(&minutes)),
            "session.minutes",
            "Write minutes from 0 to 100000, or leave it out.",
        );
        if faults.is_empty() { Ok(()) } else { Err(AppError::Invalid(faults)) }
    }
}

fn employment(employment: Employment) -> &'static str {
    match employment {
        Employment::Employed => "employed",
        Employment::SelfEmployed => "self_employed",
        Employment::PublicService => "public_sector",
        Employment::Retired => "retired",
        Employment::Student => "student",
        Employment::Unemployed => "unemployed",
    }
}

fn housing(housing: Housing) -> &'static str {
    match housing {
        Housing::Rent => "tenant",
        Housing::Own => "owner",
        Housing::Mortgage => "mortgage",
        Housing::Family => "with_family",
        Housing::Provided => "other",
    }
}

/// A submitted application.
#[derive(Debug, Clone, PartialEq)]
pub struct Submitted {
    /// The application as kept.
    pub application: Application,
    /// The assessment's key.
    pub assessment_id: Uuid,
    /// Its assessment.
    pub assessment: Assessment,
    /// What the applicant is told.
    pub customer_words: CustomerWords,
    /// Token of the applicant's page, `/apply/status/{token}`. `None` when the draft was submitted before.
    pub status_token: String,
    /// The same draft was submitted before: nothing new was kept.
    pub again: bool,
    /// Who submitted it.
    actor: Actor,
}

impl Submitted {
    /// Path of the page on which the applicant follows the application.
    #[must_use]
    pub fn status_path(&self) -> String {
        format!("/apply/status/{}", self.status_token)
    }

    /// The entry for the audit log, for whoever called [`submit_within`].
    #[must_use]
    pub fn audit_entry(&self) -> Entry<'_> {
        Entry {
            actor: &self.actor,
            action: "application.assessed",
            subject_kind: "application",
            subject_id: self.application.id.to_string(),
            details: json!({
                "number": self.application.number,
                "channel": self.application.channel,
                "amount_minor": self.application.amount_minor,
                "currency": self.application.currency,
                "assessment": self.assessment_id,
                "probability": self.assessment.probability,
                "margin": self.assessment.margin,
                "band": self.assessment.band,
                "proposal": self.assessment.proposal,
                "rules": self.assessment.rule_hits.iter().map(|hit| hit.code.as_str()).collect::<Vec<_>>(),
                "model_version": self.assessment.model_version,
                "model_sha256": self.assessment.model_sha256,
                "policy_version": self.assessment.policy_version,
            }),
        }
    }
}

/// Submits an application: checked, scored with the policy in force, kept with its assessment and an audit entry in one
/// transaction, and announced to the officers.
///
/// # Errors
/// [`AppError::Invalid`] naming every field that needs another look, [`AppError::Conflict`] when the external key is
/// taken, [`AppError::Unavailable`] without a model.
pub async fn submit(app: &App, new: NewApplication) -> Result<Submitted> {
    let mut transaction = app.commits.begin().await?;
    let submitted = submit_within(&mut transaction, new).await?;
    if !submitted.again {
        audit::append(&mut transaction, submitted.audit_entry()).await?;
    }
    app.commits.commit(transaction).await?;
    announce(app, &submitted).await;
    Ok(submitted)
}

/// The same within the caller's transaction. Unless it was submitted before ([`Submitted::again`]), the caller appends
/// [`Submitted::audit_entry`] last, and calls [`announce`] after the commit.
///
/// # Errors
/// As [`submit`].
pub async fn submit_within(connection: &mut PgConnection, new: NewApplication) -> Result<Submitted> {
    new.check()?;
    if let Some(draft) = &new.draft
        && let Some(earlier) = application::find_by_draft(&mut *connection, draft.id).await?
    {
        return submitted_before(connection, earlier, draft.status_token.clone()).await;
    }
    let in_force = in_force(connection).await?;
    let factors = factors::factors(connection, &new).await?;
    let assessment = scoring::assess(&in_force.models.active, &factors, &in_force.policy)?;
    let status_token = new.draft.as_ref().map_or_else(random_token, |draft| draft.status_token.clone());
    let id = Uuid::now_v7();
    let kept = Kept { application: id, assessment: Uuid::now_v7(), policy: in_force.policy_id };
    let Some(number) = insert(connection, &new, &factors, &assessment, &status_token, &kept).await? else {
        // The same draft, sent twice at the same moment: the other request was first.
        let draft = new.draft.as_ref().map_or(Uuid::nil(), |draft| draft.id);
        let earlier = application::find_by_draft(&mut *connection, draft).await?;
        let earlier = earlier.ok_or_else(|| AppError::Internal("an application was not kept".to_owned()))?;
        return submitted_before(connection, earlier, status_token).await;
    };
    if let Some((key, model)) = &in_force.models.shadow {
        models::keep_shadow(connection, (*key, model), id, in_force.policy_id, &in_force.policy, &factors).await?;
    }
    let application = kept_application(id, number, &new, factors);
    webhooks::record(connection, "application.submitted", &news(&application, &assessment)).await?;
    let actor = new.submitted_by.unwrap_or_else(|| Actor::Customer {
        id: new.customer_id.map_or_else(|| format!("applicant {}", application.number), |id| id.to_string()),
    });
    Ok(Submitted {
        customer_words: words::on_arrival(&application, &assessment),
        application,
        assessment_id: kept.assessment,
        assessment,
        status_token,
        again: false,
        actor,
    })
}

/// What the CRM is told of a new application.
fn news(application: &Application, assessment: &Assessment) -> Value {
    json!({
        "application_id": application.id,
        "number": application.number,
        "external_id": application.external_id,
        "contact_id": application.customer_id,
        "status": application.status,
        "band": assessment.band,
        "proposal": assessment.proposal,
    })
}

async fn submitted_before(
    connection: &mut PgConnection,
    application: Application,
    status_token: String,
) -> Result<Submitted> {
    let stored = assessments::latest(connection, application.id).await?;
    Ok(Submitted {
        customer_words: words::on_arrival(&application, &stored.assessment),
        application,
        assessment_id: stored.id,
        assessment: stored.assessment,
        status_token,
        again: true,
        actor: Actor::System,
    })
}

/// Tells the officers' pages that an application arrived.
pub async fn announce(app: &App, submitted: &Submitted) {
    if submitted.again {
        return;
    }
    let data = json!({ "id": submitted.application.id, "band": submitted.assessment.band });
    app.live.publish(Event { topic: CREDIT.to_owned(), kind: "arrived".to_owned(), data }).await;
}

/// When an application that was complete at that moment must be decided.
#[must_use]
pub(super) fn deadline(completed_at: DateTime<Utc>) -> DateTime<Utc> {
    completed_at.checked_add_days(Days::new(DAYS_TO_DECIDE)).unwrap_or(completed_at)
}

/// Keys of what is kept together.
struct Kept {
    application: Uuid,
    assessment: Uuid,
    policy: Uuid,
}

/// Keeps the application with its assessment in one statement, and gives its number; `None` when its draft was submitted
/// before.
async fn insert(
    connection: &mut PgConnection,
    new: &NewApplication,
    factors: &risk::Application,
    assessment: &Assessment,
    status_token: &str,
    kept: &Kept,
) -> Result<Option<i64>> {
    let number = sqlx::query_scalar!(
        "with application as (
            insert into applications
                (id, customer_id, conversation_id, channel, branch, external_id, applicant, session, factors,
                 amount_minor, currency, term_months, purpose, status_token_hash, draft_id, received_at, completed_at,
                 decide_by)
            values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $16, $17)
            on conflict on constraint applications_draft_unique do nothing
            returning number, id),
         assessment as (
            insert into assessments
                (id, application_id, policy_id, model_version, model_sha256, factors, probability, margin, band,
                 proposal, assessment)
            select $18, id, $19, $20, $21, $9, $22, $23, $24, $25, $26 from application)
         select number from application",
        kept.application,
        new.customer_id,
        new.conversation_id,
        new.channel.as_str(),
        new.branch,
        new.external_id,
        serde_json::to_value(&new.applicant)?,
        serde_json::to_value(&new.session)?,
        serde_json::to_value(factors)?,
        new.amount_minor,
        new.currency,
        i32::try_from(new.term_months).unwrap_or(i32::MAX),
        new.purpose,
        &token_hash(status_token)[..],
        new.draft.as_ref().map(|draft| draft.id),
        new.received_at,
        deadline(new.received_at),
        kept.assessment,
        kept.policy,
        assessment.model_version,
        assessment.model_sha256,
        assessment.probability,
        assessment.margin,
        assessment.band.as_str(),
        assessment.proposal.as_str(),
        serde_json::to_value(assessment)?,
    )
    .fetch_optional(connection)
    .await
    .on_constraint("applications_external", || {
        AppError::Conflict("An application with this external_id was submitted before.".to_owned())
    })?;
    Ok(number)
}

/// The application as it was just kept.
fn kept_application(id: Uuid, number: i64, new: &NewApplication, factors: risk::Application) -> Application {
    Application {
        id,
        number,
        customer_id: new.customer_id,
        conversation_id: new.conversation_id,
        channel: new.channel,
        external_id: new.external_id.clone(),
        applicant: new.applicant.clone(),
        factors,
        session: new.session.clone(),
        amount_minor: new.amount_minor,
        currency: new.currency.clone(),
        term_months: i32::try_from(new.term_months).unwrap_or(i32::MAX),
        purpose: new.purpose.clone(),
        status: Status::Received,
        assignee_id: None,
        received_at: new.received_at,
        completed_at: Some(new.received_at),
        decide_by: deadline(new.received_at),
        decided_at: None,
        fraud_confirmed_at: None,
        erased_at: None,
    }
}
