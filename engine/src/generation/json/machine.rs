//! Following a grammar byte by byte. Where a byte may be read in several ways all of them are followed.

use super::schema::{Grammar, Node, NodeId};

/// Values within values at most: deeper ones are not begun.
const DEEPEST: usize = 64;

/// One way of having read everything so far: what is open, the innermost last. Nothing open is a whole value.
pub(super) type Stack = Vec<Frame>;

/// Something that is not finished.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Frame {
    /// A value that has not begun.
    Value(NodeId),
    /// So many bytes of a literal.
    Literal(NodeId, usize),
    /// Within a string.
    Text { node: NodeId, inside: Inside, characters: usize },
    /// Within a number.
    Number { integer: bool, part: Part },
    /// Within an object.
    Object { node: NodeId, seen: u64, at: InObject },
    /// Within an array.
    Array { node: NodeId, count: usize, at: InArray },
}

/// Where in a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Inside {
    Plain,
    /// So many bytes of a character are to come, the next one within these bounds.
    Character {
        more: u8,
        from: u8,
        to: u8,
    },
    Escape,
    /// So many hexadecimal digits are to come; whether the code began as one of a surrogate pair's halves.
    Code {
        more: u8,
    },
}

/// Where in a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Part {
    Sign,
    Zero,
    Digits,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

impl Part {
    fn may_end(self) -> bool {
        matches!(self, Self::Zero | Self::Digits | Self::Fraction | Self::ExponentDigits)
    }

    fn next(self, integer: bool, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Sign, b'0') => Some(Self::Zero),
            (Self::Sign, b'1'..=b'9') | (Self::Digits, b'0'..=b'9') => Some(Self::Digits),
            (Self::Zero | Self::Digits, b'.') if !integer => Some(Self::Point),
            (Self::Point | Self::Fraction, b'0'..=b'9') => Some(Self::Fraction),
            (Self::Zero | Self::Digits | Self::Fraction, b'e' | b'E') if !integer => Some(Self::Exponent),
            (Self::Exponent, b'+' | b'-') => Some(Self::ExponentSign),
            (Self::Exponent | Self::ExponentSign | Self::ExponentDigits, b'0'..=b'9') => Some(Self::ExponentDigits),
            _ => None,
        }
    }
}

/// Where in an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum InObject {
    Opened,
    AfterComma {
        space: bool,
    },
    /// In a name that is still one of these properties', after so many bytes.
    Key {
        candidates: u64,
        read: usize,
    },
    /// In the name of another property: its bytes, and where in the string.
    OtherKey {
        read: Vec<u8>,
        inside: Inside,
    },
    AfterKey(NodeId),
    AfterColon(NodeId),
    AfterValue,
}

/// Where in an array.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum InArray {
    Opened,
    AfterComma { space: bool },
    AfterValue,
}

impl Grammar {
    /// The beginning.
    pub(super) fn start(&self) -> Vec<Stack> {
        vec![vec![Frame::Value(self.root)]]
    }

    /// All ways of reading one more byte.
    pub(super) fn step(&self, stacks: &[Stack], byte: u8) -> Vec<Stack> {
        let mut next = Vec::with_capacity(stacks.len());
        for stack in stacks {
            self.feed(stack.clone(), byte, &mut next);
        }
        next
    }

    /// Whether everything may end here.
    pub(super) fn may_end(stacks: &[Stack]) -> bool {
        stacks.iter().any(|stack| match stack.as_slice() {
            [] => true,
            [Frame::Number { part, .. }] => part.may_end(),
            _ => false,
        })
    }

    fn node(&self, node: NodeId) -> Option<&Node> {
        self.nodes.get(node)
    }

    fn feed(&self, mut stack: Stack, byte: u8, next: &mut Vec<Stack>) {
        let Some(frame) = stack.pop() else { return };
        let mut go_on = |mut stack: Stack, frame: Frame| {
            stack.push(frame);
            keep(stack, next);
        };
        match frame {
            Frame::Value(node) => self.begin(stack, node, byte, next),
            Frame::Literal(node, read) => {
                let Some(Node::Literal(bytes)) = self.node(node) else { return };
                if bytes.get(read) == Some(&byte) {
                    if read + 1 == bytes.len() {
                        keep(stack, next)
                    } else {
                        go_on(stack, Frame::Literal(node, read + 1))
                    }
                }
            }
            Frame::Text { node, inside, characters } => {
                let Some(Node::Text { least, most }) = self.node(node) else { return };
                // A character of several bytes is counted at its end, so where there is room for none none begins.
                let full = inside == Inside::Plain && most.is_some_and(|most| characters >= most);
                match within(inside, byte) {
                    Some(Read::Closed) if characters >= *least => keep(stack, next),
                    Some(Read::On { inside, character }) => {
                        // Counted only where it matters: equal states are then found again.
                        let counts = *least > 0 || most.is_some();
                        let characters = characters + usize::from(counts && character);
                        if !full {
                            go_on(stack, Frame::Text { node, inside, characters });
                        }
                    }
                    Some(Read::Closed) | None => {}
                }
            }
            Frame::Number { integer, part } => match part.next(integer, byte) {
                Some(part) => go_on(stack, Frame::Number { integer, part }),
                // A number has no closing mark: the byte belongs to what is around it.
                None if part.may_end() => self.feed(stack, byte, next),
                None => {}
            },
            Frame::Object { node, seen, at } => self.in_object(stack, node, seen, at, byte, next),
            Frame::Array { node, count, at } => self.in_array(stack, node, count, at, byte, next),
        }
    }

    fn begin(&self, mut stack: Stack, node: NodeId, byte: u8, next: &mut Vec<Stack>) {
        if stack.len() >= DEEPEST {
            return;
        }
        let Some(found) = self.node(node) else { return };
        let frame = match (found, byte) {
            (Node::AnyOf(choices), _) => {
                for &choice in choices {
                    // A choice among itself would go on for ever; references are built so that it ends.
                    self.begin(stack.clone(), choice, byte, next);
                }
                return;
            }
            (Node::Literal(_), _) => {
                stack.push(Frame::Literal(node, 0));
                return self.feed(stack, byte, next);
            }
            (Node::Text { .. }, b'"') => Frame::Text { node, inside: Inside::Plain, characters: 0 },
            (Node::Number { integer }, b'-') => Frame::Number { integer: *integer, part: Part::Sign },
            (Node::Number { integer }, b'0'..=b'9') => {
                stack.push(Frame::Number { integer: *integer, part: Part::Sign });
                return self.feed(stack, byte, next);
            }
            // What begins has room for what is in it.
            (Node::Object { .. } | Node::Array { .. }, _) if stack.len() + 1 >= DEEPEST => return,
            (Node::Object { .. }, b'{') => Frame::Object { node, seen: 0, at: InObject::Opened },
            (Node::Array { .. }, b'[') => Frame::Array { node, count: 0, at: InArray::Opened },
            _ => return,
        };
        stack.push(frame);
        keep(stack, next);
    }

    fn in_object(&self, mut stack: Stack, node: NodeId, seen: u64, at: InObject, byte: u8, next: &mut Vec<Stack>) {
        let Some(Node::Object { properties, required, others }) = self.node(node) else { return };
        let all = if properties.len() == 64 { u64::MAX } else { (1 << properties.len()) - 1 };
        let mut go_on = |stack: &Stack, seen: u64, at: InObject| {
            let mut stack = stack.clone();
            stack.push(Frame::Object { node, seen, at });
            keep(stack, next);
        };
        match (at, byte) {
            (InObject::Opened | InObject::AfterValue, b'}') if seen & required == *required => keep(stack, next),
            (InObject::Opened | InObject::AfterComma { .. }, b'"') => {
                let candidates = all & !seen;
                if candidates != 0 {
                    go_on(&stack, seen, InObject::Key { candidates, read: 0 });
                }
                if others.is_some() {
                    go_on(&stack, seen, InObject::OtherKey { read: Vec::new(), inside: Inside::Plain });
                }
            }
            (InObject::AfterComma { space: false }, b' ') => go_on(&stack, seen, InObject::AfterComma { space: true }),
            (InObject::Key { candidates, read }, _) => {
                let mut left = 0;
                for (place, property) in properties.iter().enumerate() {
                    if candidates >> place & 1 == 0 || property.key.get(read) != Some(&byte) {
                        continue;
                    }
                    if read + 1 == property.key.len() {
                        go_on(&stack, seen | 1 << place, InObject::AfterKey(property.value));
                    } else {
                        left |= 1 << place;
                    }
                }
                if left != 0 {
                    go_on(&stack, seen, InObject::Key { candidates: left, read: read + 1 });
                }
            }
            (InObject::OtherKey { mut read, inside }, _) => {
                let Some(others) = *others else { return };
                read.push(byte);
                match within(inside, byte) {
                    // A described property can not pass as another one.
                    Some(Read::Closed) if properties.iter().all(|property| property.key != read) => {
                        go_on(&stack, seen, InObject::AfterKey(others));
                    }
                    Some(Read::On { inside, .. }) => {
                        // Where nothing is described the name does not matter, and states stay few.
                        if properties.is_empty() {
                            read.clear();
                        }
                        go_on(&stack, seen, InObject::OtherKey { read, inside });
                    }
                    Some(Read::Closed) | None => {}
                }
            }
            (InObject::AfterKey(value), b':') => go_on(&stack, seen, InObject::AfterColon(value)),
            (InObject::AfterColon(value), _) => {
                let after = Frame::Object { node, seen, at: InObject::AfterValue };
                stack.push(after);
                if byte == b' ' {
                    stack.push(Frame::Value(value));
                    keep(stack, next);
                } else {
                    self.begin(stack, value, byte, next);
                }
            }
            (InObject::AfterValue, b',') if others.is_some() || seen != all => {
                go_on(&stack, seen, InObject::AfterComma { space: false });
            }
            _ => {}
        }
    }

    fn in_array(&self, mut stack: Stack, node: NodeId, count: usize, at: InArray, byte: u8, next: &mut Vec<Stack>) {
        let Some(Node::Array { first, items, least, most }) = self.node(node) else { return };
        let item = first.get(count).copied().or(*items).filter(|_| most.is_none_or(|most| count < most));
        match (at, byte) {
            (InArray::Opened | InArray::AfterValue, b']') => {
                if count >= *least {
                    keep(stack, next);
                }
            }
            (InArray::AfterValue, b',') => {
                if item.is_some() {
                    stack.push(Frame::Array { node, count, at: InArray::AfterComma { space: false } });
                    keep(stack, next);
                }
            }
            (InArray::AfterComma { space: false }, b' ') => {
                stack.push(Frame::Array { node, count, at: InArray::AfterComma { space: true } });
                keep(stack, next);
            }
            (InArray::Opened | InArray::AfterComma { .. }, _) => {
                let Some(item) = item else { return };
                // Beyond what is bounded or described one by one the number does not matter.
                let limit = first.len().max(*least).max(most.unwrap_or(0));
                stack.push(Frame::Array { node, count: (count + 1).min(limit.max(1)), at: InArray::AfterValue });
                self.begin(stack, item, byte, next);
            }
            (InArray::AfterValue, _) => {}
        }
    }
}

fn keep(stack: Stack, next: &mut Vec<Stack>) {
    if !next.contains(&stack) {
        next.push(stack);
    }
}

/// What a byte did in a string.
enum Read {
    Closed,
    On { inside: Inside, character: bool },
}

fn within(inside: Inside, byte: u8) -> Option<Read> {
    let on = |inside, character| Some(Read::On { inside, character });
    let more = |more, from, to| on(Inside::Character { more, from, to }, false);
    match (inside, byte) {
        (Inside::Plain, b'"') => Some(Read::Closed),
        (Inside::Plain, b'\\') => on(Inside::Escape, false),
        (Inside::Plain, 0x20..=0x7F) => on(Inside::Plain, true),
        // The first byte of a character says how many follow (Unicode 15, table 3-7).
        (Inside::Plain, 0xC2..=0xDF) => more(1, 0x80, 0xBF),
        (Inside::Plain, 0xE0) => more(2, 0xA0, 0xBF),
        (Inside::Plain, 0xED) => more(2, 0x80, 0x9F),
        (Inside::Plain, 0xE1..=0xEF) => more(2, 0x80, 0xBF),
        (Inside::Plain, 0xF0) => more(3, 0x90, 0xBF),
        (Inside::Plain, 0xF1..=0xF3) => more(3, 0x80, 0xBF),
        (Inside::Plain, 0xF4) => more(3, 0x80, 0x8F),
        (Inside::Character { more: 1, from, to }, _) if (from..=to).contains(&byte) => on(Inside::Plain, true),
        (Inside::Character { more: left, from, to }, _) if (from..=to).contains(&byte) => more(left - 1, 0x80, 0xBF),
        (Inside::Escape, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => on(Inside::Plain, true),
        (Inside::Escape, b'u') => on(Inside::Code { more: 4 }, false),
        // Codes begin with 0: above are the halves of surrogate pairs, and what is better written as itself.
        (Inside::Code { more: 4 }, b'0') => on(Inside::Code { more: 3 }, false),
        (Inside::Code { more: 1 }, _) if byte.is_ascii_hexdigit() => on(Inside::Plain, true),
        (Inside::Code { more: more @ 2..=3 }, _) if byte.is_ascii_hexdigit() => {
            on(Inside::Code { more: more - 1 }, false)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// How many bytes are read, and whether the text may end there.
    fn read(grammar: &Grammar, text: &str) -> (usize, bool) {
        let mut stacks = grammar.start();
        for (place, byte) in text.bytes().enumerate() {
            stacks = grammar.step(&stacks, byte);
            if stacks.is_empty() {
                return (place, false);
            }
        }
        (text.len(), Grammar::may_end(&stacks))
    }

    fn takes(schema: &Value, text: &str) -> bool {
        read(&Grammar::new(schema).unwrap(), text) == (text.len(), true)
    }

    #[test]
    fn each_keyword_allows_what_it_says() {
        let person = json!({ "type": "object", "required": ["name"], "additionalProperties": false, "properties": {
            "name": { "type": "string", "minLength": 1, "maxLength": 3 }, "age": { "type": "integer" },
            "naming": { "enum": ["a", 1, null] }, "tags": { "type": "array", "items": { "type": "boolean" }, "minItems": 1, "maxItems": 2 } } });
        for right in [
            r#"{"name":"Ada"}"#,
            r#"{"age": -12, "name":"é世🌍"}"#,
            r#"{"naming":"a","name":"\n"}"#,
            r#"{"naming":null,"tags":[true, false],"name":"x"}"#,
        ] {
            assert!(takes(&person, right), "{right}");
        }
        for wrong in [
            r"{}",
            r#"{"age":1}"#,
            r#"{"name":""}"#,
            r#"{"name":"long"}"#,
            r#"{"name":"a","name":"b"}"#,
            r#"{"name":"a","age":1.5}"#,
            r#"{"name":"a","age":01}"#,
            r#"{"name":"a","more":1}"#,
            r#"{"name":"a","tags":[]}"#,
            r#"{"name":"a","tags":[true,true,true]}"#,
            r#"{"name":"a","naming":2}"#,
            r#"{"name":"a",}"#,
            r#"{"name":"a"} "#,
            r#"[]"#,
            r#"{"name":"a","naming":"b"}"#,
        ] {
            assert!(!takes(&person, wrong), "{wrong}");
        }
        let tree = json!({ "$ref": "#/$defs/tree", "$defs": { "tree": { "type": "object", "properties": {
            "children": { "type": "array", "items": { "$ref": "#/$defs/tree" } } } } } });
        assert!(takes(&tree, r#"{"children":[{},{"children":[]}]}"#) && !takes(&tree, r#"{"children":[1]}"#));
        let either =
            json!({ "anyOf": [{ "type": "string" }, { "const": { "b": [1] } }, { "type": ["null", "number"] }] });
        for right in [r#""x""#, r#"{"b":[1]}"#, "null", "-0.5e+7", "10"] {
            assert!(takes(&either, right), "{right}");
        }
        let pair = json!({ "type": "array", "prefixItems": [{ "type": "integer" }], "items": { "type": "string" } });
        assert!(takes(&pair, r#"[1,"a","b"]"#) && !takes(&pair, r#"["a"]"#) && !takes(&pair, "[1,2]"));
        let others = json!({ "type": "object", "properties": { "a": { "type": "integer" } }, "additionalProperties": { "type": "string" } });
        assert!(takes(&others, r#"{"ab":"x","a":1}"#) && !takes(&others, r#"{"a":"x"}"#));
    }

    #[test]
    fn what_is_not_checked_is_refused() {
        for schema in [
            json!({ "type": "string", "pattern": "a+" }),
            json!({ "type": "integer", "minimum": 3 }),
            json!({ "allOf": [] }),
            json!({ "$ref": "https://example.org" }),
            json!({ "$ref": "#" , "$defs": {} }),
            json!({ "type": "object", "required": ["a"] }),
            json!({ "type": "thing" }),
            json!(3),
        ] {
            assert!(Grammar::new(&schema).is_err(), "{schema}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e9..1e9_f64).prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("\\PC{0,5}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_object_is_taken_and_every_end_is_json(value in any_json(), cut in 0..40_usize) {
            let object = json!({ "v": value });
            let text = object.to_string();
            let grammar = Grammar::object();
            prop_assert_eq!(read(&grammar, &text), (text.len(), true));
            // A beginning is never a whole object.
            let cut = text.char_indices().map(|(at, _)| at).nth(cut).unwrap_or(0);
            prop_assert!(!read(&grammar, &text[..cut]).1);
        }

        #[test]
        fn whatever_is_taken_parses(bytes in proptest::collection::vec(proptest::sample::select(&b"{}[]\",:\\u0019.eE+-truefalsn "[..]), 1..14)) {
            let grammar = Grammar::new(&json!(true)).unwrap();
            let text = String::from_utf8(bytes).unwrap();
            if read(&grammar, &text) == (text.len(), true) {
                prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{}", text);
            }
        }
    }
}
