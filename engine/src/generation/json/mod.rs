//! Text that must be JSON of a schema, byte by byte.
//!
//! A schema becomes a pushdown machine over bytes ([`machine`]); which tokens may come next is found by walking the
//! vocabulary, sorted by bytes, along it ([`mask`]). Properties may come in any order, each once. Between values there is at
//! most one space after `:` and `,`.
//!
//! Of JSON Schema (2020-12) it knows what describes shape: `type`, `properties`, `required`, `additionalProperties`,
//! `items`, `prefixItems`, `minItems`, `maxItems`, `minLength`, `maxLength`, `enum`, `const`, `anyOf`, `oneOf`, `$ref` within
//! the document. Other keywords that restrict values are refused by name, so that nobody relies on what is not checked.
//! Where `properties` are given, others are only allowed by a written `additionalProperties`.

mod machine;
mod mask;
mod schema;

pub(crate) use mask::{JsonText, TokenTable};
pub(crate) use schema::Grammar;
