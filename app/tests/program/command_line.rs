//! What the program says to somebody who types.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::process::{candor, database, serve};

/// Runs the command with `input` on standard input.
fn fed(command: &mut Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn words(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_wrong_setting_is_refused_by_its_name() {
    let output = candor().env("CANDOR_LISTEN", "everywhere").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        words(output.stderr),
        "candor: CANDOR_LISTEN: \"everywhere\" is not an address and port such as 127.0.0.1:8080\n"
    );
}

#[test]
fn help_names_every_command() {
    let help = words(candor().arg("--help").output().unwrap().stdout);
    for command in ["serve", "understand", "chat", "evaluate", "score", "explain", "train", "audit", "bench"] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(command)), "{command} in\n{help}");
    }
}

#[test]
fn texts_are_understood_in_their_order() {
    let texts = "my card was stolen\nwhere is my transfer of 12.50 EUR?\nwhat is the capital of Peru\n";
    let output = fed(candor().arg("understand"), texts);
    assert!(output.status.success(), "{}", words(output.stderr));
    let understood: Vec<Value> = words(output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said: Vec<_> = understood.iter().map(|line| line["text"].as_str().unwrap()).collect();
    assert_eq!(said, texts.lines().collect::<Vec<_>>());
    assert_eq!(understood[0]["intent"], "block_card");
    assert_eq!(understood[1]["entities"][0]["kind"], "money");
    assert_eq!(understood[2]["in_scope"], false);
}

#[test]
fn heads_and_conversations_are_measured() {
    let rows =
        "text,label\nI still have not received my new card,card_arrival\n\"hello, is my card here\",card_arrival\n";
    let output = fed(candor().args(["evaluate", "intents", "--head", "banking77", "--data", "-"]), rows);
    assert!(output.status.success(), "{}", words(output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["rows"], 2);
    assert!(report["accuracy"].as_f64().unwrap() >= 0.5, "{report}");

    let refused = fed(candor().args(["evaluate", "intents", "--head", "unheard", "--data", "-"]), rows);
    assert!(words(refused.stderr).contains("there is no head unheard"));

    let scenario =
        r#"{"name": "a person", "turns": [{"user": "I want to talk to a human"}], "outcome": {"hand_off": "asked"}}"#;
    let output = fed(candor().args(["evaluate", "dialogue", "--scenarios", "-"]), scenario);
    assert!(output.status.success(), "{}", words(output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["scenarios"], &report["wrong_actions"]), (&Value::from(1), &Value::from(0)));
}

#[test]
fn a_conversation_in_the_terminal_ends_with_a_blocked_card() {
    let lines = "I lost my card\nC-10023\n14 March 1988\n10115\nthe one ending 4821\nyes\n";
    let output = fed(candor().arg("chat"), lines);
    assert!(output.status.success(), "{}", words(output.stderr));
    let said = words(output.stdout);
    assert!(said.contains("done, reference"), "{said}");
}

#[test]
fn applications_are_scored_line_by_line_and_explained_alike_twice() {
    let lines = "{\"income\": 0.9, \"velocity_6h\": 9000, \"month\": 3}\n\n{}\n";
    let score = || fed(candor().arg("score"), lines);
    let output = score();
    assert!(output.status.success(), "{}", words(output.stderr));
    assert_eq!(output.stdout, score().stdout, "the same bits come out");
    let assessments: Vec<Value> =
        words(output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(assessments.len(), 2);
    for assessment in &assessments {
        let parts = assessment["attributions"].as_array().unwrap();
        let sum: f64 = parts.iter().map(|part| part["contribution"].as_f64().unwrap()).sum();
        let (margin, baseline) = (assessment["margin"].as_f64().unwrap(), assessment["baseline"].as_f64().unwrap());
        assert!((baseline + sum - margin).abs() < 1e-9, "{baseline} + {sum} = {margin}");
    }

    let refused = fed(candor().arg("score"), "{}\n{\"incom\": 1}\n");
    assert!(!refused.status.success());
    let said = words(refused.stderr);
    assert!(said.starts_with("candor: line 2: unknown field `incom`"), "{said}");
}

#[test]
fn rows_of_a_table_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("rows.csv");
    std::fs::write(&table, "income\n0.5\n").unwrap();
    let output = candor().args(["explain", "--data"]).arg(&table).output().unwrap();
    assert!(words(output.stderr).contains("the table has no column"), "a missing column is named");

    // A model of our own, on a table of our own.
    let mut text = "amount,visits,fraud\n".to_owned();
    for row in 0..4000_u32 {
        let (amount, visits) = (row * 7919 % 1000, row * 104_729 % 50);
        text.push_str(&format!("{amount},{visits},{}\n", u8::from(amount > 700 && visits < 20 || row % 37 == 0)));
    }
    std::fs::write(&table, text).unwrap();
    let model = folder.path().join("model");
    let trained = candor()
        .args(["train", "risk", "--label", "fraud", "--most-trees", "30", "--data"])
        .arg(&table)
        .arg("--out")
        .arg(&model)
        .output()
        .unwrap();
    assert!(trained.status.success(), "{}", words(trained.stderr));
    let report: Value = serde_json::from_slice(&trained.stdout).unwrap();
    assert_eq!(report["options"]["label"], "fraud");
    assert!(model.join("README.md").exists(), "a model comes with its card");

    let explained = candor()
        .arg("explain")
        .arg("--model")
        .arg(model.join("model.json"))
        .arg("--data")
        .arg(&table)
        .output()
        .unwrap();
    assert!(explained.status.success(), "{}", words(explained.stderr));
    let lines = words(explained.stdout);
    assert_eq!(lines.lines().count(), 4000);
    for line in lines.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let sum: f64 = row["attributions"].as_object().unwrap().values().map(|part| part.as_f64().unwrap()).sum();
        assert!((row["baseline"].as_f64().unwrap() + sum - row["margin"].as_f64().unwrap()).abs() < 1e-9, "{line}");
    }
}

#[test]
fn a_parquet_file_is_explained_as_the_same_table_in_text_on_any_number_of_threads() {
    // What `fixtures/columns.parquet` holds, in text.
    let parquet = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/fixtures/columns.parquet");
    let mut text = "double,int8,word,small,fraud\n".to_owned();
    for row in 0..2500_u32 {
        let given = |value: String| if row % 7 == 3 { String::new() } else { value };
        let (double, int8) =
            (given((f64::from(row) / 3.0).to_string()), given((f64::from(row % 100) - 50.0).to_string()));
        let (word, fraud) =
            (given(format!("wörd {}", row % 11)), u8::from(row % 100 > 70 && row % 11 < 4 || row % 31 == 0));
        text.push_str(&format!("{double},{int8},{word},{},{fraud}\n", row % 300));
    }
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("rows.csv");
    std::fs::write(&table, text).unwrap();
    let model = folder.path().join("model");
    let mut train = candor();
    train
        .args(["train", "risk", "--label", "fraud", "--most-trees", "30", "--data"])
        .arg(&table)
        .arg("--out")
        .arg(&model);
    let trained = train.output().unwrap();
    assert!(trained.status.success(), "{}", words(trained.stderr));
    let explain = |data: &std::path::Path, threads: &str| {
        let mut command = candor();
        command
            .args(["explain", "--threads", threads, "--model"])
            .arg(model.join("model.json"))
            .arg("--data")
            .arg(data);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", words(output.stderr));
        words(output.stdout)
    };
    let one = explain(&table, "1");
    assert_eq!(one.lines().count(), 2500);
    assert!(one == explain(&table, "3"), "the order is the table's");
    assert!(one == explain(&parquet, "2"), "Parquet gives what text gives");
}

#[test]
fn a_row_that_can_not_be_read_ends_the_explaining_after_the_rows_before_it() {
    let shipped = candor_engine::risk::Model::load(candor_engine::risk::SHIPPED_MODEL).unwrap();
    let names: Vec<String> = shipped.features().iter().map(|feature| feature.factor.name.clone()).collect();
    let line =
        |first: &str| std::iter::once(first).chain(names.iter().skip(1).map(|_| "")).collect::<Vec<_>>().join(",");
    let mut text = names.join(",") + "\n";
    (0..3000).for_each(|_| text += &(line("1") + "\n"));
    text += &(line("much") + "\n");
    (0..3000).for_each(|_| text += &(line("1") + "\n"));
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("rows.csv");
    std::fs::write(&table, text).unwrap();
    let output = candor().args(["explain", "--threads", "2", "--data"]).arg(&table).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(words(output.stderr).contains("candor: line 3002: column"));
    assert_eq!(words(output.stdout).lines().count(), 3000);
}

#[test]
fn a_reader_that_has_read_enough_is_no_failure() {
    let input = "{}\n".repeat(2000);
    let mut child =
        candor().arg("score").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", words(output.stderr));
}

#[tokio::test]
async fn the_audit_log_is_verified_beside_the_running_program_and_a_changed_entry_is_named() {
    let home = tempfile::tempdir().unwrap();
    let served = serve(home.path());
    let verify = || candor().args(["audit", "verify"]).env("CANDOR_HOME", home.path()).output().unwrap();
    let whole = verify();
    assert!(whole.status.success(), "{}", words(whole.stderr));
    let found: Value = serde_json::from_slice(&whole.stdout).unwrap();
    assert!(found["broken"].is_null());

    let db = database(home.path()).await;
    sqlx::raw_sql(
        "alter table audit_entries disable trigger user;
         insert into audit_entries (number, at, actor_kind, actor_id, actor_name, action, subject_kind, subject_id,
                                    details, previous_hash, hash)
         select 1 + (select number from audit_head), now(), 'system', 'x', 'x', 'x', 'x', 'x', '{}', hash,
                sha256('made up'::bytea) from audit_head;
         update audit_head set number = number + 1, hash = sha256('made up'::bytea);",
    )
    .execute(&db)
    .await
    .unwrap();
    let broken = verify();
    assert_eq!(broken.status.code(), Some(1));
    assert!(words(broken.stderr).contains("the chain is broken at entry"));
    assert!(served.stop().success());
}
