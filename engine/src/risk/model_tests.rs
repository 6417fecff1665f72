//! The shipped model: whole, explained exactly, repeatable.

use super::application::Application;
use super::demo;
use super::model::{Model, ModelError, ModelFile, probability};
use super::policy::{Band, Policy, Proposal};

fn shipped() -> (Model, Policy) {
    (Model::shipped().unwrap(), Policy::shipped().unwrap())
}

fn file() -> ModelFile {
    serde_json::from_slice(include_bytes!("../../weights/risk/model.json")).unwrap()
}

#[test]
fn the_shipped_model_takes_applications_and_its_words_are_the_catalogues() {
    let (model, policy) = shipped();
    assert_eq!(model.accepts_applications(), Ok(()));
    assert!(model.ensemble().trees().len() > 50);
    for feature in model.features() {
        assert_eq!(Some(&feature.factor), super::factors::Catalogue::shipped().get(&feature.factor.name));
    }
    let nothing = model.assess(&Application::default(), &policy);
    assert_eq!(nothing.missing.len(), model.features().len());
}

#[test]
fn attributions_add_up_to_the_margin_on_every_row() {
    let (model, policy) = shipped();
    for one in demo::applications(7, 1_000, 30) {
        let assessment = model.assess(&one.application, &policy);
        let sum = assessment.baseline + assessment.attributions.iter().map(|part| part.contribution).sum::<f64>();
        assert!((sum - assessment.margin).abs() < 1e-9, "{sum} is not {}", assessment.margin);
        assert_eq!(assessment.probability, probability(assessment.margin));
        assert_eq!(assessment.margin.to_bits(), model.margin(&one.application).to_bits());
    }
}

#[test]
fn an_assessment_is_repeated_to_the_last_bit_from_what_was_stored() {
    let (model, policy) = shipped();
    let again = Model::load(include_bytes!("../../weights/risk/model.json")).unwrap();
    for one in demo::applications(3, 200, 30) {
        let first = model.assess(&one.application, &policy);
        let stored = (serde_json::to_string(&one.application).unwrap(), serde_json::to_string(&policy).unwrap());
        let application: Application = serde_json::from_str(&stored.0).unwrap();
        let second = again.assess(&application, &serde_json::from_str(&stored.1).unwrap());
        // Equal text means equal bits: numbers are written so that they read back the same.
        assert_eq!(serde_json::to_string(&first).unwrap(), serde_json::to_string(&second).unwrap());
        assert_eq!(first.margin.to_bits(), second.margin.to_bits());
    }
}

#[test]
fn reasons_are_the_factors_that_raised_the_score_most() {
    let (model, policy) = shipped();
    let mut seen = 0;
    for one in demo::applications(5, 400, 30) {
        let assessment = model.assess(&one.application, &policy);
        let mut raised: Vec<(f64, &str)> = assessment
            .attributions
            .iter()
            .filter(|part| part.contribution >= policy.min_contribution)
            .map(|part| (part.contribution, part.factor.as_str()))
            .collect();
        raised.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        raised.truncate(policy.max_reasons);
        let reasons: Vec<(f64, &str)> =
            assessment.reasons.iter().map(|reason| (reason.contribution, reason.factor.as_str())).collect();
        assert_eq!(reasons, raised);
        seen += reasons.len();
    }
    assert!(seen > 400, "{seen}");
}

#[test]
fn bands_spread_as_a_desk_needs_them() {
    let (model, policy) = shipped();
    let all: Vec<_> = demo::applications(1, 400, 30);
    let banded = |band: Band, fraud: bool| {
        let of = all.iter().filter(|one| one.pattern.is_some() == fraud);
        of.filter(|one| model.assess(&one.application, &policy).band == band).count()
    };
    let honest_low = banded(Band::Low, false);
    let honest = honest_low + banded(Band::Medium, false) + banded(Band::High, false);
    assert!(honest_low * 10 > honest * 8, "{honest_low} of {honest}");
    assert!(banded(Band::High, true) > banded(Band::Low, true));
    assert!(all.iter().any(|one| model.assess(&one.application, &policy).proposal == Proposal::Decline));
}

#[test]
fn a_confirmed_fraud_on_the_device_never_lowers_the_score() {
    let (model, _) = shipped();
    for one in demo::applications(9, 200, 30) {
        let with =
            |count: f64| model.margin(&Application { device_fraud_count: Some(count), ..one.application.clone() });
        assert!(with(0.0) <= with(1.0) && with(1.0) <= with(5.0), "{one:?}");
    }
}

#[test]
fn unknown_categories_are_refused_with_the_known_ones() {
    let (model, _) = shipped();
    let application = Application { source: Some("telepathy".into()), ..Application::default() };
    let error = model.validate(&application).unwrap_err();
    assert_eq!((error.field.as_str(), error.expected.as_str()), ("source", "must be one of api, branch, chat, web"));
}

#[test]
fn broken_files_are_refused_by_name() {
    let load = |file: &ModelFile| Model::load(&serde_json::to_vec(file).unwrap()).unwrap_err();
    assert!(matches!(Model::load(b"{}").unwrap_err(), ModelError::Unreadable(_)));
    let mut other = file();
    other.format = "candor-risk/9".into();
    assert_eq!(load(&other), ModelError::Format("candor-risk/9".into()));
    let mut twice = file();
    twice.features[1] = twice.features[0].clone();
    assert!(load(&twice).to_string().contains("is there twice"));
    let mut protected = file();
    protected.features[0].factor = super::factors::Catalogue::shipped().get("customer_age").unwrap().clone();
    assert!(load(&protected).to_string().contains("protected"));
    let mut broken = file();
    broken.trees[3].cover.pop();
    assert!(load(&broken).to_string().starts_with("tree 3"));
}

#[test]
fn rows_of_a_table_are_explained_as_applications_are() {
    let (model, policy) = shipped();
    let all = demo::applications(2, 20, 30);
    let header: Vec<&str> = Application::FIELDS.iter().rev().copied().collect();
    let mut explainer = super::RowExplainer::new(&model, header.iter().copied()).unwrap();
    for one in all {
        let cells: Vec<String> = header
            .iter()
            .map(|field| match one.application.value(field) {
                None => String::new(),
                Some(super::Value::Number(number)) => number.to_string(),
                Some(super::Value::Text(text)) => text,
            })
            .collect();
        let row = explainer.explain(|column| cells.get(column).map(String::as_str)).unwrap();
        let assessment = model.assess(&one.application, &policy);
        assert_eq!(row.margin.to_bits(), assessment.margin.to_bits());
        for (name, contribution) in row.attributions.iter() {
            let same = assessment.attributions.iter().find(|part| part.factor == name).unwrap();
            assert_eq!(contribution.to_bits(), same.contribution.to_bits());
        }
    }
    let error = super::RowExplainer::new(&model, ["income"].into_iter()).unwrap_err();
    assert_eq!(error.0.len(), model.features().len() - 1);
}
