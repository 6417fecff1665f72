//! A table of rows, its columns typed by looking at them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use ndarray::ArrayViewMut1;

use super::super::application::{Application, Value};
use super::super::factors::{Catalogue, Factor, Kind};
use super::super::features::Feature;
use super::schema::Schema;

/// A category with more words than this is taken for free text or an identifier.
const MOST_CATEGORIES: usize = 255;

/// Why a table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// It is no CSV file.
    #[error("reading the table: {0}")]
    Unreadable(#[from] csv::Error),
    /// There is no such column.
    #[error("the table has no column {0:?}")]
    NoColumn(String),
    /// A column of moments was expected.
    #[error("column {0:?} must hold a number, or a date such as 2026-11-24, in every row")]
    NoMoments(String),
    /// The label is neither yes nor no.
    #[error("column {column:?}, row {row}: {text:?} is no label; use 1 or 0, yes or no, true or false")]
    NotALabel {
        /// The column.
        column: String,
        /// The row, counted from 1 without the header.
        row: usize,
        /// What it holds.
        text: String,
    },
}

/// The cells of a column.
#[derive(Debug, Clone)]
enum Cells {
    Numbers(Vec<f64>),
    Words { codes: Vec<Option<u32>>, words: Vec<String> },
}

/// A table.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<(String, Cells)>,
    rows: usize,
}

impl Table {
    /// Reads a CSV file with a header. Empty cells are missing values; columns are typed by looking at them.
    ///
    /// # Errors
    /// When it is no CSV file.
    pub fn read(reader: impl Read) -> Result<Table, TableError> {
        Table::read_as(reader, &Schema::default())
    }

    /// Reads a CSV file with a header whose schema says which columns hold words.
    ///
    /// # Errors
    /// When it is no CSV file.
    pub fn read_as(reader: impl Read, schema: &Schema) -> Result<Table, TableError> {
        let mut reader = csv::Reader::from_reader(reader);
        let names: Vec<String> = reader.headers()?.iter().map(|name| name.trim().to_owned()).collect();
        let mut texts: Vec<Vec<String>> = vec![Vec::new(); names.len()];
        let mut record = csv::StringRecord::new();
        let mut rows = 0;
        while reader.read_record(&mut record)? {
            rows += 1;
            for (column, cell) in texts.iter_mut().zip(record.iter()) {
                column.push(cell.trim().to_owned());
            }
        }
        let columns = names.into_iter().zip(texts).map(|(name, cells)| {
            let cells = Cells::typed(schema.is_category(&name), &cells);
            (name, cells)
        });
        Ok(Table { columns: columns.collect(), rows })
    }

    /// A table of applications, with a column of labels.
    pub fn of_applications<'a>(rows: impl Iterator<Item = (&'a Application, bool)> + Clone, label: &str) -> Table {
        let mut columns: Vec<(String, Cells)> = Application::FIELDS
            .iter()
            .map(|&field| {
                let category = Catalogue::shipped().get(field).is_some_and(|factor| factor.kind == Kind::Category);
                let cells = if category {
                    let texts: Vec<&str> =
                        rows.clone().map(|(application, _)| application.text(field).unwrap_or_default()).collect();
                    Cells::words(&texts)
                } else {
                    Cells::Numbers(rows.clone().map(|(row, _)| row.number(field).unwrap_or(f64::NAN)).collect())
                };
                (field.to_owned(), cells)
            })
            .collect();
        let labels: Vec<f64> = rows.map(|(_, fraud)| f64::from(u8::from(fraud))).collect();
        let count = labels.len();
        columns.push((label.to_owned(), Cells::Numbers(labels)));
        Table { columns, rows: count }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns' names, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(name, _)| name.as_str())
    }

    fn cells(&self, name: &str) -> Option<&Cells> {
        self.columns.iter().find(|(column, _)| column == name).map(|(_, cells)| cells)
    }

    /// What a column was found to hold.
    pub fn kind(&self, name: &str) -> Kind {
        match self.cells(name) {
            Some(Cells::Words { .. }) => Kind::Category,
            Some(Cells::Numbers(_)) | None => Kind::Number,
        }
    }

    /// The moments that a column tells: its numbers, or its dates in days since the epoch.
    ///
    /// # Errors
    /// When there is no such column or a row holds neither.
    pub fn moments(&self, name: &str) -> Result<Vec<f64>, TableError> {
        let refuse = || TableError::NoMoments(name.to_owned());
        match self.cells(name).ok_or_else(|| TableError::NoColumn(name.to_owned()))? {
            Cells::Numbers(numbers) if numbers.iter().all(|number| number.is_finite()) => Ok(numbers.clone()),
            Cells::Numbers(_) => Err(refuse()),
            Cells::Words { codes, words } => {
                let moments: Vec<Option<f64>> = words.iter().map(|word| moment(word)).collect();
                let of = |code: &Option<u32>| *moments.get(usize::try_from((*code)?).ok()?)?;
                codes.iter().map(|code| of(code).ok_or_else(refuse)).collect()
            }
        }
    }

    /// The labels. `positive` lists the words that mean yes; where it is empty they are 1, yes and true.
    ///
    /// # Errors
    /// When there is no such column or a row holds neither yes nor no.
    pub fn labels(&self, name: &str, positive: &[String]) -> Result<Vec<bool>, TableError> {
        if self.cells(name).is_none() {
            return Err(TableError::NoColumn(name.to_owned()));
        }
        (0..self.rows)
            .map(|row| {
                let text = match self.value(name, row) {
                    None => String::new(),
                    Some(Value::Number(number)) => number.to_string(),
                    Some(Value::Text(text)) => text,
                };
                let refuse = |text: String| Err(TableError::NotALabel { column: name.to_owned(), row: row + 1, text });
                if !positive.is_empty() {
                    return if text.is_empty() { refuse(text) } else { Ok(positive.contains(&text)) };
                }
                match text.to_ascii_lowercase().as_str() {
                    "1" | "yes" | "y" | "true" | "t" => Ok(true),
                    "0" | "no" | "n" | "false" | "f" => Ok(false),
                    _ => refuse(text),
                }
            })
            .collect()
    }

    /// A cell's value; `None` when it is missing.
    pub fn value(&self, name: &str, row: usize) -> Option<Value> {
        match self.cells(name)? {
            Cells::Numbers(numbers) => numbers.get(row).copied().filter(|number| !number.is_nan()).map(Value::Number),
            Cells::Words { codes, words } => {
                let code = usize::try_from((*codes.get(row)?)?).ok()?;
                words.get(code).cloned().map(Value::Text)
            }
        }
    }

    /// A column as a model's input, with what is usual in some rows.
    ///
    /// # Errors
    /// Why the column is of no use, in words.
    pub(super) fn feature(&self, factor: Factor, rows: &[usize]) -> Result<Feature, &'static str> {
        match self.cells(&factor.name) {
            Some(Cells::Numbers(numbers)) => {
                let given = |number: f64| number.is_finite() && !(factor.negative_is_missing && number < 0.0);
                let mut held: Vec<f64> =
                    rows.iter().filter_map(|&row| numbers.get(row).copied()).filter(|&number| given(number)).collect();
                held.sort_by(f64::total_cmp);
                match (held.first(), held.last()) {
                    (Some(first), Some(last)) if first < last => {}
                    _ => return Err("the same value in every row"),
                }
                let percentile = |percent: usize| held.get((held.len() - 1) * percent / 100).copied();
                let (usual_low, usual_high) = (percentile(5), percentile(95));
                Ok(Feature { usual_low, usual_high, factor, categories: Vec::new(), usual_categories: Vec::new() })
            }
            Some(Cells::Words { codes, words }) => {
                let mut held: BTreeMap<&str, usize> = BTreeMap::new();
                for code in rows.iter().filter_map(|&row| codes.get(row).copied().flatten()) {
                    if let Some(word) = usize::try_from(code).ok().and_then(|code| words.get(code)) {
                        *held.entry(word).or_default() += 1;
                    }
                }
                if held.len() < 2 {
                    return Err("the same value in every row");
                }
                if held.len() > MOST_CATEGORIES {
                    return Err("more than 255 different words");
                }
                let mut frequent: Vec<(&str, usize)> = held
                    .iter()
                    .map(|(&word, &count)| (word, count))
                    .filter(|(_, count)| count * 20 >= rows.len())
                    .collect();
                frequent.sort_by(|(_, a), (_, b)| b.cmp(a));
                Ok(Feature {
                    usual_categories: frequent.into_iter().map(|(word, _)| word.to_owned()).collect(),
                    categories: held.into_keys().map(str::to_owned).collect(),
                    factor,
                    usual_low: None,
                    usual_high: None,
                })
            }
            None => Err("not in the table"),
        }
    }

    /// Writes a column as the trees see it.
    pub(super) fn encode_into(&self, feature: &Feature, column: &mut ArrayViewMut1<'_, f64>) {
        match self.cells(&feature.factor.name) {
            Some(Cells::Numbers(numbers)) => {
                for (to, &from) in column.iter_mut().zip(numbers) {
                    *to = feature.encode_number(Some(from).filter(|number| number.is_finite()));
                }
            }
            Some(Cells::Words { codes, words }) => {
                let codes_of: Vec<f64> = words.iter().map(|word| feature.encode_category(Some(word))).collect();
                for (to, from) in column.iter_mut().zip(codes) {
                    let code = from.and_then(|code| usize::try_from(code).ok());
                    *to = code.and_then(|code| codes_of.get(code).copied()).unwrap_or(f64::NAN);
                }
            }
            None => {}
        }
    }
}

/// A date, or a date with a time, in days since the epoch.
fn moment(text: &str) -> Option<f64> {
    let date = chrono::NaiveDate::parse_from_str(text.get(..10)?, "%Y-%m-%d").ok()?;
    let time = match text.get(11..19) {
        None if text.len() == 10 => chrono::NaiveTime::MIN,
        time => chrono::NaiveTime::parse_from_str(time?, "%H:%M:%S").ok()?,
    };
    let milliseconds = date.and_time(time).and_utc().timestamp_millis();
    let days = i32::try_from(milliseconds.div_euclid(86_400_000)).ok()?;
    let rest = i32::try_from(milliseconds.rem_euclid(86_400_000)).ok()?;
    Some(f64::from(days) + f64::from(rest) / 86_400_000.0)
}

impl Cells {
    /// Numbers where every cell that is not empty is one, words otherwise.
    fn typed(as_words: bool, cells: &[String]) -> Cells {
        if !as_words {
            let numbers: Option<Vec<f64>> = cells
                .iter()
                .map(|cell| match cell.as_str() {
                    "" | "NA" | "NaN" | "nan" | "null" => Some(f64::NAN),
                    text => text.parse::<f64>().ok().filter(|number| number.is_finite()),
                })
                .collect();
            if let Some(numbers) = numbers {
                return Cells::Numbers(numbers);
            }
        }
        Cells::words(&cells.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn words(cells: &[&str]) -> Cells {
        let words: Vec<&str> =
            cells.iter().copied().filter(|cell| !cell.is_empty()).collect::<BTreeSet<_>>().into_iter().collect();
        let codes = cells
            .iter()
            .map(|cell| words.binary_search(cell).ok().and_then(|position| u32::try_from(position).ok()))
            .collect();
        Cells::Words { codes, words: words.into_iter().map(str::to_owned).collect() }
    }
}
