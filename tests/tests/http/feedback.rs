//! What became of applications: said by officers and programs, kept with its time, counted by later applications that
//! share something, and read by the next training.

use candor::accounts::Role;
use candor::applications::labels::{LabelKind, Source, labelled, record};
use candor::applications::{self, Channel, NewApplication, Session};
use candor::audit::Actor;
use candor_tests::{TestApp, spawn};
use chrono::{Duration, Utc};
use reqwest::StatusCode;
use uuid::Uuid;

use crate::applications::ada;

/// Somebody new, who shares only what is said with anybody.
fn stranger(number: u32, device: Option<&str>, employer: Option<&str>, account: Option<&str>) -> NewApplication {
    let mut applicant = ada();
    applicant.name = format!("Person {number}");
    applicant.email = format!("person{number}@post.example");
    applicant.phone = format!("+49 151 {:07}", 1_000_003 + number * 7919);
    applicant.street = format!("Lane {number}");
    applicant.employer = employer.map(str::to_owned);
    applicant.account = account.map(str::to_owned);
    NewApplication {
        session: Session { device: device.map(str::to_owned), ..Session::default() },
        ..NewApplication::new(applicant, 900_000, 36, "car", Channel::Web)
    }
}

async fn decided(app: &TestApp, new: NewApplication, officer: &candor_tests::Browser) -> Uuid {
    let submitted = applications::submit(&app.state, new).await.unwrap();
    let id = submitted.application.id;
    let (assessment, why) = (submitted.assessment_id.to_string(), "Seen in the branch, all in order.");
    let form = [("assessment", assessment.as_str()), ("outcome", "approved"), ("override_reason", why)];
    let sent = officer.post_form(&format!("/credit/{id}/decide"), &form).await;
    assert_eq!(sent.status(), StatusCode::SEE_OTHER);
    id
}

#[tokio::test]
async fn an_officers_verdict_is_kept_with_its_time_recorded_and_never_changed() {
    let app = spawn().await;
    let officer = app.sign_in(Role::Officer).await;
    let open = applications::submit(&app.state, stranger(1, None, None, None)).await.unwrap().application.id;
    let early = officer.post_form(&format!("/credit/{open}/labels"), &[("kind", "false_alarm")]).await;
    assert_eq!(early.status(), StatusCode::CONFLICT, "first it is decided");

    let id = decided(&app, stranger(2, Some("d"), None, None), &officer).await;
    let path = format!("/credit/{id}/labels");
    let future = officer.post_form(&path, &[("kind", "repaid"), ("known_at", "2999-01-01")]).await;
    assert_eq!(future.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let said = [("kind", "confirmed_fraud"), ("note", "The passport was stolen."), ("known_at", "")];
    assert_eq!(officer.post_form(&path, &said).await.status(), StatusCode::SEE_OTHER);
    let page = officer.page(&format!("/credit/{id}")).await;
    assert!(page.contains("What became of it") && page.contains("The passport was stolen."));
    assert!(page.contains("Confirmed fraud</span>"), "the head says so");
    let auditor = app.sign_in(Role::Auditor).await;
    assert_eq!(auditor.post_form(&path, &said).await.status(), StatusCode::FORBIDDEN);
    let entry: String = sqlx::query_scalar("select details from audit_entries where action = 'application.labelled'")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert!(entry.contains("confirmed_fraud") && !entry.contains("passport"), "{entry}");
    for sql in ["update labels set kind = 'repaid'", "delete from labels"] {
        assert!(sqlx::query(sql).execute(&app.db).await.is_err(), "{sql}");
    }
    // A later finding counts instead, and the earlier one stays.
    assert_eq!(officer.post_form(&path, &[("kind", "false_alarm")]).await.status(), StatusCode::SEE_OTHER);
    assert!(applications::find(&app.db, id).await.unwrap().fraud_confirmed_at.is_none());
    assert_eq!(applications::labels::of_application(&app.db, id).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_ring_is_linked_drawn_and_counted_as_of_the_arrival() {
    let app = spawn().await;
    let officer = app.sign_in(Role::Officer).await;
    // 1 shares a device with 2, 2 an account with 3, 3 an employer with 4; 5 shares nothing.
    let first = decided(&app, stranger(1, Some("phone"), None, None), &officer).await;
    let second =
        applications::submit(&app.state, stranger(2, Some("phone"), None, Some("DE02 1203 0000 0000 2020 51")));
    let second = second.await.unwrap();
    assert_eq!(second.application.factors.ring_size, Some(2.0));
    assert_eq!(second.application.factors.ring_fraud_count, Some(0.0), "nothing was known of the first one then");
    let said = officer.post_form(&format!("/credit/{first}/labels"), &[("kind", "confirmed_fraud")]).await;
    assert_eq!(said.status(), StatusCode::SEE_OTHER);
    let third = stranger(3, None, Some("Hull & Sons"), Some("de02120300000000202051"));
    let third = applications::submit(&app.state, third).await.unwrap();
    let fourth = applications::submit(&app.state, stranger(4, None, Some("hull & sons "), None)).await.unwrap();
    let fifth = applications::submit(&app.state, stranger(5, None, None, None)).await.unwrap();
    let ring = |submitted: &applications::Submitted| {
        let factors = &submitted.application.factors;
        (factors.ring_size.unwrap(), factors.ring_fraud_count.unwrap())
    };
    assert_eq!([ring(&third), ring(&fourth), ring(&fifth)], [(3.0, 1.0), (4.0, 1.0), (1.0, 0.0)]);

    let page = officer.page(&format!("/credit/{}", fourth.application.id)).await;
    assert!(page.contains("ring-title") && page.contains("class=\"node fraud\""));
    assert!(page.contains("same employer") && page.contains("same account as") && page.contains("same device as"));
    let page = officer.page(&format!("/credit/{}", second.application.id)).await;
    assert!(page.contains("the ring had 2 applications with 0 confirmed frauds"), "then, not now");
    assert!(!officer.page(&format!("/credit/{}", fifth.application.id)).await.contains("ring-title"));
}

#[tokio::test]
async fn a_mark_that_very_many_bear_links_nobody() {
    let app = spawn().await;
    for number in 0..42 {
        let new = stranger(number, None, Some("Federal Post"), None);
        let ring = applications::submit(&app.state, new).await.unwrap().application.factors.ring_size;
        assert_eq!(ring, Some(if number <= 40 { f64::from(number) + 1.0 } else { 1.0 }));
    }
}

#[tokio::test]
async fn training_reads_what_was_known_then_with_the_factors_as_of_the_arrival() {
    let app = spawn().await;
    let officer = app.sign_in(Role::Officer).await;
    let person = Source::Person { id: officer.person.unwrap(), actor: Actor::System };
    let mut keys = Vec::new();
    for number in 0..3 {
        keys.push(decided(&app, stranger(number, Some("shared"), None, None), &officer).await);
    }
    let before = Utc::now();
    let mut connection = app.db.acquire().await.unwrap();
    for (key, kind) in keys.iter().zip([LabelKind::ConfirmedFraud, LabelKind::Repaid, LabelKind::ValuableAlert]) {
        record(&mut connection, *key, kind, &person, Utc::now(), "").await.unwrap();
    }
    assert!(labelled(&app.db, before - Duration::seconds(1)).await.unwrap().is_empty(), "nothing was known then");
    let rows = labelled(&app.db, Utc::now()).await.unwrap();
    let labels: Vec<bool> = rows.iter().map(|row| row.fraud).collect();
    assert_eq!(labels, [true, false], "a valuable alert proves nothing");
    assert_eq!(rows[1].factors.ring_fraud_count, Some(0.0), "the fraud was not known when the second one arrived");
    assert_eq!(rows[1].factors.device_distinct_emails_8w, Some(2.0));
    assert!(rows[0].factors.month < rows[1].factors.month, "in the order of time");
    record(&mut connection, keys[1], LabelKind::ConfirmedFraud, &person, Utc::now(), "").await.unwrap();
    assert!(labelled(&app.db, Utc::now()).await.unwrap()[1].fraud, "the newest one counts");
}
