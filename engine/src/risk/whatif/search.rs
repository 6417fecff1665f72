//! Best-first branch and bound over boxes of choices.
#![expect(clippy::indexing_slicing, reason = "positions of levers, choices and nodes all come from their own lists")]

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::super::ensemble::Tree;
use super::super::model::Model;
use super::Question;
use super::choices::{Choice, Lever};

/// The search gives up after so many boxes; the shipped model needs some hundreds.
const MOST_BOXES: usize = 200_000;

/// Rounding in sums of leaves: a box is dropped only when it misses the threshold by more.
const SLACK: f64 = 1e-9;

/// What was found.
pub(super) struct Found<'l> {
    /// For every alternative its features with their choices, the cheapest first.
    pub(super) points: Vec<Vec<(usize, &'l Choice)>>,
    pub(super) complete: bool,
    pub(super) boxes: usize,
}

/// A box: for every lever of a set the first and last choice.
#[derive(Debug, Clone)]
struct Candidate {
    /// No point of the box costs less.
    cost: f64,
    set: usize,
    /// Empty until the set's trees have been looked at.
    ranges: Vec<(usize, usize)>,
}

impl Ord for Candidate {
    /// The cheapest is the greatest: the heap gives it first. Ties follow sets and choices, so that the order is fixed.
    fn cmp(&self, other: &Candidate) -> Ordering {
        let key = |one: &Candidate| (one.set, one.ranges.clone());
        other.cost.total_cmp(&self.cost).then_with(|| key(other).cmp(&key(self)))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Candidate) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Candidate) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

/// Searches.
pub(super) fn search<'l>(model: &Model, row: &[f64], levers: &'l [Lever], question: &Question) -> Found<'l> {
    let sets = sets(levers.len(), question.most_factors.clamp(1, 3));
    let may_come_under = |least: f64| model.probability(least - SLACK) < question.threshold;
    let mut games: Vec<Option<Game<'_>>> = (0..sets.len()).map(|_| None).collect();
    let mut found = Found { points: Vec::new(), complete: true, boxes: 0 };
    let mut solved: Vec<&[usize]> = Vec::new();
    let mut waiting: BinaryHeap<Candidate> = sets
        .iter()
        .enumerate()
        .map(|(set, members)| {
            let cost = members.iter().map(|&lever| cheapest(&levers[lever].choices)).sum();
            Candidate { cost, set, ranges: Vec::new() }
        })
        .collect();
    while let Some(candidate) = waiting.pop() {
        if found.points.len() >= question.most_alternatives {
            break;
        }
        let members = sets[candidate.set].as_slice();
        // Whatever contains a set that suffices holds a change that is not needed.
        if solved.iter().any(|set| set.iter().all(|lever| members.contains(lever))) {
            continue;
        }
        if found.boxes >= MOST_BOXES {
            found.complete = false;
            break;
        }
        let game = games[candidate.set].get_or_insert_with(|| Game::new(model, row, levers, members));
        if candidate.ranges.is_empty() {
            found.boxes += 1;
            let ranges: Vec<(usize, usize)> =
                members.iter().map(|&lever| (0, levers[lever].choices.len() - 1)).collect();
            if may_come_under(game.least(&ranges)) {
                waiting.push(Candidate { ranges, ..candidate });
            }
            continue;
        }
        let widest =
            (0..members.len()).max_by_key(|&at| (candidate.ranges[at].1 - candidate.ranges[at].0, members.len() - at));
        match widest.filter(|&at| candidate.ranges[at].1 > candidate.ranges[at].0) {
            None => {
                let point: Vec<(usize, &Choice)> = members
                    .iter()
                    .zip(&candidate.ranges)
                    .map(|(&lever, range)| (levers[lever].feature, &levers[lever].choices[range.0]))
                    .collect();
                let mut changed = row.to_vec();
                for (feature, choice) in &point {
                    changed[*feature] = choice.code;
                }
                // The model's own arithmetic decides, not the search's.
                if model.probability(model.explainer().margin(&changed)) < question.threshold {
                    found.points.push(point);
                    solved.push(members);
                }
            }
            Some(at) => {
                let (first, last) = candidate.ranges[at];
                let middle = usize::midpoint(first, last);
                for half in [(first, middle), (middle + 1, last)] {
                    found.boxes += 1;
                    let mut ranges = candidate.ranges.clone();
                    ranges[at] = half;
                    if may_come_under(game.least(&ranges)) {
                        let cost = members
                            .iter()
                            .zip(&ranges)
                            .map(|(&lever, &(first, last))| cheapest(&levers[lever].choices[first..=last]))
                            .sum();
                        waiting.push(Candidate { cost, set: candidate.set, ranges });
                    }
                }
            }
        }
    }
    found
}

/// Every set of at most `most` of `levers`, smaller ones first.
fn sets(levers: usize, most: usize) -> Vec<Vec<usize>> {
    let mut all: Vec<Vec<usize>> = vec![Vec::new()];
    let mut from = 0;
    for _ in 0..most {
        let to = all.len();
        for position in from..to {
            let next = all[position].last().map_or(0, |last| last + 1);
            for lever in next..levers {
                let mut larger = all[position].clone();
                larger.push(lever);
                all.push(larger);
            }
        }
        from = to;
    }
    all.remove(0);
    all
}

fn cheapest(choices: &[Choice]) -> f64 {
    choices.iter().map(|choice| choice.cost).fold(f64::INFINITY, f64::min)
}

/// The trees as one set of levers sees them: everything else is decided by the row.
struct Game<'t> {
    /// What does not depend on the set.
    fixed: f64,
    /// Per lever and choice, what the trees that look at this lever alone add up to.
    alone: Vec<Vec<f64>>,
    /// Trees that look at several of the levers.
    trees: Vec<&'t Tree>,
    row: Vec<f64>,
    /// Per feature, its lever in the set.
    lever: Vec<Option<usize>>,
    /// Per lever of the set, the codes of its choices.
    codes: Vec<Vec<f64>>,
}

impl<'t> Game<'t> {
    fn new(model: &'t Model, row: &[f64], levers: &[Lever], members: &[usize]) -> Game<'t> {
        let mut lever = vec![None; row.len()];
        for (at, &member) in members.iter().enumerate() {
            lever[levers[member].feature] = Some(at);
        }
        let codes: Vec<Vec<f64>> =
            members.iter().map(|&member| levers[member].choices.iter().map(|choice| choice.code).collect()).collect();
        let mut game = Game {
            fixed: model.ensemble().base(),
            alone: codes.iter().map(|codes| vec![0.0; codes.len()]).collect(),
            trees: Vec::new(),
            row: row.to_vec(),
            lever,
            codes,
        };
        for tree in model.ensemble().trees() {
            let mut met = vec![false; members.len()];
            game.meet(tree, 0, &mut met);
            let looked_at: Vec<usize> = (0..members.len()).filter(|&at| met[at]).collect();
            match looked_at.as_slice() {
                [] => game.fixed += tree.score(row),
                [at] => {
                    let feature = levers[members[*at]].feature;
                    for choice in 0..game.codes[*at].len() {
                        game.row[feature] = game.codes[*at][choice];
                        game.alone[*at][choice] += tree.score(&game.row);
                    }
                    game.row[feature] = row[feature];
                }
                _ => game.trees.push(tree),
            }
        }
        game
    }

    /// Which levers a tree can ask about, once the row has decided the rest.
    fn meet(&self, tree: &Tree, node: usize, met: &mut [bool]) {
        if tree.is_leaf(node) {
            return;
        }
        let feature = tree.feature[node] as usize;
        let (left, right) = tree.children(node);
        match self.lever[feature] {
            Some(at) => {
                met[at] = true;
                self.meet(tree, left, met);
                self.meet(tree, right, met);
            }
            None => self.meet(tree, if tree.goes_left(node, self.row[feature]) { left } else { right }, met),
        }
    }

    /// No point of a box has lower log-odds.
    fn least(&self, ranges: &[(usize, usize)]) -> f64 {
        let alone: f64 = self
            .alone
            .iter()
            .zip(ranges)
            .map(|(sums, &(first, last))| sums[first..=last].iter().copied().fold(f64::INFINITY, f64::min))
            .sum();
        let mut ranges = ranges.to_vec();
        self.fixed + alone + self.trees.iter().map(|tree| self.lowest_leaf(tree, 0, &mut ranges)).sum::<f64>()
    }

    /// The lowest leaf below a node that a point of the box reaches.
    fn lowest_leaf(&self, tree: &Tree, node: usize, ranges: &mut [(usize, usize)]) -> f64 {
        if tree.is_leaf(node) {
            return tree.value[node];
        }
        let feature = tree.feature[node] as usize;
        let (left, right) = tree.children(node);
        let Some(at) = self.lever[feature] else {
            let next = if tree.goes_left(node, self.row[feature]) { left } else { right };
            return self.lowest_leaf(tree, next, ranges);
        };
        let (first, last) = ranges[at];
        let codes = &self.codes[at][first..=last];
        let goes_left = |code: &f64| tree.goes_left(node, *code);
        // Words have no order, and numbers none at a node where zero goes the way of missing values.
        let at_a_word = tree.categories.contains_key(&u32::try_from(node).unwrap_or(u32::MAX));
        if at_a_word || tree.takes_zero_as_missing(node) {
            let (some, all) = (codes.iter().any(goes_left), codes.iter().all(goes_left));
            let lowest_left = if some { self.lowest_leaf(tree, left, ranges) } else { f64::INFINITY };
            let lowest_right = if all { f64::INFINITY } else { self.lowest_leaf(tree, right, ranges) };
            return lowest_left.min(lowest_right);
        }
        // Numbers run upwards: the first ones go left, and below the node the box is only as wide as what came here.
        let lefts = codes.partition_point(goes_left);
        let mut lowest = f64::INFINITY;
        if lefts > 0 {
            ranges[at] = (first, first + lefts - 1);
            lowest = self.lowest_leaf(tree, left, ranges);
        }
        if lefts < codes.len() {
            ranges[at] = (first + lefts, last);
            lowest = lowest.min(self.lowest_leaf(tree, right, ranges));
        }
        ranges[at] = (first, last);
        lowest
    }
}
