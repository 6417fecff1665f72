//! Applications for the demonstration bank: a month's worth, with more fraud than a real bank sees, so that every
//! page has something to show. Names and contact particulars are the application's, not the engine's, to invent.

use super::application::Application;
use super::generator::{Draws, Generated, Generator, Pattern};

/// One application of the demonstration bank.
#[derive(Debug, Clone, PartialEq)]
pub struct DemoApplication {
    /// The factors.
    pub application: Application,
    /// How long before now it came in, in days.
    pub days_ago: f64,
    /// Amount, in cents.
    pub amount_minor: i64,
    /// Time to pay back, in months.
    pub term_months: u16,
    /// What the loan is for.
    pub purpose: &'static str,
    /// The truth: the pattern of fraud behind it; none for an honest one.
    pub pattern: Option<Pattern>,
    /// Applications that share it came from the same device.
    pub device_key: u64,
    /// Applications that share it gave the same address.
    pub address_key: u64,
}

/// Draws applications over the last `days`, the oldest first. The same seed gives the same applications.
pub fn applications(seed: u64, count: u32, days: u32) -> Vec<DemoApplication> {
    let generator = Generator {
        seed,
        applications: count,
        // One month stands for the days; rings live long enough to grow in it.
        months: 1,
        fraud_rate: 0.09,
        label_delay: 0.15,
        drift: 0.0,
        ..Generator::default()
    };
    let mut draws = Draws::new(seed ^ 0x00de_1110);
    generator
        .run()
        .into_iter()
        .map(|Generated { mut application, at, pattern, device_key, address_key, .. }| {
            application.month = None;
            let euros = application.proposed_credit_limit.unwrap_or(8_000.0);
            DemoApplication {
                days_ago: (1.0 - at) * f64::from(days),
                amount_minor: whole_cents(euros),
                term_months: term(euros, &mut draws),
                purpose: purpose(euros, &mut draws),
                application,
                pattern,
                device_key,
                address_key,
            }
        })
        .collect()
}

#[expect(clippy::cast_possible_truncation, reason = "amounts are at most 75,000 euros")]
fn whole_cents(euros: f64) -> i64 {
    (euros * 100.0).round() as i64
}

fn term(euros: f64, draws: &mut Draws) -> u16 {
    match euros {
        _ if euros < 3_000.0 => draws.pick(12, &[(4.0, 12), (3.0, 18), (3.0, 24)]),
        _ if euros < 12_000.0 => draws.pick(36, &[(2.0, 24), (5.0, 36), (3.0, 48)]),
        _ => draws.pick(60, &[(2.0, 48), (5.0, 60), (3.0, 84)]),
    }
}

fn purpose(euros: f64, draws: &mut Draws) -> &'static str {
    if euros < 3_000.0 {
        draws.pick("other", &[(4.0, "appliance"), (3.0, "travel"), (2.0, "education"), (2.0, "other")])
    } else {
        draws.pick(
            "other",
            &[(5.0, "car"), (4.0, "home improvement"), (3.0, "refinancing"), (2.0, "education"), (2.0, "other")],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_hundred_over_thirty_days_with_every_pattern() {
        let all = applications(1, 400, 30);
        assert_eq!(all, applications(1, 400, 30));
        assert_eq!(all.len(), 400);
        assert!(all.windows(2).all(|pair| pair[0].days_ago >= pair[1].days_ago));
        for one in &all {
            assert!((0.0..=30.0).contains(&one.days_ago) && one.amount_minor > 0, "{one:?}");
            assert_eq!(one.application.validate(), Ok(()));
        }
        for pattern in Pattern::ALL {
            assert!(all.iter().any(|one| one.pattern == Some(pattern)), "{pattern:?}");
        }
        let shared = |key: u64| all.iter().filter(|one| one.device_key == key).count() > 1;
        assert!(all.iter().any(|one| shared(one.device_key)), "a ring shares a device");
    }
}
