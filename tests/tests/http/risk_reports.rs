//! Reports around the risk model: each with its picture, its table and its file.

use candor::accounts::Role;
use candor::applications::labels::{LabelKind, Source, record};
use candor::applications::{self, Channel, NewApplication};
use candor::audit::Actor;
use candor_tests::{TestApp, spawn};
use chrono::Utc;
use reqwest::StatusCode;
use uuid::Uuid;

use crate::applications::ada;

/// Applications of different risk, decided and labelled.
pub(crate) async fn labelled(app: &TestApp, count: u32) -> Vec<Uuid> {
    let person: Uuid =
        sqlx::query_scalar("select id from people where role = 'officer'").fetch_one(&app.db).await.unwrap();
    let source = Source::Person { id: person, actor: Actor::System };
    let mut all = Vec::new();
    for number in 0..count {
        let fraud = number % 4 == 0;
        let mut applicant = ada();
        applicant.email = format!("person{number}@{}", if fraud { "freemail.example" } else { "post.example" });
        applicant.phone = format!("+49 151 {:07}", 1_000_003 + number * 7919);
        applicant.street = format!("Lane {number}");
        applicant.date_of_birth = chrono::NaiveDate::from_ymd_opt(1945 + i32::try_from(number % 60).unwrap(), 3, 27);
        applicant.months_at_address = Some(if fraud { number % 3 } else { 40 + number });
        let mut new = NewApplication::new(applicant, 500_000 + i64::from(number) * 10_000, 36, "car", Channel::Web);
        new.known.device_distinct_emails_8w = Some(if fraud { 4.0 } else { 1.0 });
        let id = applications::submit(&app.state, new).await.unwrap().application.id;
        sqlx::query("update applications set status = 'withdrawn', decided_at = now() where id = $1")
            .bind(id)
            .execute(&app.db)
            .await
            .unwrap();
        let kind = if fraud { LabelKind::ConfirmedFraud } else { LabelKind::Repaid };
        record(&mut app.db.acquire().await.unwrap(), id, kind, &source, Utc::now(), "").await.unwrap();
        all.push(id);
    }
    all
}

#[tokio::test]
async fn every_report_has_a_picture_a_table_and_a_file() {
    let app = spawn().await;
    let manager = app.sign_in(Role::Manager).await;
    let empty = manager.page("/manage/reports/risk").await;
    assert!(empty.contains("Not enough in this period yet."));
    labelled(&app, 24).await;
    let page = manager.page("/manage/reports/risk?days=30").await;
    for name in ["score-histogram", "calibration", "label-delay"] {
        assert!(page.contains(&format!("id=\"{name}-title\"")), "{name} is drawn");
        let csv = manager.page(&format!("/manage/reports/risk/{name}.csv?days=30")).await;
        assert!(csv.lines().count() >= 2, "{name}: {csv}");
    }
    // The histogram holds every application once, and the frauds among them.
    let csv = manager.page("/manage/reports/risk/score-histogram.csv?days=30").await;
    let sum = |column: usize| -> i64 {
        csv.lines().skip(1).map(|line| line.split(',').nth(column).unwrap().parse::<i64>().unwrap()).sum()
    };
    assert_eq!((sum(2), sum(3)), (24, 6), "{csv}");
    let auditor = app.sign_in(Role::Auditor).await;
    assert_eq!(auditor.get("/manage/reports/risk").await.status(), StatusCode::OK);
    let agent = app.sign_in(Role::Agent).await;
    assert_eq!(agent.get("/manage/reports/risk").await.status(), StatusCode::FORBIDDEN);
}
