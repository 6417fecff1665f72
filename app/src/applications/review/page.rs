//! An application's page: the score explained, what stands beside it, and the decision.

use std::sync::Arc;

use actix_web::{HttpResponse, web};
use askama::Template;
use candor_engine::risk::{Assessment, Attribution, Catalogue, probability};
use chrono::Utc;
use serde::Deserialize;
use uuid::Uuid;

use crate::accounts::{Person, Role};
use crate::app::App;
use crate::pages::{self, Frame, Moment, Refusals};
use crate::{AppError, Result, audit};

use super::super::assessments::{self, Repetition, StoredAssessment, band_in_words, proposal_in_words};
use super::super::changes::{self, WhatIf};
use super::super::decisions::{self, Decision, DecisionStatus, Outcome};
use super::super::labels::{self, Label, LabelKind};
use super::super::letters::{self, Letter, Rendered};
use super::super::precedents::{self, Precedent};
use super::super::reasons::{self, Coded, Offered};
use super::super::rings::{self, Drawing, Member};
use super::super::{Application, application, models, policies};
use super::percent::{log_odds, percent};
use super::scale::{self, Scale};
use super::waterfall::{self, Waterfall};

#[derive(Deserialize)]
pub(super) struct Asked {
    /// Present when the score is to be repeated.
    #[serde(default)]
    repeat: Option<String>,
}

/// What an officer typed into the decision form.
#[derive(Debug, Clone, Default)]
pub(super) struct Typed {
    pub(super) outcome: Option<Outcome>,
    pub(super) codes: Vec<String>,
    pub(super) documents: Vec<String>,
    pub(super) comment: String,
    pub(super) override_reason: String,
    pub(super) why: String,
}

impl Typed {
    /// A fresh form has the principal reasons ticked.
    fn fresh(offered: &[Offered]) -> Self {
        Self {
            codes: offered.iter().filter(|offer| offer.principal).map(|offer| offer.reason.code.clone()).collect(),
            ..Self::default()
        }
    }

    fn chose(&self, code: &str) -> bool {
        self.codes.iter().any(|chosen| chosen == code)
    }

    fn asks_for(&self, code: &str) -> bool {
        self.documents.iter().any(|chosen| chosen == code)
    }

    fn is(&self, outcome: &str) -> bool {
        self.outcome.is_some_and(|chosen| chosen.as_str() == outcome)
    }
}

#[derive(Template)]
#[template(path = "credit/application.html")]
struct ApplicationPage {
    frame: Frame,
    refusals: Refusals,
    application: Application,
    assignee: Option<String>,
    is_mine: bool,
    may_decide: bool,
    may_label: bool,
    verdicts: [LabelKind; 3],
    outcomes: [LabelKind; 3],
    labels: Vec<(Label, Moment)>,
    is_senior: bool,
    probability: String,
    band: &'static str,
    proposal: &'static str,
    received: Moment,
    deadline: Moment,
    erased: Option<Moment>,
    days_left: i64,
    assessment: StoredAssessment,
    scored: Moment,
    sum: String,
    margin: String,
    baseline: String,
    scale: Scale,
    waterfall: Waterfall,
    factors: Vec<FactorRow>,
    missing: Vec<String>,
    policy_name: String,
    policy_is_active: bool,
    second_from: String,
    needs_second: bool,
    ring: Option<Drawing>,
    linked: Vec<Linked>,
    ring_then: Option<String>,
    conversation: Option<i64>,
    offered_first: Vec<Offered>,
    offered_more: Vec<Offered>,
    documents: &'static [Coded],
    typed: Typed,
    pending: Option<Pending>,
    decided: Vec<DecidedRow>,
    history: Vec<HistoryRow>,
    letters: Vec<(Letter, Moment)>,
    repetition: Option<Repetition>,
    what_if: Option<WhatIfShown>,
    precedents: Vec<(Moment, Precedent)>,
}

/// What would change the score, as the page says it.
struct WhatIfShown {
    band: &'static str,
    threshold: String,
    ways: Vec<WayShown>,
    complete: bool,
}

struct WayShown {
    in_words: String,
    probability: String,
    proposal: &'static str,
}

/// A linked application in the table of its ring.
struct Linked {
    member: Member,
    received: Moment,
    /// What it shares with this application, or with whom it is linked instead.
    how: String,
}

/// One factor in the table.
struct FactorRow {
    part: Attribution,
    number: String,
    kind: &'static str,
    missing: bool,
}

/// A decision that waits for a second person.
struct Pending {
    decision: Decision,
    made: Moment,
    reasons: Vec<String>,
    letter: Option<Rendered>,
    is_own: bool,
}

struct DecidedRow {
    decision: Decision,
    made: Moment,
    reasons: Vec<String>,
}

struct HistoryRow {
    number: i64,
    at: Moment,
    who: String,
    what: String,
}

/// The page of an application.
pub(super) async fn page(
    app: web::Data<App>,
    person: Person,
    application: web::Path<Uuid>,
    asked: web::Query<Asked>,
) -> Result<HttpResponse> {
    person.require(Role::reads_credit)?;
    let page = gather(&app, &person, *application, None, Refusals::none(), asked.repeat.is_some()).await?;
    pages::html(&page)
}

/// The same page with what was refused (422).
pub(super) async fn refused(
    app: &App,
    person: &Person,
    application: Uuid,
    typed: Typed,
    refusals: Refusals,
) -> Result<HttpResponse> {
    pages::refused(&gather(app, person, application, Some(typed), refusals, false).await?)
}

async fn gather(
    app: &App,
    person: &Person,
    id: Uuid,
    typed: Option<Typed>,
    refusals: Refusals,
    repeats: bool,
) -> Result<ApplicationPage> {
    let mut connection = app.db.acquire().await?;
    let application = application::find(&mut *connection, id).await?;
    let assessment = assessments::latest(&mut connection, id).await?;
    let in_force = policies::active(&mut connection).await?;
    let decisions = decisions::of_application(&mut *connection, id).await?;
    let letters = letters::of_application(&mut *connection, id).await?;
    let assignee = assignee(&mut connection, &application).await?;
    let conversation = match application.conversation_id {
        Some(conversation) => conversation_number(&mut connection, conversation).await?,
        None => None,
    };
    let model = match models::model(&mut connection, &assessment.assessment.model_sha256).await {
        Ok(model) => Some(model),
        // Scored before models were kept: the score stays readable, nothing can be searched.
        Err(AppError::NotFound(_)) => None,
        Err(error) => return Err(error),
    };
    drop(connection);
    let what_if = match &model {
        Some(model) if application.erased_at.is_none() => {
            changes::what_would_change(Arc::clone(model), &assessment).await?
        }
        _ => None,
    };
    let precedents = precedents::precedents(&app.db, &assessment).await?;

    let offered = reasons::offered(&assessment.assessment);
    let typed = typed.unwrap_or_else(|| Typed::fresh(&offered));
    let raised: Vec<String> = assessment.assessment.reasons.iter().map(|reason| reason.code.clone()).collect();
    let (offered_first, offered_more) =
        offered.into_iter().partition(|offer| offer.principal || raised.contains(&offer.reason.code));
    let pending = decisions.iter().find(|decision| decision.status == DecisionStatus::Proposed);
    let pending = match pending {
        Some(decision) => Some(pending_decision(app, person, &application, &assessment, decision).await?),
        None => None,
    };
    let history = audit::about(&app.db, "application", &id.to_string()).await?;
    let repetition = match repeats {
        true => Some(assessments::repeat(&mut *app.db.acquire().await?, &assessment).await?),
        false => None,
    };
    let members = rings::ring(&app.db, id).await?;
    let labels = labels::of_application(&app.db, id).await?;
    let score = &assessment.assessment;
    Ok(ApplicationPage {
        frame: Frame::staff(
            &app.config.bank_name,
            format!("{}, {}", application.applicant.name, application.amount()),
            "credit",
            person,
        ),
        refusals,
        is_mine: application.assignee_id == Some(person.id),
        may_label: person.role.decides_credit() && !application.status.is_open(),
        verdicts: LabelKind::VERDICTS,
        outcomes: LabelKind::OUTCOMES,
        labels: labels.into_iter().map(|label| (label.clone(), Moment(label.known_at))).collect(),
        may_decide: person.role.decides_credit() && application.status.may_be_decided(),
        is_senior: person.role == Role::SeniorOfficer,
        probability: percent(score.probability),
        band: band_in_words(score.band),
        proposal: proposal_in_words(score.proposal),
        received: Moment(application.received_at),
        deadline: Moment(application.decide_by),
        erased: application.erased_at.map(Moment),
        days_left: application.days_left(Utc::now()),
        scored: Moment(assessment.created_at),
        sum: format!("{:.9}", assessment.sum()),
        margin: format!("{:.9}", score.margin),
        baseline: log_odds(score.baseline),
        scale: scale::draw(score, &assessment.policy.bands),
        waterfall: waterfall::draw(score, &assessment.policy.bands, &|margin| {
            model.as_ref().map_or_else(|| probability(margin), |model| model.probability(margin))
        }),
        what_if: what_if.map(what_if_shown),
        precedents: precedents.into_iter().map(|case| (Moment(case.received_at), case)).collect(),
        factors: score.attributions.iter().map(|part| factor_row(part, &score.missing)).collect(),
        missing: score.missing.iter().map(|factor| label(factor)).collect(),
        policy_name: format!("Policy {}", score.policy_version),
        policy_is_active: in_force.id == assessment.policy_id,
        second_from: money(&application, in_force.body.second_person_above_minor),
        needs_second: application.amount_minor >= in_force.body.second_person_above_minor,
        ring: rings::draw(&members),
        linked: linked(&members),
        ring_then: ring_then(&application.factors),
        conversation,
        offered_first,
        offered_more,
        documents: reasons::documents(),
        typed,
        pending,
        decided: decisions
            .into_iter()
            .filter(|decision| decision.status != DecisionStatus::Proposed)
            .map(|decision| decided_row(decision, score))
            .collect(),
        history: history
            .into_iter()
            .rev()
            .map(|entry| HistoryRow {
                number: entry.number,
                at: Moment(entry.at),
                who: entry.actor_name,
                what: in_words(&entry.action),
            })
            .collect(),
        letters: letters.into_iter().map(|letter| (letter.clone(), Moment(letter.sent_at))).collect(),
        repetition,
        assignee,
        application,
        assessment,
    })
}

/// Everybody in the ring but the application itself.
fn linked(members: &[Member]) -> Vec<Linked> {
    let Some((middle, others)) = members.split_first() else { return Vec::new() };
    let how = |member: &Member| {
        let direct = middle.shared(member);
        if !direct.is_empty() {
            return format!("same {}", direct.join(", "));
        }
        let between = others.iter().find(|other| other.steps < member.steps && !other.shared(member).is_empty());
        between
            .map_or_else(String::new, |other| format!("same {} as {}", other.shared(member).join(", "), other.number))
    };
    others
        .iter()
        .map(|member| Linked { received: Moment(member.received_at), how: how(member), member: member.clone() })
        .collect()
}

/// The ring as the score knew it: as of the arrival.
fn ring_then(factors: &candor_engine::risk::Application) -> Option<String> {
    let (size, frauds) = factors.ring_size.zip(factors.ring_fraud_count)?;
    Some(format!("When it arrived, the ring had {size} applications with {frauds} confirmed frauds."))
}

async fn pending_decision(
    app: &App,
    person: &Person,
    application: &Application,
    assessment: &StoredAssessment,
    decision: &Decision,
) -> Result<Pending> {
    let mut connection = app.db.acquire().await?;
    let codes = &decision.reason_codes;
    let letter =
        letters::preview(&mut connection, &app.config, application, assessment, decision.outcome, codes, Utc::now())
            .await?;
    Ok(Pending {
        made: Moment(decision.created_at),
        reasons: reasons::in_words(&decision.reason_codes, &assessment.assessment),
        letter,
        is_own: decision.decided_by == person.id,
        decision: decision.clone(),
    })
}

fn decided_row(decision: Decision, assessment: &Assessment) -> DecidedRow {
    DecidedRow {
        made: Moment(decision.created_at),
        reasons: reasons::in_words(&decision.reason_codes, assessment),
        decision,
    }
}

fn what_if_shown(found: WhatIf) -> WhatIfShown {
    WhatIfShown {
        band: found.band.as_str(),
        threshold: percent(found.threshold),
        complete: found.complete,
        ways: found
            .ways
            .into_iter()
            .map(|(way, proposal)| WayShown {
                in_words: way.in_words,
                probability: percent(way.probability),
                proposal: proposal_in_words(proposal),
            })
            .collect(),
    }
}

fn factor_row(part: &Attribution, missing: &[String]) -> FactorRow {
    FactorRow {
        number: log_odds(part.contribution),
        kind: if part.contribution > 0.0 { "raises" } else { "lowers" },
        missing: missing.contains(&part.factor),
        part: part.clone(),
    }
}

fn label(factor: &str) -> String {
    Catalogue::shipped().get(factor).map_or_else(|| factor.replace('_', " "), |known| known.label.clone())
}

fn money(application: &Application, minor: i64) -> String {
    candor_engine::dialogue::Money::new(minor, application.currency.clone()).to_string()
}

/// An audit action as a line of the history.
fn in_words(action: &str) -> String {
    let words = match action {
        "application.assessed" => "Received and scored",
        "application.assigned" => "Assigned",
        "application.released" => "Released",
        "application.completed" => "Complete: what was missing has come",
        "application.erased" => "Personal data erased",
        "application.labelled" => "Verdict or outcome recorded",
        "decision.made" => "Decided",
        "decision.proposed" => "Decided, waits for a second person",
        "decision.seconded" => "Confirmed by a second person",
        "decision.refused" => "Not confirmed by a second person",
        "decision.taken_back" => "Decision taken back",
        "decision.override" => "Override of the policy's proposal",
        other => return other.replace(['.', '_'], " "),
    };
    words.to_owned()
}

async fn assignee(connection: &mut sqlx::PgConnection, application: &Application) -> Result<Option<String>> {
    let name = sqlx::query_scalar!(
        "select p.name from applications a join people p on p.id = a.assignee_id where a.id = $1",
        application.id,
    )
    .fetch_optional(connection)
    .await?;
    Ok(name)
}

async fn conversation_number(connection: &mut sqlx::PgConnection, conversation: Uuid) -> Result<Option<i64>> {
    let number = sqlx::query_scalar!("select number from conversations where id = $1", conversation)
        .fetch_optional(connection)
        .await?;
    Ok(number)
}

/// What is answered when somebody decides an application that no longer waits for a decision.
pub(super) fn not_decidable(application: &Application) -> AppError {
    AppError::Conflict(format!(
        "This application is {}. Nothing was changed.",
        application.status.label().to_lowercase()
    ))
}
