//! ONNX files: the graph around one ensemble of trees. Field numbers: `onnx.proto`; the operators' meaning:
//! <https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsembleClassifier.html> and the regressor beside it.

use std::collections::HashMap;

use super::onnx_trees::trees;
use super::protobuf::{Broken, Field, Fields};
use super::{Format, ImportError, Imported, Refusal};

pub(super) const REFUSAL: Refusal = Refusal(Format::Onnx);

impl From<Broken> for ImportError {
    fn from(_: Broken) -> ImportError {
        REFUSAL.broken("the bytes are no ONNX model")
    }
}

/// An operator's attribute; of its kinds of value only the used one is filled.
#[derive(Debug, Default)]
pub(super) struct Attribute<'b> {
    pub(super) text: &'b str,
    pub(super) whole: i64,
    pub(super) wholes: Vec<i64>,
    pub(super) reals: Vec<f64>,
    pub(super) texts: Vec<&'b str>,
}

/// One operator of the graph.
#[derive(Debug, Default)]
pub(super) struct Operator<'b> {
    pub(super) kind: &'b str,
    domain: &'b str,
    inputs: Vec<&'b str>,
    pub(super) attributes: HashMap<&'b str, Attribute<'b>>,
}

pub(super) fn read(bytes: &[u8]) -> Result<Imported, ImportError> {
    let mut graph = None;
    for field in Fields::new(bytes) {
        if let (7, field) = field? {
            graph = Some(field.bytes()?);
        }
    }
    let graph = graph.ok_or_else(|| REFUSAL.broken("there is no graph"))?;
    let (mut operators, mut inputs) = (Vec::new(), Vec::new());
    for field in Fields::new(graph) {
        match field? {
            (1, field) => operators.push(operator(field.bytes()?)?),
            (11, field) => inputs.push(input(field.bytes()?)?),
            _ => {}
        }
    }
    let is_trees = |operator: &&Operator<'_>| operator.kind.starts_with("TreeEnsemble");
    let ensemble = match operators.iter().filter(is_trees).collect::<Vec<_>>().as_slice() {
        [] => return Err(REFUSAL.unsupported("a graph without TreeEnsembleClassifier or TreeEnsembleRegressor")),
        [one] => *one,
        _ => return Err(REFUSAL.unsupported("a graph with several ensembles of trees")),
    };
    // What stands around the trees must leave values and margins as they are.
    for operator in operators.iter().filter(|operator| !is_trees(operator)) {
        if !matches!(operator.kind, "Cast" | "Identity" | "ZipMap" | "Reshape") {
            return Err(REFUSAL.unsupported(format!("the operator {} beside the trees", operator.kind)));
        }
    }
    if !matches!(ensemble.domain, "ai.onnx.ml") {
        return Err(REFUSAL.unsupported(format!("an ensemble of the domain {:?}", ensemble.domain)));
    }
    // The width of the only input, where it is told.
    let fed =
        |name: &str| ensemble.inputs.contains(&name) || operators.iter().any(|other| other.inputs.contains(&name));
    let fed: Vec<&Input<'_>> = inputs.iter().filter(|input| fed(input.name)).collect();
    let input = match fed.as_slice() {
        [one] => *one,
        _ => return Err(REFUSAL.unsupported(format!("a graph with {} inputs", fed.len()))),
    };
    let single = match input.kind {
        // float, or a double that is cast or compared as one; whole numbers are exact either way.
        1 | 6 | 7 => true,
        11 => false,
        other => return Err(REFUSAL.unsupported(format!("an input of element type {other}"))),
    };
    let cast = operators.iter().any(|operator| operator.kind == "Cast" && operator.inputs.contains(&input.name));
    trees(ensemble, input.width, single || cast)
}

/// An input of the graph.
struct Input<'b> {
    name: &'b str,
    /// ONNX's number of the element type.
    kind: u64,
    width: Option<usize>,
}

fn input(bytes: &[u8]) -> Result<Input<'_>, Broken> {
    let mut input = Input { name: "", kind: 0, width: None };
    for field in Fields::new(bytes) {
        match field? {
            (1, field) => input.name = field.text()?,
            (2, field) => {
                // TypeProto, its tensor_type, and in that elem_type and shape with its dimensions.
                for field in inner(field, 1)? {
                    match field {
                        (1, Field::Varint(kind)) => input.kind = kind,
                        (2, field) => {
                            let mut dimensions = Vec::new();
                            for field in Fields::new(field.bytes()?) {
                                if let (1, field) = field? {
                                    dimensions.push(dimension(field.bytes()?)?);
                                }
                            }
                            input.width = dimensions.get(1).copied().flatten();
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(input)
}

/// The fields of the message in field `number` of a message.
fn inner(field: Field<'_>, number: u64) -> Result<Vec<(u64, Field<'_>)>, Broken> {
    let mut fields = Vec::new();
    for field in Fields::new(field.bytes()?) {
        let (at, field) = field?;
        if at == number {
            fields = Fields::new(field.bytes()?).collect::<Result<_, _>>()?;
        }
    }
    Ok(fields)
}

fn dimension(bytes: &[u8]) -> Result<Option<usize>, Broken> {
    for field in Fields::new(bytes) {
        if let (1, Field::Varint(size)) = field? {
            return Ok(usize::try_from(size).ok());
        }
    }
    Ok(None)
}

fn operator(bytes: &[u8]) -> Result<Operator<'_>, Broken> {
    let mut operator = Operator::default();
    for field in Fields::new(bytes) {
        match field? {
            (1, field) => operator.inputs.push(field.text()?),
            (4, field) => operator.kind = field.text()?,
            (5, field) => {
                let (name, attribute) = attribute(field.bytes()?)?;
                operator.attributes.insert(name, attribute);
            }
            (7, field) => operator.domain = field.text()?,
            _ => {}
        }
    }
    Ok(operator)
}

fn attribute(bytes: &[u8]) -> Result<(&str, Attribute<'_>), Broken> {
    let mut name = "";
    let mut attribute = Attribute::default();
    for field in Fields::new(bytes) {
        match field? {
            (1, field) => name = field.text()?,
            (3, Field::Varint(number)) => attribute.whole = number.cast_signed(),
            // Bytes that are no text belong to attributes that nobody asks for.
            (4, field) => attribute.text = field.text().unwrap_or_default(),
            (5, field) => tensor(field.bytes()?, &mut attribute)?,
            (7, field) => field.singles(&mut attribute.reals)?,
            (8, field) => field.wholes(&mut attribute.wholes)?,
            (9, field) => attribute.texts.push(field.text()?),
            _ => {}
        }
    }
    Ok((name, attribute))
}

/// The numbers of a tensor of single or double precision; any other is left empty.
fn tensor(bytes: &[u8], attribute: &mut Attribute<'_>) -> Result<(), Broken> {
    let fields: Vec<(u64, Field<'_>)> = Fields::new(bytes).collect::<Result<_, _>>()?;
    let kind = fields.iter().find_map(|field| match field {
        (2, Field::Varint(kind)) => Some(*kind),
        _ => None,
    });
    for (number, field) in fields {
        match (number, kind) {
            (4, Some(1)) | (9, Some(1)) => field.singles(&mut attribute.reals)?,
            (10, Some(11)) | (9, Some(11)) => field.doubles(&mut attribute.reals)?,
            _ => {}
        }
    }
    Ok(())
}
