//! `candor chat`.

use std::io::{self, IsTerminal, Write};

use candor_engine::Engine;
use candor_engine::dialogue::memory::{MemoryBank, MemoryKnowledge};
use candor_engine::dialogue::{Action, Choice, Input, State, Turn};
use chrono::{NaiveDate, Utc};
use clap::Args;

use crate::config::Config;

use super::understand::engine;
use super::{Failure, articles};

/// Talk with the assistant in the terminal, with a small bank in memory.
///
/// Customer C-10023 (born 14 March 1988, postcode 10115) has cards, payments and a loan application. A number chooses a
/// button. An empty line or Ctrl-D ends the conversation; nothing is kept.
#[derive(Debug, Args)]
pub(super) struct Chat {
    /// Show what was understood, and the flow that is worked on.
    #[arg(long)]
    verbose: bool,
}

impl Chat {
    pub(super) fn run(self, config: &Config) -> Result<(), Failure> {
        let engine = engine(config)?;
        tokio::runtime::Runtime::new()?.block_on(async {
            let today = Utc::now().date_naive();
            let knowledge = articles::knowledge(&engine).await?;
            let mut conversation = Conversation {
                engine,
                knowledge,
                bank: MemoryBank::demonstration(today),
                today,
                verbose: self.verbose,
            };
            conversation.run().await
        })
    }
}

struct Conversation {
    engine: Engine,
    knowledge: MemoryKnowledge,
    bank: MemoryBank,
    today: NaiveDate,
    verbose: bool,
}

impl Conversation {
    async fn run(&mut self) -> Result<(), Failure> {
        let greeting = self.engine.dialogue().greeting();
        show(&greeting)?;
        let mut choices = greeting.choices().to_vec();
        let mut state = State::default();
        let mut seq = 1;
        while let Some(line) = ask()? {
            let chosen = line.parse().ok().and_then(|number: usize| choices.get(number.checked_sub(1)?)).cloned();
            let (text, choice) = match chosen {
                Some(Choice { label, value }) => (label, Some(value)),
                None => (line, None),
            };
            let turn = self.turn(state, &text, choice.as_deref(), seq).await?;
            turn.actions.iter().try_for_each(show)?;
            choices = turn.actions.iter().flat_map(|action| action.choices().to_vec()).collect();
            show_choices(&choices)?;
            state = turn.state;
            seq += 2;
            if state.handed_off {
                writeln!(io::stdout(), "\n(A person would take over here; the assistant has ended.)")?;
                break;
            }
        }
        Ok(())
    }

    async fn turn(&self, state: State, text: &str, choice: Option<&str>, seq: i64) -> Result<Turn, Failure> {
        let understanding = self.engine.understand(text).await?;
        let mut parts = Vec::new();
        for clause in self.engine.dialogue().clauses(text) {
            parts.push(self.engine.understand(clause).await?);
        }
        if self.verbose {
            writeln!(
                io::stdout(),
                "  [{} {:.0} %, {}]",
                understanding.intent,
                100.0 * understanding.confidence,
                understanding.sentiment.as_str()
            )?;
        }
        let input = Input { text, seq, understanding: &understanding, parts: &parts, today: self.today, choice };
        let turn = self.engine.dialogue().next(state, input, &self.bank, &self.knowledge).await?;
        if self.verbose {
            writeln!(io::stdout(), "  [flow {}, slots {:?}]", turn.state.flow().unwrap_or("none"), turn.state.slots())?;
        }
        Ok(turn)
    }
}

/// The next line, or nothing at the end.
fn ask() -> Result<Option<String>, Failure> {
    let at_terminal = io::stdin().is_terminal();
    let mut out = io::stdout().lock();
    if at_terminal {
        write!(out, "\n> ")?;
        out.flush()?;
    }
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line)?;
    let line = line.trim().to_owned();
    if read > 0 && !at_terminal {
        writeln!(out, "\n> {line}")?;
    }
    Ok((!line.is_empty()).then_some(line))
}

/// One action as a customer would read it.
fn show(action: &Action) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "\n{}", action.text())?;
    match action {
        Action::Say { citations, .. } => {
            for citation in citations {
                writeln!(out, "  from: {} (/help/{})", citation.title, citation.article_slug)?;
            }
        }
        Action::Ask { summary: Some(card), .. } => {
            writeln!(out, "  {}", card.title)?;
            for row in &card.rows {
                writeln!(out, "  {}: {}", row.label, row.value)?;
            }
        }
        Action::Act { receipt, .. } => writeln!(out, "  done, reference {}", receipt.reference)?,
        Action::Ask { .. } | Action::HandOff { .. } => {}
    }
    Ok(())
}

fn show_choices(choices: &[Choice]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    choices.iter().enumerate().try_for_each(|(at, choice)| writeln!(out, "  {} {}", at + 1, choice.label))
}
