//! The steps of the form: which questions, in which words.

use super::super::{PURPOSES, choices};

/// One group of questions.
pub(super) struct Step {
    /// 1, 2, 3 …
    pub(super) number: usize,
    /// Its heading.
    pub(super) title: &'static str,
    /// Why it is asked, in a sentence.
    pub(super) why: &'static str,
    /// Its questions.
    pub(super) questions: &'static [Question],
}

/// One question.
pub(super) struct Question {
    /// The field's name.
    pub(super) name: &'static str,
    /// The question.
    pub(super) label: &'static str,
    /// What helps to answer it.
    pub(super) hint: &'static str,
    /// How it is answered.
    pub(super) kind: Kind,
    /// Whether it may stay empty.
    pub(super) optional: bool,
}

/// How a question is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A line of text: the input's type and its autocomplete word.
    Text(&'static str, &'static str),
    /// An amount in euros.
    Money,
    /// A whole number with its unit.
    Whole(&'static str),
    /// Day, month and year.
    Day,
    /// Years and months.
    Span,
    /// One of the categories of a factor.
    Category(&'static str),
    /// One of the purposes of a loan.
    Purpose,
    /// The language of letters.
    Language,
}

impl Kind {
    /// The choices of a question that has some.
    pub(super) fn choices(self) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::Category(factor) => choices(factor).filter(|(code, _)| !NEVER_OFFERED.contains(code)).collect(),
            Self::Purpose => PURPOSES.to_vec(),
            Self::Language => vec![("en", "English"), ("zh", "中文")],
            _ => Vec::new(),
        }
    }
}

/// A prepaid account can not carry a loan's payments; the category is for the benchmark's files.
const NEVER_OFFERED: [&str; 1] = ["prepaid"];

const fn ask(name: &'static str, label: &'static str, hint: &'static str, kind: Kind) -> Question {
    Question { name, label, hint, kind, optional: false }
}

const fn may(name: &'static str, label: &'static str, hint: &'static str, kind: Kind) -> Question {
    Question { name, label, hint, kind, optional: true }
}

/// Every step, in order.
pub(super) const STEPS: &[Step] = &[
    Step {
        number: 1,
        title: "The loan",
        why: "You can change all of this until you send it.",
        questions: &[
            ask("amount", "How much would you like to borrow?", "Between €500 and €50,000.", Kind::Money),
            ask("term_months", "Over how many months?", "Between 6 and 84.", Kind::Whole("months")),
            ask("purpose", "What is it for?", "", Kind::Purpose),
        ],
    },
    Step {
        number: 2,
        title: "About you",
        why: "So that we know who we write to. Your age is never part of the score.",
        questions: &[
            ask("name", "Full name", "As in your passport or identity card.", Kind::Text("text", "name")),
            ask("date_of_birth", "Date of birth", "For example 27 3 1985.", Kind::Day),
        ],
    },
    Step {
        number: 3,
        title: "How we reach you",
        why: "We write about this application and nothing else.",
        questions: &[
            ask("email", "E-mail address", "", Kind::Text("email", "email")),
            ask(
                "phone",
                "Mobile number",
                "With the country code, for example +49 151 23456789.",
                Kind::Text("tel", "tel"),
            ),
            may("landline", "Landline number", "If you have one.", Kind::Text("tel", "home tel")),
            may("language", "In which language should we write to you?", "", Kind::Language),
        ],
    },
    Step {
        number: 4,
        title: "Your address",
        why: "A settled address makes it easier to be sure that you are you.",
        questions: &[
            ask("street", "Street and house number", "", Kind::Text("text", "street-address")),
            ask("postcode", "Postcode", "", Kind::Text("text", "postal-code")),
            ask("city", "Town", "", Kind::Text("text", "address-level2")),
            ask("months_at_address", "How long have you lived there?", "", Kind::Span),
            may(
                "months_at_previous_address",
                "And at the address before?",
                "Only if you have lived at the present one for less than two years.",
                Kind::Span,
            ),
        ],
    },
    Step {
        number: 5,
        title: "Work and income",
        why: "We must check that the payments leave you enough to live on. We do not ask your employer.",
        questions: &[
            ask("employment", "How do you earn your living?", "", Kind::Category("employment_status")),
            may(
                "employer",
                "Who do you work for?",
                "Leave it empty if you work for yourself.",
                Kind::Text("text", "organization"),
            ),
            ask(
                "yearly_income",
                "Yearly income before tax",
                "About is good enough. Write 0 if you have none.",
                Kind::Money,
            ),
        ],
    },
    Step {
        number: 6,
        title: "Home and repayment",
        why: "Rent or a mortgage is usually the largest cost.",
        questions: &[
            ask("housing", "How do you live?", "", Kind::Category("housing_status")),
            ask("repayment", "How would you like to pay it back?", "", Kind::Category("payment_type")),
            may(
                "account",
                "To which account should we pay the money?",
                "An IBAN, if you know it by heart. We ask again before we pay.",
                Kind::Text("text", "off"),
            ),
        ],
    },
];

/// The step with that number.
pub(super) fn step(number: usize) -> Option<&'static Step> {
    STEPS.iter().find(|step| step.number == number)
}
