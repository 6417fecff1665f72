//! What a table holds in one place.

/// A cell of a table. Files of text hold only texts; others know which columns are numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'c> {
    /// Nothing.
    Missing,
    /// A number; NaN means nothing.
    Number(f64),
    /// A text; empty means nothing.
    Text(&'c str),
}

impl<'c> From<Option<&'c str>> for Cell<'c> {
    fn from(text: Option<&'c str>) -> Cell<'c> {
        text.map_or(Cell::Missing, Cell::Text)
    }
}

impl<'c> From<&'c str> for Cell<'c> {
    fn from(text: &'c str) -> Cell<'c> {
        Cell::Text(text)
    }
}
