//! The `wasmill` binary: reads the command line and hands over to one command.

mod backup;
mod cli;
mod client;
mod health;
mod output;
mod plugin;
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
        Command::Backup(args) => backup::backup(args),
        Command::Plugin(command) => plugin::plugin(command),
        Command::Compile { order } => wasmill_runtime::compile_child(&order).map_err(anyhow::Error::msg),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wasmill: {error:#}");
            ExitCode::FAILURE
        }
    }
}
