//! The traces that each way of fraud leaves on an ordinary application.

use super::super::application::Application;
use super::applicant::{hundredths, tenths, usual_income, without_a_device, yes};
use super::{Draws, Pattern};

/// Eight weeks, in months: how long devices' e-mail addresses are counted.
const EIGHT_WEEKS: f64 = 56.0 / 30.4;

/// Which pattern a fraud follows. Invented people and device rings become more common as the world drifts.
pub(super) fn choose(drift: f64, draws: &mut Draws) -> Pattern {
    draws.pick(
        Pattern::StolenIdentity,
        &[
            (26.0 - 6.0 * drift, Pattern::StolenIdentity),
            (16.0 + 8.0 * drift, Pattern::SyntheticIdentity),
            (16.0, Pattern::InflatedIncome),
            (12.0 + 6.0 * drift, Pattern::DeviceRing),
            (9.0, Pattern::AddressRing),
            (11.0, Pattern::VelocityBurst),
            (10.0, Pattern::MuleAccount),
        ],
    )
}

/// A group of fraudsters that shares a device or an address.
#[derive(Debug)]
struct Ring {
    device_key: u64,
    address_key: u64,
    until: f64,
    /// When each member applied and when it was found out.
    members: Vec<(f64, Option<f64>)>,
}

/// The rings at work.
#[derive(Debug, Default)]
pub(super) struct Rings {
    by_device: Vec<Ring>,
    by_address: Vec<Ring>,
}

/// What a fraud shares with others.
#[derive(Debug, Default)]
pub(super) struct Joined {
    pub(super) device_key: Option<u64>,
    pub(super) address_key: Option<u64>,
}

impl Rings {
    /// Notes an application in the rings it belongs to.
    pub(super) fn remember(&mut self, device_key: u64, address_key: u64, at: f64, found_at: Option<f64>) {
        let device = self.by_device.iter_mut().filter(|ring| ring.device_key == device_key);
        let address = self.by_address.iter_mut().filter(|ring| ring.address_key == address_key);
        for ring in device.chain(address) {
            ring.members.push((at, found_at));
        }
    }
}

/// Joins a ring at work or, now and then, starts one.
fn join<'r>(rings: &'r mut Vec<Ring>, at: f64, draws: &mut Draws) -> Option<&'r Ring> {
    rings.retain(|ring| ring.until > at);
    if rings.is_empty() || draws.chance(0.22) {
        let until = at + draws.between(0.4, 2.5);
        rings.push(Ring { device_key: draws.key(), address_key: draws.key(), until, members: Vec::new() });
        return rings.last();
    }
    let weights: Vec<(f64, usize)> = (0..rings.len()).map(|ring| (1.0, ring)).collect();
    rings.get(draws.pick(0, &weights))
}

/// Changes an ordinary application into a fraudulent one.
pub(super) fn leave_traces(
    pattern: Pattern,
    application: &mut Application,
    at: f64,
    camouflage: f64,
    rings: &mut Rings,
    draws: &mut Draws,
) -> Joined {
    let mut joined = Joined::default();
    // Fraud comes through the net rather than over the counter.
    if application.source.as_deref() == Some("branch") && draws.chance(0.85) {
        application.source = Some(draws.pick("web", &[(3.0, "web"), (1.0, "api")]).to_owned());
        application.session_length_in_minutes = Some(tenths(draws.around(6.0, 0.6)));
        application.device_os =
            Some(draws.pick("windows", &[(5.0, "windows"), (3.0, "android"), (2.0, "linux")]).to_owned());
        application.keep_alive_session = Some(yes(draws.chance(0.5)));
        application.device_distinct_emails_8w = Some(1.0);
        application.device_fraud_count = Some(0.0);
    }
    let remote = application.source.as_deref() != Some("branch");
    let mut trace = Traces { camouflage, draws };
    match pattern {
        Pattern::StolenIdentity => {
            trace.leave(|draws| application.name_email_similarity = Some(hundredths(draws.between(0.02, 0.42))));
            trace.leave(|_| application.email_is_free = Some(1.0));
            trace.leave(|draws| application.current_address_months_count = Some(draws.whole(0.0, 9.0)));
            trace.leave(|_| application.phone_home_valid = Some(0.0));
            trace.leave(|draws| application.credit_risk_score = Some((205.0 + 35.0 * draws.normal()).round()));
            trace.raise_amount(application, 1.3, 2.4);
            trace.seldom(0.35, |_| application.foreign_request = Some(1.0));
            trace.seldom(0.3, |_| application.bank_months_count = None);
        }
        Pattern::SyntheticIdentity => {
            trace.leave(|_| application.bank_months_count = None);
            trace.leave(|_| application.has_other_cards = Some(0.0));
            trace.leave(|_| application.prev_address_months_count = None);
            trace.leave(|draws| application.name_email_similarity = Some(hundredths(draws.between(0.82, 1.0))));
            trace.leave(|draws| application.date_of_birth_distinct_emails_4w = Some(draws.whole(9.0, 22.0)));
            trace.leave(|draws| application.credit_risk_score = Some((118.0 + 22.0 * draws.normal()).round()));
            trace.leave(|_| application.phone_home_valid = Some(0.0));
            trace.leave(|draws| application.current_address_months_count = Some(draws.whole(2.0, 16.0)));
            trace.raise_amount(application, 1.1, 1.9);
        }
        Pattern::InflatedIncome => {
            let work = application.employment_status.clone().unwrap_or_default();
            let factor = trace.draws.between(1.9, 3.6);
            application.income = Some((usual_income(&work) * factor / 100.0).round() * 100.0);
            trace.leave(|draws| application.credit_risk_score = Some((112.0 + 34.0 * draws.normal()).round()));
            trace.raise_amount(application, 1.5, 3.0);
            trace.seldom(0.4, |_| application.payment_type = Some("invoice".to_owned()));
        }
        Pattern::DeviceRing => {
            if remote && let Some(ring) = join(&mut rings.by_device, at, trace.draws) {
                let before = ring.members.iter().filter(|(applied, _)| *applied > at - EIGHT_WEEKS).count();
                let found = ring.members.iter().filter(|(_, found)| found.is_some_and(|found| found < at)).count();
                application.device_distinct_emails_8w = Some(counted(before + 1).min(12.0));
                application.device_fraud_count = Some(counted(found));
                joined.device_key = Some(ring.device_key);
            }
            trace.leave(|draws| application.session_length_in_minutes = Some(tenths(draws.around(3.2, 0.4))));
            trace.leave(|_| application.keep_alive_session = Some(0.0));
            trace.leave(|_| application.bank_months_count = None);
            trace.leave(|draws| application.name_email_similarity = Some(hundredths(draws.between(0.1, 0.6))));
            trace.leave(|_| application.email_is_free = Some(1.0));
            trace.seldom(0.5, |_| application.device_os = Some("linux".to_owned()));
        }
        Pattern::AddressRing => {
            if let Some(ring) = join(&mut rings.by_address, at, trace.draws) {
                let here = counted(ring.members.len());
                let usual = application.zip_count_4w.unwrap_or(14.0);
                application.zip_count_4w = Some((usual + 14.0 + 2.0 * here).floor());
                joined.address_key = Some(ring.address_key);
            }
            trace.leave(|draws| application.current_address_months_count = Some(draws.whole(0.0, 5.0)));
            trace.leave(|_| application.housing_status = Some("shared".to_owned()));
            trace.leave(|_| application.phone_home_valid = Some(0.0));
            trace.leave(|_| application.bank_months_count = None);
            trace.raise_amount(application, 1.0, 1.6);
        }
        Pattern::VelocityBurst => {
            let usual = application.velocity_24h.unwrap_or(480.0);
            trace.leave(|draws| application.velocity_6h = Some((usual * draws.between(1.9, 4.2)).round()));
            trace.leave(|draws| application.velocity_24h = Some((usual * draws.between(1.2, 1.9)).round()));
            trace.leave(|draws| application.session_length_in_minutes = Some(tenths(draws.between(0.4, 2.6))));
            trace.leave(|draws| application.days_since_request = Some(hundredths(draws.between(0.0, 0.01))));
            trace.leave(|_| application.keep_alive_session = Some(0.0));
            trace.seldom(0.4, |_| application.device_os = Some("linux".to_owned()));
            trace.seldom(0.4, |_| application.source = Some("api".to_owned()));
        }
        Pattern::MuleAccount => {
            trace.leave(|draws| application.bank_months_count = Some(draws.whole(1.0, 5.0)));
            trace.leave(|draws| application.intended_balcon_amount = Some(draws.around(3_600.0, 0.5).round()));
            trace.leave(|draws| {
                let work = draws.pick("student", &[(5.0, "student"), (3.0, "unemployed"), (2.0, "other")]);
                application.employment_status = Some(work.to_owned());
                application.income = Some((usual_income(work) * draws.around(1.2, 0.3) / 100.0).round() * 100.0);
            });
            trace.leave(|_| application.payment_type = Some("prepaid".to_owned()));
            trace.leave(|draws| application.credit_risk_score = Some((128.0 + 26.0 * draws.normal()).round()));
            trace.raise_amount(application, 1.3, 2.2);
        }
    }
    if application.source.as_deref() == Some("branch") {
        without_a_device(application);
    }
    joined
}

fn counted(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::from(u32::MAX), f64::from)
}

/// Leaves traces, except where the fraudster hides them.
struct Traces<'d> {
    camouflage: f64,
    draws: &'d mut Draws,
}

impl Traces<'_> {
    fn leave(&mut self, trace: impl FnOnce(&mut Draws)) {
        if !self.draws.chance(self.camouflage) {
            trace(self.draws);
        }
    }

    fn seldom(&mut self, probability: f64, trace: impl FnOnce(&mut Draws)) {
        if self.draws.chance(probability) {
            trace(self.draws);
        }
    }

    fn raise_amount(&mut self, application: &mut Application, low: f64, high: f64) {
        self.leave(|draws| {
            let usual = application.proposed_credit_limit.unwrap_or(8_000.0);
            application.proposed_credit_limit =
                Some(((usual * draws.between(low, high)).min(75_000.0) / 100.0).round() * 100.0);
        });
    }
}
