//! `candor evaluate`.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use candor_engine::dialogue::evaluate::{evaluate, read_scenarios};
use candor_engine::dialogue::next_action::{self, Dialogue, Task};
use candor_engine::dialogue::saying::{self, Saying};
use candor_engine::dialogue::simulate::simulate;
use candor_engine::generation::{Generator, Local, LocalOptions};
use candor_engine::understanding::evaluate::{Labelled, evaluate_intents, evaluate_sentiment};
use candor_engine::understanding::{Annotated, evaluate_entities};
use chrono::Utc;
use clap::Subcommand;

use crate::config::Config;
use crate::db::Database;
use crate::generation::{Remote, model_address};
use crate::knowledge::{self, Question};

use super::lines::{JsonLines, open};
use super::understand::{OwnIntents, engine};
use super::{Failure, articles};

/// Measure how often the models are right, on labelled data; figures as JSON.
#[derive(Debug, Subcommand)]
pub(super) enum Evaluate {
    /// Intents. `accuracy` takes the most likely label of rows in scope; `accuracy_served` counts a rejection as an
    /// error.
    Intents {
        /// The head to measure, for instance banking77, clinc150 or desk; own with --adapter.
        #[arg(long, required_unless_present = "adapter")]
        head: Option<String>,
        #[command(flatten)]
        own: OwnIntents,
        /// Table with columns text and label; the label oos is out of scope. `-` is standard input.
        #[arg(long, value_name = "CSV")]
        data: PathBuf,
    },
    /// Sentiment.
    Sentiment {
        /// Table with columns text and label (negative, neutral, positive). `-` is standard input.
        #[arg(long, value_name = "CSV")]
        data: PathBuf,
        #[command(flatten)]
        own: OwnIntents,
    },
    /// Values in texts: money, dates, names and the rest, by kind.
    Entities {
        /// JSON lines: {"text", "today", "kinds": [those looked for], "entities": [{"kind", "text", "value"}]}. `-` is standard
        /// input.
        #[arg(long, value_name = "FILE")]
        data: PathBuf,
    },
    /// Whole conversations with a known end, each with a fresh bank in memory.
    Dialogue {
        /// Scenarios, JSON lines as tests/dialogue/README.md describes them. `-` is standard input. May be repeated.
        #[arg(long, value_name = "FILE", required_unless_present = "simulate")]
        scenarios: Vec<PathBuf>,
        /// Simulated customers in place of scenarios: so many conversations.
        #[arg(long, value_name = "RUNS", conflicts_with = "scenarios")]
        simulate: Option<usize>,
        /// Seed of the first simulated conversation.
        #[arg(long, value_name = "NUMBER", default_value_t = 1)]
        seed: u64,
    },
    /// The next action in the dialogues of STAR (Mosig and others 2020), beside the papers' figures: a line for each setting.
    NextAction {
        /// The folder of tasks, one folder each with its graph and responses.
        #[arg(long, value_name = "DIR")]
        tasks: PathBuf,
        /// Dialogues, JSON lines. `-` is standard input.
        #[arg(long, value_name = "FILE")]
        dialogues: PathBuf,
        /// The beginning of the names of the tasks to measure on their own; empty for every task.
        #[arg(long, value_name = "NAME", default_value = "bank")]
        about: String,
    },
    /// Questions asked of the articles: is the right one found, is it quoted, is what has no answer declined?
    Articles {
        /// Table with columns question and article (its address; empty where no article answers). `-` is standard input.
        #[arg(long, value_name = "CSV")]
        questions: PathBuf,
    },
    /// What a generator says in place of the flows' own wording: how often the check refuses it, and whether anything of what is
    /// said comes from nowhere.
    Saying {
        /// The model: a checkpoint folder, for instance engine/weights/generator, or the address of a server of the OpenAI
        /// protocol, whose name and key are those of the configuration.
        #[arg(long, value_name = "DIR|URL")]
        model: String,
        /// Scenarios, JSON lines as tests/dialogue/README.md describes them. `-` is standard input.
        #[arg(long, value_name = "FILE")]
        scenarios: PathBuf,
        /// Replies asked for.
        #[arg(long, default_value_t = 1000)]
        replies: u64,
    },
}

impl Evaluate {
    pub(super) fn run(self, config: &Config) -> Result<(), Failure> {
        let runtime = tokio::runtime::Runtime::new()?;
        let scenarios_of = |path: &Path| -> Result<_, Failure> {
            let mut text = String::new();
            open(Some(path))?.read_to_string(&mut text)?;
            read_scenarios(&text).map_err(|problem| Failure::new(problem).at(path.display()))
        };
        let mut output = JsonLines::new();
        match self {
            Self::Intents { head, own, data } => {
                let (rows, head) = (labelled(&data)?, head.unwrap_or_else(|| "own".to_owned()));
                output.write(&runtime.block_on(evaluate_intents(&own.engine(config)?, &head, &rows))?)?;
            }
            Self::Sentiment { data, own } => {
                let rows = labelled(&data)?;
                output.write(&runtime.block_on(evaluate_sentiment(&own.engine(config)?, &rows))?)?;
            }
            Self::Entities { data } => {
                let lines = BufReader::new(open(Some(&data))?).lines().enumerate();
                let rows: Vec<Annotated> = lines
                    .map(|(number, line)| {
                        let at = |failure: Failure| failure.at(format!("{}:{}", data.display(), number + 1));
                        serde_json::from_str(&line.map_err(|error| at(error.into()))?).map_err(|error| at(error.into()))
                    })
                    .collect::<Result<_, _>>()?;
                output.write(&evaluate_entities(&rows))?;
            }
            Self::Articles { questions } => {
                let mut table = csv::Reader::from_reader(open(Some(&questions))?);
                let rows: Vec<Question> = table
                    .deserialize()
                    .map(|row| row.map_err(|error| Failure::from(error).at(questions.display())))
                    .collect::<Result<_, _>>()?;
                let engine = engine(config)?;
                let report = runtime.block_on(async {
                    let database = Database::open(config, |line| eprintln!("{line}")).await?;
                    let report = knowledge::evaluate(&database.pool, &engine, &rows).await;
                    database.close().await;
                    report.map_err(Failure::from)
                })?;
                output.write(&report)?;
            }
            Self::Dialogue { scenarios: files, simulate: None, .. } => {
                let mut scenarios = Vec::new();
                for file in files {
                    scenarios.extend(scenarios_of(&file)?);
                }
                let engine = engine(config)?;
                let report = runtime.block_on(async {
                    let knowledge = articles::knowledge(&engine).await?;
                    let today = Utc::now().date_naive();
                    let report = evaluate(&engine.dialogue(), &engine, &knowledge, &scenarios, today).await;
                    report.map_err(|error| Failure::new(error.to_string()))
                })?;
                output.write(&report)?;
            }
            Self::Dialogue { simulate: Some(runs), seed, .. } => {
                let engine = engine(config)?;
                let found = runtime.block_on(async {
                    let knowledge = articles::knowledge(&engine).await?;
                    let today = Utc::now().date_naive();
                    let tell = |number| {
                        if number % 500 == 0 {
                            eprintln!("{number} of {runs} conversations");
                        }
                    };
                    let found = simulate(&engine.dialogue(), &engine, &knowledge, runs, seed, today, tell).await;
                    found.map_err(|error| Failure::new(error.to_string()))
                })?;
                output.write(&found)?;
            }
            Self::NextAction { tasks, dialogues, about } => {
                let failed = |error: next_action::Error| Failure::new(error.to_string());
                let tasks = Task::read_all(&tasks).map_err(failed)?;
                let lines = BufReader::new(open(Some(&dialogues))?).lines().enumerate();
                let dialogues: Vec<Dialogue> = lines
                    .map(|(number, line)| {
                        let at = |failure: Failure| failure.at(format!("{}:{}", dialogues.display(), number + 1));
                        Dialogue::parse(&line.map_err(|error| at(error.into()))?).map_err(|error| at(error.into()))
                    })
                    .collect::<Result<_, _>>()?;
                let engine = engine(config)?;
                let mut reports = Vec::new();
                let ran =
                    next_action::evaluate(&engine, &tasks, &dialogues, &about, |report| reports.push(report.clone()));
                runtime.block_on(ran).map_err(failed)?;
                for report in &reports {
                    output.write(report)?;
                }
            }
            Self::Saying { model, scenarios, replies } => {
                let scenarios = scenarios_of(&scenarios)?;
                let engine = engine(config)?;
                let generator: Arc<dyn Generator> = match model_address(&model) {
                    Some(url) => Arc::new(Remote::connect(&url, &config.engine)?),
                    None => Arc::new(Local::open(Path::new(&model), &LocalOptions::default())?),
                };
                let saying = Saying::new(generator, config.engine.tone).with_patience(Duration::from_secs(120));
                let report = runtime.block_on(async {
                    let knowledge = articles::knowledge(&engine).await?;
                    let today = Utc::now().date_naive();
                    let dialogue = engine.dialogue();
                    let report =
                        saying::evaluate::evaluate(&dialogue, &engine, &knowledge, &saying, &scenarios, replies, today);
                    report.await.map_err(|error| Failure::new(error.to_string()))
                })?;
                output.write(&report)?;
            }
        }
        output.finish()
    }
}

/// Rows of a table with columns `text` and `label`; other columns are ignored.
pub(super) fn labelled(path: &Path) -> Result<Vec<Labelled>, Failure> {
    let mut table = csv::Reader::from_reader(open(Some(path))?);
    table.deserialize().map(|row| row.map_err(|error| Failure::from(error).at(path.display()))).collect()
}
