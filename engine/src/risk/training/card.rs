//! The model card: what a model is, how it was made, how good it is and what it cannot do.

use std::fmt::Write;

use super::super::model::Model;
use super::Report;

/// Writes the card in Markdown.
pub(super) fn write(model: &Model, report: &Report) -> String {
    let mut card = String::new();
    // Writing to a string cannot fail.
    let _ = sections(&mut card, model, report);
    card
}

fn sections(out: &mut String, model: &Model, report: &Report) -> std::fmt::Result {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let test = &report.test;
    writeln!(out, "# Risk model {}\n", report.version)?;
    writeln!(out, "{}\n", report.options.description)?;
    writeln!(
        out,
        "A gradient-boosted ensemble of {} trees ({} leaves, at most {} splits deep) that",
        report.trees, report.leaves, report.shape.depth
    )?;
    writeln!(out, "answers the probability that a loan application is fraudulent. Every score is explained by")?;
    writeln!(out, "exact Shapley values of the log-odds. `model.json` has the SHA-256 `{}`.\n", report.sha256)?;

    writeln!(out, "## Data\n")?;
    let order = if report.time_ordered { "in the order of time" } else { "shuffled: no column tells their time" };
    writeln!(out, "Rows are split {order}.\n")?;
    writeln!(out, "| part | rows | fraud | period |\n|---|---|---|---|")?;
    for period in &report.periods {
        let span = period.span.map_or("-".to_owned(), |(first, last)| format!("{first} to {last}"));
        writeln!(
            out,
            "| {} | {} | {} ({}) | {span} |",
            period.name,
            period.rows,
            period.positives,
            percent(period.rate())
        )?;
    }
    writeln!(out, "\n## Figures on the test part\n")?;
    writeln!(out, "| figure | value |\n|---|---|")?;
    let interval = test.auc_interval;
    writeln!(out, "| AUC (95 % interval) | {:.4} ({:.4} to {:.4}) |", test.auc, interval.low, interval.high)?;
    for (name, value) in [
        ("frauds found when 1 % of honest applications are flagged", percent(test.recall_at_1_percent)),
        ("frauds found when 5 % of honest applications are flagged", percent(test.recall_at_5_percent)),
        ("Brier score", format!("{:.5}", test.brier)),
        ("log loss", format!("{:.5}", test.log_loss)),
        ("expected calibration error, 10 equal bins", format!("{:.5}", test.ece)),
    ] {
        writeln!(out, "| {name} | {value} |")?;
    }
    let calibration = model.calibration();
    writeln!(
        out,
        "\nProbabilities were calibrated on the part of that name (Platt): log-odds × {:.4} + {:.4}, folded into",
        calibration.slope, calibration.intercept
    )?;
    writeln!(out, "base and leaves, so that probability and attributions belong to the same number.\n")?;

    writeln!(out, "## Inputs\n")?;
    writeln!(out, "| input | mean effect on the log-odds | usual values |\n|---|---|---|")?;
    for (name, effect) in &report.importance {
        let usual = model.features().iter().find(|feature| &feature.factor.name == name);
        writeln!(
            out,
            "| {name} | {effect:.4} | {} |",
            usual.map(|feature| feature.usual_in_words()).unwrap_or_default()
        )?;
    }
    if !report.left_out.is_empty() {
        writeln!(out, "\nNot used:\n")?;
        for (name, why) in &report.left_out {
            writeln!(out, "- {name}: {why}")?;
        }
    }
    writeln!(out, "\n## Fairness\n")?;
    if report.groups.is_empty() {
        writeln!(out, "The data holds no protected column, so differences between groups were not measured.\n")?;
    } else {
        writeln!(
            out,
            "Protected columns are never inputs. Flagged means: at the threshold that flags 5 % of all honest applications.\n"
        )?;
        writeln!(
            out,
            "| column | group | rows | flagged | honest but flagged | mean probability | share of fraud |\n|---|---|---|---|---|---|---|"
        )?;
        for group in &report.groups {
            writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} | {} |",
                group.column,
                group.group,
                group.rows,
                percent(group.flagged),
                percent(group.false_positives),
                percent(group.predicted),
                percent(group.observed)
            )?;
        }
        writeln!(
            out,
            "\nOther inputs can stand in for a protected one: compare the columns before the model decides about people.\n"
        )?;
    }
    writeln!(out, "## Limits\n")?;
    writeln!(out, "- It knows the ways of fraud in its data and no others; watch its figures and train it again.")?;
    writeln!(
        out,
        "- Labels are what was known: a fraud that nobody found counts as honest, in training and in these figures."
    )?;
    writeln!(
        out,
        "- A probability is an estimate about similar applications. A person decides; a score never declines alone."
    )?;
    writeln!(out, "\n## Again\n")?;
    writeln!(
        out,
        "Seed {}, at most {} trees, depth {}, rate {}, least leaf weight {}, penalty {}. The same data, options and program",
        report.options.seed,
        report.options.most_trees,
        report.shape.depth,
        report.shape.rate,
        report.shape.leaf_weight,
        report.shape.penalty
    )?;
    writeln!(out, "give the same file, bit for bit.")
}
