//! Coded reasons: what a decision may name, in the officer's and in the customer's words.

mod catalogue;
mod pages;

use candor_engine::risk::{Assessment, Catalogue, Role};
use serde::Deserialize;

use catalogue::shipped;

pub use catalogue::{Language, Line, install, version, versions};
pub(super) use pages::routes;

/// Fewest and most reasons for a decline: 12 CFR 1002, comment 9(b)(2)-1.
pub(super) const FEWEST: usize = 1;
/// See [`FEWEST`].
pub(super) const MOST: usize = 4;

/// One coded reason or document.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coded {
    /// Code, stable for ever.
    pub code: String,
    /// For officers.
    pub label: String,
    /// For customers.
    pub text: String,
}

/// Documents that can be asked for.
#[must_use]
pub(super) fn documents() -> &'static [Coded] {
    &shipped().documents
}

/// Reasons that only a person can find.
#[must_use]
pub(super) fn officers() -> &'static [Coded] {
    &shipped().reasons
}

/// A reason offered for one application.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Offered {
    /// The reason.
    pub reason: Coded,
    /// What stands behind it: the factor's value and contribution, or the rule.
    pub because: String,
    /// One of the principal reasons of the assessment: ticked before the officer looks.
    pub principal: bool,
    /// Only a person can find it.
    pub judged: bool,
}

/// Every reason that may be named for this assessment: the principal ones first, then the policy's rules that applied,
/// then every other factor that raised the score, then what only a person can find. A factor that did not raise the
/// score is no reason.
#[must_use]
pub(super) fn offered(assessment: &Assessment) -> Vec<Offered> {
    let mut offered: Vec<Offered> = Vec::new();
    for hit in &assessment.rule_hits {
        offered.push(Offered {
            reason: Coded { code: hit.code.clone(), label: hit.name.clone(), text: hit.text.clone() },
            because: "A rule of the policy applied.".to_owned(),
            principal: offered.len() < MOST,
            judged: false,
        });
    }
    for reason in &assessment.reasons {
        let said = offered.iter().any(|other| other.reason.text == reason.text);
        if !said {
            let principal = offered.len() < MOST;
            offered.push(Offered {
                reason: Coded { code: reason.code.clone(), label: reason.label.clone(), text: reason.text.clone() },
                because: format!("{:+.2} log-odds", reason.contribution),
                principal,
                judged: false,
            });
        }
    }
    for part in assessment.attributions.iter().filter(|part| part.contribution > 0.0) {
        let Some(factor) = Catalogue::shipped().get(&part.factor) else { continue };
        let said = assessment.reasons.iter().any(|reason| reason.factor == part.factor);
        if factor.role == Role::Input && !said {
            let (code, text) = factor.reason_for(part.raw.as_ref(), &part.value);
            offered.push(Offered {
                reason: Coded { code, label: factor.label.clone(), text },
                because: format!("{:+.2} log-odds", part.contribution),
                principal: false,
                judged: false,
            });
        }
    }
    offered.extend(officers().iter().map(|reason| Offered {
        reason: reason.clone(),
        because: "Found by a person.".to_owned(),
        principal: false,
        judged: true,
    }));
    offered
}

/// The codes of the principal reasons: the policy's rules that applied, then the factors that raised the score most.
#[must_use]
pub fn principal(assessment: &Assessment) -> Vec<String> {
    offered(assessment).into_iter().filter(|offer| offer.principal).map(|offer| offer.reason.code).collect()
}

/// The first scored reason that a decline may not leave out when it names `codes`; `None` when all is said.
///
/// 12 CFR 1002.9(b)(2) and comments 9(b)(2)-4 and -5: reasons are factors that were really scored, and none that was
/// principal is left out. A decline for what only a person found names that; a scored factor named beside it may not hide
/// a weightier one.
#[must_use]
pub(super) fn left_out(assessment: &Assessment, codes: &[String]) -> Option<Coded> {
    let offered = offered(assessment);
    let named = |offer: &&Offered| codes.contains(&offer.reason.code);
    let judged = offered.iter().filter(|offer| offer.judged).any(|offer| named(&offer));
    let scored: Vec<&Offered> = offered.iter().filter(|offer| !offer.judged).collect();
    let lightest = scored.iter().rposition(named);
    let must =
        |place: usize, offer: &Offered| lightest.is_some_and(|last| place < last) || (!judged && offer.principal);
    let missing = scored.iter().enumerate().find(|(place, offer)| must(*place, offer) && !named(offer));
    missing.map(|(_, offer)| offer.reason.clone())
}

/// A code in the customer's words: what the assessment says under it, a document, or a factor's own reason, which
/// decisions of earlier versions could name whatever its value.
#[must_use]
pub(super) fn find(code: &str, assessment: &Assessment) -> Option<Coded> {
    let said = offered(assessment).into_iter().map(|offer| offer.reason).chain(documents().iter().cloned());
    let factors = Catalogue::shipped().factors().iter().map(|factor| Coded {
        code: factor.code.clone(),
        label: factor.label.clone(),
        text: factor.reason.clone(),
    });
    said.chain(factors).find(|coded| coded.code == code)
}

/// The codes of a decision in the customer's words, in their order.
#[must_use]
pub fn in_words(codes: &[String], assessment: &Assessment) -> Vec<String> {
    in_language(codes, assessment, Language::En)
}

/// The codes of a decision in the words of a language, in their order. What the catalogue does not translate stays in the
/// bank's words.
#[must_use]
pub(super) fn in_language(codes: &[String], assessment: &Assessment, language: Language) -> Vec<String> {
    let known = codes.iter().filter_map(|code| find(code, assessment));
    known
        .map(|coded| match language {
            Language::En => coded.text,
            Language::Zh => shipped().chinese(&coded.code, &coded.text).map_or(coded.text.clone(), str::to_owned),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use candor_engine::risk::{Application, Model, Policy};

    use super::*;

    fn burnt_application() -> Application {
        Application {
            device_fraud_count: Some(2.0),
            device_distinct_emails_8w: Some(3.0),
            current_address_months_count: Some(1.0),
            email_is_free: Some(1.0),
            name_email_similarity: Some(0.05),
            ..Application::default()
        }
    }

    fn burnt() -> Assessment {
        Model::shipped().unwrap().assess(&burnt_application(), &Policy::shipped().unwrap())
    }

    #[test]
    fn no_principal_reason_is_left_out() {
        let assessment = burnt();
        let principal = principal(&assessment);
        assert!(principal.len() >= 3, "{principal:?}");
        assert_eq!(left_out(&assessment, &principal), None);
        for (place, code) in principal.iter().enumerate() {
            let mut codes = principal.clone();
            codes.remove(place);
            assert_eq!(left_out(&assessment, &codes).unwrap().code, *code);
        }
    }

    #[test]
    fn what_a_person_found_is_enough_but_hides_no_weightier_factor() {
        let assessment = burnt();
        let principal = principal(&assessment);
        assert_eq!(left_out(&assessment, &["OFF-1".to_owned()]), None);
        assert_eq!(left_out(&assessment, &["OFF-1".to_owned(), principal[0].clone()]), None);
        let hidden = left_out(&assessment, &["OFF-1".to_owned(), principal[1].clone()]);
        assert_eq!(hidden.unwrap().code, principal[0]);
    }

    #[test]
    fn a_code_is_said_in_both_languages() {
        let assessment = burnt();
        let codes = ["OFF-2".to_owned(), "R-DEVICE-FRAUD".to_owned(), "DOC-1".to_owned()];
        assert_eq!(in_words(&codes, &assessment)[0], "We could not verify your income.");
        let chinese = in_language(&codes, &assessment, Language::Zh);
        assert_eq!(chinese[..2], ["我们无法核实您的收入。", "申请所用的设备曾用于已确认的欺诈。"]);
        assert_eq!(chinese.len(), 3);
    }

    #[test]
    fn every_reason_on_offer_is_true_and_can_be_said_in_a_letter() {
        // Nothing of what raises the score most here is known, or it is not what the factor's own reason says.
        let application = Application { foreign_request: Some(0.0), email_is_free: Some(0.0), ..burnt_application() };
        let assessment = Model::shipped().unwrap().assess(&application, &Policy::shipped().unwrap());
        let codes: Vec<String> = offered(&assessment).into_iter().map(|offer| offer.reason.code).collect();
        assert!(codes.iter().any(|code| code.ends_with("-U")), "{codes:?}");
        assert!(!codes.contains(&"SES-2".to_owned()), "nobody applied from abroad");
        let english = in_words(&codes, &assessment);
        assert_eq!(english.len(), codes.len(), "no reason falls out of a letter");
        for (chinese, english) in in_language(&codes, &assessment, Language::Zh).iter().zip(&english) {
            assert!(chinese.ends_with('。'), "{english:?} has no Chinese: {chinese:?}");
        }
    }

    #[test]
    fn another_value_is_named_in_english_and_its_factor_in_chinese() {
        let abroad = Catalogue::shipped().get("foreign_request").unwrap();
        let (code, text) = abroad.reason_for(Some(&candor_engine::risk::Value::Number(0.0)), "no");
        let chinese = shipped().chinese(&code, &text).unwrap();
        assert!(chinese.starts_with("是否从境外发出申请："), "{chinese}");
        assert!(shipped().chinese(&code, "Something else.").is_none());
    }
}
