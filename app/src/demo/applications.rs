//! Applications of the last five months, scored by the model in force, mostly decided, and labelled as far as a bank would
//! know by now what became of them. Those of the last 30 days are the queue's; the earlier ones are what figures, drift
//! and similar cases are made of.

use candor_engine::risk::demo::DemoApplication;
use candor_engine::risk::{self, Proposal};
use chrono::{DateTime, Duration, SubsecRound, Utc};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

use crate::Result;
use crate::app::App;
use crate::applications::decisions::{self, Outcome, Verdict};
use crate::applications::labels::{self, LabelKind, Source};
use crate::applications::{self, Applicant, Channel, NewApplication, Session, Submitted};

use super::customers::DemoCustomer;
use super::people::Staff;

/// Days of history.
const DAYS: u32 = 30;
/// Days of history before those, for figures only.
const EARLIER_DAYS: u32 = 120;
/// Earlier applications for every ten of the last 30 days.
const EARLIER_OF_TEN: u32 = 9;
/// Newer applications are left for whoever tries the program.
const OPEN_DAYS: f64 = 4.0;
/// Older ones wait for nobody: all would be past their deadline of 30 days soon.
const SETTLED_DAYS: i64 = 20;
/// From this probability of fraud on an officer believes the score, whatever the papers look like.
const BEYOND_DOUBT: f64 = 0.5;

pub(super) async fn fill(
    app: &App,
    rng: &mut ChaCha8Rng,
    customers: &[DemoCustomer],
    staff: &Staff,
    count: u32,
    tell: &impl Fn(&str),
) -> Result<()> {
    // Draws of their own: the last 30 days are the same whether there is a history before them or not.
    let mut before = ChaCha8Rng::seed_from_u64(2027);
    let mut decided = Vec::new();
    let earlier = risk::demo::applications(8, count * EARLIER_OF_TEN / 10, EARLIER_DAYS);
    let all = u32::try_from(earlier.len()).unwrap_or(count) + count;
    let earlier =
        earlier.into_iter().map(|demo| (true, DemoApplication { days_ago: demo.days_ago + f64::from(DAYS), ..demo }));
    let recent = risk::demo::applications(7, count, DAYS).into_iter().map(|demo| (false, demo));
    for (index, (is_earlier, demo)) in earlier.chain(recent).enumerate() {
        if index % 100 == 0 {
            tell(&format!("Demonstration bank: application {} of {all}", index + 1));
        }
        let rng = if is_earlier { &mut before } else { &mut *rng };
        let received = (Utc::now() - minutes(demo.days_ago)).trunc_subsecs(6);
        let submitted = applications::submit(app, application(rng, customers, &demo, received)).await?;
        if demo.days_ago > OPEN_DAYS || rng.random_bool(0.2) {
            let is_fraud = demo.pattern.is_some();
            decided.push(decide(app, rng, staff, &submitted, received, is_fraud).await?);
        }
    }
    set_back(app, &decided).await?;
    label(app, &mut before, staff, &decided).await
}

/// Labels what a bank would know by now: most frauds are found within weeks, a wrong alarm is seen in days, and that a loan
/// runs well is known after a while. The newest applications stay unlabelled, as they are anywhere.
async fn label(app: &App, rng: &mut ChaCha8Rng, staff: &Staff, decided: &[Decided]) -> Result<()> {
    let source = Source::Person { id: staff.officer.id, actor: staff.officer.actor() };
    let mut tx = app.db.begin().await?;
    for one in decided.iter().filter(|one| one.is_final) {
        let (kind, share, days) = match (one.is_fraud, one.was_flagged) {
            (true, _) => (LabelKind::ConfirmedFraud, 0.9, 3..40),
            (false, true) => (LabelKind::FalseAlarm, 0.7, 1..14),
            (false, false) => (LabelKind::Repaid, 0.8, 25..60),
        };
        let known = one.at + Duration::days(rng.random_range(days));
        if rng.random_bool(share) && known < Utc::now() {
            labels::record(&mut tx, one.application, kind, &source, known, "").await?;
        }
    }
    tx.commit().await?;
    Ok(())
}

/// Days as whole minutes.
#[expect(clippy::cast_possible_truncation, reason = "at most some months")]
fn minutes(days: f64) -> Duration {
    Duration::minutes((days * 24.0 * 60.0) as i64)
}

fn application(
    rng: &mut ChaCha8Rng,
    customers: &[DemoCustomer],
    demo: &risk::demo::DemoApplication,
    received: DateTime<Utc>,
) -> NewApplication {
    // Fraud comes from strangers; honest people are often customers already.
    let customer = customers.choose(rng).filter(|_| demo.pattern.is_none() && rng.random_bool(0.5));
    let applicant = match customer {
        Some(customer) => Applicant {
            name: customer.name.clone(),
            email: customer.email.clone(),
            phone: customer.phone.clone(),
            date_of_birth: Some(customer.date_of_birth),
            street: customer.street.clone(),
            city: customer.city.clone(),
            postcode: customer.postcode.clone(),
            ..Applicant::default()
        },
        None => stranger(rng, demo),
    };
    let channel =
        *[Channel::Web, Channel::Web, Channel::Web, Channel::Api, Channel::Branch].choose(rng).unwrap_or(&Channel::Web);
    NewApplication {
        customer_id: customer.map(|customer| customer.id),
        session: Session { device: Some(format!("{:016x}", demo.device_key)), ..Session::default() },
        known: demo.application.clone(),
        received_at: received,
        ..NewApplication::new(applicant, demo.amount_minor, u32::from(demo.term_months), purpose(demo.purpose), channel)
    }
}

/// The application's word for what a loan is for.
fn purpose(drawn: &str) -> &'static str {
    match drawn {
        "car" => "car",
        "home improvement" => "home",
        "refinancing" => "debts",
        "education" => "education",
        "appliance" | "travel" => "purchase",
        _ => "other",
    }
}

/// Somebody the bank does not know. Applications with one address key share the address.
fn stranger(rng: &mut ChaCha8Rng, demo: &risk::demo::DemoApplication) -> Applicant {
    let first = ["Alina", "Bruno", "Carla", "Dario", "Esma", "Felix", "Gita", "Hugo", "Irena", "Jakob", "Kira", "Leon"]
        .choose(rng)
        .unwrap_or(&"Alina");
    let last = [
        "Abel", "Beyer", "Conti", "Dahl", "Engel", "Ferro", "Graf", "Holm", "Ivanov", "Jung", "Klein", "Lange",
        "Maier", "Noll",
    ]
    .choose(rng)
    .unwrap_or(&"Abel");
    let key = demo.address_key;
    Applicant {
        name: format!("{first} {last}"),
        email: format!("{}.{}{}@example.net", first.to_lowercase(), last.to_lowercase(), rng.random_range(10..9999)),
        phone: format!("+49 160 {:07}", rng.random_range(1_000_000..9_999_999)),
        date_of_birth: chrono::NaiveDate::from_ymd_opt(
            rng.random_range(1950..2006),
            rng.random_range(1..=12),
            rng.random_range(1..=28),
        ),
        street: format!("Fennel Row {}", key % 9_973 + 1),
        city: "Port Ellery".to_owned(),
        postcode: format!("{}", 10_115 + key % 80),
        ..Applicant::default()
    }
}

/// Decides as an officer would, and says when: some hours after it arrived. What waits for a second person was decided in the
/// last two days.
async fn decide(
    app: &App,
    rng: &mut ChaCha8Rng,
    staff: &Staff,
    submitted: &Submitted,
    received: DateTime<Utc>,
    is_fraud: bool,
) -> Result<Decided> {
    let assessment = &submitted.assessment;
    let codes = applications::principal_reasons(assessment);
    let is_settled = received < Utc::now() - Duration::days(SETTLED_DAYS);
    let is_doubtful = assessment.probability < BEYOND_DOUBT;
    let outcome = match assessment.proposal {
        Proposal::Approve => Outcome::Approved,
        Proposal::Refer if codes.is_empty() || (rng.random_bool(0.55) && is_doubtful) => Outcome::Approved,
        _ if codes.is_empty() && is_settled => Outcome::Approved,
        _ if codes.is_empty() => Outcome::Referred,
        Proposal::Decline if rng.random_bool(0.06) && is_doubtful => Outcome::Approved,
        Proposal::Refer | Proposal::Decline => Outcome::Declined,
    };
    let verdict = Verdict {
        outcome,
        codes: if outcome == Outcome::Declined { codes } else { Vec::new() },
        comment: if outcome == Outcome::Referred {
            "Please look at the identity documents.".to_owned()
        } else {
            String::new()
        },
        override_reason: "Known customer; documents were checked in the branch.".to_owned(),
    };
    let application = submitted.application.id;
    let decision = decisions::decide(app, &staff.officer, application, submitted.assessment_id, &verdict).await?;
    // Some large overrides are left waiting, so that the second person's page has something to show.
    let is_seconded = decision.needs_second && (rng.random_bool(0.5) || is_settled);
    if is_seconded {
        decisions::confirm(app, &staff.senior, decision.id).await?;
    }
    let after = Duration::minutes(rng.random_range(40..2_800));
    let at = match decision.needs_second && !is_seconded {
        true => (Utc::now() - after).max(received),
        false => (received + after).min(Utc::now()),
    };
    Ok(Decided {
        application,
        decision: decision.id,
        at,
        is_final: matches!(outcome, Outcome::Approved | Outcome::Declined) && (!decision.needs_second || is_seconded),
        was_flagged: assessment.proposal != Proposal::Approve,
        is_fraud,
    })
}

/// When a decision was made in the demonstration's time.
struct Decided {
    application: Uuid,
    decision: Uuid,
    at: DateTime<Utc>,
    /// Whether it needs nobody else any more.
    is_final: bool,
    /// Whether the policy proposed anything but approval.
    was_flagged: bool,
    /// The truth.
    is_fraud: bool,
}

/// Sets the clock of decisions back. A finished decision is kept as it was by a trigger, which only the owner of the
/// table can put aside, and only here: in the transaction that makes up the past of an empty bank.
async fn set_back(app: &App, decided: &[Decided]) -> Result<()> {
    let mut tx = app.db.begin().await?;
    sqlx::query!("alter table decisions disable trigger user").execute(&mut *tx).await?;
    for Decided { application, decision, at, .. } in decided {
        sqlx::query!(
            "update decisions
             set created_at = $2::timestamptz, finished_at = case when finished_at is not null then $2::timestamptz end
             where id = $1",
            decision,
            at,
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "update applications set decided_at = $2 where id = $1 and decided_at is not null",
            application,
            at
        )
        .execute(&mut *tx)
        .await?;
    }
    sqlx::query!("alter table decisions enable trigger user").execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}
