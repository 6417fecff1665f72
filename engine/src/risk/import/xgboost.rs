//! XGBoost's JSON and UBJSON models. The schema: `doc/model.schema` of XGBoost; the arithmetic of a prediction:
//! `src/predictor` there. A row goes left below the threshold; a category in a node's set goes right.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;

use super::super::ensemble::{Ensemble, MAX_CATEGORIES, Tree};
use super::assemble::{Fault, Node, Test, assemble};
use super::xgboost_objective::Objective;
use super::{Format, ImportError, Imported, InputColumn, Output, Refusal, ubjson};

pub(super) fn read_json(bytes: &[u8]) -> Result<Imported, ImportError> {
    let refusal = Refusal(Format::XgboostJson);
    let document: Value = serde_json::from_slice(bytes).map_err(|error| refusal.broken(error.to_string()))?;
    model(&document, refusal)
}

pub(super) fn read_ubjson(bytes: &[u8]) -> Result<Imported, ImportError> {
    let refusal = Refusal(Format::XgboostUbjson);
    let document = ubjson::read(bytes).map_err(|fault| refusal.broken(fault))?;
    model(&document, refusal)
}

fn model(document: &Value, refusal: Refusal) -> Result<Imported, ImportError> {
    if document.get("learner").is_none() {
        return Err(refusal.broken("there is no \"learner\": save the model with Booster.save_model"));
    }
    let learner = Part { value: document, path: Cow::Borrowed(""), refusal }.part("learner")?;
    let parameters = learner.part("learner_model_param")?;
    let features = parameters.number("num_feature")?;
    // Both are there only where they matter, and then 0 or 1 mean a single output.
    let classes = parameters.number("num_class").unwrap_or(0).max(1);
    let targets = parameters.number("num_target").unwrap_or(1).max(1);
    let outputs = classes.max(targets);
    refusal.size(features, outputs)?;

    let name = learner.part("objective")?.text("name")?.to_owned();
    let objective = Objective::named(&name).ok_or_else(|| refusal.unsupported(format!("the objective {name:?}")))?;
    let starts = starts(parameters.text("base_score")?, outputs, objective, refusal)?;

    let booster = learner.part("gradient_booster")?;
    let (model, weights) = match booster.text("name")? {
        "gbtree" => (booster.part("model")?, None),
        "dart" => (booster.part("gbtree")?.part("model")?, Some(booster.reals("weight_drop")?)),
        other => return Err(refusal.unsupported(format!("the booster {other:?}"))),
    };
    let trees = model.list("trees")?;
    let groups = model.reals("tree_info")?;
    if groups.len() != trees.len() || weights.as_ref().is_some_and(|weights| weights.len() != trees.len()) {
        return Err(refusal.broken("tree_info and weight_drop must have one entry per tree"));
    }
    let mut sums: Vec<Vec<Tree>> = vec![Vec::new(); outputs];
    for (position, (value, group)) in trees.iter().zip(&groups).enumerate() {
        let part = Part { value, path: Cow::Owned(format!("trees[{position}]")), refusal };
        let weight = weights.as_ref().and_then(|weights| weights.get(position)).copied().unwrap_or(1.0);
        let group = whole(*group).filter(|&group| group < outputs);
        let sum = group.and_then(|group| sums.get_mut(group));
        sum.ok_or_else(|| refusal.broken("tree_info names an output that is not there"))?.push(tree(&part, weight)?);
    }

    let mut columns = columns(&learner, features)?;
    let named = learner.list("feature_names").is_ok_and(|names| !names.is_empty());
    for column in levels(&model, &mut columns)? {
        column.category = true;
    }
    let outputs = sums
        .into_iter()
        .zip(starts)
        .enumerate()
        .map(|(position, (trees, start))| {
            let ensemble = Ensemble::imported(start, trees, features).map_err(|error| refusal.tree(error))?;
            let name = if outputs == 1 { "margin".to_owned() } else { position.to_string() };
            Ok(Output { name, ensemble })
        })
        .collect::<Result<_, ImportError>>()?;
    Ok(Imported { format: refusal.0, columns, named, outputs, link: objective.link, single: true, covers: true })
}

/// `base_score`: a number, or since 3.1 a list of one number or one per output, as text.
fn starts(text: &str, outputs: usize, objective: Objective, refusal: Refusal) -> Result<Vec<f64>, ImportError> {
    let broken = || refusal.broken(format!("base_score {text:?} cannot be read"));
    let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
    let margins = inner
        .split(',')
        .map(|part| part.trim().parse().ok().and_then(|stored| objective.margin(stored)).ok_or_else(broken))
        .collect::<Result<Vec<f64>, _>>()?;
    match margins.as_slice() {
        [one] => Ok(vec![*one; outputs]),
        all if all.len() == outputs => Ok(margins),
        _ => Err(broken()),
    }
}

fn columns(learner: &Part<'_>, features: usize) -> Result<Vec<InputColumn>, ImportError> {
    let texts = |key: &str| -> Result<Vec<&str>, ImportError> {
        let list: Vec<&str> = learner.list(key).unwrap_or_default().iter().filter_map(Value::as_str).collect();
        if list.is_empty() || list.len() == features {
            return Ok(list);
        }
        Err(learner.refusal.broken(format!("{key} must have one entry per feature")))
    };
    let (names, types) = (texts("feature_names")?, texts("feature_types")?);
    Ok((0..features)
        .map(|feature| InputColumn {
            name: names.get(feature).map_or_else(|| format!("f{feature}"), |name| (*name).to_owned()),
            category: types.get(feature) == Some(&"c"),
            levels: Vec::new(),
        })
        .collect())
}

/// The names of categories, which models trained on data frames keep since 3.1. Answers the columns that have some.
fn levels<'c>(model: &Part<'_>, columns: &'c mut [InputColumn]) -> Result<Vec<&'c mut InputColumn>, ImportError> {
    let Some(encodings) = model.value.get("cats").and_then(|cats| cats.get("enc")).and_then(Value::as_array) else {
        return Ok(Vec::new());
    };
    let mut known = Vec::new();
    for (column, encoding) in columns.iter_mut().zip(encodings) {
        let Some(values) = encoding.get("values").and_then(Value::as_array).filter(|values| !values.is_empty()) else {
            continue;
        };
        column.levels = match encoding.get("offsets").and_then(Value::as_array) {
            // Texts: their bytes one after another, and where each begins.
            Some(offsets) => texts(values, offsets).ok_or_else(|| model.refusal.broken("cats.enc cannot be read"))?,
            None => values.iter().map(Value::to_string).collect(),
        };
        known.push(column);
    }
    Ok(known)
}

fn texts(bytes: &[Value], offsets: &[Value]) -> Option<Vec<String>> {
    // Bytes are written as signed numbers.
    let byte = |value: &Value| value.as_i64().and_then(|value| u8::try_from(value & 0xff).ok());
    let bytes: Vec<u8> = bytes.iter().map(byte).collect::<Option<_>>()?;
    let offset = |value: &Value| value.as_u64().and_then(|value| usize::try_from(value).ok());
    let offsets: Vec<usize> = offsets.iter().map(offset).collect::<Option<_>>()?;
    let text = |from: &usize, to: &usize| String::from_utf8(bytes.get(*from..*to)?.to_vec()).ok();
    offsets.iter().zip(offsets.iter().skip(1)).map(|(from, to)| text(from, to)).collect()
}

fn tree(part: &Part<'_>, weight: f64) -> Result<Tree, ImportError> {
    let refusal = part.refusal;
    if part.part("tree_param").and_then(|parameters| parameters.number("size_leaf_vector")).is_ok_and(|size| size > 1) {
        return Err(refusal.unsupported("multi_strategy multi_output_tree"));
    }
    let left = part.reals("left_children")?;
    let right = part.reals("right_children")?;
    let features = part.reals("split_indices")?;
    let conditions = part.reals("split_conditions")?;
    let default_left = part.reals("default_left")?;
    let covers = part.reals("sum_hessian")?;
    let sets = category_sets(part)?;
    let count = left.len();
    if [&right, &features, &conditions, &default_left, &covers].iter().any(|array| array.len() != count) {
        return Err(part.broken("every array must have one entry per node"));
    }
    let broken = |at: usize| part.broken(&format!("node {at} cannot be read"));
    let built = assemble(0, count, |at| {
        let get = |array: &[f64]| array.get(at).copied().ok_or_else(|| broken(at));
        let (condition, cover) = (get(&conditions)?, get(&covers)?);
        if get(&left)? < 0.0 {
            return Ok(Node::Leaf { value: weight * single(condition), cover });
        }
        let child = |array: &[f64]| get(array).and_then(|child| whole(child).ok_or_else(|| broken(at)));
        let (left, right) = (child(&left)?, child(&right)?);
        let feature = whole(get(&features)?).and_then(|feature| u32::try_from(feature).ok());
        let feature = feature.ok_or_else(|| broken(at))?;
        let missing_left = get(&default_left)? != 0.0;
        Ok(match sets.get(&at) {
            // A category in the set goes right: here the sides are swapped.
            Some(codes) => Node::Inner {
                feature,
                test: Test::OneOf(codes.clone()),
                missing_left: !missing_left,
                zero_missing: false,
                left: right,
                right: left,
                cover,
            },
            None => Node::Inner {
                feature,
                test: Test::Below(single(condition)),
                missing_left,
                zero_missing: false,
                left,
                right,
                cover,
            },
        })
    });
    built.map_err(|fault| match fault {
        Fault::Shape(fault) => part.broken(&fault),
        Fault::Node(error) => error,
    })
}

/// For every node that looks at a category, the codes of its set.
fn category_sets(part: &Part<'_>) -> Result<HashMap<usize, Vec<u32>>, ImportError> {
    // Models before 1.3 have no categories.
    if part.value.get("categories_nodes").is_none() {
        return Ok(HashMap::new());
    }
    let codes = part.reals("categories")?;
    let (nodes, from, sizes) =
        (part.reals("categories_nodes")?, part.reals("categories_segments")?, part.reals("categories_sizes")?);
    let broken = || part.broken("the sets of categories cannot be read");
    if from.len() != nodes.len() || sizes.len() != nodes.len() {
        return Err(broken());
    }
    let mut sets = HashMap::new();
    for ((&node, &from), &size) in nodes.iter().zip(&from).zip(&sizes) {
        let (node, from, size) =
            whole(node).zip(whole(from)).zip(whole(size)).map(|((a, b), c)| (a, b, c)).ok_or_else(broken)?;
        let set = codes.get(from..from.saturating_add(size)).ok_or_else(broken)?;
        let mut read = Vec::with_capacity(set.len());
        for &code in set {
            let code = whole(code).and_then(|code| u32::try_from(code).ok()).ok_or_else(broken)?;
            if code >= MAX_CATEGORIES {
                return Err(part.refusal.unsupported(format!("a category's code of {code}")));
            }
            read.push(code);
        }
        sets.insert(node, read);
    }
    Ok(sets)
}

#[expect(clippy::cast_possible_truncation, reason = "XGBoost keeps thresholds and leaves in single precision")]
fn single(number: f64) -> f64 {
    f64::from(number as f32)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be a small whole number")]
fn whole(number: f64) -> Option<usize> {
    (number >= 0.0 && number <= f64::from(u32::MAX) && number.fract() == 0.0).then_some(number as usize)
}

/// A part of the document that knows where it is.
struct Part<'d> {
    value: &'d Value,
    path: Cow<'static, str>,
    refusal: Refusal,
}

impl<'d> Part<'d> {
    fn broken(&self, fault: &str) -> ImportError {
        self.refusal.broken(format!("{}: {fault}", self.path))
    }

    fn find(&self, key: &str) -> Result<&'d Value, ImportError> {
        self.value.get(key).ok_or_else(|| self.broken(&format!("there is no {key:?}")))
    }

    fn part(&self, key: &str) -> Result<Part<'d>, ImportError> {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Ok(Part { value: self.find(key)?, path: Cow::Owned(path), refusal: self.refusal })
    }

    fn text(&self, key: &str) -> Result<&'d str, ImportError> {
        self.find(key)?.as_str().ok_or_else(|| self.broken(&format!("{key:?} must be a text")))
    }

    /// A whole number, written as a number or as a text.
    fn number(&self, key: &str) -> Result<usize, ImportError> {
        let value = self.find(key)?;
        let number = value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
        number
            .and_then(|number| usize::try_from(number).ok())
            .ok_or_else(|| self.broken(&format!("{key:?} must be a whole number")))
    }

    fn list(&self, key: &str) -> Result<&'d [Value], ImportError> {
        let list = self.find(key)?.as_array().ok_or_else(|| self.broken(&format!("{key:?} must be a list")))?;
        Ok(list)
    }

    /// A list of numbers; truth values count as 0 and 1.
    fn reals(&self, key: &str) -> Result<Vec<f64>, ImportError> {
        let number = |value: &Value| value.as_f64().or_else(|| value.as_bool().map(|truth| f64::from(u8::from(truth))));
        let numbers: Option<Vec<f64>> = self.list(key)?.iter().map(number).collect();
        numbers.ok_or_else(|| self.broken(&format!("{key:?} must hold numbers")))
    }
}
