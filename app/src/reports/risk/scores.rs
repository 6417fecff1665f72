//! Scores: how they lie, whether they are true, how long the truth takes.

use sqlx::PgPool;

use crate::Result;

use super::chart::{Axis, Chart};
use super::conversations::length;
use super::plot::Plot;
use super::report::{Cell, Report, heads, share};

/// Bars of the histogram.
const BARS: i32 = 20;
/// Groups of the calibration curve.
const GROUPS: i32 = 10;

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

/// Log-odds: probabilities of fraud crowd at zero, their log-odds do not.
pub(super) fn logit(probability: f64) -> f64 {
    let probability = probability.clamp(1e-6, 1.0 - 1e-6);
    (probability / (1.0 - probability)).ln()
}

/// The probability of log-odds.
pub(super) fn probability(odds: f64) -> f64 {
    1.0 / (1.0 + (-odds).exp())
}

/// How the scores of a period lie, with the thresholds of the policy in force.
pub(super) async fn histogram(db: &PgPool, period: i32) -> Result<Report> {
    let bands = sqlx::query!(
        r#"select (body -> 'bands' ->> 'medium')::float8 as "medium!", (body -> 'bands' ->> 'high')::float8 as "high!"
           from policies where status = 'active'"#
    )
    .fetch_optional(db)
    .await?;
    let rows = sqlx::query!(
        r#"with scored as (
             select ln(least(greatest(s.probability, 1e-6), 1 - 1e-6)
                       / (1 - least(greatest(s.probability, 1e-6), 1 - 1e-6))) as odds, l.kind = 'confirmed_fraud' as fraud from applications a
             join lateral (select probability from assessments where application_id = a.id order by created_at, id limit 1) s on true
             left join lateral (select kind from labels where application_id = a.id
                                and kind in ('confirmed_fraud', 'false_alarm', 'repaid')
                                order by known_at desc, id desc limit 1) l on true
             where a.received_at >= current_date - $1::int),
           ends as (select min(odds) as low, max(odds) + 1e-9 as high from scored)
           select width_bucket(odds, low, high, $2) as "bar!", low as "low!", high as "high!", count(*) as "all!",
                  count(*) filter (where fraud) as "frauds!"
           from scored, ends where low < high group by 1, 2, 3 order by 1"#,
        period,
        BARS,
    )
    .fetch_all(db)
    .await?;
    let all: i64 = rows.iter().map(|row| row.all).sum();
    let (low, high) = rows.first().map_or((0.0, 1.0), |row| (row.low, row.high));
    let edge = |bar: i32| low + (high - low) * f64::from(bar) / f64::from(BARS);
    let tallest = rows.iter().map(|row| row.all).max().unwrap_or(0);
    let mut chart = Chart::new(
        Axis::new("probability of fraud (log-odds scale)", low, high, |at| format!("{:.1} %", probability(at) * 100.0)),
        Axis::new("applications", 0.0, length(tallest), |at| format!("{at:.0}")),
    );
    for row in &rows {
        let between = (edge(row.bar - 1), edge(row.bar));
        chart.block(between, (0.0, length(row.all)), "mark-2");
        chart.block(between, (0.0, length(row.frauds)), "raise");
    }
    if let Some(bands) = &bands {
        for (name, from) in [("medium", bands.medium), ("high", bands.high)] {
            if (low..high).contains(&logit(from)) {
                chart.threshold(logit(from), format!("{name} from {:.1} %", from * 100.0));
            }
        }
    }
    let desc =
        format!("{all} applications by their probability of fraud. Grey: all; orange: those confirmed as frauds.");
    Ok(Report {
        name: "score-histogram".into(),
        title: "Scores with thresholds".into(),
        about:
            "Scores at arrival, on a log-odds scale. Grey bars are all applications, orange ones confirmed frauds; the \
                upright lines are where the bands of the policy in force begin."
                .into(),
        figure: None,
        plot: Plot::chart("score-histogram", "Scores with thresholds", desc, chart).filter(|_| all > 0),
        needs: None,
        head: heads(["Probability from", "to", "Applications", "Confirmed frauds"]),
        rows: rows
            .iter()
            .map(|row| {
                vec![
                    Cell::Exact(probability(edge(row.bar - 1))),
                    Cell::Exact(probability(edge(row.bar))),
                    Cell::Count(row.all),
                    Cell::Count(row.frauds),
                ]
            })
            .collect(),
    })
}

/// Whether probabilities are true: what was expected against what turned out.
pub(super) async fn calibration(db: &PgPool, period: i32) -> Result<Report> {
    let rows = sqlx::query!(
        r#"with scored as (
             select s.probability, l.kind = 'confirmed_fraud' as fraud from applications a
             join lateral (select probability from assessments where application_id = a.id order by created_at, id limit 1) s on true
             join lateral (select kind from labels where application_id = a.id
                           and kind in ('confirmed_fraud', 'false_alarm', 'repaid')
                           order by known_at desc, id desc limit 1) l on true
             where a.received_at >= current_date - $1::int),
           grouped as (select *, ntile($2) over (order by probability) as part from scored)
           select part as "part!", min(probability) as "from!", max(probability) as "to!", avg(probability) as "expected!",
                  count(*) as "all!", count(*) filter (where fraud) as "frauds!"
           from grouped group by part order by part"#,
        period,
        GROUPS,
    )
    .fetch_all(db)
    .await?;
    let labelled: i64 = rows.iter().map(|row| row.all).sum();
    let observed = |frauds, all| share(frauds, all).unwrap_or(0.0);
    let most = rows.iter().map(|row| row.expected.max(observed(row.frauds, row.all))).fold(0.02, f64::max);
    let mut chart = Chart::new(Axis::new("expected", 0.0, most, percent), Axis::new("turned out", 0.0, most, percent));
    chart.path(&[(0.0, 0.0), (most, most)], "grid", "");
    let points: Vec<(f64, f64)> = rows.iter().map(|row| (row.expected, observed(row.frauds, row.all))).collect();
    chart.path(&points, "series", "");
    for (x, y) in &points {
        chart.dot(*x, *y, "mark");
    }
    let error: f64 =
        rows.iter().map(|row| (row.expected - observed(row.frauds, row.all)).abs() * length(row.all)).sum::<f64>()
            / length(labelled).max(1.0);
    Ok(Report {
        name: "calibration".into(),
        title: "Calibration".into(),
        about:
            "Applications whose end is known, in ten groups by their probability. On the thin line as many turned out \
                to be frauds as were expected. What officers label is not drawn by chance: a gap asks for a look."
                .into(),
        figure: (labelled > 0)
            .then(|| (format!("{:.1} %", error * 100.0), format!("mean gap over {labelled} labelled"))),
        plot: Plot::chart(
            "calibration",
            "Calibration",
            format!(
                "{labelled} labelled applications in {} groups; the mean gap is {:.1} %.",
                rows.len(),
                error * 100.0
            ),
            chart,
        )
        .filter(|_| labelled > 0),
        needs: None,
        head: heads(["Group", "Probability from", "to", "Applications", "Frauds", "Expected", "Turned out"]),
        rows: rows
            .iter()
            .map(|row| {
                vec![
                    Cell::Text(row.part.to_string()),
                    Cell::Exact(row.from),
                    Cell::Exact(row.to),
                    Cell::Count(row.all),
                    Cell::Count(row.frauds),
                    Cell::Share(Some(row.expected)),
                    Cell::Share(share(row.frauds, row.all)),
                ]
            })
            .collect(),
    })
}

/// How long it takes until the end of an application is known.
pub(super) async fn label_delay(db: &PgPool, period: i32) -> Result<Report> {
    let rows = sqlx::query!(
        r#"select l.kind as "kind!", count(*) as "count!",
                  percentile_cont(0.5) within group (order by extract(epoch from l.known_at - a.received_at)::float8) as "median!",
                  percentile_cont(0.9) within group (order by extract(epoch from l.known_at - a.received_at)::float8) as "most!"
           from labels l join applications a on a.id = l.application_id
           where a.received_at >= current_date - $1::int group by l.kind order by 3, 1"#,
        period,
    )
    .fetch_all(db)
    .await?;
    let counted = sqlx::query!(
        r#"select count(*) as "all!", count(*) filter (where exists (
                     select from labels where application_id = a.id
                     and kind in ('confirmed_fraud', 'false_alarm', 'repaid'))) as "labelled!"
           from applications a where a.received_at >= current_date - $1::int"#,
        period,
    )
    .fetch_one(db)
    .await?;
    let days = |seconds: f64| format!("{:.1} days", seconds / 86_400.0);
    Ok(Report {
        name: "label-delay".into(),
        title: "Label delay".into(),
        about: "Days from an application's arrival until the bank knew what became of it. Younger applications are labelled \
                less often than they will be: figures on them are early.".into(),
        figure: share(counted.labelled, counted.all).map(|all| {
            (format!("{:.1} %", all * 100.0), format!("{} of {} are labelled", counted.labelled, counted.all))
        }),
        plot: Plot::bars(
            "label-delay",
            "Median days until a label",
            rows.iter().map(|row| (row.kind.replace('_', " "), row.median, days(row.median))).collect(),
        ),
        needs: None,
        head: heads(["Label", "Applications", "Median", "9 in 10 within"]),
        rows: rows
            .iter()
            .map(|row| {
                vec![
                    Cell::Text(row.kind.replace('_', " ")),
                    Cell::Count(row.count),
                    Cell::Text(days(row.median)),
                    Cell::Text(days(row.most)),
                ]
            })
            .collect(),
    })
}

/// How often officers decide against the proposal, by the versions that made it.
pub(super) async fn overrides_by_version(db: &PgPool, period: i32) -> Result<Report> {
    let rows = sqlx::query!(
        r#"select s.model_version as "model!", p.version as "policy!", count(*) as "decisions!",
                  count(*) filter (where d.is_override) as "overrides!",
                  count(*) filter (where d.is_override and d.outcome = 'approved') as "towards_approval!"
           from decisions d join assessments s on s.id = d.assessment_id join policies p on p.id = s.policy_id
           where d.created_at >= current_date - $1::int group by 1, 2 order by 2 desc, 1"#,
        period,
    )
    .fetch_all(db)
    .await?;
    let named = |model: &str, policy: i64| format!("{model}, policy {policy}");
    Ok(Report {
        name: "overrides-by-version".into(),
        title: "Overrides by version".into(),
        about: "Decisions against the proposal, by the versions of the model and the policy that made it.".into(),
        figure: None,
        plot: Plot::bars(
            "overrides-by-version",
            "Override rate by version",
            rows.iter()
                .filter_map(|row| {
                    let rate = share(row.overrides, row.decisions)?;
                    Some((named(&row.model, row.policy), rate, format!("{:.1} %", rate * 100.0)))
                })
                .collect(),
        ),
        needs: None,
        head: heads(["Model and policy", "Decisions", "Overrides", "Towards approval", "Rate"]),
        rows: rows
            .iter()
            .map(|row| {
                vec![
                    Cell::Text(named(&row.model, row.policy)),
                    Cell::Count(row.decisions),
                    Cell::Count(row.overrides),
                    Cell::Count(row.towards_approval),
                    Cell::Share(share(row.overrides, row.decisions)),
                ]
            })
            .collect(),
    })
}
