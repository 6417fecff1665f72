//! The desk: finding, taking, answering and ending conversations.

use std::collections::HashSet;

use candor::accounts::Role;
use candor::conversations::{Channel, NewMessage, Status, store};
use candor_tests::{Browser, TestApp, spawn};
use futures::StreamExt as _;
use reqwest::StatusCode;
use serde_json::json;
use uuid::Uuid;

const NOTHING: [(&str, &str); 0] = [];

/// A conversation in which a customer wrote `words` and has waited so many minutes for a person; answers its number.
async fn waiting(app: &TestApp, words: &str, minutes: i32) -> i64 {
    let id = store::start(&app.db, Channel::Web, None, None).await.unwrap();
    let mut transaction = app.db.begin().await.unwrap();
    store::append(&mut transaction, id, NewMessage::customer(words)).await.unwrap();
    store::set_status(&mut transaction, id, Status::Waiting).await.unwrap();
    transaction.commit().await.unwrap();
    sqlx::query_scalar(
        "update conversations set waiting_since = now() - make_interval(mins => $2) where id = $1 returning number",
    )
    .bind(id)
    .bind(minutes)
    .fetch_one(&app.db)
    .await
    .unwrap()
}

async fn id(app: &TestApp, number: i64) -> Uuid {
    sqlx::query_scalar("select id from conversations where number = $1").bind(number).fetch_one(&app.db).await.unwrap()
}

async fn state(app: &TestApp, number: i64) -> (String, Option<Uuid>) {
    sqlx::query_as("select status, assignee_id from conversations where number = $1")
        .bind(number)
        .fetch_one(&app.db)
        .await
        .unwrap()
}

async fn messages(app: &TestApp, number: i64, author: &str) -> Vec<String> {
    let id = id(app, number).await;
    sqlx::query_scalar("select text from messages where conversation_id = $1 and author = $2 order by seq")
        .bind(id)
        .bind(author)
        .fetch_all(&app.db)
        .await
        .unwrap()
}

async fn audited(app: &TestApp, number: i64) -> Vec<String> {
    let id = id(app, number).await;
    sqlx::query_scalar("select action from audit_entries where subject_id = $1 order by number")
        .bind(id.to_string())
        .fetch_all(&app.db)
        .await
        .unwrap()
}

/// The numbers of the listed conversations, from the top.
async fn listed(agent: &Browser, path: &str) -> Vec<i64> {
    let page = agent.page(path).await;
    page.split("data-row=\"").skip(1).map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect()
}

async fn act(agent: &Browser, number: i64, step: &str) -> StatusCode {
    agent.post_form(&format!("/desk/{number}/{step}"), &NOTHING).await.status()
}

fn location(response: &reqwest::Response) -> &str {
    response.headers()["location"].to_str().unwrap()
}

#[tokio::test]
async fn the_list_shows_what_the_filters_ask_for_and_who_waits_longest_first() {
    let app = spawn().await;
    let agent = app.sign_in(Role::Agent).await;
    let short = waiting(&app, "Where is my transfer", 3).await;
    let long = waiting(&app, "I lost my card", 90).await;
    sqlx::query(
        "update conversations set intent = 'block_card', sentiment = 'negative', channel = 'phone' where number = $1",
    )
    .bind(long)
    .execute(&app.db)
    .await
    .unwrap();
    let with_assistant = store::start(&app.db, Channel::Web, None, None).await.unwrap();
    let with_assistant: i64 = sqlx::query_scalar("select number from conversations where id = $1")
        .bind(with_assistant)
        .fetch_one(&app.db)
        .await
        .unwrap();

    assert_eq!(listed(&agent, "/desk").await, [long, short]);
    assert_eq!(listed(&agent, "/desk?intent=block_card").await, [long]);
    assert_eq!(listed(&agent, "/desk?sentiment=negative&channel=phone").await, [long]);
    assert_eq!(listed(&agent, "/desk?waiting=60").await, [long]);
    assert!(listed(&agent, "/desk?waiting=60&channel=web").await.is_empty());
    assert_eq!(listed(&agent, "/desk?tab=all").await, [long, short, with_assistant]);
    assert_eq!(listed(&agent, "/desk?tab=all&status=assistant").await, [with_assistant]);
    assert!(listed(&agent, "/desk?tab=mine").await.is_empty());

    assert_eq!(act(&agent, short, "take").await, 303);
    assert_eq!(listed(&agent, "/desk").await, [long]);
    assert_eq!(listed(&agent, "/desk?tab=mine").await, [short]);
}

#[tokio::test]
async fn the_list_is_paged() {
    let app = spawn().await;
    let agent = app.sign_in(Role::Agent).await;
    let mut expected = Vec::new();
    for minutes in (1..=43).rev() {
        expected.push(waiting(&app, "Hello", minutes).await);
    }
    let first = listed(&agent, "/desk").await;
    let second = listed(&agent, "/desk?page=2").await;
    assert_eq!([first, second].concat(), expected);
    let page = agent.page("/desk?page=2").await;
    assert!(page.contains("41–43 of 43") && page.contains("/desk?tab=unassigned\" rel=\"prev\""), "{page}");
}

#[tokio::test]
async fn taking_next_gives_everybody_another_one_and_the_oldest_first() {
    let app = spawn().await;
    let mut numbers = Vec::new();
    for minutes in [50, 40, 30, 20, 10] {
        numbers.push(waiting(&app, "Hello", minutes).await);
    }
    let first = app.sign_in_another(Role::Agent, "First").await;
    let answer = first.post_form("/desk/take-next", &NOTHING).await;
    assert_eq!(location(&answer), format!("/desk/{}?tab=mine", numbers[0]));
    // Pressed twice, it is the same one: nobody hoards.
    let answer = first.post_form("/desk/take-next", &NOTHING).await;
    assert_eq!(location(&answer), format!("/desk/{}?tab=mine", numbers[0]));

    let mut agents = Vec::new();
    for index in 0..6 {
        agents.push(app.sign_in_another(Role::Agent, &format!("Agent {index}")).await);
    }
    let answers =
        futures::future::join_all(agents.iter().map(|agent| agent.post_form("/desk/take-next", &NOTHING))).await;
    let mut places: Vec<String> = answers.iter().map(|answer| location(answer).to_owned()).collect();
    places.sort();
    let free: HashSet<String> = numbers[1..].iter().map(|number| format!("/desk/{number}?tab=mine")).collect();
    let taken: HashSet<String> = places.iter().filter(|place| place.contains("tab=mine")).cloned().collect();
    assert_eq!(taken, free, "four are left for six");
    assert_eq!(places.iter().filter(|place| place.contains("done=nobody-waits")).count(), 2, "{places:?}");
}

#[tokio::test]
async fn a_hold_that_ran_out_is_none() {
    let app = spawn().await;
    let number = waiting(&app, "Hello", 5).await;
    let (mia, ben) =
        (app.sign_in_another(Role::Agent, "Mia Holm").await, app.sign_in_another(Role::Agent, "Ben Roth").await);
    mia.post_form("/desk/take-next", &NOTHING).await;
    assert!(mia.page(&format!("/desk/{number}")).await.contains("Held for you until"));
    assert!(listed(&ben, "/desk").await.is_empty());
    assert_eq!(act(&ben, number, "take").await, 409);
    sqlx::query("update conversations set assignee_hold_until = now() - interval '1 second'")
        .execute(&app.db)
        .await
        .unwrap();
    assert_eq!(listed(&ben, "/desk").await, [number]);
    assert_eq!(act(&ben, number, "take").await, 303);
    assert_eq!(state(&app, number).await, ("agent".to_owned(), ben.person));
}

#[tokio::test]
async fn of_two_who_take_over_at_once_the_second_is_told_who_was_faster() {
    let app = spawn().await;
    let number = waiting(&app, "Hello", 5).await;
    let (mia, ben) =
        (app.sign_in_another(Role::Agent, "Mia Holm").await, app.sign_in_another(Role::Agent, "Ben Roth").await);
    let path = format!("/desk/{number}/take");
    let (one, other) = tokio::join!(mia.post_form(&path, &NOTHING), ben.post_form(&path, &NOTHING));
    let (lost, winner, name) = if one.status() == 303 { (other, &mia, "Mia Holm") } else { (one, &ben, "Ben Roth") };
    assert_eq!(lost.status(), 409);
    let page = lost.text().await.unwrap();
    assert!(page.contains(&format!("{name} has this conversation.")), "{page}");
    assert_eq!(state(&app, number).await, ("agent".to_owned(), winner.person));
    assert_eq!(messages(&app, number, "event").await, [format!("{name} answers you now.")]);
    assert_eq!(audited(&app, number).await, ["conversation.taken"]);
}

#[tokio::test]
async fn the_customer_reads_the_reply_and_never_the_note() {
    let app = spawn().await;
    let visitor = app.visitor();
    let sent = visitor.post_form("/chat/messages", &[("text", "I lost my card"), ("client_key", "k1")]).await;
    assert!(sent.status().is_success() || sent.status() == 303, "{}", sent.status());
    visitor.post_form("/chat/person", &NOTHING).await;
    let number: i64 = sqlx::query_scalar("select number from conversations").fetch_one(&app.db).await.unwrap();
    assert_eq!(state(&app, number).await.0, "waiting");

    let agent = app.sign_in(Role::Agent).await;
    let path = format!("/desk/{number}/compose");
    let note = agent.post_form(&path, &[("kind", "note"), ("text", "Smells of fraud, call back first")]).await;
    assert_eq!(note.status(), 303);
    assert_eq!(state(&app, number).await.0, "waiting", "a note takes nothing");
    let reply = agent.post_form(&path, &[("kind", "reply"), ("text", "Your card is blocked now.")]).await;
    assert_eq!(reply.status(), 303);
    assert_eq!(state(&app, number).await, ("agent".to_owned(), agent.person), "a reply takes the conversation");

    let desk = agent.page(&format!("/desk/{number}")).await;
    assert!(desk.contains("Smells of fraud") && desk.contains("Your card is blocked now."));
    let chat = visitor.page("/").await;
    assert!(chat.contains("Your card is blocked now."), "{chat}");
    assert!(!chat.contains("Smells of fraud"), "the note leaked to the page");
    let stream = visitor.client.get(visitor.url("/chat/messages?after=0")).send().await.unwrap().text().await.unwrap();
    assert!(stream.contains("Your card is blocked now.") && !stream.contains("Smells of fraud"), "{stream}");
}

#[tokio::test]
async fn a_reply_that_is_sent_twice_is_kept_once_and_its_source_is_recorded() {
    let app = spawn().await;
    let agent = app.sign_in(Role::Agent).await;
    let number = waiting(&app, "When does my new card arrive?", 5).await;
    let key = Uuid::now_v7().to_string();
    let form = [
        ("kind", "reply"),
        ("text", "It arrives on Friday."),
        ("key", &key),
        ("origin_kind", "article"),
        ("origin_source", "new-card"),
        ("origin_text", "It arrives within five days."),
    ];
    let path = format!("/desk/{number}/compose");
    for _ in 0..2 {
        assert_eq!(agent.post_form(&path, &form).await.status(), 303);
    }
    assert_eq!(messages(&app, number, "agent").await, ["It arrives on Friday."]);
    let uses: Vec<(String, String, bool)> =
        sqlx::query_as("select kind, source, edited from suggestion_uses").fetch_all(&app.db).await.unwrap();
    assert_eq!(uses, [("article".to_owned(), "new-card".to_owned(), true)]);
    let page = agent.page(&format!("/desk/{number}")).await;
    assert!(page.contains("from article “new-card”, edited"), "{page}");
}

#[tokio::test]
async fn a_refused_reply_keeps_its_words() {
    let app = spawn().await;
    let (mia, ben) =
        (app.sign_in_another(Role::Agent, "Mia Holm").await, app.sign_in_another(Role::Agent, "Ben Roth").await);
    let number = waiting(&app, "Hello", 5).await;
    let path = format!("/desk/{number}/compose");
    let empty = ben.post_form(&path, &[("kind", "reply"), ("text", "  ")]).await;
    assert_eq!(empty.status(), 422);
    assert!(empty.text().await.unwrap().contains("Write something first."));
    act(&mia, number, "take").await;
    let late = ben.post_form(&path, &[("kind", "reply"), ("text", "Half an hour of careful work")]).await;
    assert_eq!(late.status(), 409);
    let page = late.text().await.unwrap();
    assert!(page.contains("Mia Holm has this conversation") && page.contains("Half an hour of careful work"), "{page}");
    assert!(messages(&app, number, "agent").await.is_empty());
}

#[tokio::test]
async fn a_suggestion_names_the_article_it_comes_from() {
    let app = spawn().await;
    let agent = app.sign_in(Role::Agent).await;
    let article = Uuid::now_v7();
    sqlx::query("insert into articles (id, slug, title, body) values ($1, 'card-abroad', 'Your card abroad', 'x')")
        .bind(article)
        .execute(&app.db)
        .await
        .unwrap();
    let embedding = app.state.engine.embed("Card fees abroad").await.unwrap_or_default();
    sqlx::query(
        "insert into article_passages (id, article_id, ordinal, heading, text, embedding)
         values ($1, $2, 1, 'Card fees abroad', 'Paying with your card abroad costs no fee in euros.', $3)",
    )
    .bind(Uuid::now_v7())
    .bind(article)
    .bind(embedding)
    .execute(&app.db)
    .await
    .unwrap();
    let number = waiting(&app, "What fee does my card cost abroad?", 5).await;
    let page = agent.page(&format!("/desk/{number}")).await;
    assert!(page.contains("Article “Your card abroad”"), "{page}");
    let filled = agent.page(&format!("/desk/{number}?insert=suggestion")).await;
    let composer = filled.split("<textarea").nth(1).unwrap().split("</textarea>").next().unwrap();
    assert!(composer.contains("costs no fee in euros."), "{composer}");
    assert!(filled.contains(r#"name="origin_source" value="card-abroad""#));
}

#[tokio::test]
async fn handing_back_returns_the_conversation_to_the_assistant() {
    let app = spawn().await;
    let (mia, ben) =
        (app.sign_in_another(Role::Agent, "Mia Holm").await, app.sign_in_another(Role::Agent, "Ben Roth").await);
    let number = waiting(&app, "Hello", 5).await;
    sqlx::query("update conversations set dialogue = $1")
        .bind(json!({ "handed_off": true }))
        .execute(&app.db)
        .await
        .unwrap();
    act(&mia, number, "take").await;
    assert_eq!(act(&ben, number, "hand-back").await, 409, "it is not Ben's");
    assert_eq!(act(&mia, number, "hand-back").await, 303);
    assert_eq!(state(&app, number).await, ("assistant".to_owned(), None));
    let handed_off: bool = sqlx::query_scalar("select (dialogue ->> 'handed_off')::boolean from conversations")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert!(!handed_off);
    assert_eq!(audited(&app, number).await, ["conversation.taken", "conversation.handed_back"]);
}

#[tokio::test]
async fn resolving_can_be_undone_and_is_answered_for() {
    let app = spawn().await;
    let agent = app.sign_in(Role::Agent).await;
    let other = app.sign_in_another(Role::Agent, "Ben Roth").await;
    let number = waiting(&app, "Hello", 5).await;
    act(&agent, number, "take").await;
    let resolved = agent.post_form(&format!("/desk/{number}/resolve"), &[("query", "tab=mine&q=Hello")]).await;
    assert_eq!(location(&resolved), format!("/desk/{number}?tab=mine&q=Hello&done=resolved"));
    assert_eq!(state(&app, number).await.0, "resolved");
    let page = agent.page(&format!("/desk/{number}?done=resolved")).await;
    assert!(page.contains(&format!("/desk/{number}/undo-resolve")), "{page}");
    assert_eq!(act(&agent, number, "resolve").await, 409);
    assert_eq!(act(&agent, number, "undo-resolve").await, 303);
    assert_eq!(state(&app, number).await, ("agent".to_owned(), agent.person));
    let to = other.person.unwrap().to_string();
    assert_eq!(agent.post_form(&format!("/desk/{number}/assign"), &[("to", &to)]).await.status(), 303);
    assert_eq!(state(&app, number).await, ("agent".to_owned(), other.person));
    assert_eq!(act(&other, number, "release").await, 303);
    assert_eq!(state(&app, number).await, ("waiting".to_owned(), None));
    assert_eq!(
        audited(&app, number).await,
        [
            "conversation.taken",
            "conversation.resolved",
            "conversation.reopened",
            "conversation.assigned",
            "conversation.released"
        ]
    );
}

#[tokio::test]
async fn a_conversation_is_assigned_only_to_somebody_at_the_desk() {
    let app = spawn().await;
    let agent = app.sign_in(Role::Agent).await;
    let auditor = app.sign_in(Role::Auditor).await;
    let number = waiting(&app, "Hello", 5).await;
    let to = auditor.person.unwrap().to_string();
    assert_eq!(agent.post_form(&format!("/desk/{number}/assign"), &[("to", &to)]).await.status(), 422);
    assert_eq!(state(&app, number).await, ("waiting".to_owned(), None));
}

#[tokio::test]
async fn search_finds_words_names_and_numbers_in_resolved_ones_too() {
    let app = spawn().await;
    let agent = app.sign_in(Role::Agent).await;
    let cards = waiting(&app, "My cards were stolen in Lisbon", 5).await;
    let named = waiting(&app, "Hello", 5).await;
    let customer = Uuid::now_v7();
    sqlx::query(
        "insert into customers (id, number, name, email, date_of_birth)
         values ($1, 'C-77001', 'Ingrid Solberg', 'ingrid@example.com', '1980-02-03')",
    )
    .bind(customer)
    .execute(&app.db)
    .await
    .unwrap();
    sqlx::query("update conversations set customer_id = $1 where number = $2")
        .bind(customer)
        .bind(named)
        .execute(&app.db)
        .await
        .unwrap();
    act(&agent, cards, "resolve").await;

    assert!(!listed(&agent, "/desk?tab=all").await.contains(&cards), "resolved ones are not in the way");
    assert_eq!(listed(&agent, "/desk?q=stolen+card").await, [cards]);
    assert_eq!(listed(&agent, "/desk?q=solberg").await, [named]);
    assert_eq!(listed(&agent, "/desk?q=C-77001").await, [named]);
    assert_eq!(listed(&agent, &format!("/desk?q=%23{cards}")).await, [cards]);
    assert!(listed(&agent, "/desk?q=%25").await.is_empty(), "a percent sign is no wildcard");
    let page = agent.page("/desk?q=%3Cscript%3E").await;
    assert!(!page.contains("<script>") && page.contains("Nothing fits."), "{page}");
}

#[tokio::test]
async fn colleagues_see_each_other_in_the_list_and_the_thread() {
    let app = spawn().await;
    let (mia, ben) =
        (app.sign_in_another(Role::Agent, "Mia Holm").await, app.sign_in_another(Role::Agent, "Ben Roth").await);
    let number = waiting(&app, "Hello", 5).await;
    let thread = format!("/desk/{number}");
    mia.page(&thread).await;
    assert!(ben.page("/desk").await.contains("Mia Holm is looking"));
    assert!(ben.page(&thread).await.contains("Mia Holm is looking at this"));
    let own = mia.page(&thread).await;
    assert!(own.contains("Ben Roth is looking at this") && !own.contains("Mia Holm is looking"));
    let presence = format!("/desk/{number}/presence");
    assert_eq!(mia.post_form(&presence, &[("doing", "replying")]).await.status(), 204);
    assert!(ben.page(&thread).await.contains("Mia Holm is replying"));
    mia.post_form(&presence, &[("doing", "left")]).await;
    assert!(!ben.page(&thread).await.contains("Mia Holm is"));
}

#[tokio::test]
async fn an_open_desk_is_told_when_a_customer_writes() {
    let app = spawn().await;
    let agent = app.sign_in(Role::Agent).await;
    let visitor = app.visitor();
    visitor.post_form("/chat/messages", &[("text", "Hello"), ("client_key", "k1")]).await;
    let conversation: Uuid = sqlx::query_scalar("select id from conversations").fetch_one(&app.db).await.unwrap();
    let response =
        agent.client.get(agent.url(&format!("/desk/events?conversation={conversation}"))).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut stream = response.bytes_stream();
    let mut heard = String::new();
    let mut written = false;
    while !(heard.contains("event: inbox") && heard.contains("event: thread")) {
        let chunk = tokio::time::timeout(std::time::Duration::from_secs(10), stream.next()).await;
        heard.push_str(std::str::from_utf8(&chunk.expect("a hint in time").unwrap().unwrap()).unwrap());
        if !written && heard.contains("event: ready") {
            written = true;
            visitor.post_form("/chat/messages", &[("text", "Secret words"), ("client_key", "k2")]).await;
        }
    }
    assert!(!heard.contains("Secret words"), "{heard}");
}

#[tokio::test]
async fn only_who_works_at_the_desk_may_enter() {
    let app = spawn().await;
    let number = waiting(&app, "Hello", 5).await;
    for role in [Role::Officer, Role::SeniorOfficer, Role::Auditor] {
        let person = app.sign_in(role).await;
        assert_eq!(person.get("/desk").await.status(), 403, "{role:?}");
        assert_eq!(act(&person, number, "take").await, 403, "{role:?}");
        assert_eq!(person.get("/desk/events").await.status(), 403, "{role:?}");
    }
    let stranger = app.visitor();
    let answer = stranger.get("/desk?tab=mine").await;
    assert_eq!(answer.status(), 303);
    assert_eq!(location(&answer), "/sign-in?next=%2Fdesk%3Ftab%3Dmine");
    assert_eq!(app.sign_in(Role::Manager).await.get("/desk").await.status(), 200);
    assert_eq!(app.sign_in(Role::Agent).await.get("/desk/999999").await.status(), 404);
}
