//! The audit log: kept whole, checked, read, exported.

use candor::accounts::Role;
use candor::audit::{self, Actor, Entry};
use candor_tests::TestApp;
use serde_json::json;

/// Appends `count` entries, each in its own transaction.
async fn append(app: &TestApp, count: i64) {
    for number in 1..=count {
        let mut tx = app.db.begin().await.unwrap();
        let entry = Entry {
            actor: &Actor::System,
            action: if number % 2 == 0 { "policy.activated" } else { "article.published" },
            subject_kind: "policy",
            subject_id: number.to_string(),
            details: json!({ "n": number, "words": "ü\n\"x\"" }),
        };
        audit::append(&mut tx, entry).await.unwrap();
        tx.commit().await.unwrap();
    }
}

/// Changes the log as only the owner of the database could: with its guard switched off.
async fn tamper(app: &TestApp, statement: &'static str) {
    for statement in
        ["alter table audit_entries disable trigger user", statement, "alter table audit_entries enable trigger user"]
    {
        sqlx::query(statement).execute(&app.db).await.unwrap();
    }
}

#[tokio::test]
async fn the_database_itself_refuses_changes() {
    let app = candor_tests::spawn().await;
    append(&app, 3).await;
    for statement in ["update audit_entries set action = 'x'", "delete from audit_entries", "truncate audit_entries"] {
        let refused = sqlx::query(statement).execute(&app.db).await.unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{statement}: {refused}");
    }
    let found = audit::verify(&app.db).await.unwrap();
    assert!(found.ok() && found.entries == 3, "{found:?}");
}

#[tokio::test]
async fn verification_names_the_first_broken_entry() {
    let app = candor_tests::spawn().await;
    let auditor = app.sign_in(Role::Auditor).await;
    append(&app, 40).await;
    auditor.post_form("/audit/verify", &[("", "")]).await;
    assert!(auditor.page("/audit").await.contains("Chain verified"));

    tamper(
        &app,
        "update audit_entries set details = replace(details, '\"n\":17', '\"n\":71') where number in (17, 30)",
    )
    .await;
    let broken = audit::verify(&app.db).await.unwrap().broken.unwrap();
    assert_eq!((broken.number, broken.why.as_str()), (17, "its content does not match its hash"));
    auditor.post_form("/audit/verify", &[("", "")]).await;
    let page = auditor.page("/audit").await;
    assert!(page.contains("The chain is broken at") && page.contains("/audit/entries/17"), "{page}");
}

#[tokio::test]
async fn removed_entries_are_named_within_and_at_the_end() {
    let app = candor_tests::spawn().await;
    append(&app, 12).await;
    tamper(&app, "delete from audit_entries where number > 10").await;
    assert_eq!(audit::verify(&app.db).await.unwrap().broken.unwrap().number, 11);
    tamper(&app, "delete from audit_entries where number = 4").await;
    let broken = audit::verify(&app.db).await.unwrap().broken.unwrap();
    assert_eq!((broken.number, broken.why.as_str()), (4, "entry 4 is missing"));
}

#[tokio::test]
async fn an_entry_of_a_rolled_back_transaction_leaves_no_gap() {
    let app = candor_tests::spawn().await;
    append(&app, 2).await;
    let mut tx = app.db.begin().await.unwrap();
    let entry = Entry {
        actor: &Actor::System,
        action: "policy.activated",
        subject_kind: "policy",
        subject_id: "x".to_owned(),
        details: json!({}),
    };
    assert_eq!(audit::append(&mut tx, entry).await.unwrap(), 3);
    tx.rollback().await.unwrap();
    append(&app, 2).await;
    let found = audit::verify(&app.db).await.unwrap();
    assert!(found.ok() && found.entries == 4, "{found:?}");
}

#[tokio::test]
async fn concurrent_entries_form_one_chain() {
    let app = candor_tests::spawn().await;
    futures::future::join_all((0..20).map(|_| append(&app, 3))).await;
    let found = audit::verify(&app.db).await.unwrap();
    assert!(found.ok() && found.entries == 60, "{found:?}");
}

#[tokio::test]
async fn the_ledger_is_filtered_paged_and_exported() {
    let app = candor_tests::spawn().await;
    let auditor = app.sign_in(Role::Auditor).await;
    append(&app, 120).await;
    let page = auditor.page("/audit").await;
    assert!(page.contains("/audit/entries/120\"") && !page.contains("/audit/entries/70\""));
    assert!(page.contains("/audit?before=71"));
    assert!(auditor.page("/audit?before=71").await.contains("/audit/entries/70\""));

    let filtered = auditor.page("/audit?action=policy.activated&subject=policy:8").await;
    assert!(filtered.contains("/audit/entries/8\"") && !filtered.contains("/audit/entries/9\""));
    assert!(auditor.page("/audit?who=nobody").await.contains("Nothing fits this filter"));
    assert!(auditor.page("/audit?to=2020-01-01").await.contains("Nothing fits this filter"));
    let wrong = auditor.get("/audit?from=soon").await;
    assert_eq!(wrong.status(), 422);
    assert!(wrong.text().await.unwrap().contains("Enter a date as YYYY-MM-DD."));
    let one = auditor.page("/audit/entries/8").await;
    assert!(one.contains("policy.activated") && one.contains("&#34;n&#34;: 8"), "{one}");
    assert_eq!(auditor.get("/audit/entries/999").await.status(), 404);

    let csv = auditor.post_form("/audit/export", &[("action", "policy.activated")]).await;
    assert!(csv.headers()["content-disposition"].to_str().unwrap().contains("audit-log.csv"));
    let csv = csv.text().await.unwrap();
    assert_eq!(csv.lines().count(), 61, "a head and 60 entries");
    let recorded = audit::entry(&app.db, 121).await.unwrap();
    assert_eq!((recorded.action.as_str(), recorded.actor_name.as_str()), ("audit.exported", "Test Auditor"));
    assert!(recorded.details.contains("policy.activated"));
}
