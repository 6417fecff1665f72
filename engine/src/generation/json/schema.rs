//! A JSON schema as the nodes of a machine.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// A schema that can not be followed, with the place in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the JSON schema can not be followed: {0}")]
pub(crate) struct SchemaError(String);

/// A node's number in its grammar.
pub(super) type NodeId = usize;

/// What a value may be.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// One of these.
    AnyOf(Vec<NodeId>),
    /// These bytes.
    Literal(Vec<u8>),
    /// A string of so many characters.
    Text { least: usize, most: Option<usize> },
    /// A number.
    Number { integer: bool },
    /// An object.
    Object { properties: Vec<Property>, required: u64, others: Option<NodeId> },
    /// An array: the first ones each with a node of its own, then `items`.
    Array { first: Vec<NodeId>, items: Option<NodeId>, least: usize, most: Option<usize> },
}

/// A named property.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Property {
    /// The name as JSON writes it, without the opening and with the closing quotation mark.
    pub(super) key: Vec<u8>,
    pub(super) value: NodeId,
}

/// A schema, ready to be followed.
#[derive(Debug)]
pub(crate) struct Grammar {
    pub(super) nodes: Vec<Node>,
    pub(super) root: NodeId,
}

/// Any value; the nodes after it are what it may be.
const ANY: NodeId = 0;
const ANY_OBJECT: NodeId = 1;
/// More properties than this in one object are refused: which were seen is a word of bits.
const MOST_PROPERTIES: usize = 64;
/// Nodes of one schema at most, so that a caller can not exhaust the memory.
const MOST_NODES: usize = 20_000;

/// Keywords that say nothing about what is allowed.
const NOTES: &[&str] = &[
    "title",
    "description",
    "default",
    "examples",
    "$schema",
    "$id",
    "$comment",
    "$defs",
    "definitions",
    "deprecated",
    "readOnly",
    "writeOnly",
    "format",
    "$anchor",
];

impl Grammar {
    /// Any JSON object.
    pub(crate) fn object() -> Self {
        Self { nodes: any(), root: ANY_OBJECT }
    }

    /// Values of a schema.
    ///
    /// # Errors
    /// [`SchemaError`] naming a keyword that is not known, or a reference to nowhere.
    pub(crate) fn new(schema: &Value) -> Result<Self, SchemaError> {
        let mut building = Building { nodes: any(), document: schema, references: HashMap::new() };
        let root = building.value(schema)?;
        Ok(Self { nodes: building.nodes, root })
    }
}

fn any() -> Vec<Node> {
    vec![
        Node::AnyOf(vec![1, 2, 3, 4, 5, 6, 7]),
        Node::Object { properties: Vec::new(), required: 0, others: Some(ANY) },
        Node::Array { first: Vec::new(), items: Some(ANY), least: 0, most: None },
        Node::Text { least: 0, most: None },
        Node::Number { integer: false },
        Node::Literal(b"true".to_vec()),
        Node::Literal(b"false".to_vec()),
        Node::Literal(b"null".to_vec()),
    ]
}

struct Building<'a> {
    nodes: Vec<Node>,
    document: &'a Value,
    references: HashMap<String, NodeId>,
}

impl Building<'_> {
    fn add(&mut self, node: Node) -> Result<NodeId, SchemaError> {
        if self.nodes.len() >= MOST_NODES {
            return Err(SchemaError("it is too large".to_owned()));
        }
        self.nodes.push(node);
        Ok(self.nodes.len() - 1)
    }

    fn value(&mut self, schema: &Value) -> Result<NodeId, SchemaError> {
        let schema = match schema {
            Value::Bool(true) => return Ok(ANY),
            Value::Object(schema) => schema,
            other => return Err(SchemaError(format!("{other} is no schema"))),
        };
        if let Some(reference) = schema.get("$ref") {
            only(schema, &["$ref"])?;
            return self.reference(reference);
        }
        for choice in ["anyOf", "oneOf"] {
            if let Some(choices) = schema.get(choice) {
                only(schema, &[choice])?;
                let choices = list(choices, choice)?.iter().map(|one| self.value(one)).collect::<Result<_, _>>()?;
                return self.add(Node::AnyOf(choices));
            }
        }
        if let Some(value) = schema.get("const") {
            only(schema, &["const", "type"])?;
            return self.add(Node::Literal(value.to_string().into_bytes()));
        }
        if let Some(values) = schema.get("enum") {
            only(schema, &["enum", "type"])?;
            let values =
                list(values, "enum")?.iter().map(|value| self.add(Node::Literal(value.to_string().into_bytes())));
            let values = values.collect::<Result<_, _>>()?;
            return self.add(Node::AnyOf(values));
        }
        match schema.get("type") {
            None if schema.contains_key("properties") => self.of_type("object", schema, false),
            None if schema.contains_key("items") => self.of_type("array", schema, false),
            None => {
                only(schema, &[])?;
                Ok(ANY)
            }
            Some(Value::String(one)) => self.of_type(one, schema, false),
            Some(Value::Array(several)) => {
                let kinds = several.iter().map(|kind| match kind.as_str() {
                    Some(kind) => self.of_type(kind, schema, true),
                    None => Err(SchemaError("a type must be a word".to_owned())),
                });
                let kinds = kinds.collect::<Result<_, _>>()?;
                self.add(Node::AnyOf(kinds))
            }
            Some(_) => Err(SchemaError("a type must be a word".to_owned())),
        }
    }

    /// `shared` says that the keywords belong to several types at once.
    fn of_type(&mut self, kind: &str, schema: &Map<String, Value>, shared: bool) -> Result<NodeId, SchemaError> {
        let known = |keywords: &[&str]| if shared { Ok(()) } else { only(schema, keywords) };
        match kind {
            "string" => {
                known(&["type", "minLength", "maxLength"])?;
                let (least, most) = (count(schema, "minLength")?.unwrap_or(0), count(schema, "maxLength")?);
                self.add(Node::Text { least, most })
            }
            "number" | "integer" => {
                known(&["type"])?;
                self.add(Node::Number { integer: kind == "integer" })
            }
            "boolean" => {
                known(&["type"])?;
                self.add(Node::AnyOf(vec![5, 6]))
            }
            "null" => {
                known(&["type"])?;
                Ok(7)
            }
            "array" => {
                known(&["type", "items", "prefixItems", "minItems", "maxItems"])?;
                let first = schema.get("prefixItems").map(|items| list(items, "prefixItems")).transpose()?;
                let first = first.into_iter().flatten().map(|one| self.value(one)).collect::<Result<_, _>>()?;
                let items = match schema.get("items") {
                    None => Some(ANY),
                    Some(Value::Bool(false)) => None,
                    Some(items) => Some(self.value(items)?),
                };
                let (least, most) = (count(schema, "minItems")?.unwrap_or(0), count(schema, "maxItems")?);
                self.add(Node::Array { first, items, least, most })
            }
            "object" => {
                known(&["type", "properties", "required", "additionalProperties"])?;
                self.object(schema)
            }
            other => Err(SchemaError(format!("{other} is no type"))),
        }
    }

    fn object(&mut self, schema: &Map<String, Value>) -> Result<NodeId, SchemaError> {
        let none = Map::new();
        let properties = match schema.get("properties") {
            None => &none,
            Some(Value::Object(properties)) => properties,
            Some(_) => return Err(SchemaError("properties must be an object".to_owned())),
        };
        if properties.len() > MOST_PROPERTIES {
            return Err(SchemaError(format!("an object has more than {MOST_PROPERTIES} properties")));
        }
        let mut required = 0;
        for name in schema.get("required").map(|names| list(names, "required")).transpose()?.into_iter().flatten() {
            let name = name.as_str().unwrap_or_default();
            let Some(place) = properties.keys().position(|property| property == name) else {
                return Err(SchemaError(format!("{name} is required and not described")));
            };
            required |= 1 << place;
        }
        let others = match schema.get("additionalProperties") {
            None if properties.is_empty() => Some(ANY),
            None | Some(Value::Bool(false)) => None,
            Some(others) => Some(self.value(others)?),
        };
        let mut found = Vec::with_capacity(properties.len());
        for (name, value) in properties {
            let key = Value::from(name.as_str()).to_string().into_bytes().split_off(1);
            found.push(Property { key, value: self.value(value)? });
        }
        self.add(Node::Object { properties: found, required, others })
    }

    fn reference(&mut self, reference: &Value) -> Result<NodeId, SchemaError> {
        let nowhere = || SchemaError(format!("$ref {reference} leads nowhere"));
        let pointer = reference.as_str().and_then(|reference| reference.strip_prefix('#')).ok_or_else(nowhere)?;
        if let Some(&node) = self.references.get(pointer) {
            return Ok(node);
        }
        let target = self.document.pointer(pointer).ok_or_else(nowhere)?;
        // Known before it is built: it may refer to itself.
        let node = self.add(Node::AnyOf(Vec::new()))?;
        self.references.insert(pointer.to_owned(), node);
        let built = self.value(target)?;
        if built == node {
            return Err(nowhere());
        }
        if let Some(place) = self.nodes.get_mut(node) {
            *place = Node::AnyOf(vec![built]);
        }
        Ok(node)
    }
}

fn only(schema: &Map<String, Value>, known: &[&str]) -> Result<(), SchemaError> {
    match schema.keys().find(|key| !known.contains(&key.as_str()) && !NOTES.contains(&key.as_str())) {
        Some(key) => Err(SchemaError(format!("the keyword {key} is not supported here"))),
        None => Ok(()),
    }
}

fn list<'v>(value: &'v Value, name: &str) -> Result<&'v Vec<Value>, SchemaError> {
    value.as_array().ok_or_else(|| SchemaError(format!("{name} must be a list")))
}

fn count(schema: &Map<String, Value>, name: &str) -> Result<Option<usize>, SchemaError> {
    let number = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
    let wrong = || SchemaError(format!("{name} must be a whole number"));
    schema.get(name).map(|value| number(value).ok_or_else(wrong)).transpose()
}
