//! What a threshold costs the bank, at the bank's own costs.

use serde::{Deserialize, Serialize};

use super::count;

/// The bank's costs, in the currency of the amounts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// Share of the amount that is lost when a fraud is approved.
    pub missed_share: f64,
    /// One review by an officer.
    pub review: f64,
    /// An honest customer who is wrongly declined: the business lost, and the goodwill.
    pub declined_honest: f64,
    /// Share of reviewed frauds that reviewers recognise.
    pub recognised: f64,
    /// Share of reviewed honest applications that reviewers decline by mistake.
    pub mistaken: f64,
}

impl Default for Costs {
    fn default() -> Costs {
        Costs { missed_share: 0.9, review: 25.0, declined_honest: 400.0, recognised: 0.9, mistaken: 0.02 }
    }
}

/// One past application whose truth is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Case {
    /// Its probability of fraud.
    pub probability: f64,
    /// Whether it was fraud.
    pub fraud: bool,
    /// The amount applied for.
    pub amount: f64,
}

/// What a threshold would have cost on the past applications.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CostPoint {
    /// Applications with at least this probability are reviewed; the largest number where none is.
    pub threshold: f64,
    /// Applications reviewed.
    pub reviewed: usize,
    /// Cost of the reviews.
    pub reviews: f64,
    /// Money lost to frauds, those not reviewed and those not recognised.
    pub missed: f64,
    /// Cost of honest customers declined.
    pub declined: f64,
    /// All of it.
    pub total: f64,
}

/// The cost of every threshold, from reviewing nothing to reviewing everything.
pub fn cost_curve(cases: &[Case], costs: &Costs) -> Vec<CostPoint> {
    let mut ordered = cases.to_vec();
    ordered.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    let at_stake: f64 = ordered.iter().filter(|case| case.fraud).map(|case| case.amount).sum();
    let (mut reviewed, mut honest, mut recognised) = (0, 0, 0.0);
    let point = |threshold: f64, reviewed: usize, honest: usize, recognised: f64| {
        let reviews = costs.review * count(reviewed);
        let missed = costs.missed_share * (at_stake - costs.recognised * recognised);
        let declined = costs.declined_honest * costs.mistaken * count(honest);
        CostPoint { threshold, reviewed, reviews, missed, declined, total: reviews + missed + declined }
    };
    let mut curve = vec![point(f64::MAX, 0, 0, 0.0)];
    for run in ordered.chunk_by(|a, b| a.probability.total_cmp(&b.probability).is_eq()) {
        reviewed += run.len();
        honest += run.iter().filter(|case| !case.fraud).count();
        recognised += run.iter().filter(|case| case.fraud).map(|case| case.amount).sum::<f64>();
        curve.push(point(run.first().map_or(0.0, |case| case.probability), reviewed, honest, recognised));
    }
    curve
}

/// The cheapest point of a curve; of equal ones the first, which reviews least.
pub fn cheapest(curve: &[CostPoint]) -> Option<CostPoint> {
    curve.iter().copied().reduce(|best, point| if point.total < best.total { point } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheapest_threshold_weighs_amounts_against_reviews() {
        let costs = Costs { missed_share: 1.0, review: 10.0, declined_honest: 100.0, recognised: 1.0, mistaken: 0.1 };
        let case = |probability: f64, fraud: bool, amount: f64| Case { probability, fraud, amount };
        let cases = [case(0.9, true, 1000.0), case(0.5, false, 500.0), case(0.4, true, 25.0), case(0.1, false, 1.0)];
        let curve = cost_curve(&cases, &costs);
        let totals: Vec<f64> = curve.iter().map(|point| point.total).collect();
        // Nothing reviewed loses 1,025. The first review saves 1,000 for 10; the next costs 10 + 10 for an honest row;
        // the third saves 25 for 10; the last costs 20 again.
        assert_eq!(totals, [1025.0, 35.0, 55.0, 40.0, 60.0]);
        assert_eq!(cheapest(&curve).unwrap().threshold, 0.9);
        assert_eq!(cheapest(&[]), None);
    }
}
