//! Applications that never were, with fraud whose pattern is known.
//!
//! No open data set of loan applications with fraud labels may be shipped, so the demonstration model is trained on
//! these. They are made month by month in the order of time: an ordinary applicant first ([`applicant`]), then,
//! for a small share, the traces of one of seven known ways of fraud ([`patterns`]), each trace left out
//! now and then because fraudsters hide. What is counted over time (e-mail addresses on a device, confirmed frauds,
//! applications from an area) is counted as of the application's own moment, never from the future.
//!
//! Labels are what a bank would have: some frauds are never found, a few honest people are taken for fraudsters, and
//! a label is known only months later. Over the months the mix of patterns, devices and incomes drifts. Everything
//! comes from one seed; the same seed gives the same applications on every machine.

mod applicant;
mod draws;
mod patterns;

use serde::{Deserialize, Serialize};

use super::application::Application;
pub(super) use draws::Draws;
use patterns::Rings;

/// The ways of fraud that the generator knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// A real person's particulars in a stranger's hands.
    StolenIdentity,
    /// A person who does not exist, put together from real and invented particulars.
    SyntheticIdentity,
    /// A real applicant who states far more income than there is.
    InflatedIncome,
    /// Many identities from one device.
    DeviceRing,
    /// Many identities at one address.
    AddressRing,
    /// A burst of applications by a program within hours.
    VelocityBurst,
    /// An account lent or sold to move others' money.
    MuleAccount,
}

impl Pattern {
    /// Every pattern.
    pub const ALL: [Pattern; 7] = [
        Pattern::StolenIdentity,
        Pattern::SyntheticIdentity,
        Pattern::InflatedIncome,
        Pattern::DeviceRing,
        Pattern::AddressRing,
        Pattern::VelocityBurst,
        Pattern::MuleAccount,
    ];

    /// The word stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Pattern::StolenIdentity => "stolen_identity",
            Pattern::SyntheticIdentity => "synthetic_identity",
            Pattern::InflatedIncome => "inflated_income",
            Pattern::DeviceRing => "device_ring",
            Pattern::AddressRing => "address_ring",
            Pattern::VelocityBurst => "velocity_burst",
            Pattern::MuleAccount => "mule_account",
        }
    }
}

/// What is generated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Generator {
    /// Everything follows from it.
    pub seed: u64,
    /// Number of applications.
    pub applications: u32,
    /// Over how many months.
    pub months: u32,
    /// Share of frauds in the middle of the period; the benchmark's variants have 1.1 %, up to 3 % is plausible.
    pub fraud_rate: f64,
    /// Share of frauds that nobody ever finds.
    pub never_found: f64,
    /// Share of honest applications that are taken for fraud.
    pub wrongly_accused: f64,
    /// Mean time until a fraud is found, in months.
    pub label_delay: f64,
    /// How often a fraudster hides any one trace.
    pub camouflage: f64,
    /// How far the world moves over the whole period; 0 stands still, 1 is the documented drift.
    pub drift: f64,
}

impl Default for Generator {
    fn default() -> Generator {
        Generator {
            seed: 20_261_123,
            applications: 80_000,
            months: 16,
            fraud_rate: 0.02,
            never_found: 0.06,
            wrongly_accused: 0.0005,
            label_delay: 1.5,
            camouflage: 0.3,
            drift: 1.0,
        }
    }
}

/// A generated application with what is true of it and what a bank would know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Generated {
    /// The factors.
    pub application: Application,
    /// When it came in, in months since the start.
    pub at: f64,
    /// The pattern of fraud behind it; none for an honest application.
    pub pattern: Option<Pattern>,
    /// When it is labelled as fraud, in months since the start; never when nobody finds it.
    pub found_at: Option<f64>,
    /// Stands for the device; applications that share it came from the same one.
    pub device_key: u64,
    /// Stands for the address; applications that share it gave the same one.
    pub address_key: u64,
}

impl Generated {
    /// The label that a bank has at a moment, in months since the start.
    pub fn label_as_of(&self, moment: f64) -> bool {
        self.found_at.is_some_and(|found_at| found_at <= moment)
    }
}

impl Generator {
    /// Makes the applications, in the order of time.
    pub fn run(&self) -> Vec<Generated> {
        let mut draws = Draws::new(self.seed);
        let months = f64::from(self.months);
        let mut moments: Vec<f64> = (0..self.applications).map(|_| draws.uniform() * months).collect();
        moments.sort_by(f64::total_cmp);
        let mut rings = Rings::default();
        moments.into_iter().map(|at| self.one(at, at / months.max(1.0), &mut rings, &mut draws)).collect()
    }

    /// One application at a moment; `age` is how much of the period has passed, 0 to 1.
    fn one(&self, at: f64, age: f64, rings: &mut Rings, draws: &mut Draws) -> Generated {
        let drift = age * self.drift;
        let mut application = applicant::ordinary(drift, draws);
        application.month = Some(at.floor());
        // Fraud grows by half over the period when the world drifts.
        let rate = self.fraud_rate * (1.0 + 0.5 * (drift - 0.5 * self.drift));
        let pattern = draws.chance(rate).then(|| patterns::choose(drift, draws));
        let (mut device_key, mut address_key) = (draws.key(), draws.key());
        if let Some(pattern) = pattern {
            let joined = patterns::leave_traces(pattern, &mut application, at, self.camouflage, rings, draws);
            device_key = joined.device_key.unwrap_or(device_key);
            address_key = joined.address_key.unwrap_or(address_key);
        }
        let found = match pattern {
            Some(_) => !draws.chance(self.never_found),
            None => draws.chance(self.wrongly_accused),
        };
        let found_at = found.then(|| at + self.label_delay * draws.exponential());
        rings.remember(device_key, address_key, at, found_at);
        Generated { application, at, pattern, found_at, device_key, address_key }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Vec<Generated> {
        Generator { applications: 20_000, ..Generator::default() }.run()
    }

    #[test]
    fn the_same_seed_gives_the_same_applications() {
        let generator = Generator { applications: 500, ..Generator::default() };
        assert_eq!(generator.run(), generator.run());
        assert_ne!(generator.run(), Generator { seed: 1, ..generator.clone() }.run());
    }

    #[test]
    fn every_application_is_valid_and_in_the_order_of_time() {
        let all = small();
        for generated in &all {
            assert_eq!(generated.application.validate(), Ok(()), "{generated:?}");
        }
        assert!(all.windows(2).all(|pair| pair[0].at <= pair[1].at));
    }

    #[test]
    fn fraud_is_as_rare_as_asked_and_every_pattern_occurs() {
        let all = small();
        let frauds = all.iter().filter(|generated| generated.pattern.is_some()).count();
        assert!((300..500).contains(&frauds), "{frauds}");
        for pattern in Pattern::ALL {
            assert!(all.iter().any(|generated| generated.pattern == Some(pattern)), "{pattern:?}");
        }
    }

    #[test]
    fn labels_come_late_and_some_never() {
        let all = small();
        let frauds: Vec<_> = all.iter().filter(|generated| generated.pattern.is_some()).collect();
        assert!(frauds.iter().all(|fraud| !fraud.label_as_of(fraud.at - 0.001)));
        let found = frauds.iter().filter(|fraud| fraud.label_as_of(f64::INFINITY)).count();
        assert!(found < frauds.len() && found * 100 > frauds.len() * 85, "{found} of {}", frauds.len());
    }

    #[test]
    fn counts_know_nothing_of_the_future() {
        for generated in small() {
            let frauds = generated.application.device_fraud_count.unwrap_or(0.0);
            let emails = generated.application.device_distinct_emails_8w.unwrap_or(1.0);
            assert!(frauds == 0.0 || generated.pattern.is_some(), "only rings share a device here");
            assert!(emails <= 3.0 || generated.pattern.is_some());
        }
    }
}
