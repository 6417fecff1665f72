//! Trains the risk model that Candor ships, on generated applications, and writes it with its card.
//!
//! ```text
//! cargo run --release -p candor-engine --example train-risk -- engine/weights/risk
//! ```
//!
//! The same program gives the same file, bit for bit: the shipped one. A bank trains on its own applications with
//! `candor train risk`.

use std::error::Error;
use std::path::PathBuf;

use candor_engine::risk::training::{self, Options, Table};
use candor_engine::risk::{Generated, Generator, Pattern};

const VERSION: &str = "demonstration-1";

const DESCRIPTION: &str = "A demonstration, trained on generated applications with seven known patterns of fraud. It shows how Candor \
     scores and explains; it knows nothing of any real bank's customers. Before it decides about people, train it again on the \
     bank's own applications with `candor train risk`.";

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("usage: train-risk FOLDER")?);
    let generator = Generator::default();
    let generated = generator.run();
    // Labels as a bank knows them half a year after the last application.
    let known_at = f64::from(generator.months) + 6.0;
    let table =
        Table::of_applications(generated.iter().map(|one| (&one.application, one.label_as_of(known_at))), "fraud");
    let options = Options { description: DESCRIPTION.to_owned(), ..Options::new(VERSION, "fraud") };
    let trained = training::train(&table, &options)?;

    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("model.json"), &trained.bytes)?;
    let card = format!("{}\n{}", trained.card(), about_the_data(&generator, &generated, &trained));
    std::fs::write(folder.join("README.md"), card)?;
    println!("{}", serde_json::to_string_pretty(&trained.report)?);
    Ok(())
}

/// What the generator knows and a bank does not: how much of each pattern is found.
fn about_the_data(generator: &Generator, generated: &[Generated], trained: &training::Trained) -> String {
    let test = trained.report.periods.iter().find(|period| period.name == "test").and_then(|period| period.span);
    let from = test.map_or(0.0, |(first, _)| first);
    let tested: Vec<&Generated> = generated.iter().filter(|one| one.application.month >= Some(from)).collect();
    let threshold = trained.report.test.at_5_percent.threshold;
    let flagged =
        |one: &&&Generated| candor_engine::risk::probability(trained.model.margin(&one.application)) >= threshold;
    let mut text = format!(
        "## How the data was made\n\n`Generator` in `engine/src/risk/generator.rs`, seed {}: {} applications over {} months, {:.1} % fraud, \
         {:.0} % of frauds never found, {:.2} % of honest applications wrongly labelled, labels {:.1} months late on average, \
         patterns, devices and incomes drifting.\n\nFound in the test period when 5 % of honest applications are flagged, by the true pattern:\n\n\
         | pattern | frauds | found |\n|---|---|---|\n",
        generator.seed,
        generator.applications,
        generator.months,
        100.0 * generator.fraud_rate,
        100.0 * generator.never_found,
        100.0 * generator.wrongly_accused,
        generator.label_delay,
    );
    for pattern in Pattern::ALL {
        let frauds: Vec<&&Generated> = tested.iter().filter(|one| one.pattern == Some(pattern)).collect();
        let found = frauds.iter().filter(|one| flagged(one)).count();
        let share = 100.0 * found as f64 / frauds.len().max(1) as f64;
        text += &format!("| {} | {} | {share:.0} % |\n", pattern.as_str(), frauds.len());
    }
    text
}
