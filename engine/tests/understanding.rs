//! The shipped encoder through the engine's facade.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure here is a failed test")]

use candor_engine::understanding::evaluate::{EvaluationError, Labelled, evaluate_intents, evaluate_sentiment};
use candor_engine::{Engine, EntityKind, Options, Sentiment};

fn labelled(rows: &[(&str, &str)]) -> Vec<Labelled> {
    rows.iter().map(|(text, label)| Labelled { text: (*text).to_owned(), label: (*label).to_owned() }).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn customers_are_understood() {
    let engine = Engine::load(&Options::default()).unwrap();

    for (text, intent) in [
        ("Someone stole my wallet, please block my card!", "block_card"),
        ("when is my new card coming?", "card_arrival"),
        ("I made a transfer on Monday and it has not arrived", "transaction_status"),
        ("there is a payment on my statement that I never made", "dispute_charge"),
        ("how much do I have on my account", "balance"),
        ("show me what I paid last week", "recent_payments"),
        ("I moved house and need to give you my new address", "change_contact"),
        ("I would like to borrow 8000 euros for a car", "loan_apply"),
        ("has my loan been approved yet?", "loan_status"),
        ("I want to make a complaint about your branch", "complaint"),
        ("let me speak to a real person", "talk_to_human"),
        ("good morning", "greeting"),
        ("thank you very much", "thanks"),
        ("yes please", "affirm"),
        ("no", "deny"),
        ("never mind, forget it", "cancel"),
        ("no, I meant the other card", "correction"),
        ("why do you need my date of birth?", "why_ask"),
        ("what are your fees for a transfer abroad?", "general_question"),
    ] {
        let understood = engine.understand(text).await.unwrap();
        assert_eq!(understood.intent, intent, "{text}: {:?}", understood.alternatives);
        assert!(understood.in_scope, "{text}");
    }
    let foreign = engine.understand("what is a good recipe for apple pie?").await.unwrap();
    assert!(!foreign.in_scope && foreign.intent == "other");

    let angry = engine.understand("This is terrible, I am so angry with you!").await.unwrap();
    assert_eq!(angry.sentiment, Sentiment::Negative);
    let pleased = engine.understand("Great service, I am very happy, thank you").await.unwrap();
    assert_eq!(pleased.sentiment, Sentiment::Positive);
    assert!(angry.sentiment_score < -0.3 && pleased.sentiment_score > 0.3);
    let matter_of_fact = engine.understand("I sent £250 to Anna yesterday").await.unwrap();
    assert_eq!(matter_of_fact.sentiment, Sentiment::Neutral);
    assert_eq!(
        matter_of_fact.entities.iter().map(|e| e.kind).collect::<Vec<_>>(),
        [EntityKind::Money, EntityKind::Date]
    );

    // The embedding finds what means the same, whatever the words.
    let near = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let question = engine.embed("How long does it take until money sent abroad arrives?").await.unwrap();
    let article = engine.embed("International transfers reach the other bank within two working days.").await.unwrap();
    let other = engine.embed("Our branches are closed on public holidays.").await.unwrap();
    assert!((near(&question, &question) - 1.0).abs() < 1e-5);
    assert!(near(&question, &article) > near(&question, &other) + 0.2);

    // Many at once give the same answers as one alone.
    let together: Vec<_> = (0..40)
        .map(|_| {
            let engine = engine.clone();
            tokio::spawn(async move { engine.understand("has my loan been approved yet?").await })
        })
        .collect();
    for one in together {
        assert_eq!(one.await.unwrap().unwrap().intent, "loan_status");
    }
    let empty = engine.understand("").await.unwrap();
    assert!(empty.entities.is_empty() && empty.embedding.len() == 384);

    let metrics = engine.load_metrics();
    assert_eq!((metrics.queue_length, metrics.refused, metrics.expert_load.len()), (0, 0, 6));
    assert!(metrics.batches > 0 && metrics.texts >= 60);
    assert!(metrics.expert_load.iter().all(|layer| layer.iter().sum::<u64>() == 4 * metrics.tokens));

    measured(&engine).await;
}

async fn measured(engine: &Engine) {
    let rows = labelled(&[
        ("what is my balance", "balance"),
        ("my card was stolen", "block_card"),
        ("my card was stolen", "balance"),
        ("tell me a joke about cats", "oos"),
    ]);
    let report = evaluate_intents(engine, "desk", &rows).await.unwrap();
    assert_eq!((report.rows, report.oos_recall, report.oos_auroc), (4, Some(1.0), Some(1.0)));
    assert!((report.accuracy - 2.0 / 3.0).abs() < 1e-9 && (report.accuracy_served - 2.0 / 3.0).abs() < 1e-9);
    assert!(report.ece > 0.1, "sure of a wrong label: {}", report.ece);
    assert!(matches!(evaluate_intents(engine, "weather", &rows).await, Err(EvaluationError::Head { .. })));
    let unknown = evaluate_intents(engine, "clinc150", &rows[1..]).await;
    assert!(matches!(unknown, Err(EvaluationError::Label { row: 1, label }) if label == "block_card"));

    let rows = labelled(&[("I love this", "positive"), ("I hate this", "negative"), ("I hate this", "positive")]);
    let report = evaluate_sentiment(engine, &rows).await.unwrap();
    assert!((report.accuracy - 2.0 / 3.0).abs() < 1e-9 && report.accuracy_of_two.is_some());
}

#[test]
fn a_folder_without_a_model_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = Engine::load(&Options { weights: Some(folder.path().to_owned()), ..Options::default() }).err().unwrap();
    assert!(!error.to_string().is_empty());
}
