//! An ordinary applicant: honest, and as different from the next one as people are.

use super::super::application::Application;
use super::Draws;

/// Draws an applicant. `drift` is how far the world has moved, 0 to 1.
pub(super) fn ordinary(drift: f64, draws: &mut Draws) -> Application {
    let age = (18.0 + 62.0 * draws.uniform() * draws.between(0.55, 1.0)).floor();
    let work = match age {
        _ if age < 25.0 => draws.pick(
            "employed",
            &[
                (46.0, "employed"),
                (34.0, "student"),
                (8.0, "public_sector"),
                (6.0, "self_employed"),
                (6.0, "unemployed"),
            ],
        ),
        _ if age > 64.0 => {
            draws.pick("retired", &[(84.0, "retired"), (8.0, "employed"), (6.0, "self_employed"), (2.0, "other")])
        }
        _ => draws.pick(
            "employed",
            &[
                (64.0, "employed"),
                (16.0, "public_sector"),
                (12.0, "self_employed"),
                (4.0, "unemployed"),
                (2.0, "student"),
                (2.0, "other"),
            ],
        ),
    };
    let income = usual_income(work) * draws.around(1.0, 0.38) * (1.0 + 0.04 * drift);
    let home = match age {
        _ if age < 28.0 => draws.pick(
            "tenant",
            &[(48.0, "tenant"), (26.0, "with_family"), (16.0, "shared"), (6.0, "mortgage"), (4.0, "social_housing")],
        ),
        _ if age > 60.0 => draws.pick(
            "owner",
            &[(48.0, "owner"), (12.0, "mortgage"), (32.0, "tenant"), (6.0, "social_housing"), (2.0, "other")],
        ),
        _ => draws.pick(
            "tenant",
            &[
                (44.0, "tenant"),
                (32.0, "mortgage"),
                (14.0, "owner"),
                (5.0, "social_housing"),
                (3.0, "shared"),
                (2.0, "other"),
            ],
        ),
    };
    let settled = if matches!(home, "owner" | "mortgage") { 90.0 } else { 30.0 };
    let at_address = draws.around(settled, 0.9).min((age - 17.0) * 12.0).floor();
    let known_for = draws.chance(0.72).then(|| (draws.around(48.0, 1.0)).min((age - 16.0) * 12.0).floor());
    let years_known = known_for.unwrap_or(0.0) / 12.0;
    let score = 165.0 + 38.0 * libm::log(income / 30_000.0) + 2.4 * years_known.min(20.0) + 42.0 * draws.normal()
        - if work == "unemployed" { 35.0 } else { 0.0 };
    let amount = (income * draws.around(0.24, 0.6)).clamp(500.0, 75_000.0);
    let source =
        draws.pick("web", &[(60.0, "web"), (14.0 + 8.0 * drift, "chat"), (18.0 - 6.0 * drift, "branch"), (8.0, "api")]);
    let emails = draws.pick(1.0, &[(93.0, 1.0), (6.2, 2.0), (0.8, 3.0)]);

    // Now and then a campaign brings many honest people at once.
    let restless = if draws.chance(0.03) { 0.8 } else { 0.28 };

    let mut application = Application {
        ring_size: None,
        ring_fraud_count: None,
        income: (!draws.chance(0.03)).then(|| (income / 100.0).round() * 100.0),
        name_email_similarity: Some(hundredths(if draws.chance(0.7) {
            draws.between(0.55, 1.0)
        } else {
            draws.between(0.05, 0.75)
        })),
        prev_address_months_count: (at_address < 72.0 && draws.chance(0.8))
            .then(|| draws.around(34.0, 0.9).min(480.0).floor()),
        current_address_months_count: (!draws.chance(0.02)).then_some(at_address),
        customer_age: Some(age),
        days_since_request: Some(hundredths(if draws.chance(0.82) {
            0.02 * draws.exponential()
        } else {
            4.0 * draws.exponential()
        })),
        intended_balcon_amount: draws.chance(0.28).then(|| draws.around(900.0, 0.9).round()),
        payment_type: Some(
            draws
                .pick(
                    "direct_debit",
                    &[
                        (62.0, "direct_debit"),
                        (20.0, "standing_order"),
                        (10.0, "card"),
                        (6.0, "invoice"),
                        (2.0, "prepaid"),
                    ],
                )
                .to_owned(),
        ),
        zip_count_4w: Some(draws.around(14.0, 0.7).floor()),
        velocity_6h: Some(draws.around(520.0 + 60.0 * drift, restless).round()),
        velocity_24h: Some(draws.around(480.0 + 60.0 * drift, 0.18).round()),
        velocity_4w: Some(draws.around(470.0 + 60.0 * drift, 0.06).round()),
        bank_branch_count_8w: Some(draws.around(55.0, 0.9).floor()),
        date_of_birth_distinct_emails_4w: Some(draws.around(5.0, 0.5).floor()),
        employment_status: (!draws.chance(0.01)).then(|| work.to_owned()),
        credit_risk_score: (!draws.chance(0.04)).then(|| score.round().clamp(-150.0, 400.0)),
        email_is_free: Some(yes(draws.chance(0.56))),
        housing_status: Some(home.to_owned()),
        phone_home_valid: Some(yes(draws.chance(0.18 + 0.007 * (age - 18.0)))),
        phone_mobile_valid: Some(yes(draws.chance(0.93))),
        bank_months_count: known_for,
        has_other_cards: Some(yes(known_for.is_some_and(|months| draws.chance(0.2 + 0.001 * months.min(240.0))))),
        proposed_credit_limit: Some((amount / 100.0).round() * 100.0),
        foreign_request: Some(yes(draws.chance(0.02))),
        source: Some(source.to_owned()),
        session_length_in_minutes: (!draws.chance(0.01)).then(|| tenths(draws.around(9.0, 0.6).min(180.0))),
        device_os: Some(device(drift, draws).to_owned()),
        keep_alive_session: Some(yes(draws.chance(0.58))),
        device_distinct_emails_8w: Some(emails),
        device_fraud_count: Some(0.0),
        month: None,
    };
    if source == "branch" {
        without_a_device(&mut application);
    }
    application
}

/// At a branch there is no session and no device of the applicant's.
pub(super) fn without_a_device(application: &mut Application) {
    application.session_length_in_minutes = None;
    application.device_os = None;
    application.keep_alive_session = None;
    application.device_distinct_emails_8w = None;
    application.device_fraud_count = None;
}

/// What the work usually earns in a year.
pub(super) fn usual_income(work: &str) -> f64 {
    match work {
        "public_sector" => 41_000.0,
        "self_employed" => 39_000.0,
        "retired" => 23_000.0,
        "student" => 9_500.0,
        "unemployed" => 12_000.0,
        "other" => 18_000.0,
        _ => 36_000.0,
    }
}

fn device(drift: f64, draws: &mut Draws) -> &'static str {
    draws.pick(
        "windows",
        &[
            (38.0 - 8.0 * drift, "windows"),
            (14.0, "macos"),
            (3.0, "linux"),
            (25.0 + 4.0 * drift, "android"),
            (19.0 + 4.0 * drift, "ios"),
            (1.0, "other"),
        ],
    )
}

/// 1 for yes, 0 for no.
pub(super) fn yes(answer: bool) -> f64 {
    f64::from(u8::from(answer))
}

pub(super) fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

pub(super) fn hundredths(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
