//! What managers keep.

use candor::accounts::Role;
use candor_tests::TestApp;
use serde_json::Value;
use uuid::Uuid;

/// Action and details of the last entry of the log.
async fn last_entry(app: &TestApp) -> (String, Value) {
    let (action, details): (String, String) =
        sqlx::query_as("select action, details from audit_entries order by number desc limit 1")
            .fetch_one(&app.db)
            .await
            .unwrap();
    (action, serde_json::from_str(&details).unwrap())
}

/// The text of the nth `<code class="secret">` of a page.
fn secret(page: &str, nth: usize) -> String {
    page.split("<code class=\"secret\">").nth(nth + 1).unwrap().split('<').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_person_is_added_signs_in_and_is_deactivated() {
    let app = candor_tests::spawn().await;
    let manager = app.sign_in(Role::Manager).await;
    let refused = manager.post_form("/manage/people", &[("name", ""), ("email", "x"), ("role", "agent")]).await;
    assert_eq!(refused.status(), 422);
    let refused = refused.text().await.unwrap();
    assert!(refused.contains("Enter a name") && refused.contains("value=\"x\""), "{refused}");

    let new = [("name", "Ida Berg"), ("email", "ida@harbour.example"), ("role", "officer")];
    let added = manager.post_form("/manage/people", &new).await;
    assert_eq!((added.status().as_u16(), added.headers()["cache-control"].to_str().unwrap()), (200, "no-store"));
    let password = secret(&added.text().await.unwrap(), 1);
    assert_eq!(last_entry(&app).await.0, "person.created");
    assert_eq!(manager.post_form("/manage/people", &new).await.status(), 422, "the address is taken");

    let ida = app.visitor();
    let form = [("email", "IDA@harbour.example"), ("password", password.as_str())];
    assert_eq!(ida.post_form("/sign-in", &form).await.status(), 303);
    assert_eq!(ida.get("/account").await.status(), 200);
    let id: Uuid =
        sqlx::query_scalar("select id from people where name = 'Ida Berg'").fetch_one(&app.db).await.unwrap();

    let path = format!("/manage/people/{id}");
    assert_eq!(manager.post_form(&format!("{path}/role"), &[("role", "senior_officer")]).await.status(), 303);
    let (action, details) = last_entry(&app).await;
    assert_eq!(
        (action.as_str(), &details["from"], &details["to"]),
        ("person.role_changed", &"officer".into(), &"senior_officer".into())
    );
    assert_eq!(manager.post_form(&format!("{path}/active"), &[("active", "false")]).await.status(), 303);
    assert_eq!(last_entry(&app).await.1["sessions_ended"], 1);
    assert_eq!(ida.get("/account").await.status(), 303);
    assert_eq!(ida.post_form("/sign-in", &form).await.status(), 422);

    assert_eq!(manager.post_form(&format!("{path}/active"), &[("active", "true")]).await.status(), 303);
    let reset = manager.post_form(&format!("{path}/password"), &[("", "")]).await.text().await.unwrap();
    assert_eq!(ida.post_form("/sign-in", &form).await.status(), 422, "the old password is gone");
    let renewed = secret(&reset, 1);
    let form = [("email", "ida@harbour.example"), ("password", renewed.as_str())];
    assert_eq!(ida.post_form("/sign-in", &form).await.status(), 303);
}

#[tokio::test]
async fn nobody_changes_their_own_role_or_access() {
    let app = candor_tests::spawn().await;
    let manager = app.sign_in(Role::Manager).await;
    let path = format!("/manage/people/{}", manager.person.unwrap());
    assert_eq!(manager.post_form(&format!("{path}/role"), &[("role", "auditor")]).await.status(), 409);
    assert_eq!(manager.post_form(&format!("{path}/active"), &[("active", "false")]).await.status(), 409);
}

#[tokio::test]
async fn an_api_client_shows_its_secret_once_and_can_be_ended() {
    let app = candor_tests::spawn().await;
    let manager = app.sign_in(Role::Manager).await;
    let refused = manager.post_form("/manage/clients", &[("name", "Sales CRM")]).await;
    assert_eq!(refused.status(), 422);
    assert!(refused.text().await.unwrap().contains("value=\"Sales CRM\""));
    let form = [("name", "Sales CRM"), ("scope", "contacts:read"), ("scope", "webhooks:manage")];
    let made = manager.post_form("/manage/clients", &form).await.text().await.unwrap();
    let (client_id, client_secret) = (secret(&made, 0), secret(&made, 1));
    let (action, details) = last_entry(&app).await;
    assert_eq!((action.as_str(), &details["client_id"]), ("api_client.created", &client_id.as_str().into()));
    assert!(!details.to_string().contains(&client_secret));

    let grant = [
        ("grant_type", "client_credentials"),
        ("client_id", client_id.as_str()),
        ("client_secret", client_secret.as_str()),
    ];
    let token = async || app.visitor().client.post(app.url("/api/v1/oauth/token")).form(&grant).send().await.unwrap();
    assert_eq!(token().await.status(), 200);
    let list = manager.page("/manage/clients").await;
    assert!(list.contains(&client_id) && !list.contains(&client_secret));

    let id: Uuid = sqlx::query_scalar("select id from api_clients").fetch_one(&app.db).await.unwrap();
    let path = format!("/manage/clients/{id}/deactivate");
    assert_eq!(manager.post_form(&path, &[("", "")]).await.status(), 303);
    assert_eq!(last_entry(&app).await.0, "api_client.deactivated");
    assert!(token().await.status().is_client_error());
    assert_eq!(manager.post_form(&path, &[("", "")]).await.status(), 404);
}

#[tokio::test]
async fn an_article_is_previewed_drafted_published_and_keeps_its_history() {
    let app = candor_tests::spawn().await;
    let manager = app.sign_in(Role::Manager).await;
    let article = |go: &'static str, body: &'static str| {
        [("title", "Opening hours"), ("slug", "opening-hours"), ("tags", "branch, hours"), ("body", body), ("go", go)]
    };
    let preview = manager.post_form("/manage/articles", &article("preview", "We open at **nine**.")).await;
    assert!(preview.text().await.unwrap().contains("<strong>nine</strong>"));
    let stored: i64 = sqlx::query_scalar("select count(*) from articles").fetch_one(&app.db).await.unwrap();
    assert_eq!(stored, 0, "a preview changes nothing");

    let drafted = manager.post_form("/manage/articles", &article("draft", "We open at nine.")).await;
    assert_eq!(drafted.headers()["location"], "/manage/articles/opening-hours?done=draft");
    assert_eq!(app.visitor().get("/help/opening-hours").await.status(), 404);
    let path = "/manage/articles/opening-hours";
    assert_eq!(manager.post_form(path, &article("publish", "We open at ten.")).await.status(), 303);
    assert_eq!(last_entry(&app).await.0, "article.published");
    assert!(app.visitor().page("/help/opening-hours").await.contains("We open at ten."));
    let passages: i64 = sqlx::query_scalar("select count(*) from article_passages").fetch_one(&app.db).await.unwrap();
    assert!(passages > 0, "the assistant can answer from it");
    assert!(manager.page("/manage/articles/opening-hours?revision=1").await.contains("We open at nine."));
    assert_eq!(manager.post_form("/manage/articles", &article("draft", "Another.")).await.status(), 422);

    assert_eq!(manager.post_form(path, &article("retire", "We open at ten.")).await.status(), 303);
    assert_eq!(app.visitor().get("/help/opening-hours").await.status(), 404);
}

#[tokio::test]
async fn canned_responses_are_kept_by_their_shortcut() {
    let app = candor_tests::spawn().await;
    let manager = app.sign_in(Role::Manager).await;
    let form = |shortcut: &'static str, text: &'static str| {
        [("shortcut", shortcut), ("title", "Card arrives"), ("text", text)]
    };
    assert_eq!(manager.post_form("/manage/canned", &form("Card Arrives", "x")).await.status(), 422);
    assert_eq!(manager.post_form("/manage/canned", &form("card-arrives", "Dear {name}.")).await.status(), 303);
    let taken = manager.post_form("/manage/canned", &form("card-arrives", "Again.")).await;
    assert_eq!(taken.status(), 422);
    assert!(taken.text().await.unwrap().contains("Another response has this shortcut."));
    assert_eq!(
        manager.post_form("/manage/canned/card-arrives", &form("card-on-its-way", "Hello.")).await.status(),
        303
    );
    assert!(manager.page("/manage/canned/card-on-its-way").await.contains("Hello."));
    assert_eq!(manager.post_form("/manage/canned/card-on-its-way/delete", &[("", "")]).await.status(), 303);
    assert_eq!(last_entry(&app).await.0, "canned_response.deleted");
    assert_eq!(manager.get("/manage/canned/card-on-its-way").await.status(), 404);
}

#[tokio::test]
async fn a_manager_sees_and_ends_sessions() {
    let app = candor_tests::spawn().await;
    let (manager, agent) = (app.sign_in(Role::Manager).await, app.sign_in(Role::Agent).await);
    assert!(manager.page("/manage/sessions").await.contains("Test Agent"));
    let session: Uuid = sqlx::query_scalar("select id from sessions where person_id = $1")
        .bind(agent.person.unwrap())
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(manager.post_form(&format!("/manage/sessions/{session}/end"), &[("", "")]).await.status(), 303);
    assert_eq!(agent.get("/account").await.status(), 303);
    assert_eq!(last_entry(&app).await.0, "session.ended");
}

/// A conversation that ended yesterday; `agent` says whether a person wrote in it.
async fn ended_conversation(app: &TestApp, agent: Option<Uuid>, resolved_by: &str, csat: Option<i16>) {
    let id = Uuid::now_v7();
    sqlx::query(
        "insert into conversations (id, status, intent, resolved_at, resolved_by, csat, created_at)
         values ($1, 'resolved', 'lost_card', now() - interval '1 day', $2, $3, now() - interval '1 day 1 hour')",
    )
    .bind(id)
    .bind(resolved_by)
    .bind(csat)
    .execute(&app.db)
    .await
    .unwrap();
    let authors = [("customer", None), ("assistant", None), ("agent", agent)];
    let last = if agent.is_some() { 3 } else { 2 };
    for (seq, (author, person)) in (1_i64..).zip(authors.into_iter().take(last)) {
        sqlx::query(
            "insert into messages (id, conversation_id, seq, author, person_id, text, created_at)
             values ($1, $2, $3, $4, $5, 'words', now() - interval '1 day' + $3 * interval '2 seconds')",
        )
        .bind(Uuid::now_v7())
        .bind(id)
        .bind(seq)
        .bind(author)
        .bind(person)
        .execute(&app.db)
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn containment_and_verified_resolution_are_counted_apart() {
    let app = candor_tests::spawn().await;
    let manager = app.sign_in(Role::Manager).await;
    let agent = app.sign_in(Role::Agent).await.person;
    ended_conversation(&app, None, "assistant", None).await; // contained, nothing says it helped
    ended_conversation(&app, None, "customer", Some(1)).await; // contained, and it did not help
    ended_conversation(&app, None, "customer", Some(5)).await; // contained and verified
    ended_conversation(&app, agent, "agent", Some(4)).await; // a person, verified

    let csv = async |name: &str| manager.page(&format!("/manage/reports/{name}.csv?days=7")).await;
    let last = |csv: String| csv.lines().nth(1).unwrap().split(',').skip(1).collect::<Vec<_>>().join(",");
    assert_eq!(last(csv("containment").await), "4,3,0.7500");
    assert_eq!(last(csv("verified-resolution").await), "4,2,0.5000");
    assert!(csv("satisfaction").await.contains("5,1,0.3333"));
    assert!(csv("intents").await.contains("lost card,4,0.7500,3.3333"));
    assert!(csv("first-response").await.contains("Anybody: from the first question,4,2.0"));

    let page = manager.page("/manage/reports?days=7").await;
    assert!(page.contains("75.0 %") && page.contains("<title id=\"containment-title\">Contained</title>"));
    assert_eq!(manager.get("/manage/reports/nothing.csv").await.status(), 404);
}

#[tokio::test]
async fn flows_are_shown_with_diagram_and_tables() {
    let app = candor_tests::spawn().await;
    let manager = app.sign_in(Role::Manager).await;
    let list = manager.page("/manage/flows").await;
    assert!(list.contains("href=\"/manage/flows/block_card\"") && list.contains("order a new card"), "{list}");
    let flow = manager.page("/manage/flows/block_card").await;
    for part in [
        "<svg class=\"flow-diagram\"",
        "only if reason is misused or stolen",
        "Runs only for a customer who has been identified.",
        "May block a card, after the customer has read a summary and said yes.",
        "one of: I lost it, It was stolen, Someone used it",
    ] {
        assert!(flow.contains(part), "no {part} in {flow}");
    }
    assert_eq!(manager.get("/manage/flows/nothing").await.status(), 404);
    let agent = app.sign_in(Role::Agent).await;
    assert_eq!(agent.get("/manage/flows").await.status(), 403);
}

#[tokio::test]
async fn each_figure_shows_the_conversations_behind_it() {
    let app = candor_tests::spawn().await;
    let manager = app.sign_in(Role::Manager).await;
    let agent = app.sign_in(Role::Agent).await.person;
    ended_conversation(&app, None, "assistant", None).await; // contained, nothing says it helped
    ended_conversation(&app, None, "customer", Some(5)).await; // contained and verified
    ended_conversation(&app, agent, "agent", Some(4)).await; // a person, verified
    // The records show what was done: verified although the customer said nothing.
    sqlx::query(
        "update messages set action = '{\"type\": \"act\"}' where author = 'assistant' and conversation_id =
           (select id from conversations where resolved_by = 'assistant')",
    )
    .execute(&app.db)
    .await
    .unwrap();
    sqlx::query(
        "update messages set understanding = jsonb_build_object('sentiment_score', case seq when 1 then -0.8 else 0.6 end)
         where author in ('customer', 'assistant') and conversation_id =
           (select id from conversations where csat = 5)",
    )
    .execute(&app.db)
    .await
    .unwrap();

    let behind = async |name: &str| manager.page(&format!("/manage/reports/{name}/conversations?days=7")).await;
    assert!(behind("containment").await.contains("2 of 3 listed"));
    let verified = behind("verified-resolution").await;
    assert!(verified.contains("3 of 3 listed") && verified.contains("done in the records"), "{verified}");
    assert!(behind("hand-off").await.contains("1 of 3 listed"));
    let mood = behind("mood").await;
    assert!(mood.contains("1 of 1 listed") && mood.contains("-0.80") && mood.contains("+0.60"), "{mood}");
    assert!(behind("satisfaction").await.contains("2 of 3 listed"));
    assert_eq!(manager.get("/manage/reports/intents/conversations").await.status(), 404);
    let csv = manager.page("/manage/reports/mood.csv?days=7").await;
    assert!(csv.contains("better,1,1.0000,-0.8000,0.6000"), "{csv}");
    let reports = manager.page("/manage/reports?days=7").await;
    assert!(reports.contains("/manage/reports/verified-resolution/conversations?days=7"));
}

#[tokio::test]
async fn an_article_is_drafted_from_a_resolved_conversation_and_published_by_a_manager() {
    let app = candor_tests::spawn().await;
    let (agent, manager) = (app.sign_in(Role::Agent).await, app.sign_in(Role::Manager).await);
    ended_conversation(&app, agent.person, "agent", Some(5)).await;
    ended_conversation(&app, None, "assistant", None).await;
    sqlx::query("update messages set text = 'Can I bring my dog to the branch? Write to me@post.example' where author = 'customer'")
        .execute(&app.db)
        .await
        .unwrap();
    sqlx::query("update messages set text = 'Yes, dogs are welcome. Your number is C-10023.' where author = 'agent'")
        .execute(&app.db)
        .await
        .unwrap();
    let number = async |csat: &str| -> i64 {
        sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select number from conversations where csat {csat}")))
            .fetch_one(&app.db)
            .await
            .unwrap()
    };
    let with_person = number("= 5").await;
    let drafted = agent.post_form(&format!("/desk/{with_person}/article"), &[("query", "")]).await;
    assert_eq!(drafted.status(), 303);
    assert_eq!(last_entry(&app).await.0, "article.drafted");
    let slug = format!("conversation-{with_person}");
    assert_eq!(app.visitor().get(&format!("/help/{slug}")).await.status(), 404, "customers do not see a draft");
    let page = manager.page(&format!("/manage/articles/{slug}")).await;
    assert!(page.contains("dogs are welcome") && page.contains("my dog"), "{page}");
    assert!(!page.contains("C-10023") && !page.contains("me@post.example"), "particulars are left out: {page}");
    let form = [("title", "Dogs"), ("tags", ""), ("body", "## Can I bring my dog?\n\nYes."), ("go", "publish")];
    assert_eq!(manager.post_form(&format!("/manage/articles/{slug}"), &form).await.status(), 303);
    assert!(app.visitor().page(&format!("/help/{slug}")).await.contains("Yes."));
    // Drafting again does not write over what was published.
    agent.post_form(&format!("/desk/{with_person}/article"), &[("query", "")]).await;
    assert!(app.visitor().page(&format!("/help/{slug}")).await.contains("Yes."));

    let without = number("is null").await;
    assert_eq!(agent.post_form(&format!("/desk/{without}/article"), &[("query", "")]).await.status(), 409);
}
