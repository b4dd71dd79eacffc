//! `wasmill plugin trust`: lists files in `trusted.toml` of the plugins folder. It edits a file, and needs no server.

use anyhow::Result;
use wasmill_runtime::{ListError, trust_file};

use crate::cli::TrustArgs;
use crate::exit::{Exit, cli_error, read_error};
use crate::output::out;
use crate::settings::Settings;
use crate::terminal::text::sanitize;

/// Lists each file with what lies beside it, and prints what is trusted now.
pub(super) fn trust(args: TrustArgs) -> Result<()> {
    let TrustArgs { files, keep, given } = args;
    let settings = Settings::load(given)?;
    for file in files {
        let trusted = trust_file(&settings.plugins, &file, keep).map_err(|error| match &error {
            ListError::Io { what: "read", path, error } => read_error(path.display(), error),
            ListError::Io { .. } | ListError::Invalid { .. } => cli_error(Exit::Failed, error.to_string()),
        })?;
        for (name, digest) in trusted {
            out!("{} trusted with {digest}", sanitize(&name));
        }
    }
    Ok(())
}
