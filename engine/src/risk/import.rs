//! Tree models of other libraries: read, checked, and brought into one form. What is not supported is refused by name.
//!
//! - XGBoost 1.x to 3.x, JSON and UBJSON as `save_model` writes them;
//! - LightGBM text as `save_model` writes it;
//! - ONNX `TreeEnsembleClassifier` and `TreeEnsembleRegressor` of `ai.onnx.ml`.
//!
//! Every library sends a row on by `value < threshold` or `value <= threshold` in single or double precision. Here there is only
//! `value < threshold` in double precision: `value <= t` is `value < t'` with the next number `t'` above `t`, which is
//! the same for every value, and single precision is kept by rounding the value when it is read.

mod assemble;
mod bench;
mod explain;
mod lightgbm;
mod onnx;
mod onnx_trees;
mod protobuf;
#[cfg(test)]
mod tests;
mod ubjson;
mod xgboost;
mod xgboost_objective;

pub use bench::{ImportedBench, bench_imported};
pub use explain::{ExplainError, ExplainedBlock, ImportedExplainer, ImportedExplanation, Inputs};

use super::cell::Cell;
use super::ensemble::{Ensemble, TreeError};
use super::features::single;
use super::model::probability;

/// More inputs than this are refused.
const MOST_FEATURES: usize = 1 << 20;
/// More outputs than this are refused.
const MOST_OUTPUTS: usize = 1 << 12;

/// The forms that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// XGBoost's JSON.
    XgboostJson,
    /// XGBoost's Universal Binary JSON.
    XgboostUbjson,
    /// LightGBM's text.
    LightgbmText,
    /// ONNX.
    Onnx,
}

impl std::fmt::Display for Format {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Format::XgboostJson => "XGBoost JSON",
            Format::XgboostUbjson => "XGBoost UBJSON",
            Format::LightgbmText => "LightGBM text",
            Format::Onnx => "ONNX",
        })
    }
}

/// Why a file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// No known form.
    #[error("{0}")]
    Unknown(String),
    /// The file is broken.
    #[error("{format}: {fault}")]
    Unreadable {
        /// What it looked like.
        format: Format,
        /// What is wrong.
        fault: String,
    },
    /// The file may be right, but it holds something that this program does not do.
    #[error("{format}: {what} is not supported")]
    Unsupported {
        /// The form.
        format: Format,
        /// What is not supported, by the library's own name.
        what: String,
    },
    /// A tree is broken.
    #[error("{format}: {error}")]
    Tree {
        /// The form.
        format: Format,
        /// What is wrong with which tree.
        error: TreeError,
    },
}

/// From margins to what the library's own `predict` answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Link {
    /// The margin itself.
    Identity,
    /// `1 / (1 + exp(-slope · margin))` for every output on its own.
    Logistic {
        /// LightGBM's `sigmoid`; 1 elsewhere.
        slope: f64,
    },
    /// `exp(margin)` over its sum over the outputs.
    Softmax,
    /// `exp(margin)`.
    Exponential,
    /// `sign(margin) · margin²`: LightGBM's `reg_sqrt`.
    SignedSquare,
    /// `ln(1 + exp(margin))`: LightGBM's `cross_entropy_lambda`.
    Softplus,
    /// 1 above zero, else 0: XGBoost's `binary:hinge`.
    Sign,
}

impl Link {
    /// Turns the margins of all outputs into predictions, in place.
    pub fn apply(self, margins: &mut [f64]) {
        if self == Link::Softmax {
            let most = margins.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            margins.iter_mut().for_each(|margin| *margin = libm::exp(*margin - most));
            let sum: f64 = margins.iter().sum();
            margins.iter_mut().for_each(|part| *part /= sum);
            return;
        }
        for margin in margins {
            *margin = match self {
                Link::Identity | Link::Softmax => *margin,
                Link::Logistic { slope } => probability(slope * *margin),
                Link::Exponential => libm::exp(*margin),
                Link::SignedSquare => *margin * margin.abs(),
                Link::Softplus => libm::log1p(libm::exp(*margin)),
                Link::Sign => f64::from(u8::from(*margin > 0.0)),
            };
        }
    }

    /// Whether predictions are probabilities.
    pub fn gives_probability(self) -> bool {
        matches!(self, Link::Logistic { .. } | Link::Softmax)
    }
}

/// An input of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputColumn {
    /// Its name in the file; the library's own numbering where the file has none.
    pub name: String,
    /// Whether it is split by categories; then a number in a cell is a code.
    pub category: bool,
    /// The categories' names in the order of their codes, where the file has them.
    pub levels: Vec<String>,
}

/// A cell that the model cannot take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {text:?} is not a number; leave the cell empty when the value is missing")]
pub struct NotANumber {
    /// The column.
    pub column: String,
    /// What the cell held.
    pub text: String,
}

/// One sum of trees.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// The class that it stands for; `margin` where there is only one.
    pub name: String,
    /// The trees and what they start from.
    pub ensemble: Ensemble,
}

/// A model that another library wrote.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// Where it comes from.
    pub format: Format,
    /// Its inputs, in the order of the trees' feature numbers.
    pub columns: Vec<InputColumn>,
    /// Whether the columns' names were in the file. Where they were not, a table may be matched by position.
    pub named: bool,
    /// Its outputs, at least one.
    pub outputs: Vec<Output>,
    /// From margins to predictions.
    pub link: Link,
    /// Whether the library rounds values to single precision.
    pub single: bool,
    /// Whether the file tells how much training data passed every node. Without it the path-dependent game is not defined.
    pub covers: bool,
}

impl Imported {
    /// Finds out what the bytes are, reads them and checks every tree.
    ///
    /// # Errors
    /// What is wrong or not supported, by name.
    pub fn read(bytes: &[u8]) -> Result<Imported, ImportError> {
        match detect(bytes)? {
            Format::XgboostJson => xgboost::read_json(bytes),
            Format::XgboostUbjson => xgboost::read_ubjson(bytes),
            Format::LightgbmText => lightgbm::read(bytes),
            Format::Onnx => onnx::read(bytes),
        }
    }

    /// A cell of a table as the trees see it; empty, `NA` and `NaN` mean missing. A category that training did not
    /// see counts as missing.
    ///
    /// # Errors
    /// When a number is expected and the cell holds something else.
    pub fn encode<'c>(&self, column: &InputColumn, cell: impl Into<Cell<'c>>) -> Result<f64, NotANumber> {
        match cell.into() {
            Cell::Missing => Ok(f64::NAN),
            Cell::Text(text) => self.encode_text(column, text),
            Cell::Number(number) if !column.levels.is_empty() => self.encode_text(column, &number.to_string()),
            Cell::Number(number) if number.is_infinite() => {
                Err(NotANumber { column: column.name.clone(), text: number.to_string() })
            }
            Cell::Number(number) => Ok(self.encode_number(column, number)),
        }
    }

    fn encode_text(&self, column: &InputColumn, cell: &str) -> Result<f64, NotANumber> {
        let cell = cell.trim();
        if !column.levels.is_empty() {
            let code = column.levels.iter().position(|level| level == cell).or_else(|| same_number(column, cell));
            return Ok(code.and_then(|code| u32::try_from(code).ok()).map_or(f64::NAN, f64::from));
        }
        if matches!(cell, "" | "NA" | "N/A" | "null" | "None") {
            return Ok(f64::NAN);
        }
        match cell.parse::<f64>() {
            Ok(value) if !value.is_infinite() => Ok(self.encode_number(column, value)),
            _ => Err(NotANumber { column: column.name.clone(), text: cell.to_owned() }),
        }
    }

    /// A number as the trees see it; a code loses its fraction, as in the libraries.
    pub fn encode_number(&self, column: &InputColumn, value: f64) -> f64 {
        let value = if self.single { single(value) } else { value };
        if column.category { value.trunc() } else { value }
    }
}

/// A level that is a number may be written in another way: `2.0` for `2`.
fn same_number(column: &InputColumn, cell: &str) -> Option<usize> {
    let value = cell.parse::<f64>().ok()?;
    column.levels.iter().position(|level| level.parse() == Ok(value))
}

fn detect(bytes: &[u8]) -> Result<Format, ImportError> {
    let unknown = |sentence: &str| Err(ImportError::Unknown(sentence.to_owned()));
    let start = bytes.trim_ascii_start();
    match (bytes, start) {
        ([], _) | (_, []) => unknown("the file is empty"),
        ([0x80, 2..=5, ..], _) => {
            unknown("this is a Python pickle, which runs code when it is opened; save the model with save_model")
        }
        ([b'C', b'B', b'M', b'1', ..], _) => {
            unknown("CatBoost's own format is not supported; export the model to ONNX")
        }
        ([b'b', b'i', b'n', b'f', ..], _) => {
            unknown("XGBoost's old binary format is not supported; save the model as JSON or UBJSON")
        }
        (_, [b'{', rest @ ..]) => match rest.first() {
            // A key's length comes first in UBJSON, a quotation mark or white space in JSON.
            Some(b'i' | b'U' | b'I' | b'l' | b'L' | b'$' | b'#') => Ok(Format::XgboostUbjson),
            _ => Ok(Format::XgboostJson),
        },
        (_, [b't', b'r', b'e', b'e', b'\n' | b'\r', ..]) => Ok(Format::LightgbmText),
        // ONNX: the version of its own form comes first.
        ([0x08, ..], _) => Ok(Format::Onnx),
        _ => unknown("this is no XGBoost JSON or UBJSON, LightGBM text or ONNX file, and no model of Candor"),
    }
}

/// What the readers of one form share: the errors with the form's name in them.
#[derive(Debug, Clone, Copy)]
struct Refusal(Format);

impl Refusal {
    fn broken(self, fault: impl Into<String>) -> ImportError {
        ImportError::Unreadable { format: self.0, fault: fault.into() }
    }

    fn unsupported(self, what: impl Into<String>) -> ImportError {
        ImportError::Unsupported { format: self.0, what: what.into() }
    }

    fn tree(self, error: TreeError) -> ImportError {
        ImportError::Tree { format: self.0, error }
    }

    /// Refuses sizes that no real model has, before room is made for them.
    fn size(self, features: usize, outputs: usize) -> Result<(), ImportError> {
        if features > MOST_FEATURES {
            return Err(self.unsupported(format!("a model with {features} features")));
        }
        if outputs > MOST_OUTPUTS {
            return Err(self.unsupported(format!("a model with {outputs} outputs")));
        }
        Ok(())
    }
}
