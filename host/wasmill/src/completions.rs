//! `wasmill completions`: a script that completes commands in a shell, made from the command line itself.

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::{Shell, generate};

use crate::cli::Cli;
use crate::output;

/// Prints it.
pub(crate) fn completions(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "wasmill", &mut script);
    output::text(&String::from_utf8(script)?);
    Ok(())
}
