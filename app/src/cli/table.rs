//! Tables of rows, read a block at a time: CSV or Parquet, told apart by how the file begins.

mod parquet;

use std::fmt::{self, Display};
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use candor_engine::risk::Cell;

use self::parquet::{Column, ParquetTable};
use super::Failure;
use super::lines::open;

/// Rows of a block.
pub(super) const BLOCK: usize = 1024;

/// How every Parquet file begins.
const PARQUET: &[u8] = b"PAR1";

/// An open table.
pub(super) struct Table {
    form: Form,
    names: Vec<String>,
    /// Bytes of the file, where it is one.
    size: Option<u64>,
}

enum Form {
    Csv(Box<csv::Reader<Box<dyn Read + Send>>>),
    Parquet(Box<ParquetTable>),
}

impl Table {
    /// Opens a file; `-` is standard input, which is CSV.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        if path != Path::new("-") {
            let mut file = File::open(path).map_err(|error| Failure::from(error).at(path.display()))?;
            let mut start = Vec::new();
            file.by_ref().take(4).read_to_end(&mut start)?;
            if start == PARQUET {
                file.rewind()?;
                let table = ParquetTable::new(file).map_err(|failure| failure.at(path.display()))?;
                return Ok(Self { names: table.names(), form: Form::Parquet(Box::new(table)), size: None });
            }
        }
        let mut reader = csv::Reader::from_reader(open(Some(path))?);
        let names = reader.headers()?.iter().map(str::to_owned).collect();
        let size = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|file| file.len());
        Ok(Self { form: Form::Csv(Box::new(reader)), names, size })
    }

    /// The columns' names.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Only these columns will be asked for.
    pub(super) fn only(&mut self, columns: &[usize]) -> Result<(), Failure> {
        match &mut self.form {
            Form::Csv(_) => Ok(()),
            Form::Parquet(table) => table.only(columns),
        }
    }

    /// Reads the next rows, up to [`BLOCK`] of them. None are left where the block stays empty.
    pub(super) fn read(&mut self, block: &mut Block) -> Result<(), Failure> {
        block.rows = 0;
        match &mut self.form {
            Form::Csv(reader) => {
                if !matches!(block.cells, Cells::Csv(_)) {
                    block.cells = Cells::Csv(vec![csv::StringRecord::new(); BLOCK]);
                }
                let Cells::Csv(records) = &mut block.cells else { return Ok(()) };
                for record in records {
                    if !reader.read_record(record)? {
                        break;
                    }
                    block.rows += 1;
                }
            }
            Form::Parquet(table) => {
                if !matches!(block.cells, Cells::Parquet { .. }) {
                    block.cells = Cells::Parquet { first: 0, columns: Vec::new() };
                }
                let Cells::Parquet { first, columns } = &mut block.cells else { return Ok(()) };
                *first = table.done();
                block.rows = table.read(BLOCK, columns)?;
            }
        }
        Ok(())
    }

    /// The share of the table that was read, where it can be known.
    pub(super) fn share(&self) -> Option<f64> {
        let (done, all) = match &self.form {
            Form::Csv(reader) => (reader.position().byte(), self.size?),
            Form::Parquet(table) => (table.done(), table.rows()),
        };
        (all > 0).then(|| ratio(done, all))
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share in percent is said of it")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// Rows that were read together; their room is used again.
pub(super) struct Block {
    rows: usize,
    cells: Cells,
}

enum Cells {
    Csv(Vec<csv::StringRecord>),
    Parquet {
        /// The rows before this block.
        first: u64,
        columns: Vec<Column>,
    },
}

impl Block {
    pub(super) fn new() -> Self {
        Self { rows: 0, cells: Cells::Csv(vec![csv::StringRecord::new(); BLOCK]) }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// What is in a row of the block.
    pub(super) fn cell(&self, row: usize, column: usize) -> Cell<'_> {
        match &self.cells {
            Cells::Csv(records) => records.get(row).and_then(|record| record.get(column)).into(),
            Cells::Parquet { columns, .. } => columns.get(column).map_or(Cell::Missing, |column| column.cell(row)),
        }
    }

    /// Where a row is in its file.
    pub(super) fn place(&self, row: usize) -> Place {
        let row_number = |before: u64| Place::Row(before + u64::try_from(row).unwrap_or(u64::MAX) + 1);
        match &self.cells {
            Cells::Csv(records) => records
                .get(row)
                .and_then(csv::StringRecord::position)
                .map_or_else(|| row_number(0), |position| Place::Line(position.line())),
            Cells::Parquet { first, .. } => row_number(*first),
        }
    }
}

/// A place in a table.
pub(super) enum Place {
    Line(u64),
    Row(u64),
}

impl Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(formatter, "line {line}"),
            Self::Row(row) => write!(formatter, "row {row}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_and_places_of_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        let rows: String = (0..BLOCK + 5).map(|row| format!("{row},\"two\nlines\"\n")).collect();
        std::fs::write(&path, format!("a,b\n{rows}")).unwrap();
        let mut table = Table::open(&path).unwrap();
        assert_eq!(table.names(), ["a", "b"]);
        let mut block = Block::new();
        table.read(&mut block).unwrap();
        assert_eq!(
            (block.rows(), block.cell(1, 0), block.cell(1, 1)),
            (BLOCK, Cell::Text("1"), Cell::Text("two\nlines"))
        );
        assert_eq!((block.cell(1, 2), block.place(1).to_string()), (Cell::Missing, "line 4".to_owned()));
        assert!(table.share().unwrap() > 0.9);
        table.read(&mut block).unwrap();
        assert_eq!((block.rows(), block.cell(4, 0)), (5, Cell::Text("1028")));
        table.read(&mut block).unwrap();
        assert_eq!(block.rows(), 0);
    }
}
