//! The customers' page: a conversation as a browser holds it, with and without a script.

use std::time::Duration;

use candor::accounts::Role;
use candor::conversations::{Author, NewMessage, Status, silence, store};
use candor_tests::{Browser, TestApp};
use chrono::TimeDelta;
use futures::StreamExt;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::records;

/// Says something as the page's script does, and gives the answer.
pub(crate) async fn say(browser: &Browser, fields: &[(&str, &str)]) -> Value {
    let response = post(browser, "/chat/messages", fields).await;
    assert_eq!(response.status(), 200, "{fields:?}");
    response.json().await.unwrap()
}

async fn post(browser: &Browser, path: &str, fields: &[(&str, &str)]) -> reqwest::Response {
    browser
        .client
        .post(browser.url(path))
        .header("accept", "application/json")
        .header("sec-fetch-site", "same-origin")
        .form(fields)
        .send()
        .await
        .unwrap()
}

/// What the bank said in an answer, as one text.
pub(crate) fn words(answer: &Value) -> String {
    let messages = answer["messages"].as_array().unwrap();
    messages.iter().filter(|one| one["author"] != "customer").map(|one| one["html"].as_str().unwrap()).collect()
}

/// A browser on the page, with its cookie.
async fn visitor(app: &TestApp) -> Browser {
    let browser = app.visitor();
    assert_eq!(browser.get("/").await.status(), 200);
    browser
}

/// A customer who was asked for the card, after being identified.
pub(crate) async fn identified(app: &TestApp) -> Browser {
    let browser = visitor(app).await;
    say(&browser, &[("text", "Block a lost or stolen card"), ("choice", "start:block_card")]).await;
    say(&browser, &[("text", "C-10023")]).await;
    say(&browser, &[("text", "14 May 1990")]).await;
    let answer = say(&browser, &[("text", "10115")]).await;
    assert!(words(&answer).contains("ending 4821"), "{answer}");
    browser
}

async fn newest(app: &TestApp) -> Uuid {
    sqlx::query_scalar("select id from conversations order by number desc limit 1").fetch_one(&app.db).await.unwrap()
}

async fn card(app: &TestApp, last4: &str) -> (String, Option<String>) {
    sqlx::query_as("select status, block_reason from cards where last4 = $1")
        .bind(last4)
        .fetch_one(&app.db)
        .await
        .unwrap()
}

#[tokio::test]
async fn the_page_says_first_that_it_is_an_ai_and_offers_a_person() {
    let app = candor_tests::spawn().await;
    let page = app.visitor().page("/").await;
    assert!(page.contains("<h1>Hello, how can we help?</h1>"));
    assert!(page.contains("<b>AI assistant</b>") && page.contains("Talk to a person"));
    assert_eq!(page.matches("name=\"choice\" value=\"start:").count(), 6, "six wishes");
    let conversations: i64 = sqlx::query_scalar("select count(*) from conversations").fetch_one(&app.db).await.unwrap();
    assert_eq!(conversations, 0, "looking at the page begins nothing");
}

#[tokio::test]
async fn a_customer_blocks_a_card_and_orders_another() {
    let app = candor_tests::spawn().await;
    let ada = records::add(&app.db).await;
    let browser = identified(&app).await;
    let choice = format!("set:card:{}", ada.debit);
    say(&browser, &[("text", "Debit card ending 4821"), ("choice", &choice)]).await;
    let asked = say(&browser, &[("text", "It was stolen"), ("choice", "set:reason:stolen")]).await;
    let shown = words(&asked);
    assert!(shown.contains("summary-card") && shown.contains("value=\"change:card\""), "{shown}");
    assert_eq!(card(&app, "4821").await.0, "active", "nothing happens before it is confirmed");

    let done = say(&browser, &[("text", "Yes"), ("choice", "yes")]).await;
    assert!(words(&done).contains("Your card ending 4821 is blocked"), "{done}");
    assert_eq!(card(&app, "4821").await, ("blocked".to_owned(), Some("stolen".to_owned())));
    let ordered = say(&browser, &[("text", "Yes"), ("choice", "yes")]).await;
    assert!(words(&ordered).contains("A new card is on its way"), "{ordered}");
    let replacements: i64 = sqlx::query_scalar("select count(*) from cards where replaces = $1 and status = 'ordered'")
        .bind(ada.debit)
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(replacements, 1);

    let actions: Vec<String> = sqlx::query_scalar(
        "select action from audit_entries where action like 'c%' and action not like 'client%' order by number",
    )
    .fetch_all(&app.db)
    .await
    .unwrap();
    assert_eq!(actions, ["customer.identified", "card.blocked", "card.ordered"]);
    let conversation = store::find(&app.db, newest(&app).await).await.unwrap();
    assert_eq!(conversation.customer_id, Some(ada.id));
    assert_eq!(conversation.intent.as_deref(), Some("block_card"));
    let done = conversation.summary["done"].as_array().unwrap();
    assert!(done[0]["text"].as_str().unwrap().contains("4821") && done[0]["seq"].as_i64().unwrap() > 1, "{done:?}");
}

#[tokio::test]
async fn the_other_card_is_taken_after_a_correction() {
    let app = candor_tests::spawn().await;
    records::add(&app.db).await;
    let browser = identified(&app).await;
    say(&browser, &[("text", "the debit card")]).await;
    say(&browser, &[("text", "I lost it"), ("choice", "set:reason:lost")]).await;
    let corrected = say(&browser, &[("text", "no, the other card")]).await;
    assert!(words(&corrected).contains("Block the credit card ending 7730?"), "{corrected}");
    say(&browser, &[("text", "Yes"), ("choice", "yes")]).await;
    assert_eq!(card(&app, "7730").await.0, "blocked");
    assert_eq!(card(&app, "4821").await.0, "active");
}

#[tokio::test]
async fn nothing_is_disclosed_before_identification_and_a_wrong_part_is_not_named() {
    let app = candor_tests::spawn().await;
    records::add(&app.db).await;
    let mut refusals = Vec::new();
    for (number, born, postcode) in
        [("C-10023", "15 May 1990", "10115"), ("C-10023", "14 May 1990", "10117"), ("C-99999", "14 May 1990", "10115")]
    {
        let browser = visitor(&app).await;
        let mut said = String::new();
        for fields in [
            &[("text", "Balance of the accounts"), ("choice", "start:balance")][..],
            &[("text", number)],
            &[("text", born)],
            &[("text", postcode)],
        ] {
            said = words(&say(&browser, fields).await);
            assert!(!said.contains("2,530.17") && !said.contains("Everyday") && !said.contains("Ada"), "{said}");
        }
        let text = said.split("message-text\">").nth(1).unwrap().split('<').next().unwrap().to_owned();
        refusals.push(text);
    }
    assert_eq!(refusals[0], refusals[1]);
    assert_eq!(refusals[1], refusals[2]);
    let identified: i64 = sqlx::query_scalar("select count(*) from conversations where customer_id is not null")
        .fetch_one(&app.db)
        .await
        .unwrap();
    assert_eq!(identified, 0);
}

#[tokio::test]
async fn after_five_failures_even_the_right_answers_identify_nobody_for_a_while() {
    let app = candor_tests::spawn().await;
    let ada = records::add(&app.db).await;
    for _ in 0..5 {
        sqlx::query("insert into identification_attempts (id, customer_id, matched) values ($1, $2, false)")
            .bind(Uuid::now_v7())
            .bind(ada.id)
            .execute(&app.db)
            .await
            .unwrap();
    }
    let browser = visitor(&app).await;
    say(&browser, &[("text", "Balance"), ("choice", "start:balance")]).await;
    say(&browser, &[("text", "C-10023")]).await;
    say(&browser, &[("text", "14 May 1990")]).await;
    let answer = say(&browser, &[("text", "10115")]).await;
    assert!(!words(&answer).contains("2,530.17"), "{answer}");
}

#[tokio::test]
async fn a_person_is_one_button_away_and_the_assistant_is_silent_from_then_on() {
    let app = candor_tests::spawn().await;
    let browser = visitor(&app).await;
    let answer: Value = post(&browser, "/chat/person", &[]).await.json().await.unwrap();
    assert_eq!(answer["standing"]["status"], "waiting");
    let id = newest(&app).await;
    let conversation = store::find(&app.db, id).await.unwrap();
    assert_eq!(conversation.status, Status::Waiting);
    assert!(conversation.waiting_since.is_some());
    let again: Value = post(&browser, "/chat/person", &[]).await.json().await.unwrap();
    assert_eq!(again["messages"], json!([]), "asked once is enough");
    let answer = say(&browser, &[("text", "Are you there?")]).await;
    assert_eq!(answer["messages"].as_array().unwrap().len(), 1, "only the customer's own words: {answer}");
    let understood: bool = sqlx::query_scalar(
        "select understanding is not null from messages where conversation_id = $1 order by seq desc limit 1",
    )
    .bind(id)
    .fetch_one(&app.db)
    .await
    .unwrap();
    assert!(understood, "the desk sees what was understood");
}

#[tokio::test]
async fn a_message_sent_ten_times_at_once_is_kept_and_answered_once() {
    let app = candor_tests::spawn().await;
    let browser = visitor(&app).await;
    let fields = [("text", "What is my balance?"), ("client_key", "k1")];
    let answers = futures::future::join_all((0..10).map(|_| say(&browser, &fields))).await;
    let texts: Vec<String> =
        sqlx::query_scalar("select text from messages where author = 'customer'").fetch_all(&app.db).await.unwrap();
    assert_eq!(texts, ["What is my balance?"]);
    let conversations: i64 = sqlx::query_scalar("select count(*) from conversations").fetch_one(&app.db).await.unwrap();
    assert_eq!(conversations, 1);
    let sizes: Vec<usize> = answers.iter().map(|answer| answer["messages"].as_array().unwrap().len()).collect();
    assert!(sizes.iter().all(|size| *size == sizes[0] && *size >= 2), "everybody gets the same answer: {sizes:?}");
}

#[tokio::test]
async fn messages_sent_at_once_are_numbered_without_gaps_and_each_is_answered() {
    let app = candor_tests::spawn().await;
    let browser = visitor(&app).await;
    let texts: Vec<String> = (0..8).map(|n| format!("What is my balance? ({n})")).collect();
    let browser = &browser;
    let all = texts.iter().map(|text| async move { say(browser, &[("text", text)]).await });
    futures::future::join_all(all).await;
    let id = newest(&app).await;
    let messages = store::messages_after(&app.db, id, 0).await.unwrap();
    let numbers: Vec<i64> = messages.iter().map(|message| message.seq).collect();
    assert_eq!(numbers, (1..=i64::try_from(messages.len()).unwrap()).collect::<Vec<_>>());
    assert_eq!(messages.iter().filter(|message| message.author == Author::Customer).count(), 8);
    let conversation = store::find(&app.db, id).await.unwrap();
    let last = messages.iter().rev().find(|message| message.author == Author::Customer).unwrap();
    assert!(conversation.answered_seq >= last.seq, "{} of {}", conversation.answered_seq, last.seq);
}

#[tokio::test]
async fn the_form_works_without_a_script() {
    let app = candor_tests::spawn().await;
    let browser = visitor(&app).await;
    let form = [("text", "Where is my transfer?"), ("form_key", "f1")];
    for _ in 0..2 {
        let response = browser.post_form("/chat/messages", &form).await;
        assert_eq!(response.status(), 303);
        assert_eq!(response.headers()["location"], "/#end");
    }
    let page = browser.page("/").await;
    assert_eq!(page.matches("Where is my transfer?").count(), 1, "a form sent twice is one message");
    // The same page, kept by the browser, sends other words.
    browser.post_form("/chat/messages", &[("text", "And my <b>balance</b>?"), ("form_key", "f1")]).await;
    let page = browser.page("/").await;
    assert!(page.contains("And my &#60;b&#62;balance&#60;/b&#62;?"), "other words are another message, and escaped");
    let stranger = app.visitor().page("/").await;
    assert!(!stranger.contains("Where is my transfer?"));
}

#[tokio::test]
async fn a_message_that_is_too_long_is_shown_again_and_nothing_begins() {
    let app = candor_tests::spawn().await;
    let browser = visitor(&app).await;
    let long = "word ".repeat(500);
    let response = browser.post_form("/chat/messages", &[("text", long.as_str())]).await;
    assert_eq!(response.status(), 422);
    let page = response.text().await.unwrap();
    assert!(page.contains("A message can have 2000 characters") && page.contains(long.trim()));
    assert!(page.contains("href=\"#text\""), "the summary leads to the field");
    let response = post(&browser, "/chat/messages", &[("text", " \u{0} ")]).await;
    assert_eq!(response.status(), 422);
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["errors"][0]["field"], "text");
    let conversations: i64 = sqlx::query_scalar("select count(*) from conversations").fetch_one(&app.db).await.unwrap();
    assert_eq!(conversations, 0);
}

#[tokio::test]
async fn who_writes_too_fast_keeps_the_words_and_is_told_how_long_to_wait() {
    let app = candor_tests::spawn().await;
    let browser = visitor(&app).await;
    let mut refused = None;
    // One more may pass every two seconds: a slow machine needs more than thirty-one.
    for n in 0..300 {
        let text = format!("Hello number {n}");
        let response = browser.post_form("/chat/messages", &[("text", text.as_str())]).await;
        if response.status() == 429 {
            refused = Some((text, response.text().await.unwrap()));
            break;
        }
    }
    let (text, page) = refused.expect("whoever goes on writing is refused");
    assert!(page.contains("Please send this again in") && page.contains(&format!("{text}</textarea>")));
}

/// Reads lines of the stream until `until` is among them.
async fn read_until(
    stream: &mut (impl futures::Stream<Item = reqwest::Result<bytes::Bytes>> + Unpin),
    until: &str,
) -> String {
    let mut read = String::new();
    tokio::time::timeout(Duration::from_secs(10), async {
        while !read.contains(until) {
            let chunk = stream.next().await.expect("the stream goes on").unwrap();
            read.push_str(&String::from_utf8_lossy(&chunk));
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{until} never came: {read}"));
    read
}

#[tokio::test]
async fn what_a_person_writes_arrives_by_the_stream_and_a_lost_stream_goes_on_where_it_was() {
    let app = candor_tests::spawn().await;
    let browser = visitor(&app).await;
    post(&browser, "/chat/person", &[]).await;
    let id = newest(&app).await;
    let agent = app.sign_in(Role::Agent).await.person.unwrap();
    let last = store::find(&app.db, id).await.unwrap().last_seq;

    let response = browser.client.get(browser.url(&format!("/chat/events?after={last}"))).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut stream = response.bytes_stream();
    read_until(&mut stream, "event: standing").await;

    let mut transaction = app.db.begin().await.unwrap();
    store::assign(&mut transaction, id, agent).await.unwrap();
    let note = store::append(&mut transaction, id, NewMessage::note(agent, "Inner words")).await.unwrap().message;
    let reply =
        store::append(&mut transaction, id, NewMessage::agent(agent, "Good evening, I am here")).await.unwrap().message;
    transaction.commit().await.unwrap();
    store::announce_message(&app.state.live, &note).await;
    store::announce_message(&app.state.live, &reply).await;
    let read = read_until(&mut stream, "\"status\":\"agent\"").await;
    assert!(read.contains(&format!("id: {}\nevent: message", reply.seq)) && read.contains("Good evening, I am here"));
    assert!(!read.contains("Inner words"), "a note stays inside");
    drop(stream);

    let mut transaction = app.db.begin().await.unwrap();
    let missed =
        store::append(&mut transaction, id, NewMessage::agent(agent, "While you were away")).await.unwrap().message;
    transaction.commit().await.unwrap();
    let response = browser
        .client
        .get(browser.url("/chat/events?after=0"))
        .header("last-event-id", reply.seq.to_string())
        .send()
        .await
        .unwrap();
    let read = read_until(&mut response.bytes_stream(), "event: standing").await;
    assert!(read.contains("While you were away") && !read.contains("Good evening"), "{read}");

    let polled = browser.json(&format!("/chat/messages?after={}", reply.seq)).await;
    assert_eq!(polled["messages"].as_array().unwrap().len(), 1);
    assert_eq!(polled["messages"][0]["seq"], missed.seq);
    let stranger = app.visitor();
    assert_eq!(stranger.get("/chat/events").await.status(), 404);
}

#[tokio::test]
async fn at_the_end_satisfaction_is_asked_once_and_writing_again_opens_the_conversation() {
    let app = candor_tests::spawn().await;
    let browser = visitor(&app).await;
    say(&browser, &[("text", "What is my balance?")]).await;
    let early = post(&browser, "/chat/satisfaction", &[("score", "5")]).await;
    assert_eq!(early.status(), 409, "not while it goes on");
    let ended: Value = post(&browser, "/chat/end", &[]).await.json().await.unwrap();
    assert_eq!((&ended["standing"]["ended"], &ended["standing"]["asks_satisfaction"]), (&json!(true), &json!(true)));
    let missing = browser.post_form("/chat/satisfaction", &[("comment", "Quick")]).await;
    assert_eq!(missing.status(), 422);
    let page = missing.text().await.unwrap();
    assert!(page.contains("Choose a number from 1 to 5.") && page.contains(">Quick</textarea>"));
    let thanked: Value =
        post(&browser, "/chat/satisfaction", &[("score", "4"), ("comment", "Quick")]).await.json().await.unwrap();
    assert_eq!(thanked["standing"]["asks_satisfaction"], false);
    let id = newest(&app).await;
    let conversation = store::find(&app.db, id).await.unwrap();
    assert_eq!((conversation.csat, conversation.csat_comment.as_deref()), (Some(4), Some("Quick")));

    say(&browser, &[("text", "What is my balance?"), ("client_key", "later")]).await;
    assert_eq!(store::find(&app.db, id).await.unwrap().status, Status::Assistant);
    browser.post_form("/chat/new", &json!({})).await;
    assert_ne!(newest(&app).await, id, "a new conversation");
    assert_eq!(store::find(&app.db, id).await.unwrap().status, Status::Resolved);
}

#[tokio::test]
async fn who_was_silent_for_long_is_identified_again() {
    let app = candor_tests::spawn().await;
    records::add(&app.db).await;
    let browser = identified(&app).await;
    say(&browser, &[("text", "cancel")]).await;
    let known = say(&browser, &[("text", "Balance of the accounts"), ("choice", "start:balance")]).await;
    assert!(words(&known).contains("2,530.17"), "{known}");
    sqlx::query("update messages set created_at = created_at - interval '40 minutes'").execute(&app.db).await.unwrap();
    let later = say(&browser, &[("text", "Balance of the accounts"), ("choice", "start:balance")]).await;
    assert!(!words(&later).contains("2,530.17"), "{later}");
}

#[tokio::test]
async fn a_silent_customer_is_asked_twice_and_nothing_is_done_meanwhile() {
    let app = candor_tests::spawn().await;
    records::add(&app.db).await;
    let browser = identified(&app).await;
    let conversation = newest(&app).await;
    let later = async |minutes: i32| {
        sqlx::query("update conversations set last_message_at = now() - make_interval(mins => $2) where id = $1")
            .bind(conversation)
            .bind(minutes)
            .execute(&app.db)
            .await
            .unwrap();
        silence::remind_silent(&app.state, TimeDelta::minutes(3)).await.unwrap()
    };
    let said = async || store::messages_after(&app.db, conversation, 0).await.unwrap();
    let before = said().await.len();
    assert_eq!(later(2).await, 0, "two minutes are no silence");
    assert_eq!(later(4).await, 1);
    let reminded = said().await;
    assert!(reminded[before].text.contains("still there"), "{}", reminded[before].text);
    assert_eq!(reminded.last().unwrap().text, reminded[before - 1].text, "the question that waits comes again");
    assert_eq!(later(4).await, 1);
    assert!(said().await.last().unwrap().text.contains("leave everything as it is"));
    assert_eq!(later(4).await, 0, "nobody is asked for ever");
    assert_eq!(card(&app, "4821").await.0, "active");
    // The question still waits, and is answered as if there had been no silence.
    let answer = say(&browser, &[("text", "the one ending 4821")]).await;
    assert!(words(&answer).contains("What happened to it?"), "{answer}");
    // Whoever owes no answer is left alone.
    let another = visitor(&app).await;
    say(&another, &[("text", "hello")]).await;
    let conversation = newest(&app).await;
    sqlx::query("update conversations set last_message_at = now() - interval '5 minutes' where id = $1")
        .bind(conversation)
        .execute(&app.db)
        .await
        .unwrap();
    assert_eq!(silence::remind_silent(&app.state, TimeDelta::minutes(3)).await.unwrap(), 0);
}
