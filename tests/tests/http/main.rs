//! The program as its callers meet it: HTTP against the real server. A slice adds its module here.

mod crm;
mod desk;
mod platform;
