//! From confirmed slots to operations and identity claims.

use chrono::NaiveDate;

use super::super::action::HandOffReason;
use super::super::bank::{BankError, IdentityClaim, Who};
use super::super::flow::Act;
use super::super::money::Money;
use super::super::operation::{
    BlockReason, ContactChange, DisputeReason, Employment, Housing, LoanParticulars, LoanPurpose, Operation,
};
use super::super::state::Run;
use super::super::summary::{Line, Note};
use super::{Exchange, FAILURES};

/// The operation that a run's slots amount to; none where a value is missing.
pub(super) fn operation(act: Act, run: &Run, identified: bool, today: NaiveDate, currency: &str) -> Option<Operation> {
    let slot = |name: &str| run.slots.get(name).map(|slot| slot.value.clone());
    let field = |name: &str, field: &str| run.slots.get(name)?.fields.get(field).cloned();
    let months = |name: &str| slot(name)?.parse::<u32>().ok();
    let money = |name: &str| Some(Money::new(slot(name)?.parse().ok()?, currency));
    match act {
        Act::Identify => None,
        Act::BlockCard => Some(Operation::BlockCard {
            card: slot("card")?,
            last4: field("card", "last4")?,
            reason: BlockReason::parse(&slot("reason")?)?,
        }),
        Act::OrderReplacement => {
            Some(Operation::OrderReplacement { card: slot("card")?, last4: field("card", "last4")? })
        }
        Act::OpenDispute => Some(Operation::OpenDispute {
            payment: slot("payment")?,
            reason: DisputeReason::parse(&slot("reason")?)?,
            explanation: slot("explanation")?,
        }),
        Act::ChangeContact => {
            let change = match slot("what")?.as_str() {
                "email" => ContactChange::Email { email: slot("email")? },
                "phone" => ContactChange::Phone { phone: slot("phone")? },
                "address" => {
                    ContactChange::Address { street: slot("street")?, city: slot("city")?, postcode: slot("postcode")? }
                }
                _ => return None,
            };
            Some(Operation::ChangeContact { change })
        }
        Act::SubmitApplication => Some(Operation::SubmitApplication {
            particulars: LoanParticulars {
                amount: money("amount")?,
                term_months: months("term")?,
                purpose: LoanPurpose::parse(&slot("purpose")?)?,
                monthly_income: money("income")?,
                employment: Employment::parse(&slot("employment")?)?,
                housing: Housing::parse(&slot("housing")?)?,
                months_at_address: months("months_at_address")?,
                months_at_previous_address: months("months_at_previous_address"),
                has_other_cards: slot("other_cards")? == "yes",
                phone: slot("phone")?,
                applied_on: today,
            },
        }),
        Act::FileComplaint => Some(Operation::FileComplaint {
            about: slot("about")?,
            wish: slot("wish")?,
            reply_to: if identified { None } else { Some(slot("email")?) },
        }),
    }
}

impl Exchange<'_> {
    /// Compares what the customer said with the records: known, once more, or a person.
    pub(super) async fn check_identity(&mut self) -> Result<super::advance::After, BankError> {
        let claim = self.run().and_then(claim);
        let Some(claim) = claim else {
            self.state.stack.pop();
            return Ok(super::advance::After::Stop);
        };
        if let Some(customer) = self.bank.identify(&claim).await? {
            self.state.identified = Some(customer.id);
            self.state.attempts = 0;
            self.notes.push(Note::Fact(Line {
                text: format!("Identified as {} ({})", customer.name, customer.number),
                seq: self.input.seq,
                about: "identity".to_owned(),
            }));
            self.state.stack.pop();
            self.state.asked = None;
            self.forget_records();
            self.say(self.manager.words.identified.clone());
            return Ok(super::advance::After::Stop);
        }
        self.state.attempts = self.state.attempts.saturating_add(1);
        if self.state.attempts >= FAILURES {
            let text = self.manager.words.hand_off_not_identified.clone();
            self.hand_off(HandOffReason::NotIdentified, text);
            return Ok(super::advance::After::Stop);
        }
        self.say(self.manager.words.not_matched.clone());
        for name in ["who", "date_of_birth", "postcode"] {
            self.drop_slot(name);
        }
        Ok(super::advance::After::Again)
    }
}

impl Exchange<'_> {
    /// Whoever was identified before may not be who is identified now: records chosen until here are chosen again.
    fn forget_records(&mut self) {
        for run in &mut self.state.stack {
            run.confirmed = None;
            if let Some(flow) = self.manager.flow(&run.flow) {
                let records = flow.slots.iter().filter(|slot| slot.kind.is_record());
                let performed = !run.performed.is_empty();
                records.filter(|_| !performed).for_each(|slot| {
                    run.slots.remove(&slot.name);
                    run.tried.remove(&slot.name);
                });
            }
        }
    }
}

fn claim(run: &Run) -> Option<IdentityClaim> {
    let slot = |name: &str| run.slots.get(name).map(|slot| slot.value.clone());
    let who = slot("who")?;
    Some(IdentityClaim {
        who: if who.contains('@') { Who::Email(who) } else { Who::CustomerNumber(who) },
        date_of_birth: slot("date_of_birth")?.parse().ok()?,
        postcode: slot("postcode")?,
    })
}
