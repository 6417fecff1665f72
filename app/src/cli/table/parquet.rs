//! Parquet, column by column: what is in memory is a page of every wanted column, however long the file is.

use std::fs::File;

use candor_engine::risk::Cell;
use parquet::basic::{ConvertedType, LogicalType, Type as Stored};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType, DataType};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::{ColumnDescPtr, ColumnDescriptor};

use super::super::Failure;

/// An open Parquet file.
pub(super) struct ParquetTable {
    file: SerializedFileReader<File>,
    wanted: Vec<bool>,
    /// The row group that comes next.
    next: usize,
    columns: Vec<ColumnDescPtr>,
    /// The columns of the group that is being read; those that nobody wants are left out.
    readers: Vec<Option<ColumnReader>>,
    /// Rows of that group still to come.
    left: usize,
    done: u64,
}

impl ParquetTable {
    pub(super) fn new(file: File) -> Result<Self, Failure> {
        let file = SerializedFileReader::new(file)?;
        let columns = file.metadata().file_metadata().schema_descr().columns().to_vec();
        let wanted = vec![true; columns.len()];
        Ok(Self { file, wanted, next: 0, columns, readers: Vec::new(), left: 0, done: 0 })
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.columns.iter().map(|column| column.path().string()).collect()
    }

    /// Rows of the whole file.
    pub(super) fn rows(&self) -> u64 {
        u64::try_from(self.file.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    /// Rows that were read.
    pub(super) fn done(&self) -> u64 {
        self.done
    }

    /// Reads only these columns, and refuses what they hold by name where it is no number and no text.
    pub(super) fn only(&mut self, wanted: &[usize]) -> Result<(), Failure> {
        for (at, (column, one)) in self.columns.iter().zip(&mut self.wanted).enumerate() {
            *one = wanted.contains(&at);
            if *one && let Err(what) = Kind::of(column) {
                return Err(Failure::new(format!("column {} holds {what}, which is not read", column.path().string())));
            }
        }
        Ok(())
    }

    /// Reads up to `most` rows into `columns` and answers how many; 0 at the end.
    pub(super) fn read(&mut self, most: usize, columns: &mut Vec<Column>) -> Result<usize, Failure> {
        while self.left == 0 {
            if self.next >= self.file.num_row_groups() {
                return Ok(0);
            }
            self.open_group()?;
        }
        let rows = self.left.min(most);
        columns.resize_with(self.columns.len(), Column::default);
        for ((reader, column), described) in self.readers.iter_mut().zip(columns).zip(&self.columns) {
            if let Some(reader) = reader {
                let read = column.read(reader, described, rows);
                read.map_err(|failure| failure.at(format!("column {}", described.path().string())))?;
            }
        }
        self.left -= rows;
        self.done += u64::try_from(rows).unwrap_or(0);
        Ok(rows)
    }

    fn open_group(&mut self) -> Result<(), Failure> {
        let group = self.file.get_row_group(self.next)?;
        self.next += 1;
        self.left = usize::try_from(group.metadata().num_rows())?;
        self.readers.clear();
        for (at, wanted) in self.wanted.iter().enumerate() {
            self.readers.push(if *wanted { Some(group.get_column_reader(at)?) } else { None });
        }
        Ok(())
    }
}

/// What a column's stored values mean.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// As they stand.
    Plain,
    /// Integers without a sign.
    Unsigned,
    /// Whole numbers of so many tens to a negative power.
    Decimal(i32),
    Text,
}

impl Kind {
    /// Or what it is that is not read.
    fn of(column: &ColumnDescriptor) -> Result<Self, &'static str> {
        if column.max_rep_level() > 0 {
            return Err("lists");
        }
        let decimal = matches!(column.logical_type_ref(), Some(LogicalType::Decimal { .. }))
            || column.converted_type() == ConvertedType::DECIMAL;
        match column.physical_type() {
            _ if decimal => Ok(Self::Decimal(column.type_scale())),
            Stored::INT96 => Err("moments of an old form"),
            Stored::FIXED_LEN_BYTE_ARRAY => Err("bytes"),
            Stored::BYTE_ARRAY => Ok(Self::Text),
            Stored::INT32 | Stored::INT64 if is_unsigned(column) => Ok(Self::Unsigned),
            Stored::INT32 | Stored::INT64 | Stored::BOOLEAN | Stored::FLOAT | Stored::DOUBLE => Ok(Self::Plain),
        }
    }
}

fn is_unsigned(column: &ColumnDescriptor) -> bool {
    matches!(
        column.converted_type(),
        ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64
    )
}

/// A block's part of a column.
#[derive(Default)]
pub(super) struct Column {
    values: Values,
    levels: Vec<i16>,
}

/// A value for every row; NaN and nothing are missing.
enum Values {
    Numbers(Vec<f64>),
    Texts(Vec<Option<ByteArray>>),
}

impl Default for Values {
    fn default() -> Self {
        Self::Numbers(Vec::new())
    }
}

impl Column {
    pub(super) fn cell(&self, row: usize) -> Cell<'_> {
        match &self.values {
            Values::Numbers(numbers) => numbers.get(row).map_or(Cell::Missing, |&number| Cell::Number(number)),
            Values::Texts(texts) => texts.get(row).and_then(Option::as_ref).and_then(|text| text.as_utf8().ok()).into(),
        }
    }

    fn read(&mut self, reader: &mut ColumnReader, column: &ColumnDescriptor, rows: usize) -> Result<(), Failure> {
        let kind = Kind::of(column).map_err(|what| Failure::new(format!("{what} are not read")))?;
        let most = column.max_def_level();
        match reader {
            ColumnReader::BoolColumnReader(reader) => {
                self.numbers(reader, rows, most, |value| f64::from(u8::from(*value)))
            }
            ColumnReader::Int32ColumnReader(reader) => self.numbers(reader, rows, most, |value| match kind {
                Kind::Unsigned => f64::from(value.cast_unsigned()),
                _ => scaled(f64::from(*value), kind),
            }),
            ColumnReader::Int64ColumnReader(reader) => self.numbers(reader, rows, most, |value| match kind {
                Kind::Unsigned => nearest(i128::from(value.cast_unsigned())),
                _ => scaled(nearest(i128::from(*value)), kind),
            }),
            ColumnReader::FloatColumnReader(reader) => self.numbers(reader, rows, most, |value| f64::from(*value)),
            ColumnReader::DoubleColumnReader(reader) => self.numbers(reader, rows, most, |value| *value),
            ColumnReader::FixedLenByteArrayColumnReader(reader) => {
                self.numbers(reader, rows, most, |value| scaled(whole(value.data()), kind))
            }
            ColumnReader::ByteArrayColumnReader(reader) if kind == Kind::Text => self.texts(reader, rows, most),
            ColumnReader::ByteArrayColumnReader(reader) => {
                self.numbers(reader, rows, most, |value| scaled(whole(value.data()), kind))
            }
            ColumnReader::Int96ColumnReader(_) => Ok(()),
        }
    }

    fn numbers<T: DataType>(
        &mut self,
        reader: &mut ColumnReaderImpl<T>,
        rows: usize,
        most: i16,
        number: impl Fn(&T::T) -> f64,
    ) -> Result<(), Failure> {
        let held = given(reader, rows, most, &mut self.levels)?;
        if !matches!(self.values, Values::Numbers(_)) {
            self.values = Values::default();
        }
        if let Values::Numbers(numbers) = &mut self.values {
            let mut held = held.iter();
            let mut value =
                |level: &i16| if *level == GIVEN { held.next().map_or(f64::NAN, &number) } else { f64::NAN };
            numbers.clear();
            numbers.extend(self.levels.iter().map(&mut value));
        }
        Ok(())
    }

    fn texts(&mut self, reader: &mut ColumnReaderImpl<ByteArrayType>, rows: usize, most: i16) -> Result<(), Failure> {
        let held = given(reader, rows, most, &mut self.levels)?;
        for text in &held {
            text.as_utf8()?;
        }
        let mut held = held.into_iter();
        let texts = self.levels.iter().map(|&level| if level == GIVEN { held.next() } else { None });
        self.values = Values::Texts(texts.collect());
        Ok(())
    }
}

/// The level of a row whose value is there.
const GIVEN: i16 = 1;

/// The values that are there, with [`GIVEN`] or 0 for every row.
fn given<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
    most: i16,
    levels: &mut Vec<i16>,
) -> Result<Vec<T::T>, Failure> {
    let mut values = Vec::with_capacity(rows);
    levels.clear();
    let (read, ..) = reader.read_records(rows, Some(levels), None, &mut values)?;
    if read != rows {
        return Err(Failure::new("ends before the other columns"));
    }
    if most == 0 {
        // Nothing may be missing: no levels are kept.
        levels.clear();
        levels.resize(rows, GIVEN);
    } else {
        levels.iter_mut().for_each(|level| *level = i16::from(*level == most));
    }
    Ok(values)
}

/// Divides what stands for a decimal number by its scale.
fn scaled(number: f64, kind: Kind) -> f64 {
    match kind {
        Kind::Decimal(scale) => number / 10_f64.powi(scale),
        _ => number,
    }
}

/// A whole number of many bytes, the highest first.
fn whole(bytes: &[u8]) -> f64 {
    let negative = bytes.first().is_some_and(|byte| *byte > 127);
    nearest(bytes.iter().fold(if negative { -1 } else { 0 }, |number: i128, &byte| number << 8 | i128::from(byte)))
}

#[expect(clippy::cast_precision_loss, reason = "trees read numbers of at most double precision")]
fn nearest(number: i128) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{BLOCK, Block, Table};
    use super::*;

    fn fixture() -> Table {
        Table::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/fixtures/columns.parquet")).unwrap()
    }

    /// `tests/peers/make_table.py` wrote the file: 2,500 rows in groups of 1,000, each kind of column with every seventh
    /// value missing.
    #[test]
    fn every_kind_of_column_another_program_writes_is_read() {
        let mut table = fixture();
        let place = |name: &str| table.names().iter().position(|known| known == name).unwrap();
        let names = ["double", "float", "int8", "int64", "uint64", "bool", "decimal", "word", "dictionary", "small"];
        let wanted = names.map(place);
        table.only(&wanted).unwrap();
        let (mut block, mut row) = (Block::new(), 0_u32);
        loop {
            table.read(&mut block).unwrap();
            assert!(block.rows() <= BLOCK);
            if block.rows() == 0 {
                break;
            }
            for at in 0..block.rows() {
                let number = f64::from(row);
                let word = format!("wörd {}", row % 11);
                let expected = [
                    Cell::Number(number / 3.0),
                    Cell::Number(number + 0.5),
                    Cell::Number(f64::from(row % 100) - 50.0),
                    Cell::Number(number * 1e12),
                    Cell::Number(1.8e19 + 2048.0 * number),
                    Cell::Number(f64::from(row % 2)),
                    Cell::Number((number - 1000.0) / 100.0),
                    Cell::Text(&word),
                    Cell::Text(&word),
                    Cell::Number(f64::from(row % 300)),
                ];
                for ((name, place), expected) in names.iter().zip(wanted).zip(expected) {
                    let cell = block.cell(at, place);
                    let given = row % 7 != 3 || *name == "small";
                    let right = match cell {
                        Cell::Number(number) if number.is_nan() => !given,
                        Cell::Missing => !given,
                        cell => given && cell == expected,
                    };
                    assert!(right, "{name} of row {row} is {cell:?}");
                }
                row += 1;
                assert_eq!(block.place(at).to_string(), format!("row {row}"));
            }
        }
        assert_eq!((row, table.share()), (2500, Some(1.0)));
    }

    #[test]
    fn what_is_not_read_is_refused_by_name() {
        let mut table = fixture();
        let place = table.names().iter().position(|name| name.starts_with("list")).unwrap();
        let refused = table.only(&[place]).unwrap_err().to_string();
        assert!(refused.starts_with("column list") && refused.ends_with("holds lists, which is not read"), "{refused}");
        let folder = tempfile::tempdir().unwrap();
        let cut = folder.path().join("cut.parquet");
        std::fs::write(&cut, b"PAR1 and nothing else").unwrap();
        assert!(Table::open(&cut).is_err());
    }

    #[test]
    fn decimals_of_bytes_have_their_sign() {
        assert_eq!(whole(&[0xff, 0x85]), -123.0);
        assert_eq!(whole(&[0x00, 0x85]), 133.0);
        assert_eq!(scaled(whole(&[0xff, 0x85]), Kind::Decimal(2)), -1.23);
    }
}
