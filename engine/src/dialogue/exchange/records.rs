//! The customer's records: which one is meant, and what they tell. Everything here asks for the identified customer
//! first and answers nothing without one.

use std::collections::BTreeMap;

use super::super::action::Choice;
use super::super::answer::{Listening, amounts, date_shown, last4, months_shown, ordinal, recent_day, similar, words};
use super::super::bank::{
    AccountKind, ApplicationStatus, BankError, Card, CardStatus, LoanApplication, Payment, PaymentFilter, PaymentStatus,
};
use super::super::flow::{Slot, SlotKind, Tell};
use super::super::lexicon;
use super::super::state::Value;
use super::Exchange;

/// Payments looked through.
const PAYMENTS: usize = 60;
/// Payments told when asked for recent ones.
const RECENT: usize = 5;

/// A record that may be a slot's value.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) id: String,
    /// On a button.
    pub(super) label: String,
    /// Within a sentence.
    pub(super) shown: String,
    pub(super) fields: BTreeMap<String, String>,
    /// Whether the slot accepts it.
    pub(super) fits: bool,
    of: Of,
}

#[derive(Debug, Clone)]
enum Of {
    Card(Card),
    Payment(Box<Payment>),
    Application(Box<LoanApplication>),
}

impl Record {
    /// As a slot's value.
    pub(super) fn value(&self, seq: i64) -> Value {
        Value { value: self.id.clone(), shown: self.shown.clone(), fields: self.fields.clone(), seq }
    }
}

/// Which record a text means.
pub(super) enum Resolved {
    /// This one.
    One(Record),
    /// One of these.
    Several(Vec<Record>),
    /// One that exists but that the slot does not accept.
    Unfit,
    /// One that does not exist.
    Absent,
    /// The text names none.
    NotNamed,
}

impl Exchange<'_> {
    /// The records a slot may take, in the order they are shown.
    pub(super) async fn records(&mut self, slot: &Slot) -> Result<Vec<Record>, BankError> {
        let Some(customer) = self.state.identified.clone() else { return Ok(Vec::new()) };
        let today = self.input.today;
        let records: Vec<Record> = match &slot.kind {
            SlotKind::Card { statuses } => {
                let cards = self.bank.cards(&customer).await?;
                cards
                    .into_iter()
                    .map(|card| {
                        let fits = statuses.iter().any(|status| status == card_status(card.status));
                        card_record(card, fits, today)
                    })
                    .collect()
            }
            SlotKind::Payment { kinds } => {
                let payments = self.bank.payments(&customer, &PaymentFilter::newest(PAYMENTS)).await?;
                payments
                    .into_iter()
                    .map(|payment| {
                        let fits = kinds.is_empty() || kinds.contains(&payment.kind);
                        payment_record(payment, fits, today)
                    })
                    .collect()
            }
            SlotKind::Application => {
                let applications = self.bank.applications(&customer).await?;
                applications.into_iter().map(|application| application_record(application, today)).collect()
            }
            _ => Vec::new(),
        };
        for record in &records {
            self.ground.add(&record.label);
            self.ground.add(&record.shown);
            record.fields.values().for_each(|field| self.ground.add(field));
        }
        Ok(records)
    }

    /// Finds the record a text means.
    pub(super) async fn resolve(
        &mut self,
        slot: &Slot,
        text: &str,
        listening: Listening,
    ) -> Result<Resolved, BankError> {
        let records = self.records(slot).await?;
        let current = self.run().and_then(|run| run.slots.get(&slot.name)).map(|value| value.value.clone());
        let fitting: Vec<Record> = records.iter().filter(|record| record.fits).cloned().collect();
        if lexicon::means_other(text) && listening == Listening::Asked {
            let others: Vec<Record> =
                fitting.iter().filter(|record| Some(&record.id) != current.as_ref()).cloned().collect();
            let named = by_words(slot, text, &others, &records, self.input.today);
            return Ok(match named {
                Resolved::One(record) => Resolved::One(record),
                _ if current.is_none() => Resolved::NotNamed,
                _ => one_or_several(others),
            });
        }
        if listening == Listening::Asked {
            let offered: Vec<String> = self.run().map(|run| run.offered.clone()).unwrap_or_default();
            let among = words(text);
            if let Some(id) = ordinal(&among, offered.len()).and_then(|place| offered.get(place))
                && let Some(record) = fitting.iter().find(|record| record.id == *id)
            {
                return Ok(Resolved::One(record.clone()));
            }
        }
        Ok(by_words(slot, text, &fitting, &records, self.input.today))
    }

    /// Tells what the records hold.
    pub(super) async fn tell(&mut self, what: Tell) -> Result<(), BankError> {
        let Some(customer) = self.state.identified.clone() else { return Ok(()) };
        let today = self.input.today;
        let (text, choices) = match what {
            Tell::Balances => {
                let accounts = self.bank.accounts(&customer).await?;
                let lines: Vec<String> = accounts
                    .iter()
                    .map(|account| match account.kind {
                        AccountKind::Loan => format!("{}: {} still to pay back", account.name, account.balance.abs()),
                        _ => format!("{}: {}", account.name, account.balance),
                    })
                    .collect();
                let text = match lines.as_slice() {
                    [] => "You have no account with us.".to_owned(),
                    lines => format!("Your balance now:\n{}", lines.join("\n")),
                };
                (text, vec![Choice::new("Recent payments", "start:recent_payments")])
            }
            Tell::RecentPayments => {
                let payments = self.bank.payments(&customer, &PaymentFilter::newest(RECENT)).await?;
                let lines: Vec<String> = payments
                    .iter()
                    .map(|payment| {
                        format!(
                            "{}: {}, {}{}",
                            date_shown(payment.made_on, today),
                            payment.counterparty,
                            payment.amount,
                            state_shown(payment)
                        )
                    })
                    .collect();
                let text = match lines.as_slice() {
                    [] => "There are no payments on your accounts yet.".to_owned(),
                    lines => format!("Your latest payments:\n{}", lines.join("\n")),
                };
                let choices = vec![
                    Choice::new("Something is wrong with one", "start:dispute_charge"),
                    Choice::new("Balance", "start:balance"),
                ];
                (text, choices)
            }
            Tell::CardArrival => {
                let cards = self.bank.cards(&customer).await?;
                let lines: Vec<String> = cards
                    .iter()
                    .filter(|card| card.status == CardStatus::Ordered)
                    .map(|card| match card.arrives_on {
                        Some(day) if day >= today => {
                            format!("Your {} card ending {} should arrive by {}.", card.kind, card.last4, date_shown(day, today))
                        }
                        Some(day) => format!(
                            "Your {} card ending {} should have arrived by {}. If it is not there, a colleague can send a new one.",
                            card.kind,
                            card.last4,
                            date_shown(day, today)
                        ),
                        None => format!("Your {} card ending {} is being made.", card.kind, card.last4),
                    })
                    .collect();
                match lines.as_slice() {
                    [] => (
                        "There is no card on its way to you at the moment.".to_owned(),
                        vec![Choice::new("Talk to a person", "human")],
                    ),
                    lines => (lines.join("\n"), Vec::new()),
                }
            }
        };
        self.ground.add(&text);
        self.say_with(text, choices);
        Ok(())
    }
}

/// The record that a text names in words.
fn by_words(slot: &Slot, text: &str, fitting: &[Record], all: &[Record], today: chrono::NaiveDate) -> Resolved {
    match slot.kind {
        SlotKind::Card { .. } => card_by_words(text, fitting, all),
        SlotKind::Payment { .. } => payment_by_words(text, fitting, today),
        SlotKind::Application => application_by_words(text, fitting),
        _ => Resolved::NotNamed,
    }
}

fn one_or_several(records: Vec<Record>) -> Resolved {
    let mut records = records;
    match (records.pop(), records.len()) {
        (None, _) => Resolved::Absent,
        (Some(one), 0) => Resolved::One(one),
        (Some(last), _) => {
            records.push(last);
            Resolved::Several(records)
        }
    }
}

fn card_by_words(text: &str, fitting: &[Record], all: &[Record]) -> Resolved {
    let ends = |record: &Record, digits: &str| matches!(&record.of, Of::Card(card) if card.last4 == digits);
    if let Some((digits, _)) = last4(text) {
        return match fitting.iter().find(|record| ends(record, &digits)) {
            Some(record) => Resolved::One(record.clone()),
            None if all.iter().any(|record| ends(record, &digits)) => Resolved::Unfit,
            None => Resolved::Absent,
        };
    }
    let among = words(text);
    let says = |kind: &str| among.iter().any(|word| word.text.starts_with(kind) || similar(&word.text, kind));
    let kind = match (says("debit"), says("credit")) {
        (true, false) => "debit",
        (false, true) => "credit",
        _ if lexicon::means_all(text) && !fitting.is_empty() => {
            return fitting.first().map_or(Resolved::NotNamed, |first| Resolved::One(first.clone()));
        }
        _ => return Resolved::NotNamed,
    };
    let of_kind = |records: &[Record]| -> Vec<Record> {
        records.iter().filter(|record| matches!(&record.of, Of::Card(card) if card.kind == kind)).cloned().collect()
    };
    let named = of_kind(fitting);
    if named.is_empty() && !of_kind(all).is_empty() {
        return Resolved::Unfit;
    }
    one_or_several(named)
}

/// A payment is named by amount, counterparty, day or "my last one". What is named must fit; a payment that contradicts
/// what the customer said is never taken.
fn payment_by_words(text: &str, fitting: &[Record], today: chrono::NaiveDate) -> Resolved {
    let among = words(text);
    let day = recent_day(text, today);
    let numbers: Vec<i64> = amounts(text)
        .into_iter()
        .filter(|amount| amount.is_money || !amount.is_duration)
        .map(|amount| amount.minor)
        .collect();
    let payments: Vec<(&Record, &Payment)> = fitting
        .iter()
        .filter_map(|record| match &record.of {
            Of::Payment(payment) => Some((record, payment.as_ref())),
            _ => None,
        })
        .collect();
    let names_party = |payment: &Payment| {
        words(&payment.counterparty).iter().filter(|word| word.text.chars().count() >= 3).any(|word| {
            among.iter().any(|have| similar(&have.text, &word.text) || have.text.trim_end_matches("'s") == word.text)
        })
    };
    let party = payments.iter().any(|(_, payment)| names_party(payment));
    let amount =
        numbers.iter().copied().find(|minor| payments.iter().any(|(_, payment)| payment.amount.minor.abs() == *minor));
    let money_named = amounts(text).iter().any(|amount| amount.is_money);
    let newest = super::super::answer::find_phrase(&among, "latest").is_some()
        || super::super::answer::find_phrase(&among, "most recent").is_some()
        || ["last payment", "last transfer", "last transaction", "last charge"]
            .iter()
            .any(|phrase| super::super::answer::find_phrase(&among, phrase).is_some());
    // An amount that no payment has: the customer is asked, nothing is guessed.
    if money_named && amount.is_none() {
        return Resolved::Absent;
    }
    if !party && amount.is_none() && day.is_none() {
        return match (newest, payments.first()) {
            (true, Some((record, _))) => Resolved::One((*record).clone()),
            _ => Resolved::NotNamed,
        };
    }
    let matching: Vec<Record> = payments
        .iter()
        .filter(|(_, payment)| !party || names_party(payment))
        .filter(|(_, payment)| amount.is_none_or(|minor| payment.amount.minor.abs() == minor))
        .filter(|(_, payment)| day.is_none_or(|day| payment.made_on == day))
        .map(|(record, _)| (*record).clone())
        .collect();
    // One that is pending, failed or sent back is more likely to be asked after than one long done.
    match one_or_several(matching) {
        Resolved::Several(records) if newest => records.into_iter().next().map_or(Resolved::Absent, Resolved::One),
        other => other,
    }
}

fn application_by_words(text: &str, fitting: &[Record]) -> Resolved {
    let among = words(text);
    let of = |record: &Record| match &record.of {
        Of::Application(application) => Some(application.as_ref().clone()),
        _ => None,
    };
    let by_reference = fitting.iter().find(|record| {
        of(record).is_some_and(|application| {
            among.iter().any(|word| {
                word.text.trim_start_matches(|c: char| !c.is_ascii_digit())
                    == application.reference.trim_start_matches(|c: char| !c.is_ascii_digit())
            })
        })
    });
    if let Some(record) = by_reference {
        return Resolved::One(record.clone());
    }
    let numbers = amounts(text);
    let by_amount: Vec<Record> = fitting
        .iter()
        .filter(|record| {
            of(record).is_some_and(|application| numbers.iter().any(|number| number.minor == application.amount.minor))
        })
        .cloned()
        .collect();
    if !by_amount.is_empty() {
        return one_or_several(by_amount);
    }
    let newest = among.iter().any(|word| matches!(word.text.as_str(), "latest" | "newest" | "last" | "recent"));
    match (newest, fitting.first()) {
        (true, Some(record)) => Resolved::One(record.clone()),
        _ => Resolved::NotNamed,
    }
}

fn fields<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn card_status(status: CardStatus) -> &'static str {
    match status {
        CardStatus::Ordered => "ordered",
        CardStatus::Active => "active",
        CardStatus::Blocked => "blocked",
    }
}

fn card_record(card: Card, fits: bool, today: chrono::NaiveDate) -> Record {
    let kind = match card.kind.as_str() {
        "credit" => "Credit card",
        _ => "Debit card",
    };
    Record {
        id: card.id.clone(),
        label: format!("{kind} ending {}", card.last4),
        shown: format!("{} card ending {}", card.kind, card.last4),
        fields: fields([
            ("last4", card.last4.clone()),
            ("kind", card.kind.clone()),
            ("status", card_status(card.status).to_owned()),
            ("arrives_on", card.arrives_on.map(|day| date_shown(day, today)).unwrap_or_default()),
        ]),
        fits,
        of: Of::Card(card),
    }
}

fn payment_record(payment: Payment, fits: bool, today: chrono::NaiveDate) -> Record {
    let out = payment.amount.minor < 0;
    let what = match payment.kind.as_str() {
        "card" => "card payment",
        "transfer_in" | "transfer_out" => "transfer",
        "direct_debit" => "direct debit",
        "salary" => "salary",
        "fee" => "fee",
        "cash" => "cash withdrawal",
        _ => "payment",
    };
    let side = match (payment.kind.as_str(), out) {
        ("cash", _) => "at",
        ("fee", _) => "of",
        (_, true) => "to",
        (_, false) => "from",
    };
    let amount = payment.amount.abs();
    let day = date_shown(payment.made_on, today);
    let expected = match payment.expected_on {
        Some(expected) if payment.status == PaymentStatus::Pending => {
            format!("It should arrive by {}.", date_shown(expected, today))
        }
        _ => String::new(),
    };
    let mut detail = payment.status_detail.trim().to_owned();
    if !detail.is_empty() && !detail.ends_with(['.', '?', '!']) {
        detail.push('.');
    }
    let label = match payment.kind.as_str() {
        "fee" => format!("the fee of {amount} ({}) on {day}", payment.counterparty),
        _ => format!("the {what} of {amount} {side} {} on {day}", payment.counterparty),
    };
    Record {
        id: payment.id.clone(),
        label: format!("{}, {amount}, {day}", payment.counterparty),
        shown: label.clone(),
        fields: fields([
            ("label", label),
            ("amount", amount.to_string()),
            ("counterparty", payment.counterparty.clone()),
            ("kind", payment.kind.clone()),
            ("status", payment_status(payment.status).to_owned()),
            ("detail", detail),
            ("direction", if out { "out" } else { "in" }.to_owned()),
            ("made_on", day),
            ("expected", expected),
            ("disputed", if payment.disputed { "yes" } else { "no" }.to_owned()),
        ]),
        fits,
        of: Of::Payment(Box::new(payment)),
    }
}

fn payment_status(status: PaymentStatus) -> &'static str {
    match status {
        PaymentStatus::Pending => "pending",
        PaymentStatus::Completed => "completed",
        PaymentStatus::Failed => "failed",
        PaymentStatus::Returned => "returned",
    }
}

fn state_shown(payment: &Payment) -> &'static str {
    match payment.status {
        PaymentStatus::Completed => "",
        PaymentStatus::Pending => " (on its way)",
        PaymentStatus::Failed => " (not carried out)",
        PaymentStatus::Returned => " (sent back)",
    }
}

fn application_record(application: LoanApplication, today: chrono::NaiveDate) -> Record {
    let status = match application.status {
        ApplicationStatus::InReview => "in_review",
        ApplicationStatus::Documents => "documents",
        ApplicationStatus::Approved => "approved",
        ApplicationStatus::Declined => "declined",
        ApplicationStatus::Withdrawn => "withdrawn",
    };
    let amount = super::super::answer::money_shown(&application.amount);
    let received = date_shown(application.received_on, today);
    Record {
        id: application.reference.clone(),
        label: format!("{}, {amount}, {received}", application.reference),
        shown: format!("application {} for {amount}", application.reference),
        fields: fields([
            ("reference", application.reference.clone()),
            ("amount", amount),
            ("term", months_shown(i64::from(application.term_months))),
            ("purpose", application.purpose.clone()),
            ("status", status.to_owned()),
            ("received_on", received),
            ("decide_by", date_shown(application.decide_by, today)),
            ("reasons", reasons_shown(&application)),
        ]),
        fits: true,
        of: Of::Application(Box::new(application)),
    }
}

/// The reasons of a decision, or the documents that are missing, as a list.
fn reasons_shown(application: &LoanApplication) -> String {
    let lead = match application.status {
        ApplicationStatus::Declined => "The main reasons were:",
        ApplicationStatus::Documents => "Please send us:",
        _ => return String::new(),
    };
    match application.reasons.as_slice() {
        [] => String::new(),
        reasons => {
            let lines: Vec<String> = reasons.iter().map(|reason| format!("- {reason}")).collect();
            format!("{lead}\n{}", lines.join("\n"))
        }
    }
}
