//! The model card: what a model is, how it was made, how good it is and what it cannot do.

use std::fmt::Write;

use super::super::figures::{Interval, Operating};
use super::super::model::Model;
use super::Report;

/// How the probabilities were calibrated, and the curve.
fn calibration(out: &mut String, model: &Model, report: &Report) -> std::fmt::Result {
    writeln!(out, "## Calibration\n\n| method | log loss | calibration error | use |\n|---|---|---|---|")?;
    for tried in &report.calibrations {
        let chosen = if tried.chosen { "chosen" } else { "" };
        writeln!(out, "| {} | {:.5} | {:.5} | {chosen} |", tried.method.as_str(), tried.log_loss, tried.ece)?;
    }
    let affine = model.calibration();
    writeln!(
        out,
        "\nCross-validated on the rows that calibrate. Log-odds × {:.4} + {:.4} is folded into base and leaves.",
        affine.slope, affine.intercept
    )?;
    match model.curve() {
        None => writeln!(out, "Nothing stands between the explained log-odds and the shown probability.\n")?,
        Some(curve) => writeln!(
            out,
            "The explained log-odds are the trees' own; the probability is read from a further {} curve, which keeps their order.\n",
            curve.name()
        )?,
    }
    writeln!(out, "| predicted | observed (95 % interval) | rows |\n|---|---|---|")?;
    for bin in &report.reliability.bins {
        let observed = &bin.observed;
        writeln!(
            out,
            "| {:.2} % | {:.2} % ({:.2} to {:.2} %) | {} |",
            100.0 * bin.predicted,
            100.0 * observed.share,
            100.0 * observed.interval.low,
            100.0 * observed.interval.high,
            observed.of
        )?;
    }
    writeln!(out)
}

/// Which factors carry the difference between groups.
fn gaps(out: &mut String, report: &Report) -> std::fmt::Result {
    if report.gaps.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nWhat carries the difference in mean log-odds between a group and everybody else:\n")?;
    writeln!(out, "| column | group | difference | largest parts |\n|---|---|---|---|")?;
    for gap in &report.gaps {
        let parts: Vec<String> = gap.factors.iter().map(|part| format!("{} {:+.3}", part.factor, part.gap)).collect();
        writeln!(out, "| {} | {} | {:+.3} | {} |", gap.ground, gap.group, gap.total, parts.join(", "))?;
    }
    Ok(())
}

/// Writes the card in Markdown.
pub(super) fn write(model: &Model, report: &Report) -> String {
    let mut card = String::new();
    // Writing to a string cannot fail.
    let _ = sections(&mut card, model, report);
    card
}

fn sections(out: &mut String, model: &Model, report: &Report) -> std::fmt::Result {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let range = |interval: &Interval| format!("{} to {}", percent(interval.low), percent(interval.high));
    let recall = |at: &Operating| format!("{} ({})", percent(at.recall.share), range(&at.recall.interval));
    let precision = |at: &Operating| format!("{} ({})", percent(at.precision.share), range(&at.precision.interval));
    let test = &report.test;
    writeln!(out, "# Risk model {}\n", report.version)?;
    writeln!(out, "{}\n", report.options.description)?;
    writeln!(
        out,
        "A gradient-boosted ensemble of {} trees ({} leaves, at most {} splits deep{}) that",
        report.trees,
        report.leaves,
        report.shape.depth,
        if report.forests > 1 { format!(", the mean of {} forests", report.forests) } else { String::new() }
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
    let figures = if report.unseen {
        "Figures on the test part, which nothing has seen"
    } else {
        "Figures on rows held out while shape and calibration were chosen"
    };
    writeln!(out, "\n## {figures}\n")?;
    writeln!(out, "| figure | value (95 % interval) |\n|---|---|")?;
    let plain = |interval: &Interval| format!("{:.4} to {:.4}", interval.low, interval.high);
    writeln!(out, "| AUC (DeLong) | {:.4} ({}) |", test.auc, plain(&test.auc_interval))?;
    for (name, value) in [
        ("frauds found when 1 % of honest applications are flagged", recall(&test.at_1_percent)),
        ("frauds found when 5 % of honest applications are flagged", recall(&test.at_5_percent)),
        ("frauds among the flagged, at 5 %", precision(&test.at_5_percent)),
        ("Brier score", format!("{:.5}", test.brier)),
        ("log loss", format!("{:.5}", test.log_loss)),
    ] {
        writeln!(out, "| {name} | {value} |")?;
    }
    writeln!(
        out,
        "| expected calibration error, 10 equal bins (bootstrap) | {:.5} ({}) |\n",
        test.ece,
        plain(&test.ece_interval)
    )?;
    calibration(out, model, report)?;

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
            "Protected columns are never inputs. Flagged means: at the threshold that flags 5 % of all honest applications. The ratio is\n\
             the adverse-impact ratio: the share not flagged over the best group's; jurisdiction {}.\n",
            report.options.jurisdiction
        )?;
        writeln!(
            out,
            "| column | group | rows | not flagged | ratio to the best (95 % interval) | honest but flagged (95 % interval) | mean probability | share of fraud |\n|---|---|---|---|---|---|---|---|"
        )?;
        for group in &report.groups {
            writeln!(
                out,
                "| {} | {} | {} | {} | {:.3} ({:.3} to {:.3}) | {} ({}) | {} | {} |",
                group.ground,
                group.group,
                group.selected.of,
                percent(group.selected.share),
                group.ratio,
                group.ratio_interval.low,
                group.ratio_interval.high,
                percent(group.false_positives.share),
                range(&group.false_positives.interval),
                percent(group.predicted),
                percent(group.observed.share)
            )?;
        }
        gaps(out, report)?;
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
    if report.forests > 1 {
        writeln!(out, "- It is a mean of forests: more trees, and a longer explanation, than a single one.")?;
    }
    writeln!(out, "\n## Again\n")?;
    writeln!(
        out,
        "Seed {}, at most {} trees, depth {}, rate {}, least leaf weight {}, penalty {}, {} of the columns a tree. The same data, options and program",
        report.options.seed,
        report.options.most_trees,
        report.shape.depth,
        report.shape.rate,
        report.shape.leaf_weight,
        report.shape.penalty,
        percent(report.shape.columns)
    )?;
    writeln!(out, "give the same file, bit for bit.")
}
