//! The program is killed at random moments while applications arrive and are decided. Neither a decision without its audit
//! entry nor an entry without its decision may be left, and whatever was answered must be there.
//!
//! `CANDOR_KILLS` settles how often: `CANDOR_KILLS=50 cargo test --workspace --test program killed`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use candor::accounts::{NewPerson, Role, create_person};
use candor::applications::principal_reasons;
use candor::audit::{self, Actor};
use candor::crm::{NewClient, create_client};
use candor_engine::risk::{Assessment, Proposal};
use rand::Rng;
use reqwest::{Client, Response, StatusCode, redirect};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::pairs::unpaired;
use crate::process::{Served, candor, database, postmaster, serve_with, signal};

const PASSWORD: &str = "correct horse battery";
/// Applications are submitted by so many at the same time.
const SUBMITTERS: u64 = 4;

/// What the program has confirmed.
#[derive(Default, Clone)]
struct Confirmed {
    applications: Vec<Uuid>,
    /// Application and outcome, of decisions that an officer sent.
    decisions: Vec<(Uuid, String)>,
    /// Decisions that a second person confirmed or refused, with what became of them.
    seconded: Vec<(Uuid, &'static str)>,
}

/// Who works at the bank, and the bank's other program.
struct People {
    officer: Client,
    senior: Client,
    crm: Client,
    credentials: NewClient,
    /// Numbers applicants, so that each is somebody else.
    next: AtomicU64,
    confirmed: Mutex<Confirmed>,
    /// Applications with their assessments that wait for an officer.
    waiting: Mutex<Vec<(Uuid, Assessment)>>,
}

fn browser() -> Client {
    Client::builder().cookie_store(true).redirect(redirect::Policy::none()).build().unwrap()
}

impl People {
    /// Hires everybody and signs them in; their sessions outlive the program.
    async fn hire(db: &PgPool, address: &str) -> Self {
        let mut connection = db.acquire().await.unwrap();
        let mut hired = Vec::new();
        for (email, role) in [("mia@bank.example", Role::Officer), ("ole@bank.example", Role::SeniorOfficer)] {
            let new = NewPerson { email, name: email, role, password: PASSWORD };
            create_person(&mut connection, &Actor::System, new).await.unwrap();
            let client = browser();
            let form = [("email", email), ("password", PASSWORD)];
            let signed_in = client.post(format!("{address}/sign-in")).form(&form).send().await.unwrap();
            assert_eq!(signed_in.status(), StatusCode::SEE_OTHER);
            hired.push(client);
        }
        let credentials =
            create_client(&mut connection, "CRM", &["applications:write".to_owned()], None).await.unwrap();
        let (senior, officer) = (hired.pop().unwrap(), hired.pop().unwrap());
        Self {
            officer,
            senior,
            crm: browser(),
            credentials,
            next: AtomicU64::new(0),
            confirmed: Mutex::default(),
            waiting: Mutex::default(),
        }
    }

    /// Waits until the program that was started last has taken an application, and everybody has done something.
    async fn have_begun(&self) {
        let (start, before) = (Instant::now(), self.confirmed.lock().unwrap().applications.len());
        let begun = || {
            let confirmed = self.confirmed.lock().unwrap();
            confirmed.applications.len() > before && !confirmed.decisions.is_empty() && !confirmed.seconded.is_empty()
        };
        while !begun() {
            assert!(start.elapsed() < Duration::from_secs(120), "applications are taken and decided");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn token(&self, address: &str) -> String {
        let request = self.crm.post(format!("{address}/api/v1/oauth/token"));
        let request = request.basic_auth(&self.credentials.client_id, Some(&self.credentials.secret));
        let answer: Value =
            request.form(&[("grant_type", "client_credentials")]).send().await.unwrap().json().await.unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }

    /// Submits applications until the program is gone.
    async fn submit(&self, address: &str, token: &str) {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let request = self.crm.post(format!("{address}/api/v1/applications")).bearer_auth(token);
            let Some(answer) = answered(request.json(&application(number)).send().await) else { return };
            if answer.status() != StatusCode::CREATED {
                continue;
            }
            let Ok(body) = answer.json::<Value>().await else { return };
            let id: Uuid = body["application"]["id"].as_str().unwrap().parse().unwrap();
            let assessment = serde_json::from_value(body["assessment"].clone()).unwrap();
            self.confirmed.lock().unwrap().applications.push(id);
            self.waiting.lock().unwrap().push((id, assessment));
        }
    }

    /// Decides what waits, as different as can be, until the program is gone.
    async fn decide(&self, address: &str, db: &PgPool) {
        loop {
            let Some((id, assessment)) = self.waiting.lock().unwrap().pop() else {
                tokio::time::sleep(Duration::from_millis(2)).await;
                if self.officer.get(format!("{address}/healthz")).send().await.is_err() {
                    return;
                }
                continue;
            };
            let key: Result<Uuid, _> =
                sqlx::query_scalar("select id from assessments where application_id = $1").bind(id).fetch_one(db).await;
            let Ok(key) = key else { return };
            let codes = principal_reasons(&assessment);
            let outcome = match id.as_u128() % 5 {
                0 | 1 if !codes.is_empty() => "declined",
                2 if assessment.proposal != Proposal::Decline => "referred",
                _ => "approved",
            };
            let mut form = vec![("assessment", key.to_string()), ("outcome", outcome.to_owned())];
            form.extend(codes.iter().map(|code| ("codes", code.clone())));
            form.push(("override_reason", "Met in the branch, both documents seen.".to_owned()));
            form.push(("comment", "Please look at the address.".to_owned()));
            let sent = self.officer.post(format!("{address}/credit/{id}/decide")).form(&form).send().await;
            let Some(answer) = answered(sent) else { return };
            if answer.status() == StatusCode::SEE_OTHER {
                self.confirmed.lock().unwrap().decisions.push((id, outcome.to_owned()));
            }
        }
    }

    /// Confirms one proposed decision, refuses the next, until the program is gone.
    async fn second(&self, address: &str, db: &PgPool) {
        for round in 0_u64.. {
            let proposed: Result<Option<(Uuid, Uuid)>, _> =
                sqlx::query_as("select id, application_id from decisions where status = 'proposed' limit 1")
                    .fetch_optional(db)
                    .await;
            let Ok(proposed) = proposed else { return };
            let Some((decision, application)) = proposed else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            let (action, becomes) = if round.is_multiple_of(2) { ("second", "final") } else { ("refuse", "rejected") };
            let form = [("decision", decision.to_string()), ("why", "The papers do not fit together.".to_owned())];
            let sent = self.senior.post(format!("{address}/credit/{application}/{action}")).form(&form).send().await;
            let Some(answer) = answered(sent) else { return };
            if answer.status() == StatusCode::SEE_OTHER {
                self.confirmed.lock().unwrap().seconded.push((decision, becomes));
            }
        }
    }
}

/// The answer; `None` when the program is gone. While the database goes down it may be an apology, but whatever is asked here is
/// never the asker's fault.
fn answered(sent: reqwest::Result<Response>) -> Option<Response> {
    let answer = sent.ok()?;
    assert!(!answer.status().is_client_error(), "{} at {}", answer.status(), answer.url().path());
    Some(answer)
}

/// Somebody new each time. Some of them apply from a device of a confirmed fraud, some for amounts whose overrides need a
/// second person.
fn application(number: u64) -> Value {
    let factors = if number.is_multiple_of(3) { json!({ "device_fraud_count": 2.0 }) } else { json!({}) };
    json!({
        "applicant": {
            "name": format!("Ada Example{number}"),
            "email": format!("ada.example{number}@mail.example"),
            "phone": format!("+49151{number:08}"),
            "date_of_birth": format!("{}-{:02}-{:02}", 1950 + number % 50, number % 12 + 1, number % 28 + 1),
            "street": format!("Linden Street {number}"),
            "city": "Berlin",
            "postcode": format!("1{:04}", number % 9000),
            "months_at_address": 40,
            "yearly_income_minor": 4_200_000,
        },
        "amount_minor": if number.is_multiple_of(2) { 2_000_000 } else { 500_000 },
        "term_months": 48,
        "purpose": "car",
        "factors": factors,
    })
}

/// Starts the program in `home` with limits that the load stays below.
fn start(home: &std::path::Path) -> Served {
    let mut command = candor();
    command.env("CANDOR_HOME", home).env("CANDOR_API_REQUESTS_PER_MINUTE", "100000000").env("CANDOR_LOG", "off");
    serve_with(command)
}

/// Everything confirmed is there, the chain holds, and nothing is without what belongs to it.
async fn assert_whole(db: &PgPool, confirmed: &Confirmed) {
    assert_eq!(unpaired(db).await, Vec::<String>::new());
    let chain = audit::verify(db).await.unwrap();
    assert!(chain.ok(), "{chain:?}");
    let lost = not_stored(db, &confirmed.applications, &[], "applications a where a.id = told.id").await;
    assert!(lost.is_empty(), "applications that were answered are lost: {lost:?}");
    let (applications, outcomes): (Vec<Uuid>, Vec<String>) = confirmed.decisions.iter().cloned().unzip();
    let kept = "decisions d where d.application_id = told.id and d.outcome = told.word";
    let lost = not_stored(db, &applications, &outcomes, kept).await;
    assert!(lost.is_empty(), "decisions that were answered are lost, of {lost:?}");
    let (decisions, become_): (Vec<Uuid>, Vec<String>) =
        confirmed.seconded.iter().map(|(id, status)| (*id, (*status).to_owned())).unzip();
    let kept = "decisions d where d.id = told.id and d.status = told.word";
    let lost = not_stored(db, &decisions, &become_, kept).await;
    assert!(lost.is_empty(), "second looks that were answered are lost: {lost:?}");
}

/// Of what a client was told, a key and perhaps a word each, that for which no row of `kept` is there.
async fn not_stored(db: &PgPool, ids: &[Uuid], words: &[String], kept: &'static str) -> Vec<Uuid> {
    let asked = format!(
        "select id from unnest($1::uuid[], $2::text[]) as told(id, word) where not exists (select from {kept})"
    );
    sqlx::query_scalar(sqlx::AssertSqlSafe(asked)).bind(ids).bind(words).fetch_all(db).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments_the_program_leaves_every_decision_with_its_audit_entry_and_none_without() {
    let kills: u32 = std::env::var("CANDOR_KILLS").map_or(4, |text| text.parse().unwrap());
    let _ = rustls::crypto::ring::default_provider().install_default();
    let home = tempfile::tempdir().unwrap();
    let mut served = start(home.path());
    let people = Arc::new(People::hire(&database(home.path()).await, &served.address).await);
    for kill in 0..kills {
        let db = database(home.path()).await;
        let token = people.token(&served.address).await;
        let mut work = JoinSet::new();
        for worker in 0..SUBMITTERS + 3 {
            let (people, address, token, db) = (Arc::clone(&people), served.address.clone(), token.clone(), db.clone());
            work.spawn(async move {
                match worker {
                    0 => people.second(&address, &db).await,
                    1 | 2 => people.decide(&address, &db).await,
                    _ => people.submit(&address, &token).await,
                }
            });
        }
        people.have_begun().await;
        let moment = Duration::from_micros(rand::rng().random_range(20_000..900_000));
        tokio::time::sleep(moment).await;
        // Every other time the database is killed as well, before it can write down what it still holds.
        if kill % 2 == 1 {
            signal(postmaster(home.path()), "KILL");
        }
        served.kill();
        db.close().await;
        while let Some(done) = work.join_next().await {
            done.unwrap();
        }
        served = start(home.path());
        let confirmed = people.confirmed.lock().unwrap().clone();
        assert_whole(&database(home.path()).await, &confirmed).await;
    }

    let db = database(home.path()).await;
    {
        let confirmed = people.confirmed.lock().unwrap();
        println!(
            "{kills} kills; confirmed were {} applications, {} decisions, {} by a second person",
            confirmed.applications.len(),
            confirmed.decisions.len(),
            confirmed.seconded.len()
        );
    }

    // What the search for pairs would have found.
    let mut past_triggers = db.acquire().await.unwrap();
    sqlx::raw_sql("set session_replication_role = replica").execute(&mut *past_triggers).await.unwrap();
    for (harm, found) in [
        (
            "delete from audit_entries where number = (select max(number) from audit_entries where action = 'decision.made')",
            1,
        ),
        (
            "delete from audit_entries where number = (select max(number) from audit_entries where action like '%assessed')",
            2,
        ),
        ("delete from letters where id = (select id from letters limit 1)", 3),
        (
            "update decisions set is_override = not is_override, override_reason = 'for the test of this' where id = (select id from decisions where status = 'final' and not needs_second limit 1)",
            4,
        ),
    ] {
        sqlx::raw_sql(harm).execute(&mut *past_triggers).await.unwrap();
        assert_eq!(unpaired(&db).await.len(), found, "after {harm}");
    }
}
