//! Cursor pagination: newest first, the cursor is opaque to the caller.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{AppError, Result};

/// Which part of a list is wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Paging {
    /// How many, 1 to 200; 50 when absent.
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl Paging {
    /// Rows to fetch: one more than asked, to know whether there is another page.
    pub(super) fn fetch(&self) -> Result<i64> {
        let limit = self.limit.unwrap_or(50);
        if !(1..=200).contains(&limit) {
            return Err(AppError::field("limit", "Must be between 1 and 200."));
        }
        Ok(limit + 1)
    }

    /// Rows older than this id are wanted.
    pub(super) fn before(&self) -> Result<Option<Uuid>> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        URL_SAFE_NO_PAD
            .decode(cursor)
            .ok()
            .and_then(|bytes| Uuid::from_slice(&bytes).ok())
            .map(Some)
            .ok_or_else(|| AppError::field("cursor", "Send next_cursor of the page before, unchanged."))
    }
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page<T> {
    /// The items, newest first.
    pub(super) data: Vec<T>,
    /// Send it as `cursor` for the next page; null on the last.
    pub(super) next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// Cuts the one row too many that [`Paging::fetch`] asked for.
    pub(super) fn new(mut data: Vec<T>, paging: &Paging, id: impl Fn(&T) -> Uuid) -> Result<Self> {
        let limit = usize::try_from(paging.fetch()? - 1).unwrap_or(50);
        let more = data.len() > limit;
        data.truncate(limit);
        let next_cursor = data.last().filter(|_| more).map(|last| URL_SAFE_NO_PAD.encode(id(last).as_bytes()));
        Ok(Self { data, next_cursor })
    }
}
