//! The trees of an ONNX operator, which lists the nodes of all trees in one table and the leaves' weights in another.

use std::collections::{BTreeMap, HashMap};

use super::super::ensemble::{Ensemble, MAX_CATEGORIES, Tree};
use super::assemble::{Fault, Node, Test, assemble};
use super::onnx::{Attribute, Operator, REFUSAL};
use super::{ImportError, Imported, InputColumn, Link, Output};

/// More than this many leaf values over all outputs are refused.
const MOST_VALUES: usize = 1 << 27;

/// Reads the operator. `width` is the number of inputs where the graph tells it.
pub(super) fn trees(operator: &Operator<'_>, width: Option<usize>, single: bool) -> Result<Imported, ImportError> {
    let (prefix, classifier) = match operator.kind {
        "TreeEnsembleClassifier" => ("class", true),
        "TreeEnsembleRegressor" => ("target", false),
        other => return Err(REFUSAL.unsupported(format!("the operator {other}"))),
    };
    let table = Table::new(operator)?;
    let labels = labels(operator);
    let declared = operator.attributes.get("n_targets").and_then(|targets| usize::try_from(targets.whole).ok());
    let targets = if classifier { labels.len() } else { declared.unwrap_or(1) };
    let most = table.features.iter().map(|&feature| feature as usize + 1).max().unwrap_or(0);
    let features = width.unwrap_or(0).max(most);
    REFUSAL.size(features, targets)?;
    if targets == 0 {
        return Err(REFUSAL.broken("there is neither a class label nor a target"));
    }

    // Weights of leaves, by tree, node and output.
    let of_trees = wholes(operator, &format!("{prefix}_treeids"));
    let of_nodes = wholes(operator, &format!("{prefix}_nodeids"));
    let of_outputs = wholes(operator, &format!("{prefix}_ids"));
    let weights = reals(operator, &format!("{prefix}_weights"));
    let count = weights.len();
    if [of_trees.len(), of_nodes.len(), of_outputs.len()] != [count; 3] {
        return Err(REFUSAL.broken("the leaves' tables differ in length"));
    }
    let mut leaves: HashMap<usize, Vec<(usize, f64)>> = HashMap::new();
    let mut used = vec![false; targets];
    for ((&tree, &node), (&output, &weight)) in of_trees.iter().zip(of_nodes).zip(of_outputs.iter().zip(weights)) {
        let place = table.places.get(&(tree, node)).copied();
        let output = usize::try_from(output).ok().filter(|&output| output < targets);
        let (Some(place), Some(output)) = (place, output) else {
            return Err(REFUSAL.broken("a leaf's weight belongs to no node or output"));
        };
        leaves.entry(place).or_default().push((output, weight));
        if let Some(used) = used.get_mut(output) {
            *used = true;
        }
    }
    // Two classes and the weights of one: the margin of the second class.
    let binary = classifier && targets == 2 && used.iter().filter(|&&used| used).count() <= 1;
    let outputs = if binary { 1 } else { targets };
    if table.roots.len().saturating_mul(outputs).saturating_mul(table.features.len()) > MOST_VALUES {
        return Err(REFUSAL.unsupported("an ensemble of this size"));
    }

    let positive = weights.iter().all(|&weight| weight >= 0.0);
    let link = link(operator, binary, positive)?;
    let scale = scale(operator, table.roots.len())?;
    let base = base(operator, binary, outputs)?;
    let structure: Vec<Tree> = table.roots.iter().map(|&root| table.tree(root)).collect::<Result<_, _>>()?;
    let covers = table.hit_rates_are_covers();
    let ensembles = base.iter().enumerate().map(|(output, &base)| {
        let mut trees = structure.clone();
        for tree in &mut trees {
            for (node, value) in tree.value.iter_mut().enumerate() {
                let inner = tree.left.get(node).is_some_and(|&left| left != 0);
                // Until here a leaf's value is its place in the table.
                let place = if inner { None } else { place(*value) };
                let weights = place.and_then(|place| leaves.get(&place)).map(Vec::as_slice).unwrap_or_default();
                let of_output = |&&(other, _): &&(usize, f64)| binary || other == output;
                *value = scale * weights.iter().filter(of_output).map(|(_, weight)| weight).sum::<f64>();
            }
        }
        let ensemble = Ensemble::imported(base, trees, features).map_err(|error| REFUSAL.tree(error))?;
        let name = match labels.get(if binary { 1 } else { output }) {
            Some(label) if classifier => label.clone(),
            _ if outputs == 1 => "margin".to_owned(),
            _ => output.to_string(),
        };
        Ok(Output { name, ensemble })
    });
    let column = |feature| InputColumn { name: format!("f{feature}"), category: false, levels: Vec::new() };
    Ok(Imported {
        format: REFUSAL.0,
        columns: (0..features).map(column).collect(),
        named: false,
        outputs: ensembles.collect::<Result<_, ImportError>>()?,
        link,
        single,
        covers,
    })
}

fn labels(operator: &Operator<'_>) -> Vec<String> {
    let texts = operator.attributes.get("classlabels_strings").map(|labels| &labels.texts);
    match texts.filter(|texts| !texts.is_empty()) {
        Some(texts) => texts.iter().map(|&text| text.to_owned()).collect(),
        None => wholes(operator, "classlabels_int64s").iter().map(ToString::to_string).collect(),
    }
}

fn link(operator: &Operator<'_>, binary: bool, positive: bool) -> Result<Link, ImportError> {
    Ok(match operator.attributes.get("post_transform").map_or("NONE", |transform| transform.text) {
        "NONE" | "" => Link::Identity,
        "LOGISTIC" => Link::Logistic { slope: 1.0 },
        // Over the two scores, of which one is the other's opposite or its rest.
        "SOFTMAX" if binary && !positive => Link::Logistic { slope: 2.0 },
        "SOFTMAX" if !binary => Link::Softmax,
        other => return Err(REFUSAL.unsupported(format!("post_transform {other}"))),
    })
}

fn scale(operator: &Operator<'_>, trees: usize) -> Result<f64, ImportError> {
    match operator.attributes.get("aggregate_function").map_or("SUM", |function| function.text) {
        "SUM" | "" => Ok(1.0),
        "AVERAGE" => Ok(1.0 / u32::try_from(trees.max(1)).map_or(f64::NAN, f64::from)),
        other => Err(REFUSAL.unsupported(format!("aggregate_function {other}"))),
    }
}

fn base(operator: &Operator<'_>, binary: bool, outputs: usize) -> Result<Vec<f64>, ImportError> {
    match reals(operator, "base_values") {
        [] => Ok(vec![0.0; outputs]),
        [_, second] if binary => Ok(vec![*second]),
        [one] if outputs == 1 => Ok(vec![*one]),
        all if all.len() == outputs => Ok(all.to_vec()),
        _ => Err(REFUSAL.broken("base_values must have one entry per output")),
    }
}

fn wholes<'o>(operator: &'o Operator<'_>, name: &str) -> &'o [i64] {
    operator.attributes.get(name).map(|attribute| attribute.wholes.as_slice()).unwrap_or_default()
}

/// Numbers of single precision, or of double precision in the attribute that ends in `_as_tensor`.
fn reals<'o>(operator: &'o Operator<'_>, name: &str) -> &'o [f64] {
    let find =
        |name: &str| operator.attributes.get(name).filter(|attribute: &&Attribute<'_>| !attribute.reals.is_empty());
    let attribute = find(name).or_else(|| find(&format!("{name}_as_tensor")));
    attribute.map(|attribute| attribute.reals.as_slice()).unwrap_or_default()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "places are whole and small")]
fn place(value: f64) -> Option<usize> {
    (value >= 0.0).then_some(value as usize)
}

/// The nodes of all trees.
struct Table<'o> {
    places: BTreeMap<(i64, i64), usize>,
    roots: Vec<usize>,
    trees: &'o [i64],
    features: Vec<u32>,
    values: &'o [f64],
    modes: &'o [&'o str],
    on_true: &'o [i64],
    on_false: &'o [i64],
    missing_true: &'o [i64],
    hit_rates: &'o [f64],
}

impl<'o> Table<'o> {
    fn new(operator: &'o Operator<'_>) -> Result<Table<'o>, ImportError> {
        let trees = wholes(operator, "nodes_treeids");
        let nodes = wholes(operator, "nodes_nodeids");
        let features = wholes(operator, "nodes_featureids");
        let values = reals(operator, "nodes_values");
        let modes = operator.attributes.get("nodes_modes").map(|modes| modes.texts.as_slice()).unwrap_or_default();
        let (on_true, on_false) = (wholes(operator, "nodes_truenodeids"), wholes(operator, "nodes_falsenodeids"));
        let count = trees.len();
        if [nodes.len(), features.len(), values.len(), modes.len(), on_true.len(), on_false.len()] != [count; 6] {
            return Err(REFUSAL.broken("the nodes' tables differ in length"));
        }
        let features = features.iter().map(|&feature| u32::try_from(feature)).collect::<Result<_, _>>();
        let features = features.map_err(|_| REFUSAL.broken("a feature's number is negative"))?;
        let mut places = BTreeMap::new();
        let mut roots = Vec::new();
        for (place, (&tree, &node)) in trees.iter().zip(nodes).enumerate() {
            // A tree's nodes stand together and begin with its root.
            if place == 0 || trees.get(place - 1) != Some(&tree) {
                roots.push(place);
            }
            if places.insert((tree, node), place).is_some() {
                return Err(REFUSAL.broken(format!("node {node} of tree {tree} is there twice")));
            }
        }
        let mut seen: Vec<i64> = roots.iter().filter_map(|&root| trees.get(root).copied()).collect();
        seen.sort_unstable();
        if seen.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(REFUSAL.unsupported("trees whose nodes do not stand together"));
        }
        let missing_true = wholes(operator, "nodes_missing_value_tracks_true");
        let hit_rates = reals(operator, "nodes_hitrates");
        Ok(Table { places, roots, trees, features, values, modes, on_true, on_false, missing_true, hit_rates })
    }

    fn broken(&self, at: usize) -> ImportError {
        REFUSAL.broken(format!("entry {at} of the nodes cannot be read"))
    }

    /// The tree under a root; a leaf's value is its place in the table.
    fn tree(&self, root: usize) -> Result<Tree, ImportError> {
        let number = self.trees.get(root).copied().unwrap_or_default();
        assemble(root, self.features.len(), |at| self.node(number, at)).map_err(|fault| match fault {
            Fault::Shape(fault) => REFUSAL.broken(format!("tree {number}: {fault}")),
            Fault::Node(error) => error,
        })
    }

    fn node(&self, tree: i64, at: usize) -> Result<Node, ImportError> {
        let broken = || self.broken(at);
        let cover = self.hit_rates.get(at).copied().filter(|rate| rate.is_finite() && *rate > 0.0).unwrap_or(1.0);
        let mode = *self.modes.get(at).ok_or_else(broken)?;
        if mode == "LEAF" {
            let place = u32::try_from(at).map_err(|_| broken())?;
            return Ok(Node::Leaf { value: f64::from(place), cover });
        }
        let child = |links: &[i64]| {
            let node = links.get(at).copied()?;
            self.places.get(&(tree, node)).copied()
        };
        let on_true = child(self.on_true).ok_or_else(broken)?;
        let on_false = child(self.on_false).ok_or_else(broken)?;
        let feature = *self.features.get(at).ok_or_else(broken)?;
        let value = *self.values.get(at).ok_or_else(broken)?;
        let missing_true = self.missing_true.get(at).is_some_and(|&flag| flag != 0);
        let (test, true_is_left) = match mode {
            "BRANCH_LEQ" => (Test::at_most(value), true),
            "BRANCH_LT" => (Test::Below(value), true),
            "BRANCH_GTE" => (Test::Below(value), false),
            "BRANCH_GT" => (Test::at_most(value), false),
            "BRANCH_EQ" | "BRANCH_NEQ" => {
                (Test::OneOf(vec![code(value).ok_or_else(|| unequal(mode, value))?]), mode == "BRANCH_EQ")
            }
            other => return Err(REFUSAL.unsupported(format!("the mode {other}"))),
        };
        let (left, right) = if true_is_left { (on_true, on_false) } else { (on_false, on_true) };
        // NaN makes every comparison false but "not equal".
        let to_true = missing_true || mode == "BRANCH_NEQ";
        Ok(Node::Inner {
            feature,
            test,
            missing_left: to_true == true_is_left,
            zero_missing: false,
            left,
            right,
            cover,
        })
    }

    /// Whether the hit rates can be the covers of the nodes. Exporters write 1 everywhere when they do not know.
    fn hit_rates_are_covers(&self) -> bool {
        let first = self.hit_rates.first();
        self.hit_rates.len() == self.features.len()
            && self.hit_rates.iter().any(|rate| Some(rate) != first)
            && self.hit_rates.iter().all(|rate| rate.is_finite() && *rate > 0.0)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be a small whole number first")]
fn code(value: f64) -> Option<u32> {
    (value >= 0.0 && value < f64::from(MAX_CATEGORIES) && value.fract() == 0.0).then_some(value as u32)
}

fn unequal(mode: &str, value: f64) -> ImportError {
    REFUSAL.unsupported(format!("{mode} with {value}, which is no code below {MAX_CATEGORIES}"))
}
