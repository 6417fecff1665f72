//! The program as its operator meets it: started, killed, stopped, asked for help.

mod process;

mod command_line;
mod private_postgres;
mod replicas;
