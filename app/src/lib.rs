//! Candor: the front office of a lender in one program.
//!
//! Each folder is a slice that a person at the bank would name; it holds its own routes, queries and view
//! models. [`server`] is the only module that knows every slice.

pub mod accounts;
pub mod app;
pub mod applications;
pub mod audit;
pub mod bank;
pub mod cli;
pub mod config;
pub mod conversations;
pub mod crm;
pub mod db;
pub mod demo;
pub mod error;
pub mod generation;
pub mod jobs;
pub mod knowledge;
pub mod limits;
pub mod live;
pub mod logging;
pub mod manage;
pub mod monitoring;
pub mod openai;
pub mod pages;
pub mod replicas;
pub mod reports;
pub mod server;
pub mod webhooks;

pub use error::{AppError, Result};
