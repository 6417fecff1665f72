//! LightGBM's text models. The grammar: `GBDT::SaveModelToString` and `Tree::ToString` of LightGBM; the arithmetic of a
//! prediction: `include/LightGBM/tree.h` there. A row goes left at or below the threshold, in double precision; a category in
//! a node's set goes left, and a missing category right.

use std::collections::HashMap;
use std::str::FromStr;

use super::super::ensemble::{Ensemble, MAX_CATEGORIES, Tree};
use super::assemble::{Fault, Node, Test, assemble};
use super::{Format, ImportError, Imported, InputColumn, Link, Output, Refusal};

const REFUSAL: Refusal = Refusal(Format::LightgbmText);

pub(super) fn read(bytes: &[u8]) -> Result<Imported, ImportError> {
    let text = std::str::from_utf8(bytes).map_err(|_| REFUSAL.broken("the file is not UTF-8"))?;
    let mut sections = text.split("\nTree=");
    let header = Section::new("the header", sections.next().unwrap_or_default());
    if let Some(version) = header.find("version").filter(|version| !matches!(*version, "v2" | "v3" | "v4")) {
        return Err(REFUSAL.unsupported(format!("version {version:?}")));
    }
    let outputs: usize = header.number("num_tree_per_iteration")?;
    let features = header.number::<usize>("max_feature_idx")?.saturating_add(1);
    REFUSAL.size(features, outputs)?;
    if outputs == 0 {
        return Err(REFUSAL.broken("num_tree_per_iteration must not be 0"));
    }
    let link = link(header.find("objective").unwrap_or_default())?;

    let mut sums: Vec<Vec<Tree>> = vec![Vec::new(); outputs];
    let mut categories = vec![false; features];
    let mut last = "";
    let mut count = 0;
    for section in sections {
        let (section, rest) = section.split_once("end of trees").unwrap_or((section, ""));
        last = if rest.is_empty() { last } else { rest };
        let tree = tree(&Section::new(&format!("tree {count}"), section), &mut categories)?;
        if let Some(sum) = sums.get_mut(count % outputs) {
            sum.push(tree);
        }
        count += 1;
    }
    if header.has_line("average_output") {
        // A random forest: the mean over the rounds.
        let rounds = u32::try_from(count / outputs).map_or(f64::NAN, f64::from);
        sums.iter_mut().flatten().flat_map(|tree| &mut tree.value).for_each(|value| *value /= rounds);
    }
    let (columns, named) = columns(&header, features, &categories, last)?;
    let outputs = sums
        .into_iter()
        .enumerate()
        .map(|(position, trees)| {
            let ensemble = Ensemble::imported(0.0, trees, features).map_err(|error| REFUSAL.tree(error))?;
            let name = if outputs == 1 { "margin".to_owned() } else { position.to_string() };
            Ok(Output { name, ensemble })
        })
        .collect::<Result<_, ImportError>>()?;
    Ok(Imported { format: REFUSAL.0, columns, named, outputs, link, single: false, covers: true })
}

/// From the objective and its parameters to what becomes of margins.
fn link(objective: &str) -> Result<Link, ImportError> {
    let mut words = objective.split_whitespace();
    let name = words.next().unwrap_or_default();
    let mut sigmoid = 1.0;
    let mut square_root = false;
    for word in words {
        if let Some(value) = word.strip_prefix("sigmoid:") {
            let read = value.parse::<f64>().ok().filter(|slope| slope.is_finite() && *slope > 0.0);
            sigmoid = read.ok_or_else(|| REFUSAL.broken(format!("{word:?} cannot be read")))?;
        }
        square_root |= word == "sqrt";
    }
    Ok(match name {
        "binary" | "multiclassova" => Link::Logistic { slope: sigmoid },
        "cross_entropy" => Link::Logistic { slope: 1.0 },
        "cross_entropy_lambda" => Link::Softplus,
        "multiclass" => Link::Softmax,
        "poisson" | "gamma" | "tweedie" => Link::Exponential,
        "regression" | "regression_l1" | "huber" | "fair" | "quantile" | "mape" if square_root => Link::SignedSquare,
        // Without an objective (a custom one) LightGBM predicts margins.
        "regression" | "regression_l1" | "huber" | "fair" | "quantile" | "mape" | "lambdarank" | "rank_xendcg"
        | "custom" | "none" | "" => Link::Identity,
        other => return Err(REFUSAL.unsupported(format!("the objective {other:?}"))),
    })
}

/// Names and categories of the inputs. `last` is what follows the trees: there pandas' categories are.
fn columns(
    header: &Section<'_>,
    features: usize,
    split_by_category: &[bool],
    last: &str,
) -> Result<(Vec<InputColumn>, bool), ImportError> {
    let names: Vec<&str> = header.find("feature_names").unwrap_or_default().split_whitespace().collect();
    if !names.is_empty() && names.len() != features {
        return Err(REFUSAL.broken("feature_names must have one entry per feature"));
    }
    let infos: Vec<&str> = header.find("feature_infos").unwrap_or_default().split_whitespace().collect();
    // A number's range is in brackets, a category's codes are joined by colons.
    let is_category = |feature: usize| {
        split_by_category.get(feature) == Some(&true)
            || infos.get(feature).is_some_and(|info| *info != "none" && !info.starts_with('['))
    };
    let mut columns: Vec<InputColumn> = (0..features)
        .map(|feature| InputColumn {
            name: names.get(feature).map_or_else(|| format!("Column_{feature}"), |name| (*name).to_owned()),
            category: is_category(feature),
            levels: Vec::new(),
        })
        .collect();
    let named = columns.iter().enumerate().any(|(feature, column)| column.name != format!("Column_{feature}"));

    let pandas = last.lines().find_map(|line| line.strip_prefix("pandas_categorical:")).unwrap_or("null");
    let levels: Option<Vec<Vec<serde_json::Value>>> = serde_json::from_str(pandas)
        .map_err(|error| REFUSAL.broken(format!("pandas_categorical cannot be read: {error}")))?;
    let levels = levels.unwrap_or_default();
    if levels.is_empty() {
        return Ok((columns, named));
    }
    let mut with_levels: Vec<&mut InputColumn> = columns.iter_mut().filter(|column| column.category).collect();
    if with_levels.len() != levels.len() {
        return Err(REFUSAL.unsupported(format!(
            "pandas_categorical of {} columns beside {} columns with categories",
            levels.len(),
            with_levels.len()
        )));
    }
    for (column, levels) in with_levels.iter_mut().zip(levels) {
        column.levels = levels
            .into_iter()
            .map(|level| match level {
                serde_json::Value::String(text) => text,
                other => other.to_string(),
            })
            .collect();
    }
    Ok((columns, named))
}

/// What a missing value is, from bits 2 and 3 of `decision_type`.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Missing {
    /// Nothing is: NaN is taken for zero.
    Nothing,
    /// Zero and NaN.
    Zero,
    /// NaN.
    Nan,
}

fn tree(section: &Section<'_>, categories: &mut [bool]) -> Result<Tree, ImportError> {
    let leaves: usize = section.number("num_leaves")?;
    if section.find("is_linear").is_some_and(|flag| flag.trim() == "1") {
        return Err(REFUSAL.unsupported("linear_tree"));
    }
    let inner = leaves.checked_sub(1).ok_or_else(|| REFUSAL.broken("a tree has no leaf"))?;
    let values: Vec<f64> = section.list("leaf_value", leaves)?;
    if inner == 0 {
        let value = values.first().copied().unwrap_or(f64::NAN);
        let leaf = Node::Leaf { value, cover: 1.0 };
        return shape(assemble(0, 1, |_| Ok(leaf.clone())), section);
    }
    // In number of rows, as LightGBM's own attributions weigh them.
    let covers: Vec<f64> = section.list("leaf_count", leaves)?;
    let inner_covers: Vec<f64> = section.list("internal_count", inner)?;
    let features: Vec<u32> = section.list("split_feature", inner)?;
    let thresholds: Vec<f64> = section.list("threshold", inner)?;
    let decisions: Vec<u32> = section.list("decision_type", inner)?;
    let left: Vec<i64> = section.list("left_child", inner)?;
    let right: Vec<i64> = section.list("right_child", inner)?;
    let sets: usize = section.find("num_cat").map_or(Ok(0), |_| section.number("num_cat"))?;
    let (starts, words): (Vec<usize>, Vec<u32>) = if sets > 0 {
        let starts: Vec<usize> = section.list("cat_boundaries", sets.saturating_add(1))?;
        let words = section.list("cat_threshold", starts.last().copied().unwrap_or(0))?;
        (starts, words)
    } else {
        (Vec::new(), Vec::new())
    };

    let broken = |at: usize| REFUSAL.broken(format!("{}: node {at} cannot be read", section.name));
    // Inner nodes first, then the leaves.
    let child = |links: &[i64], at: usize| {
        let link = links.get(at).copied().ok_or_else(|| broken(at))?;
        let position = usize::try_from(if link < 0 { !link } else { link }).map_err(|_| broken(at))?;
        let known = if link < 0 { leaves } else { inner };
        if position >= known {
            return Err(broken(at));
        }
        Ok(if link < 0 { inner + position } else { position })
    };
    let built = assemble(0, inner + leaves, |at| {
        if let Some(leaf) = at.checked_sub(inner) {
            let (Some(&value), Some(&cover)) = (values.get(leaf), covers.get(leaf)) else { return Err(broken(at)) };
            return Ok(Node::Leaf { value, cover });
        }
        let get = |array: &[f64]| array.get(at).copied().ok_or_else(|| broken(at));
        let (threshold, cover) = (get(&thresholds)?, get(&inner_covers)?);
        let (Some(&feature), Some(&decision)) = (features.get(at), decisions.get(at)) else { return Err(broken(at)) };
        let missing = match decision >> 2 & 3 {
            0 => Missing::Nothing,
            1 => Missing::Zero,
            2 => Missing::Nan,
            _ => return Err(broken(at)),
        };
        let (left, right) = (child(&left, at)?, child(&right, at)?);
        if decision & 1 == 1 {
            if let Some(category) = categories.get_mut(feature as usize) {
                *category = true;
            }
            let codes = codes(threshold, &starts, &words).ok_or_else(|| broken(at))?;
            if let Some(code) = codes.iter().find(|&&code| code >= MAX_CATEGORIES) {
                return Err(REFUSAL.unsupported(format!("a category's code of {code}")));
            }
            let test = Test::OneOf(codes);
            return Ok(Node::Inner { feature, test, missing_left: false, zero_missing: false, left, right, cover });
        }
        Ok(Node::Inner {
            feature,
            test: Test::at_most(threshold),
            missing_left: match missing {
                Missing::Nothing => 0.0 <= threshold,
                Missing::Zero | Missing::Nan => decision & 2 != 0,
            },
            zero_missing: missing == Missing::Zero,
            left,
            right,
            cover,
        })
    });
    shape(built, section)
}

fn shape(built: Result<Tree, Fault<ImportError>>, section: &Section<'_>) -> Result<Tree, ImportError> {
    built.map_err(|fault| match fault {
        Fault::Shape(fault) => REFUSAL.broken(format!("{}: {fault}", section.name)),
        Fault::Node(error) => error,
    })
}

/// The codes of a set: its threshold numbers it, and its bits lie between two boundaries.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be a whole number first")]
fn codes(threshold: f64, starts: &[usize], words: &[u32]) -> Option<Vec<u32>> {
    if !(threshold >= 0.0 && threshold.fract() == 0.0) {
        return None;
    }
    let set = threshold as usize;
    let words = words.get(*starts.get(set)?..*starts.get(set.checked_add(1)?)?)?;
    let mut codes = Vec::new();
    for (position, word) in (0_u32..).zip(words) {
        codes.extend((0..32).filter(|bit| word >> bit & 1 == 1).map(|bit| position * 32 + bit));
    }
    Some(codes)
}

/// Lines of `key=value`.
struct Section<'t> {
    name: String,
    lines: Vec<&'t str>,
    values: HashMap<&'t str, &'t str>,
}

impl<'t> Section<'t> {
    fn new(name: &str, text: &'t str) -> Section<'t> {
        let lines: Vec<&str> = text.lines().collect();
        let values = lines.iter().filter_map(|line| line.split_once('=')).collect();
        Section { name: name.to_owned(), lines, values }
    }

    fn has_line(&self, line: &str) -> bool {
        self.lines.iter().any(|known| known.trim() == line)
    }

    fn find(&self, key: &str) -> Option<&'t str> {
        self.values.get(key).copied()
    }

    fn number<T: FromStr>(&self, key: &str) -> Result<T, ImportError> {
        let text = self.find(key).ok_or_else(|| REFUSAL.broken(format!("{}: there is no {key}", self.name)))?;
        text.trim().parse().map_err(|_| REFUSAL.broken(format!("{}: {key} cannot be read", self.name)))
    }

    fn list<T: FromStr>(&self, key: &str, count: usize) -> Result<Vec<T>, ImportError> {
        let text = self.find(key).ok_or_else(|| REFUSAL.broken(format!("{}: there is no {key}", self.name)))?;
        let list: Result<Vec<T>, _> = text.split_whitespace().map(str::parse).collect();
        match list {
            Ok(list) if list.len() == count => Ok(list),
            Ok(list) => Err(REFUSAL.broken(format!("{}: {key} has {} entries, not {count}", self.name, list.len()))),
            Err(_) => Err(REFUSAL.broken(format!("{}: {key} cannot be read", self.name))),
        }
    }
}
