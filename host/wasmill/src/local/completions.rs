//! `wasmill completions`: a shell completion script, generated from the command line definition.

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::cli::Cli;
use crate::output;

/// Prints the script.
pub(crate) fn completions(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "wasmill", &mut script);
    output::text(&String::from_utf8(script)?);
    Ok(())
}
