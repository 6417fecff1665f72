//! Operations on the bank's records: the only things the assistant can change.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::money::Money;

/// An operation with everything it needs, confirmed by the customer before it is performed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "operation", rename_all = "snake_case")]
pub enum Operation {
    /// Blocks a card for good.
    BlockCard {
        /// The card's key.
        card: String,
        /// Its last four digits.
        last4: String,
        /// Why.
        reason: BlockReason,
    },
    /// Orders a new card in place of a blocked one.
    OrderReplacement {
        /// The blocked card's key.
        card: String,
        /// Its last four digits.
        last4: String,
    },
    /// Opens a dispute about a payment.
    OpenDispute {
        /// The payment's key.
        payment: String,
        /// Why.
        reason: DisputeReason,
        /// What happened, in the customer's words.
        explanation: String,
    },
    /// Changes how the bank reaches the customer.
    ChangeContact {
        /// What becomes of it.
        change: ContactChange,
    },
    /// Submits a loan application.
    SubmitApplication {
        /// What the applicant said.
        particulars: LoanParticulars,
    },
    /// Files a complaint.
    FileComplaint {
        /// What it is about, in the customer's words.
        about: String,
        /// What would put it right, in the customer's words.
        wish: String,
        /// Where the answer goes when the customer is not identified.
        reply_to: Option<String>,
    },
}

impl Operation {
    /// The name used in JSON, in flows and on the desk.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::BlockCard { .. } => "block_card",
            Self::OrderReplacement { .. } => "order_replacement",
            Self::OpenDispute { .. } => "open_dispute",
            Self::ChangeContact { .. } => "change_contact",
            Self::SubmitApplication { .. } => "submit_application",
            Self::FileComplaint { .. } => "file_complaint",
        }
    }
}

/// Declares an enum whose variants are the values of a choice in a flow.
macro_rules! choice_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// Every value, in the order they are offered.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name used in flows and JSON.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The value of that name.
            #[must_use]
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == name)
            }
        }
    };
}

choice_enum! {
    /// Why a card is blocked.
    BlockReason {
        /// The customer lost it.
        Lost = "lost",
        /// Someone took it.
        Stolen = "stolen",
        /// Someone else used it, or its details.
        Misused = "misused",
    }
}

choice_enum! {
    /// Why a payment is disputed.
    DisputeReason {
        /// The customer does not know it.
        NotRecognised = "not_recognised",
        /// It was taken more than once.
        ChargedTwice = "charged_twice",
        /// It is not the agreed amount.
        WrongAmount = "wrong_amount",
        /// Goods or service did not come.
        NotReceived = "not_received",
        /// It was cancelled or returned.
        Cancelled = "cancelled",
    }
}

choice_enum! {
    /// What a loan is for.
    LoanPurpose {
        /// A car or another vehicle.
        Car = "car",
        /// Work on a home.
        Home = "home",
        /// Paying off other debts.
        Debts = "debts",
        /// Education.
        Education = "education",
        /// A large purchase, a wedding, a journey.
        Purchase = "purchase",
        /// Anything else.
        Other = "other",
    }
}

choice_enum! {
    /// How an applicant earns a living.
    Employment {
        /// Employed.
        Employed = "employed",
        /// Self-employed.
        SelfEmployed = "self_employed",
        /// Employed by the state.
        PublicService = "public_service",
        /// Retired.
        Retired = "retired",
        /// In education.
        Student = "student",
        /// Without work.
        Unemployed = "unemployed",
    }
}

choice_enum! {
    /// How an applicant lives.
    Housing {
        /// Rents.
        Rent = "rent",
        /// Owns without a mortgage.
        Own = "own",
        /// Owns with a mortgage.
        Mortgage = "mortgage",
        /// With family.
        Family = "family",
        /// Provided by an employer or school.
        Provided = "provided",
    }
}

/// A change of contact details.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum ContactChange {
    /// A new mail address.
    Email {
        /// In lower case.
        email: String,
    },
    /// A new telephone number.
    Phone {
        /// Digits, with a leading `+` where given.
        phone: String,
    },
    /// A new postal address.
    Address {
        /// Street and house number.
        street: String,
        /// Town.
        city: String,
        /// Postcode, upper case without spaces.
        postcode: String,
    },
}

/// What an applicant says about the loan and about themselves. The applicant's name, date of birth, mail address and
/// postcode come from the bank's records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoanParticulars {
    /// Amount asked for.
    pub amount: Money,
    /// Term in months.
    pub term_months: u32,
    /// What it is for.
    pub purpose: LoanPurpose,
    /// Income after tax in a month.
    pub monthly_income: Money,
    /// How the applicant earns a living.
    pub employment: Employment,
    /// How the applicant lives.
    pub housing: Housing,
    /// Months at the present address.
    pub months_at_address: u32,
    /// Months at the address before; asked only when the present one is younger than two years.
    pub months_at_previous_address: Option<u32>,
    /// Whether the applicant has credit cards of other banks.
    pub has_other_cards: bool,
    /// Telephone number.
    pub phone: String,
    /// Day the application was made in the conversation.
    pub applied_on: NaiveDate,
}
