//! The card of adapted intents.

use std::fmt::Write;

use super::intents::Recipe;
use super::outcome::Report;

/// The card as Markdown.
#[must_use]
pub(super) fn card(report: &Report, recipe: &Recipe, description: &str) -> String {
    let mut out = String::new();
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let targets: Vec<&str> = recipe.targets.iter().map(|target| target.module()).collect();
    // Writing to a string does not fail.
    let _ = writeln!(
        out,
        "---\nbase_model: {encoder}\nlibrary_name: peft\npipeline_tag: text-classification\n---\n# {version}\n\n\
         A bank's own intents for Candor's {encoder}: a low-rank adapter and a head. {description}\n\n\
         ## Data\n{rows} examples of {labels} intents, of which {held} were held out to decide when to stop and to calibrate. \
         {general} general texts kept the encoder's skill; {foreign} of them resemble no example and taught what is out of \
         scope.\n",
        encoder = report.encoder,
        version = report.version,
        rows = report.rows,
        labels = report.labels,
        held = report.held_out,
        general = report.general_texts,
        foreign = report.foreign_texts,
    );
    let _ = writeln!(
        out,
        "## Recipe\nLoRA of rank {}, alpha {}, on {}; dropout {}; AdamW, rate {} falling along a cosine, decay {}; label smoothing \
         {}; {} of each batch of {} general texts; seed {}. {} numbers trained, {} epochs, the {}. kept, {:.0} s.\n",
        recipe.rank,
        recipe.alpha,
        targets.join(", "),
        recipe.dropout,
        recipe.rate,
        recipe.decay,
        recipe.smoothing,
        percent(recipe.general_share),
        recipe.batch,
        recipe.seed,
        report.trained_numbers,
        report.epochs,
        report.best_epoch,
        report.seconds,
    );
    let _ = writeln!(
        out,
        "## Measured\nOn the held-out examples, which chose the epoch and the temperature and so flatter it: accuracy {}, expected \
         calibration error {:.3}. Measure on messages that nothing here has seen: \
         `candor evaluate intents --adapter DIR --data test.csv`.\n\nThe shipped heads on general texts that were held out, most \
         likely label as before:\n",
        percent(report.accuracy),
        report.ece,
    );
    for (head, share) in &report.agreement {
        let _ = writeln!(out, "- {head}: {}", percent(*share));
    }
    let _ = writeln!(out, "- embedding: cosine {:.4} to what it was\n", report.cosine);
    if !report.confusions.is_empty() {
        let _ = writeln!(
            out,
            "Taken for another (all of them in `confusion.csv`):\n\n| label | taken for | rows |\n|---|---|---|"
        );
        for confusion in report.confusions.iter().take(20) {
            let _ = writeln!(out, "| {} | {} | {} |", confusion.label, confusion.taken_for, confusion.rows);
        }
        out.push('\n');
    }
    out.push_str(
        "## Limits\nEnglish. A few examples a label show what customers were thought to write, not all that they write. It is a \
         classifier: no decision about a customer should rest on it alone. It belongs to the encoder named above; another one \
         refuses it.\n",
    );
    out
}
