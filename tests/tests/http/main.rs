//! The program as its callers meet it: HTTP against the real server. A slice adds its module here.

mod accounts;
mod applications;
mod apply;
mod audit;
mod bank;
mod chat;
mod crm;
mod desk;
mod knowledge;
mod manage;
mod platform;
mod records;
