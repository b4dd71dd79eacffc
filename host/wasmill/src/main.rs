//! The `wasmill` binary: reads the command line and hands over to one command.

mod cli;
mod client;
mod health;
mod process;
mod serve;
mod settings;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Serve(args) => serve::serve(*args),
        Command::Health(args) => health::health(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wasmill: {error:#}");
            ExitCode::FAILURE
        }
    }
}
