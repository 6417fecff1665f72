//! Risk models: kept for ever, one in shadow, put in force by a second person.

use candor::accounts::Role;
use candor::applications::labels::{LabelKind, Source, record};
use candor::applications::models::{self, Status};
use candor::applications::{self, Channel, NewApplication};
use candor::audit::Actor;
use candor_engine::risk::{ModelFile, SHIPPED_MODEL};
use candor_tests::{TestApp, spawn};
use chrono::Utc;
use reqwest::StatusCode;
use uuid::Uuid;

use crate::applications::ada;

/// The shipped model with its base moved: another model with other scores.
fn challenger(version: &str, base: f64) -> Vec<u8> {
    let mut file: ModelFile = serde_json::from_slice(SHIPPED_MODEL).unwrap();
    file.version = version.to_owned();
    file.base += base;
    serde_json::to_vec(&file).unwrap()
}

async fn registered(app: &TestApp, file: &[u8]) -> Uuid {
    let mut connection = app.db.acquire().await.unwrap();
    models::register(&mut connection, &Actor::System, file, "# Card of a challenger").await.unwrap()
}

fn new() -> NewApplication {
    NewApplication::new(ada(), 900_000, 36, "car", Channel::Web)
}

async fn statuses(app: &TestApp) -> Vec<(String, Status)> {
    let mut all: Vec<_> = models::list(&app.db).await.unwrap().into_iter().map(|m| (m.version, m.status)).collect();
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}

#[tokio::test]
async fn a_challenger_scores_in_shadow_and_takes_force_only_through_a_second_person() {
    let app = spawn().await;
    let before = applications::submit(&app.state, new()).await.unwrap();
    let shipped = before.assessment.model_version.clone();
    let id = registered(&app, &challenger("zz-challenger", 1.0)).await;
    let mut connection = app.db.acquire().await.unwrap();
    let file = challenger("zz-challenger", 1.0);
    let again = models::register(&mut connection, &Actor::System, &file, "").await;
    drop(connection);
    assert!(matches!(again, Err(candor::AppError::Conflict(_))), "a model is registered once");
    let manager = app.sign_in(Role::Manager).await;
    let path = format!("/manage/models/{id}");
    let early = manager.post_form(&format!("{path}/propose"), &[("", "")]).await;
    assert_eq!(early.status(), StatusCode::CONFLICT, "first it scores in shadow");
    assert_eq!(manager.post_form(&format!("{path}/shadow"), &[("", "")]).await.status(), StatusCode::SEE_OTHER);

    // Two applications: what counts is still the model in force; the challenger's score is kept apart.
    let (first, second) =
        (applications::submit(&app.state, new()).await, applications::submit(&app.state, new()).await);
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(first.assessment.model_version, shipped);
    let shadow: Vec<(Uuid, f64)> =
        sqlx::query_as("select application_id, margin from shadow_assessments order by created_at, id")
            .fetch_all(&app.db)
            .await
            .unwrap();
    assert_eq!(shadow.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [first.application.id, second.application.id]);
    assert!((shadow[0].1 - first.assessment.margin - 1.0).abs() < 1e-9, "the same trees, another base");
    let officer = app.sign_in(Role::Officer).await;
    assert!(!officer.page(&format!("/credit/{}", first.application.id)).await.contains("zz-challenger"));

    // Labels since then make the figures.
    let source = Source::Person { id: officer.person.unwrap(), actor: Actor::System };
    for (submitted, kind) in [(&first, LabelKind::ConfirmedFraud), (&second, LabelKind::FalseAlarm)] {
        sqlx::query("update applications set status = 'withdrawn', decided_at = now() where id = $1")
            .bind(submitted.application.id)
            .execute(&app.db)
            .await
            .unwrap();
        let mut connection = app.db.acquire().await.unwrap();
        record(&mut connection, submitted.application.id, kind, &source, Utc::now(), "").await.unwrap();
    }
    let page = manager.page(&path).await;
    assert!(page.contains("The end of 2 is known: 1 frauds.") && page.contains("Area under the curve"), "{page}");
    let csv = manager.page(&format!("{path}/comparison.csv")).await;
    assert_eq!(csv.lines().count(), 3, "{csv}");

    assert_eq!(manager.post_form(&format!("{path}/propose"), &[("", "")]).await.status(), StatusCode::SEE_OTHER);
    let own = manager.post_form(&format!("{path}/promote"), &[("", "")]).await;
    assert_eq!(own.status(), StatusCode::FORBIDDEN, "not by who proposed it");
    assert_eq!(officer.post_form(&format!("{path}/promote"), &[("", "")]).await.status(), StatusCode::FORBIDDEN);
    // Past every page: the database itself refuses.
    sqlx::query("update risk_models set status = 'retired' where status = 'active'").execute(&app.db).await.unwrap();
    for (set, constraint) in [
        ("promoted_by = proposed_by", "risk_models_four_eyes"),
        ("promoted_by = null", "risk_models_promoted_by_people"),
    ] {
        let sql = format!("update risk_models set status = 'active', {set} where id = $1");
        let refused = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id).execute(&app.db).await.unwrap_err();
        assert_eq!(refused.as_database_error().unwrap().constraint(), Some(constraint));
    }
    sqlx::query("update risk_models set status = 'active' where came_with").execute(&app.db).await.unwrap();

    let second_person = app.sign_in(Role::SeniorOfficer).await;
    assert_eq!(second_person.post_form(&format!("{path}/promote"), &[("", "")]).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(
        statuses(&app).await,
        [(shipped.clone(), Status::Retired), ("zz-challenger".to_owned(), Status::Active)]
    );
    let after = applications::submit(&app.state, new()).await.unwrap();
    assert_eq!(after.assessment.model_version, "zz-challenger");
    let actions: Vec<String> =
        sqlx::query_scalar("select action from audit_entries where subject_kind = 'model' order by number")
            .fetch_all(&app.db)
            .await
            .unwrap();
    assert_eq!(actions, ["model.promoted", "model.registered", "model.shadowed", "model.proposed", "model.promoted"]);

    // Every version stays: the first score is repeated with the model that made it, although another one is in force.
    let mut connection = app.db.acquire().await.unwrap();
    let stored = applications::assessment(&app.db, before.assessment_id).await.unwrap();
    let repeated = applications::repeat(&mut connection, &stored).await.unwrap();
    assert!(repeated.same && repeated.same_model);
    for sql in ["delete from risk_models", "update risk_models set file = ''", "delete from shadow_assessments"] {
        assert!(sqlx::query(sql).execute(&app.db).await.is_err(), "{sql}");
    }
}

#[tokio::test]
async fn an_upgrade_brings_its_model_but_never_replaces_one_that_people_chose() {
    let app = spawn().await;
    models::install(&app.db, SHIPPED_MODEL, "").await.unwrap();
    let upgrade = challenger("zz-upgrade", 0.5);
    models::install(&app.db, &upgrade, "").await.unwrap();
    let active = |all: Vec<(String, Status)>| all.into_iter().find(|(_, status)| *status == Status::Active).unwrap().0;
    assert_eq!(active(statuses(&app).await), "zz-upgrade");
    models::install(&app.db, &upgrade, "").await.unwrap();
    assert_eq!(statuses(&app).await.len(), 2, "the second start changes nothing");

    let id = registered(&app, &challenger("zz-chosen", 0.7)).await;
    sqlx::query("update risk_models set status = 'retired' where status = 'active'").execute(&app.db).await.unwrap();
    sqlx::query(
        "update risk_models set status = 'active', proposed_by = (select id from people where role = 'manager'),
                promoted_by = (select id from people where role = 'senior_officer') where id = $1",
    )
    .bind(id)
    .execute(&app.db)
    .await
    .unwrap();
    models::install(&app.db, SHIPPED_MODEL, "").await.unwrap();
    assert_eq!(active(statuses(&app).await), "zz-chosen");
}
