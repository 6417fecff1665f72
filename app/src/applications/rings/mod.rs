//! Rings: applications that share a device, an address, a telephone, an account or an employer, and those that share one
//! with these. Postgres walks them (`ring`, migration 0201), for a page as of now and for the factors as of the arrival.

mod drawing;
mod member;

pub(super) use drawing::{Drawing, draw};
pub(super) use member::{Member, ring};
