use super::*;

/// A task like a bank's, made for this test.
const GRAPH: &str = r#"{"task": "limit", "replies": {
    "hello": "Hello, how can I help?", "ask_name": "What is your name?", "ask_limit": "Which limit would you like?",
    "query": "Query", "inform_done": "Your limit is now {limit}.", "inform_refused": "I am sorry, that is not possible.",
    "query_success": "Succeeded", "query_failure": "Failed"},
    "graph": {"hello": "ask_name", "ask_name": "ask_limit", "ask_limit": "query", "query_success": "inform_done",
    "query_failure": "inform_refused"}}"#;
const RESPONSES: &str = r#"{"hello": "Hello, how can I help?", "ask_name": "What is your name?",
    "ask_limit": "Which limit would you like?", "inform_done": "Your limit is now {limit}.",
    "inform_refused": "I am sorry, that is not possible.", "goodbye": "Goodbye."}"#;

fn task(domain: &str) -> Task {
    Task::parse(&GRAPH.replace("limit", domain), &RESPONSES.replace("limit", domain)).unwrap()
}

/// A dialogue along the graph; one in three is refused, one in two names the limit at once.
fn dialogue(number: u64, domain: &str) -> Dialogue {
    let [system, customer] = ["Wizard", "User"];
    let mut events = Vec::new();
    let mut utter =
        |text: &str| events.push(format!(r#"{{"Agent": "{customer}", "Action": "utter", "Text": "{text}"}}"#));
    utter("Hello");
    let pick = |action: &str, text: &str| {
        format!(r#"{{"Agent": "{system}", "Action": "pick_suggestion", "ActionLabel": "{action}", "Text": "{text}"}}"#)
    };
    let said = |text: &str| format!(r#"{{"Agent": "User", "Action": "utter", "Text": "{text}"}}"#);
    events.push(pick("hello", "Hello, how can I help?"));
    events.push(said(&format!("I want another {domain}")));
    events.push(pick("ask_name", "What is your name?"));
    let at_once = number.is_multiple_of(2);
    events.push(said(if at_once { "Anna, and two hundred please" } else { "Anna" }));
    if !at_once {
        events.push(pick(&format!("ask_{domain}"), &format!("Which {domain} would you like?")));
        events.push(said("two hundred"));
    }
    events.push(r#"{"Agent": "Wizard", "Action": "query", "Constraints": [{"Name": "\"Anna\""}]}"#.to_owned());
    let refused = number.is_multiple_of(3);
    let outcome = if refused { "Failed" } else { "Succeeded" };
    events.push(format!(
        r#"{{"Agent": "KnowledgeBase", "Action": "return_item", "Item": {{"APIName": "x", "Status": "{outcome}"}}}}"#
    ));
    events.push(if refused {
        pick("inform_refused", "I am sorry, that is not possible.")
    } else {
        pick("inform_done", &format!("Your {domain} is now 200."))
    });
    Dialogue::parse(&format!(
        r#"{{"DialogueID": {number}, "Events": [{}], "Scenario": {{"Domains": ["{domain}"], "Happy": true,
            "WizardCapabilities": [{{"Task": "{domain}_change"}}]}}}}"#,
        events.join(",")
    ))
    .unwrap()
}

#[test]
fn a_line_becomes_what_was_said_looked_up_and_chosen() {
    let read = dialogue(6, "limit");
    let actions: Vec<&str> = read.choices().map(|(_, action)| action).collect();
    assert_eq!(actions, ["hello", "ask_name", "query", "inform_refused"]);
    assert_eq!((read.domain.as_str(), read.task.as_str(), read.happy), ("limit", "limit_change", true));
    let records = read.events.iter().find(|event| event.actor == Actor::Records).unwrap();
    assert_eq!(records.text, "Status: Failed");
    let booking = r#"{"DialogueID": 1, "Events": [{"Agent": "Wizard", "Action": "query",
        "Constraints": [{"RequestType": "\"Book\""}]}], "Scenario": {"Domains": [null], "Happy": false, "WizardCapabilities": []}}"#;
    let read = Dialogue::parse(booking).unwrap();
    assert_eq!(read.choices().next().unwrap().1, "query_book");
}

#[test]
fn a_graph_has_a_way_through_it_and_conditions_that_are_no_actions() {
    let task = task("limit");
    assert_eq!(task.path(), ["hello", "ask_name", "ask_limit", "query"]);
    assert_eq!(task.conditions_of("inform_done").collect::<Vec<_>>(), ["query_success"]);
    assert!(task.actions().all(|action| action != "query_failure") && task.actions().any(|action| action == "goodbye"));
}

#[tokio::test]
async fn a_task_is_followed_after_dialogues_of_its_own_and_after_those_of_others() {
    let engine = Engine::load(&crate::Options::default()).unwrap();
    let domains = ["limit", "address", "currency", "password"];
    let tasks: BTreeMap<String, Task> = domains.iter().map(|one| (format!("{one}_change"), task(one))).collect();
    let dialogues: Vec<Dialogue> =
        domains.iter().zip(0..).flat_map(|(one, first)| (0..12).map(move |n| dialogue(4 * n + first, one))).collect();
    let mut reports = Vec::new();
    evaluate(&engine, &tasks, &dialogues, "limit", |report| reports.push(report.clone())).await.unwrap();
    let settings: Vec<Setting> = reports.iter().map(|report| report.setting).collect();
    use Setting::{Standard, UnseenDomain, UnseenTask};
    assert_eq!(settings, [Standard, Standard, UnseenTask, UnseenDomain]);
    for report in &reports {
        assert!(report.choices > 10 || report.about == "limit", "{report:?}");
        // In an unseen task the look-up, known by name, wins over the question that only its graph names.
        let least = if report.setting == Standard { 0.9 } else { 0.7 };
        assert!(report.accuracy > least && report.f1 > least, "{report:?}");
    }
    let none = evaluate(&engine, &tasks, &[], "limit", |_| ()).await;
    assert!(matches!(none, Err(Error::Empty(_))));
}

#[test]
fn the_score_is_that_of_scikit_learn() {
    let one = |right: &str, answer: &str| Chosen {
        task: String::new(),
        dialogue: 1,
        right: right.to_owned(),
        answer: Some(answer.to_owned()),
    };
    // f1_score(["a", "a", "b", "c"], ["a", "b", "b", "b"], average="weighted") = (2 · 2/3 + 1/2 + 0) / 4
    let rows = [one("a", "a"), one("a", "b"), one("b", "b"), one("c", "b")];
    let score = report(Setting::Standard, "all", &rows, |_| true);
    assert!((score.accuracy - 0.5).abs() < 1e-12 && (score.f1 - (4.0 / 3.0 + 0.5) / 4.0).abs() < 1e-12, "{score:?}");
}
