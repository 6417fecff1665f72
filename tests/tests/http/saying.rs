//! The assistant in a generator's words: what passes the check is said, the rest is in the flow's own, and both are counted.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use candor::accounts::Role;
use candor_engine::generation::{Error, Event, Finish, Generation, Generator, Prompt, Request, Usage, channel};
use candor_tests::{TestApp, spawn_speaking};
use serde_json::Value;

use crate::chat::{identified, say, words};
use crate::records;

/// Repeats what it is to say, promises money where a postcode is asked for, and gives this summary.
struct Scripted(&'static str);

#[async_trait]
impl Generator for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    async fn generate(&self, request: Request) -> Result<Generation, Error> {
        let Prompt::Chat(chat) = request.prompt else { return Err(Error::Invalid("no chat".into())) };
        let asked = chat.messages.last().map(|message| message.content.clone()).unwrap_or_default();
        let text = match asked.split_once("\nwords ") {
            Some((_, words)) if words.contains("postcode") => format!("{words} You will get €50 for it."),
            Some((_, words)) if words.contains("date of birth") => format!("Thank you. {words}"),
            Some((_, words)) => words.to_owned(),
            None => self.0.to_owned(),
        };
        let (sender, generation) = channel();
        sender.send(Event::Text { text, logprobs: Vec::new() }).unwrap();
        sender.send(Event::Done { finish: Finish::Stop, usage: Usage::default() }).unwrap();
        Ok(generation)
    }
}

/// A conversation that is handed over after the customer was identified; answers the desk's page of it and the metrics.
async fn handed_over(summary: &'static str) -> (TestApp, String, String) {
    let app = spawn_speaking(Arc::new(Scripted(summary))).await;
    records::add(&app.db).await;
    let browser = identified(&app).await;
    let answer = say(&browser, &[("text", "Talk to a person"), ("choice", "human")]).await;
    assert!(words(&answer).contains("colleague"), "{answer}");
    let saying = app.state.saying.clone().unwrap();
    for _ in 0..300 {
        let waiting: i64 =
            sqlx::query_scalar("select count(*) from jobs where finished_at is null").fetch_one(&app.db).await.unwrap();
        if saying.summary_figures().asked == 1 && waiting == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let number: i64 = sqlx::query_scalar("select number from conversations").fetch_one(&app.db).await.unwrap();
    let page = app.sign_in(Role::Agent).await.page(&format!("/desk/{number}")).await;
    let metrics = app.visitor().get("/metrics").await.text().await.unwrap();
    (app, page, metrics)
}

#[tokio::test]
async fn replies_and_summary_are_said_when_they_pass_the_check() {
    let summary = "problem: Block a lost or stolen card\nfacts: none\ndone: none\nopen: none";
    let (app, page, metrics) = handed_over(summary).await;
    let said: Vec<String> = sqlx::query_scalar("select text from messages where author = 'assistant' order by seq")
        .fetch_all(&app.db)
        .await
        .unwrap();
    assert!(said.iter().any(|text| text.starts_with("Thank you. ")), "{said:?}");
    assert!(said.iter().any(|text| text.contains("postcode")) && !said.iter().any(|text| text.contains("€50")));
    assert!(page.contains("In the model’s words") && page.contains("The assistant’s own notes"), "{page}");
    let kept: Value = sqlx::query_scalar("select summary from conversations").fetch_one(&app.db).await.unwrap();
    assert_eq!(kept["worded"]["problem"][0]["text"], "Block a lost or stolen card");
    assert!(kept["facts"][0]["text"].as_str().unwrap().starts_with("Identified as"), "the notes stay: {kept}");
    let figures = app.state.saying.as_ref().unwrap().figures();
    assert_eq!(figures.fallbacks.values().sum::<u64>(), 1, "the promise was refused: {figures:?}");
    let refused = figures.fallbacks.keys().next().unwrap();
    for line in [
        format!("candor_saying_total{{kind=\"reply\",outcome=\"{refused}\"}} 1"),
        format!("candor_saying_total{{kind=\"reply\",outcome=\"said\"}} {}", figures.said),
        "candor_saying_total{kind=\"summary\",outcome=\"said\"} 1".to_owned(),
    ] {
        assert!(metrics.contains(&line), "{line} is not in {metrics}");
    }
}

#[tokio::test]
async fn a_summary_that_states_more_than_was_said_is_not_shown() {
    let (app, page, metrics) =
        handed_over("problem: Block a lost or stolen card\nfacts: none\ndone: The card was blocked\nopen: none").await;
    assert!(page.contains("Identified as") && !page.contains("In the model’s words"), "{page}");
    let kept: Value = sqlx::query_scalar("select summary from conversations").fetch_one(&app.db).await.unwrap();
    assert!(kept.get("worded").is_none(), "{kept}");
    assert!(metrics.contains("candor_saying_total{kind=\"summary\",outcome=\"said\"} 0"), "{metrics}");
    let figures = app.state.saying.as_ref().unwrap().summary_figures();
    assert_eq!((figures.asked, figures.said, figures.fallbacks.len()), (1, 0, 1));
}
