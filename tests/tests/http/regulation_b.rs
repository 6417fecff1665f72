//! What Regulation B and the FCRA ask of an application: its clock, its reasons, its letter, and its end.

use candor::accounts::Role;
use candor::applications::reasons::Language;
use candor::applications::{self, Channel, NewApplication, Status, letters, retention};
use candor::conversations::erasure;
use candor::crm::idempotency;
use candor::webhooks;
use candor_tests::{Browser, TestApp, spawn, spawn_with};
use chrono::{Days, Utc};
use reqwest::StatusCode;
use uuid::Uuid;

use crate::applications::ada;

/// Somebody on whose device a fraud was confirmed.
fn burnt() -> NewApplication {
    let mut new = NewApplication::new(ada(), 800_000, 36, "car", Channel::Web);
    new.known.device_fraud_count = Some(2.0);
    new.known.device_distinct_emails_8w = Some(5.0);
    new
}

/// Declined for every principal reason; the letter.
async fn declined(app: &TestApp, officer: &Browser, new: NewApplication) -> (Uuid, letters::Letter) {
    let submitted = applications::submit(&app.state, new).await.unwrap();
    let id = submitted.application.id;
    let assessment = submitted.assessment_id.to_string();
    let codes = applications::principal_reasons(&submitted.assessment);
    let mut form = vec![("assessment", assessment.as_str()), ("outcome", "declined"), ("comment", "Ada called twice.")];
    form.extend(codes.iter().map(|code| ("codes", code.as_str())));
    let sent = officer.post_form(&format!("/credit/{id}/decide"), &form).await;
    assert_eq!(sent.status(), StatusCode::SEE_OTHER, "{}", sent.text().await.unwrap());
    let letter = letters::of_application(&app.db, id).await.unwrap().remove(0);
    (id, letter)
}

#[tokio::test]
async fn the_thirty_days_begin_when_the_application_is_complete() {
    let app = spawn().await;
    let submitted = applications::submit(&app.state, burnt()).await.unwrap();
    let id = submitted.application.id;
    let application = applications::find(&app.db, id).await.unwrap();
    assert_eq!(application.decide_by, application.received_at.checked_add_days(Days::new(30)).unwrap());
    let officer = app.sign_in(Role::Officer).await;
    let complete = format!("/credit/{id}/complete");
    assert_eq!(officer.post_form(&complete, &[("", "")]).await.status(), StatusCode::CONFLICT, "nothing is awaited");
    let assessment = submitted.assessment_id.to_string();
    let asked = [("assessment", assessment.as_str()), ("outcome", "documents"), ("documents", "DOC-1")];
    officer.post_form(&format!("/credit/{id}/decide"), &asked).await;
    let waiting = applications::find(&app.db, id).await.unwrap();
    assert_eq!((waiting.status, waiting.completed_at), (Status::Documents, None));
    assert!(
        officer.page(&format!("/credit/{id}")).await.contains("30 days from the day on which the documents are here")
    );
    assert_eq!(officer.post_form(&complete, &[("", "")]).await.status(), StatusCode::SEE_OTHER);
    let again = applications::find(&app.db, id).await.unwrap();
    assert_eq!(again.status, Status::Received);
    assert_eq!(again.decide_by, again.completed_at.unwrap().checked_add_days(Days::new(30)).unwrap());
    assert!(again.decide_by > application.decide_by);
}

#[tokio::test]
async fn a_letter_is_written_in_the_applicants_language_and_names_its_catalogue() {
    let app = spawn().await;
    let officer = app.sign_in(Role::Officer).await;
    let mut new = burnt();
    new.applicant.language = Some(Language::Zh);
    let (_, letter) = declined(&app, &officer, new).await;
    for text in [&letter.body_html, &letter.body_text] {
        assert!(text.contains("申请所用的设备曾用于已确认的欺诈。") && text.contains("平等信贷机会法"), "{text}");
        assert!(!text.contains("confirmed fraud before"));
    }
    let (language, version): (String, i32) =
        sqlx::query_as("select language, catalogue_version from letters").fetch_one(&app.db).await.unwrap();
    assert_eq!((language.as_str(), version), ("zh", applications::reasons::version()));
    let page = officer.page("/manage/reasons").await;
    assert!(
        page.contains("RNG-2")
            && page.contains("我们无法核实您的身份。")
            && page.contains("We could not verify your identity.")
    );
    assert!(officer.page("/manage/reasons.csv").await.lines().count() > 40);
    assert!(sqlx::query("update reason_catalogues set body = '[]'").execute(&app.db).await.is_err());
}

#[tokio::test]
async fn no_principal_reason_falls_out_of_the_letter() {
    let app = spawn().await;
    let officer = app.sign_in(Role::Officer).await;
    // Hardly anything is known: what raises the score is, among other things, that it is not known.
    for (language, said) in
        [(Language::En, "We assessed your application without knowing this"), (Language::Zh, "并不掌握这一项")]
    {
        let mut new = NewApplication::new(ada(), 800_000, 36, "car", Channel::Web);
        new.applicant.language = Some(language);
        new.known.device_distinct_emails_8w = Some(5.0);
        let (id, letter) = declined(&app, &officer, new).await;
        let codes: Vec<String> = sqlx::query_scalar("select reason_codes from decisions where application_id = $1")
            .bind(id)
            .fetch_one(&app.db)
            .await
            .unwrap();
        assert!(codes.iter().any(|code| code.ends_with("-U")), "{codes:?}");
        assert!(letter.body_text.contains(said), "{}", letter.body_text);
        assert_eq!(letter.body_text.matches("\n- ").count(), codes.len(), "{codes:?}: {}", letter.body_text);
        assert!(officer.page(&format!("/credit/{id}")).await.contains("without knowing this"));
    }
}

#[tokio::test]
async fn a_bureau_score_that_was_a_factor_is_disclosed_and_no_other() {
    let app = spawn_with(|config| {
        config.credit_bureau = Some("Example Credit Bureau, PO Box 1000, 1-800-555-0100".to_owned());
        config.credit_bureau_range = Some("300 to 850".to_owned());
    })
    .await;
    let officer = app.sign_in(Role::Officer).await;
    let (_, without) = declined(&app, &officer, burnt()).await;
    assert!(!without.body_text.contains("Fair Credit Reporting Act"), "no score was given");
    let mut new = burnt();
    new.known.credit_risk_score = Some(580.0);
    let (_, with) = declined(&app, &officer, new).await;
    for text in [&with.body_html, &with.body_text] {
        assert!(text.contains("Fair Credit Reporting Act") && text.contains("Example Credit Bureau, PO Box 1000"));
        assert!(text.contains("580") && text.contains("300 to 850") && text.contains("free copy"));
    }
}

#[tokio::test]
async fn after_25_months_nothing_personal_is_left_and_the_chain_still_verifies() {
    let app = spawn().await;
    let officer = app.sign_in(Role::Officer).await;
    let (old, letter) = declined(&app, &officer, burnt()).await;
    let (young, _) = declined(&app, &officer, burnt()).await;
    assert_eq!(retention::erase_due(&app.db, 25).await.unwrap(), 0, "nothing is old enough");
    let long_ago = Utc::now().checked_sub_months(chrono::Months::new(26)).unwrap();
    sqlx::query("update applications set decided_at = $2, received_at = $2 where id = $1")
        .bind(old)
        .bind(long_ago)
        .execute(&app.db)
        .await
        .unwrap();
    assert_eq!(retention::erase_due(&app.db, 25).await.unwrap(), 1);
    assert_eq!(retention::erase_due(&app.db, 25).await.unwrap(), 0, "once is enough");

    // Every text of every table that belongs to it, searched for what it held.
    for table in ["applications", "assessments", "decisions", "labels"] {
        let key = if table == "applications" { "id" } else { "application_id" };
        let sql = format!("select coalesce(string_agg(t::text, ' '), '') from {table} t where {key} = $1");
        let all: String = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(old).fetch_one(&app.db).await.unwrap();
        for personal in ["Ada", "post.example", "20457", "23456789", "1985", "Ada called", "42000"] {
            assert!(!all.contains(personal), "{table} still holds {personal}: {all}");
        }
    }
    let kept = letters::find(&app.db, letter.id).await.unwrap();
    assert_eq!((kept.body_text.as_str(), kept.sha256), ("", letter.sha256), "the hash stays, the words do not");
    let stored: f64 = sqlx::query_scalar("select probability from assessments where application_id = $1")
        .bind(old)
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert!(stored > 0.0, "figures without a person stay");
    assert_eq!(applications::find(&app.db, young).await.unwrap().applicant.name, "Ada Byron");

    let verified = candor::audit::verify(&app.db).await.unwrap();
    assert!(verified.ok(), "{verified:?}");
    assert!(officer.page(&format!("/credit/{old}")).await.contains("was erased"));
    let auditor = app.sign_in(Role::Auditor).await;
    assert_eq!(auditor.get(&format!("/audit/applications/{old}")).await.status(), StatusCode::OK);
    let back = sqlx::query("update applications set erased_at = null where id = $1").bind(old).execute(&app.db).await;
    assert!(back.is_err(), "an erased application stays erased");
    for sql in ["update assessments set probability = 0", "update decisions set outcome = 'approved'"] {
        assert!(sqlx::query(sql).execute(&app.db).await.is_err(), "{sql}");
    }
}

#[tokio::test]
async fn conversations_and_answers_kept_for_programs_lose_their_words_in_time() {
    let app = spawn().await;
    let visitor = app.visitor();
    visitor.page("/").await;
    let said = "My name is Ada Byron, my card 4821 was stolen in Lisbon";
    assert_eq!(visitor.post_form("/chat/messages", &[("text", said)]).await.status().as_u16() / 100, 3);
    let (old, number): (Uuid, i64) =
        sqlx::query_as("select id, number from conversations").fetch_one(&app.db).await.unwrap();
    assert_eq!(erasure::erase_due(&app.db, 25).await.unwrap(), 0, "nothing is old enough");
    sqlx::query(
        "update conversations set last_message_at = now() - interval '26 months', csat_comment = 'Ada was here'",
    )
    .execute(&app.db)
    .await
    .unwrap();
    assert_eq!(erasure::erase_due(&app.db, 25).await.unwrap(), 1);
    assert_eq!(erasure::erase_due(&app.db, 25).await.unwrap(), 0, "once is enough");
    for table in ["conversations", "messages", "bank_operations", "audit_entries"] {
        let sql = format!("select coalesce(string_agg(t::text, ' '), '') from {table} t");
        let all: String = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&app.db).await.unwrap();
        for personal in ["Ada", "4821", "stolen", "Lisbon"] {
            assert!(!all.contains(personal), "{table} still holds {personal}: {all}");
        }
    }
    let mood: Option<f64> = sqlx::query_scalar(
        "select (understanding ->> 'sentiment_score')::float8 from messages where author = 'customer'",
    )
    .fetch_one(&app.db)
    .await
    .unwrap();
    assert!(mood.is_some(), "figures without a person stay");
    let verified = candor::audit::verify(&app.db).await.unwrap();
    assert!(verified.ok(), "{verified:?}");
    let about = candor::audit::about(&app.db, "conversation", &old.to_string()).await.unwrap();
    assert!(about.iter().any(|entry| entry.action == "conversation.erased"));
    let agent = app.sign_in(Role::Agent).await;
    assert!(agent.page(&format!("/desk/{number}")).await.contains("Erased"));

    // Answers under an Idempotency-Key are kept for a month, events for webhooks as long as applications.
    sqlx::query(
        "with client as (insert into api_clients (id, name, client_id, secret_hash, scopes)
                         values ($1, 'CRM', 'crm', 'x', '{}') returning id)
         insert into idempotency_keys (client_id, key, request_hash, created_at)
         select id, key, ''::bytea, now() - age from client,
                (values ('old', interval '31 days'), ('young', interval '29 days')) as keys (key, age)",
    )
    .bind(Uuid::now_v7())
    .execute(&app.db)
    .await
    .unwrap();
    assert_eq!(idempotency::forget_due(&app.db).await.unwrap(), 1);
    let kept: String = sqlx::query_scalar("select key from idempotency_keys").fetch_one(&app.db).await.unwrap();
    assert_eq!(kept, "young");
    sqlx::query(
        "insert into webhook_events (id, kind, payload, created_at)
         values ($1, 'message.created', '{}', now() - interval '26 months'), ($2, 'message.created', '{}', now())",
    )
    .bind(Uuid::now_v7())
    .bind(Uuid::now_v7())
    .execute(&app.db)
    .await
    .unwrap();
    assert_eq!(webhooks::forget_due(&app.db, 25).await.unwrap(), 1);
}
