//! A table as a CSV file.

use actix_web::HttpResponse;
use actix_web::http::header::{CONTENT_TYPE, ContentDisposition, DispositionParam, DispositionType, HeaderValue};

use crate::{AppError, Result};

/// One row of CSV (RFC 4180). A text that a spreadsheet would run as a formula gets a leading apostrophe.
///
/// # Errors
/// When a row can not be written, which happens only for want of memory.
pub fn csv_rows<Row, Cell>(rows: impl IntoIterator<Item = Row>) -> Result<Vec<u8>>
where
    Row: IntoIterator<Item = Cell>,
    Cell: AsRef<str>,
{
    let mut writer = csv::WriterBuilder::new().flexible(true).terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    for row in rows {
        for cell in row {
            writer.write_field(disarmed(cell.as_ref()).as_bytes()).map_err(failed)?;
        }
        writer.write_record(None::<&[u8]>).map_err(failed)?;
    }
    writer.into_inner().map_err(|error| AppError::Internal(error.to_string()))
}

fn failed(error: csv::Error) -> AppError {
    AppError::Internal(format!("csv: {error}"))
}

fn disarmed(cell: &str) -> std::borrow::Cow<'_, str> {
    let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && cell.parse::<f64>().is_err();
    if formula { format!("'{cell}").into() } else { cell.into() }
}

/// The headers of a CSV download called `name`.
#[must_use]
pub fn csv_headers(name: &str) -> [(actix_web::http::header::HeaderName, HeaderValue); 2] {
    let disposition = ContentDisposition {
        disposition: DispositionType::Attachment,
        parameters: vec![DispositionParam::Filename(name.to_owned())],
    };
    let disposition = HeaderValue::from_str(&disposition.to_string());
    [
        (CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8")),
        (
            actix_web::http::header::CONTENT_DISPOSITION,
            disposition.unwrap_or_else(|_| HeaderValue::from_static("attachment")),
        ),
    ]
}

/// A whole table as a download.
///
/// # Errors
/// As [`csv_rows`].
pub fn csv_file<Row, Cell>(name: &str, rows: impl IntoIterator<Item = Row>) -> Result<HttpResponse>
where
    Row: IntoIterator<Item = Cell>,
    Cell: AsRef<str>,
{
    let body = csv_rows(rows)?;
    let mut answer = HttpResponse::Ok();
    for header in csv_headers(name) {
        answer.insert_header(header);
    }
    Ok(answer.body(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_formulas_disarmed() {
        let made = csv_rows([vec!["a,b", "say \"x\""], vec!["=1+1", "-0.25"]]).unwrap();
        assert_eq!(String::from_utf8(made).unwrap(), "\"a,b\",\"say \"\"x\"\"\"\r\n'=1+1,-0.25\r\n");
    }
}
