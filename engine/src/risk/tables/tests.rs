//! Tables against brute force over coalitions and backgrounds, and against the quadrature.

use proptest::prelude::*;

use super::super::ensemble::Ensemble;
use super::super::interactions::Interactions;
use super::super::shap::Explainer;
use super::super::shap_tests::{Draw, chain_tree, ensemble, row, worth};
use super::kernel::{self, LANES};
use super::{BackgroundError, Tables};

fn explain(tables: &Tables, rows: &[Vec<f64>]) -> Vec<f64> {
    let mut out = vec![0.0; rows.concat().len()];
    tables.explain(&rows.concat(), &mut tables.workspace(), &mut out);
    out
}

fn draws() -> impl Strategy<Value = Draw> {
    (any::<u64>(), 0..4_usize, 1..8_usize, 0..8_usize, 0..5_u32)
        .prop_map(|(seed, trees, features, depth, leafy)| Draw { seed, trees, features, depth, leafy })
}

/// Weighted sums over all coalitions, as the definitions have them.
fn shapley(features: usize, game: impl Fn(u32) -> f64) -> Vec<f64> {
    let worths: Vec<f64> = (0..1_u32 << features).map(game).collect();
    let factorial = |n: usize| (1..=n).map(|k| k as f64).product::<f64>();
    let value = |feature: usize| -> f64 {
        let without = (0..1_u32 << features).filter(|coalition| coalition >> feature & 1 == 0);
        let parts = without.map(|coalition| {
            let size = coalition.count_ones() as usize;
            let weight = factorial(size) * factorial(features - size - 1) / factorial(features);
            weight * (worths[(coalition | 1 << feature) as usize] - worths[coalition as usize])
        });
        parts.sum()
    };
    (0..features).map(value).collect()
}

/// The Shapley interaction index of two features.
fn interaction(features: usize, i: usize, j: usize, game: &impl Fn(u32) -> f64) -> f64 {
    let factorial = |n: usize| (1..=n).map(|k| k as f64).product::<f64>();
    let without = (0..1_u32 << features).filter(|coalition| coalition >> i & 1 == 0 && coalition >> j & 1 == 0);
    without
        .map(|set| {
            let size = set.count_ones() as usize;
            let weight = factorial(size) * factorial(features - size - 2) / factorial(features - 1);
            weight * (game(set | 1 << i | 1 << j) - game(set | 1 << i) - game(set | 1 << j) + game(set))
        })
        .sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    #[test]
    fn interventional_values_equal_brute_force(draw in draws(), count in 1..7_usize) {
        let (ensemble, mut rng) = ensemble(&draw);
        let background: Vec<Vec<f64>> = (0..count).map(|_| row(&mut rng, draw.features)).collect();
        let tables = Tables::interventional(&ensemble, &background).unwrap();
        for _ in 0..2 {
            let row = row(&mut rng, draw.features);
            let truth = shapley(draw.features, |coalition| {
                let mixed = |other: &Vec<f64>| -> f64 {
                    let take = |k: usize| if coalition >> k & 1 == 1 { row[k] } else { other[k] };
                    ensemble.margin(&(0..draw.features).map(take).collect::<Vec<_>>())
                };
                background.iter().map(mixed).sum::<f64>() / count as f64
            });
            for (feature, (ours, truth)) in explain(&tables, std::slice::from_ref(&row)).iter().zip(truth).enumerate() {
                prop_assert!((ours - truth).abs() < 1e-9, "feature {feature} of {row:?}: {ours} is not {truth}");
            }
        }
    }

    #[test]
    fn path_dependent_values_equal_the_quadrature(seed in any::<u64>(), features in 1..40_usize, depth in 0..12_usize,
        leafy in 0..5_u32)
    {
        let (ensemble, mut rng) = ensemble(&Draw { seed, trees: 3, features, depth, leafy });
        let tables = Tables::path_dependent(&ensemble);
        let explainer = Explainer::new(&ensemble);
        // More rows than are worked on side by side.
        let rows: Vec<Vec<f64>> = (0..37).map(|_| row(&mut rng, features)).collect();
        let ours = explain(&tables, &rows);
        let (mut scratch, mut truth) = (explainer.scratch(), vec![0.0; features]);
        for (row, ours) in rows.iter().zip(ours.chunks(features)) {
            explainer.explain(row, &mut scratch, &mut truth);
            for (ours, truth) in ours.iter().zip(&truth) {
                prop_assert!((ours - truth).abs() < 1e-9, "{row:?}: {ours} is not {truth}");
            }
        }
        let mut workspaces = vec![tables.workspace(); 3];
        let mut parallel = vec![0.0; ours.len()];
        tables.explain_in_parallel(&rows.concat(), &mut workspaces, &mut parallel);
        prop_assert_eq!(bits(&parallel), bits(&ours), "the same bits on several threads");
        if matches!(tables.rest, super::Rest::None) {
            let mut ranks = vec![0; tables.columns.width() * LANES];
            tables.columns.rank(&rows.concat(), features, LANES, &mut ranks);
            let mut sums = vec![0.0; features * LANES];
            kernel::add_portable(&tables.pieces, &tables.entries, rows.len(), &ranks, &mut sums);
            let portable = (0..rows.len()).flat_map(|row| sums.iter().skip(row).step_by(LANES).copied());
            prop_assert_eq!(bits(&portable.collect::<Vec<_>>()), bits(&ours), "the same bits without special instructions");
        }
        let singly = rows.iter().flat_map(|row| explain(&tables, std::slice::from_ref(row)));
        prop_assert_eq!(bits(&singly.collect::<Vec<_>>()), bits(&ours), "the same bits one row at a time");
    }

    #[test]
    fn interactions_equal_brute_force(draw in draws()) {
        let (ensemble, mut rng) = ensemble(&draw);
        let n = draw.features;
        let interactions = Interactions::new(&ensemble);
        let (mut scratch, mut out) = (interactions.scratch(), vec![0.0; n * n]);
        let row = row(&mut rng, n);
        interactions.explain(&row, &mut scratch, &mut out);
        let game = |coalition| ensemble.trees().iter().map(|tree| worth(tree, 0, &row, coalition)).sum::<f64>();
        for (i, attribution) in shapley(n, game).into_iter().enumerate() {
            let sum: f64 = out[i * n..(i + 1) * n].iter().sum();
            prop_assert!((sum - attribution).abs() < 1e-9, "row {i}: {sum} is not {attribution}");
            for j in 0..i {
                let truth = 0.5 * interaction(n, i, j, &game);
                for ours in [out[i * n + j], out[j * n + i]] {
                    prop_assert!((ours - truth).abs() < 1e-9, "{i}, {j}: {ours} is not {truth}");
                }
            }
        }
    }
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn chain(depth: usize) -> Ensemble {
    Ensemble::new(0.0, vec![chain_tree(depth, |_| 0.5)], &vec![None; depth]).unwrap()
}

#[test]
fn deep_paths_lose_nothing() {
    let deep = chain(128);
    let row = vec![1.0; 128];
    // Half the features agree with the only background row, and the others share the whole worth.
    let background: Vec<f64> = (0..128).map(|feature| if feature % 2 == 0 { 1.0 } else { -1.0 }).collect();
    let tables = Tables::interventional(&deep, &[background]).unwrap();
    for (feature, value) in explain(&tables, std::slice::from_ref(&row)).into_iter().enumerate() {
        let truth = if feature % 2 == 0 { 0.0 } else { 1.0 / 64.0 };
        assert!((value - truth).abs() < 1e-15, "{feature}: {value}");
    }
    let path_dependent = Tables::path_dependent(&deep);
    for value in explain(&path_dependent, std::slice::from_ref(&row)) {
        assert!((value - 1.0 / 128.0).abs() < 1e-15, "{value}");
    }
    // All pairs are alike: with the diagonal they share each attribution.
    let interactions = Interactions::new(&deep);
    let mut out = vec![0.0; 128 * 128];
    interactions.explain(&row, &mut interactions.scratch(), &mut out);
    let sum: f64 = out.iter().sum();
    assert!((sum - 1.0).abs() < 1e-12, "{sum}");
    assert!((out[1] - out[128 * 127 + 5]).abs() < 1e-15 && out[1] > 0.0);
}

#[test]
fn every_row_adds_up_over_a_background() {
    let (ensemble, mut rng) = ensemble(&Draw { seed: 5, trees: 20, features: 30, depth: 9, leafy: 2 });
    let background: Vec<Vec<f64>> = (0..50).map(|_| row(&mut rng, 30)).collect();
    let tables = Tables::interventional(&ensemble, &background).unwrap();
    let rows: Vec<Vec<f64>> = (0..20).map(|_| row(&mut rng, 30)).collect();
    for (row, values) in rows.iter().zip(explain(&tables, &rows).chunks(30)) {
        let sum = tables.baseline() + values.iter().sum::<f64>();
        assert!((sum - ensemble.margin(row)).abs() < 1e-9, "{sum}");
    }
    assert_eq!(Tables::interventional(&ensemble, &[]).unwrap_err(), BackgroundError::Empty);
    assert_eq!(Tables::interventional(&ensemble, &[vec![0.0]]).unwrap_err(), BackgroundError::Width);
}
