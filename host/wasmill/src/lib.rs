//! The code of the `wasmill` binary: parses the command line and runs one command.

mod built_in;
mod cli;
mod client;
mod commands;
mod database;
mod doctor;
mod environment;
mod exit;
mod input;
mod key;
mod local;
mod output;
mod plugin;
mod process;
mod run;
mod serve;
mod settings;
mod telemetry;
mod terminal;

use std::process::ExitCode;

use anyhow::Result;

use crate::cli::{Command, DatabaseCommand};
use crate::exit::Exit;
use crate::output::note;

/// Runs the command of this process's arguments, and returns its exit code.
pub fn main() -> ExitCode {
    let cli = environment::parse();
    terminal::style::set_color(cli.color);
    let exit = run_command(cli.command).unwrap_or_else(|error| {
        note!("wasmill: {error:#}");
        exit::code_of(&error)
    });
    exit.into()
}

fn run_command(command: Command) -> Result<Exit> {
    // The doctor reports an error itself; the other two read no settings.
    if !matches!(command, Command::Doctor(_) | Command::Completions { .. } | Command::Compile { .. }) {
        environment::check()?;
    }
    let done = |()| Exit::Done;
    match command {
        Command::Serve(given) => serve::serve(given, doctor::running).map(done),
        Command::Run(args) => run::run(args),
        Command::Test(args) => plugin::test(&args),
        Command::Dev(args) => plugin::dev(&args),
        Command::Submit(args) => commands::submit(&args),
        Command::List(args) => commands::list(&args),
        Command::Status(args) => commands::status(&args),
        Command::Why(args) => commands::why(&args),
        Command::Dependents(args) => commands::dependents(&args),
        Command::Files(args) => commands::files(&args),
        Command::Result(args) => commands::result(&args),
        Command::Logs(args) => commands::logs(&args),
        Command::Cancel(args) => commands::cancel(&args),
        Command::Delete(args) => commands::delete(&args),
        Command::Event(args) => commands::event(&args),
        Command::Retry(args) => commands::retry(&args),
        Command::Watch(args) => commands::watch(&args),
        Command::Stats(args) => commands::stats(&args),
        Command::Attention(args) => commands::attention(&args),
        Command::Hosts(args) => commands::hosts(&args),
        Command::Health(args) => commands::health(&args).map(done),
        Command::Backup(args) => local::backup::backup(args).map(done),
        Command::Database(DatabaseCommand::Migrate(args)) => local::migrate::migrate(args).map(done),
        Command::Doctor(args) => Ok(doctor::doctor(args)),
        Command::Schedule(command) => commands::schedule(&command),
        Command::Audit(args) => local::audit::audit(args).map(done),
        Command::Login(args) => commands::login(&args),
        Command::Logout(args) => commands::logout(&args),
        Command::Key(command) => key::key(command),
        Command::Plugin(command) => plugin::plugin(command).map(done),
        Command::Completions { shell } => local::completions::completions(shell).map(done),
        Command::Compile { request } => {
            wasmill_runtime::compile_child(&request).map_err(anyhow::Error::msg).map(done)
        }
    }
}
