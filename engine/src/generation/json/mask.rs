//! Which tokens keep a text on its way through a grammar.

use std::collections::HashMap;
use std::sync::Arc;

use crate::runtime::grammar;
use crate::tokens::text::TextTokens;

use super::machine::Stack;
use super::schema::Grammar;

/// Masks that one text keeps: most places of a text are like an earlier one (within a string, before a name).
const KEPT: usize = 256;

/// A vocabulary in the order of its bytes, so that a common beginning is followed once.
pub(crate) struct TokenTable {
    tokens: Vec<Entry>,
    /// Tokens that end a text.
    ends: Vec<u32>,
    /// Words of 32 bits that hold a bit for each token.
    words: usize,
    source: Arc<TextTokens>,
}

struct Entry {
    token: u32,
    /// Bytes shared with the entry before.
    shared: usize,
}

impl TokenTable {
    /// Sorts the tokens that have bytes and are no marks.
    pub(crate) fn new(source: Arc<TextTokens>, ends: &[u32], vocabulary: usize) -> Self {
        let count = u32::try_from(source.len().min(vocabulary)).unwrap_or(u32::MAX);
        let usable =
            |&token: &u32| !source.is_special(token) && !ends.contains(&token) && !source.bytes(token).is_empty();
        let mut sorted: Vec<u32> = (0..count).filter(usable).collect();
        sorted.sort_by(|&a, &b| source.bytes(a).cmp(source.bytes(b)));
        let mut before: &[u8] = &[];
        let mut tokens = Vec::with_capacity(sorted.len());
        for token in sorted {
            let bytes = source.bytes(token);
            let shared = before.iter().zip(bytes).take_while(|(a, b)| a == b).count();
            tokens.push(Entry { token, shared });
            before = bytes;
        }
        Self { tokens, ends: ends.to_vec(), words: vocabulary.div_ceil(32), source }
    }

    fn mask(&self, grammar: &Grammar, stacks: &[Stack]) -> Vec<u32> {
        let mut mask = vec![0; self.words];
        let mut allow = |token: u32| {
            if let Some(word) = usize::try_from(token / 32).ok().and_then(|word| mask.get_mut(word)) {
                *word |= 1 << (token % 32);
            }
        };
        // What is open after each byte of the present token; the last one may be nowhere.
        let mut path: Vec<Vec<Stack>> = Vec::new();
        for Entry { token, shared } in &self.tokens {
            if path.len() > *shared {
                path.truncate(*shared);
            } else if path.last().is_some_and(Vec::is_empty) {
                // It begins with what led nowhere.
                continue;
            }
            for &byte in self.source.bytes(*token).get(path.len()..).unwrap_or_default() {
                let next = grammar.step(path.last().map_or(stacks, Vec::as_slice), byte);
                let nowhere = next.is_empty();
                path.push(next);
                if nowhere {
                    break;
                }
            }
            if path.last().is_some_and(|stacks| !stacks.is_empty()) {
                allow(*token);
            }
        }
        if Grammar::may_end(stacks) {
            self.ends.iter().copied().for_each(allow);
        }
        mask
    }
}

/// A text under way.
pub(crate) struct JsonText {
    grammar: Grammar,
    table: Arc<TokenTable>,
    stacks: Vec<Stack>,
    masks: HashMap<Vec<Stack>, Vec<u32>>,
}

impl JsonText {
    /// A text at its beginning.
    pub(crate) fn new(grammar: Grammar, table: Arc<TokenTable>) -> Self {
        let stacks = grammar.start();
        Self { grammar, table, stacks, masks: HashMap::new() }
    }
}

impl grammar::Grammar for JsonText {
    fn mask(&mut self) -> Result<&[u32], String> {
        if !self.masks.contains_key(&self.stacks) {
            if self.masks.len() >= KEPT {
                self.masks.clear();
            }
            let mask = self.table.mask(&self.grammar, &self.stacks);
            if mask.iter().all(|&word| word == 0) {
                return Err("the model has no token that continues JSON of this schema".to_owned());
            }
            self.masks.insert(self.stacks.clone(), mask);
        }
        Ok(self.masks.get(&self.stacks).map(Vec::as_slice).unwrap_or_default())
    }

    fn accept(&mut self, token: u32) -> Result<bool, String> {
        if self.table.ends.contains(&token) {
            return Ok(true);
        }
        for &byte in self.table.source.bytes(token) {
            self.stacks = self.grammar.step(&self.stacks, byte);
        }
        match self.stacks.as_slice() {
            [] => Err("a token left the schema".to_owned()),
            // Nothing is open: whatever followed would be another value.
            stacks => Ok(stacks.iter().all(Vec::is_empty)),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use serde_json::{Value, json};

    use super::*;
    use crate::runtime::grammar::Grammar as _;
    use crate::tokens::text::tests::tokenizer_of;

    /// The bytes, and tokens over the borders of JSON's parts.
    fn table() -> (Arc<TextTokens>, Arc<TokenTable>, u32) {
        let pieces = [
            "{\"", "\":", "\": ", "\"}", "\",\"", "name", "na", "true", "},{", "\"age\":", "12", "\\\"", "]}", "null}",
        ];
        let tokens = Arc::new(tokenizer_of(&pieces));
        let end = tokens.number("<|end|>").unwrap();
        let size = tokens.len();
        (Arc::clone(&tokens), Arc::new(TokenTable::new(tokens, &[end], size)), end)
    }

    #[test]
    fn a_mask_is_what_trying_every_token_gives() {
        let (tokens, table, end) = table();
        let schema = json!({ "type": "object", "required": ["name"], "properties": {
            "name": { "type": "string" }, "age": { "type": "integer" }, "list": { "items": { "type": "boolean" } } } });
        let mut text = JsonText::new(Grammar::new(&schema).unwrap(), Arc::clone(&table));
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for _ in 0..60 {
            let mask = text.mask().unwrap().to_vec();
            let mut allowed = Vec::new();
            for token in 0..u32::try_from(tokens.len()).unwrap() {
                let mut stacks = text.stacks.clone();
                tokens.bytes(token).iter().for_each(|&byte| stacks = text.grammar.step(&stacks, byte));
                let expected = if token == end { Grammar::may_end(&text.stacks) } else { !stacks.is_empty() };
                let found = mask[usize::try_from(token / 32).unwrap()] >> (token % 32) & 1 == 1;
                assert_eq!(found, expected, "{:?}", String::from_utf8_lossy(tokens.bytes(token)));
                if found && token != end {
                    allowed.push(token);
                }
            }
            if text.accept(allowed[random.random_range(0..allowed.len())]).unwrap() {
                break;
            }
        }
    }

    #[test]
    fn any_way_through_ends_in_json_of_the_schema() {
        let (tokens, table, end) = table();
        let schema = json!({ "type": "object", "required": ["name", "kind"], "properties": {
            "name": { "type": "string", "maxLength": 4 }, "kind": { "enum": ["card", "loan"] },
            "list": { "type": "array", "items": { "type": "boolean" }, "maxItems": 3 } } });
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(2);
        for _ in 0..200 {
            let mut text = JsonText::new(Grammar::new(&schema).unwrap(), Arc::clone(&table));
            let mut bytes = Vec::new();
            loop {
                let mask = text.mask().unwrap().to_vec();
                let allowed: Vec<u32> = (0..u32::try_from(tokens.len()).unwrap())
                    .filter(|token| mask[usize::try_from(token / 32).unwrap()] >> (token % 32) & 1 == 1)
                    .collect();
                let token = allowed[random.random_range(0..allowed.len())];
                if token != end {
                    bytes.extend_from_slice(tokens.bytes(token));
                }
                if text.accept(token).unwrap() {
                    break;
                }
            }
            let value: Value = serde_json::from_slice(&bytes).unwrap();
            assert!(
                value["name"].as_str().unwrap().chars().count() <= 4
                    && ["card", "loan"].contains(&value["kind"].as_str().unwrap())
            );
            assert!(value.get("list").is_none_or(|list| list.as_array().unwrap().len() <= 3));
        }
    }
}
