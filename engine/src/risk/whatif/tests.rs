use super::super::factors::{Catalogue, Kind};
use super::super::generator::{Draws, Generator};
use super::choices::{Choice, Lever};
use super::*;

/// Applications that the shipped model finds suspicious.
fn suspicious(model: &Model, threshold: f64, most: usize) -> Vec<Application> {
    let all = Generator { applications: 3_000, fraud_rate: 0.3, ..Generator::default() }.run();
    let applications = all.into_iter().map(|one| one.application);
    applications.filter(|one| model.probability(model.margin(one)) >= threshold).take(most).collect()
}

/// The cheapest point of every set of levers, by trying all of them; sets that contain one that suffices left out.
fn brute_force(model: &Model, row: &[f64], levers: &[Lever], question: &Question) -> Vec<(f64, Vec<usize>)> {
    let mut all: Vec<(f64, Vec<usize>)> = Vec::new();
    let mut points: Vec<Vec<(usize, &Choice)>> = vec![Vec::new()];
    for lever in levers {
        let mut more = Vec::new();
        for point in points.iter().filter(|point| point.len() < question.most_factors) {
            more.extend(lever.choices.iter().map(|choice| {
                let mut point = point.clone();
                point.push((lever.feature, choice));
                point
            }));
        }
        points.extend(more);
    }
    for point in points.into_iter().skip(1) {
        let mut changed = row.to_vec();
        for (feature, choice) in &point {
            changed[*feature] = choice.code;
        }
        if model.probability(model.margin_of(&changed)) < question.threshold {
            all.push((
                point.iter().map(|(_, choice)| choice.cost).sum(),
                point.iter().map(|(feature, _)| *feature).collect(),
            ));
        }
    }
    all.sort_by(|(a, a_set), (b, b_set)| a.total_cmp(b).then(a_set.len().cmp(&b_set.len())));
    let mut kept: Vec<(f64, Vec<usize>)> = Vec::new();
    for (cost, set) in all {
        if !kept.iter().any(|(_, smaller)| smaller.iter().all(|feature| set.contains(feature))) {
            kept.push((cost, set));
        }
    }
    kept.truncate(question.most_alternatives);
    kept
}

impl Model {
    fn margin_of(&self, row: &[f64]) -> f64 {
        self.ensemble().margin(row)
    }
}

#[test]
fn the_search_finds_what_trying_everything_finds() {
    let model = Model::shipped().unwrap();
    let mut draws = Draws::new(11);
    let mut compared = 0;
    for application in suspicious(&model, 0.05, 40) {
        let row = model.encode(&application);
        let mut levers = choices::levers(&model, &row);
        // Few choices of few levers, so that everything can be tried.
        for lever in &mut levers {
            while lever.choices.len() > 7 {
                let drop = usize::try_from(draws.key()).unwrap() % lever.choices.len();
                lever.choices.remove(drop);
            }
        }
        let question = Question { threshold: 0.03, most_factors: 3, most_alternatives: 6 };
        let found = search::search(&model, &row, &levers, &question);
        assert!(found.complete);
        let costs: Vec<f64> =
            found.points.iter().map(|point| point.iter().map(|(_, choice)| choice.cost).sum()).collect();
        let expected = brute_force(&model, &row, &levers, &question);
        assert_eq!(costs.len(), expected.len());
        for (cost, (expected, _)) in costs.iter().zip(&expected) {
            assert!((cost - expected).abs() < 1e-9, "{costs:?} is not {expected:?}");
        }
        compared += costs.len();
    }
    assert!(compared > 60, "{compared} alternatives were compared");
}

#[test]
fn no_random_change_is_smaller_than_the_smallest_found() {
    let model = Model::shipped().unwrap();
    let mut draws = Draws::new(12);
    let mut beaten = 0;
    for application in suspicious(&model, 0.05, 25) {
        let answer = what_if(&model, &application, &Question::under(0.03));
        assert!(answer.complete, "{answer:?}");
        let Some(best) = answer.alternatives.first() else { continue };
        let row = model.encode(&application);
        let levers = choices::levers(&model, &row);
        for _ in 0..2_000 {
            let mut changed = row.clone();
            let mut cost = 0.0;
            for _ in 0..3 {
                let lever = &levers[usize::try_from(draws.key()).unwrap() % levers.len()];
                let feature = &model.features()[lever.feature];
                if feature.factor.kind != Kind::Number || row[lever.feature].is_nan() {
                    continue;
                }
                let spread = feature.usual_high.unwrap() - feature.usual_low.unwrap();
                let by = draws.between(-1.0, 1.0) * best.cost;
                let direction = feature
                    .factor
                    .leeway
                    .or_else(|| Catalogue::shipped().get(&feature.factor.name).unwrap().leeway)
                    .unwrap()
                    .direction;
                let by = match direction {
                    crate::risk::Direction::Either => by,
                    crate::risk::Direction::Higher => by.abs(),
                    crate::risk::Direction::Lower => -by.abs(),
                };
                let value = row[lever.feature] + by * spread;
                if feature.factor.holds(value) && changed[lever.feature] == row[lever.feature] {
                    changed[lever.feature] = feature.encode_number(Some(value));
                    cost += by.abs();
                }
            }
            // Choices are round numbers: a change in between may be cheaper by less than a step of each factor.
            if cost < best.cost - 0.05 {
                assert!(model.probability(model.margin_of(&changed)) >= 0.03, "{cost} beats {best:?}");
                beaten += 1;
            }
        }
    }
    assert!(beaten > 1_000, "{beaten} random changes were tried");
}

#[test]
fn changes_are_allowed_sufficient_and_needed() {
    let model = Model::shipped().unwrap();
    let mut answered = 0;
    for application in suspicious(&model, 0.03, 60) {
        let answer = what_if(&model, &application, &Question { most_alternatives: 5, ..Question::under(0.03) });
        assert!(answer.alternatives.windows(2).all(|pair| pair[0].cost <= pair[1].cost + 1e-12));
        for alternative in &answer.alternatives {
            answered += 1;
            let changed = alternative.apply(&application);
            assert_eq!(model.validate(&changed), Ok(()));
            assert_eq!(model.probability(model.margin(&changed)), alternative.probability);
            assert!(alternative.probability < 0.03);
            assert!(alternative.in_words.contains(" instead of ") && alternative.in_words.ends_with('.'));
            for change in &alternative.changes {
                let factor = Catalogue::shipped().get(&change.factor).unwrap();
                assert!(factor.changeable, "{change:?}");
                if change.factor == "proposed_credit_limit" {
                    let Value::Number(to) = change.to else { panic!("{change:?}") };
                    assert!(to < application.proposed_credit_limit.unwrap() && to % 100.0 == 0.0, "{change:?}");
                }
                // Without this one the rest does not suffice.
                let mut without = alternative.clone();
                without.changes.retain(|other| other.factor != change.factor);
                assert!(model.probability(model.margin(&without.apply(&application))) >= 0.03, "{alternative:?}");
            }
        }
    }
    assert!(answered > 30, "{answered}");
}

#[test]
fn what_is_low_already_needs_no_change() {
    let model = Model::shipped().unwrap();
    let answer = what_if(&model, &Application::default(), &Question::under(0.999));
    assert!(answer.alternatives.is_empty() && answer.complete && answer.probability < 0.999);
}
