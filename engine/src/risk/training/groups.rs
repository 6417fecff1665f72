//! Groups of people in a table, for measuring fairness.

use super::super::fairness::{Ground, GroupFigures, Jurisdiction, Member, measure};
use super::table::Table;

/// A column with more groups than this is no grouping.
pub(super) const MOST_GROUPS: usize = 20;

/// The ground that a protected column holds: the jurisdiction's, or one of the column's own name, whose numbers are ages
/// where the name says so.
pub(super) fn ground(column: &str, jurisdiction: &Jurisdiction) -> Ground {
    jurisdiction.ground(column).cloned().unwrap_or_else(|| {
        let is_age = column.to_lowercase().contains("age");
        let bands = if is_age { jurisdiction.grounds.iter().find(|ground| ground.name == "age") } else { None };
        Ground {
            name: column.to_owned(),
            columns: vec![column.to_lowercase()],
            bands: bands.map(|ground| ground.bands.clone()).unwrap_or_default(),
        }
    })
}

/// Every row's group in a protected column.
pub(super) fn memberships(
    table: &Table,
    column: &str,
    rows: &[usize],
    jurisdiction: &Jurisdiction,
) -> Vec<Option<String>> {
    let ground = ground(column, jurisdiction);
    rows.iter().map(|&row| ground.group(table.value(column, row).as_ref())).collect()
}

/// Figures by every protected column. `rows` and `scored` (probability, fraud) run side by side.
pub(super) fn measure_all(
    table: &Table,
    protected: &[String],
    rows: &[usize],
    scored: &[(f64, bool)],
    threshold: f64,
    jurisdiction: &Jurisdiction,
) -> Vec<GroupFigures> {
    let mut all = Vec::new();
    for column in protected {
        let groups = memberships(table, column, rows, jurisdiction);
        let members: Vec<Member> = groups
            .into_iter()
            .zip(scored)
            .filter_map(|(group, &(probability, fraud))| {
                Some(Member { group: group?, probability, flagged: probability >= threshold, fraud: Some(fraud) })
            })
            .collect();
        let figures = measure(column, &members, jurisdiction);
        if (2..=MOST_GROUPS).contains(&figures.len()) {
            all.extend(figures);
        }
    }
    all
}
