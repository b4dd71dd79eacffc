//! Log lines on stderr, for people or for machines.

use std::io::{self, IsTerminal, Write, stderr};

use anyhow::{Context, Result};
use tracing_subscriber::EnvFilter;

use crate::run::Screen;
use crate::settings::LogFormat;

/// What is logged of a run without a server: denied permissions, and a cache that is no use.
const FILTER_OF_RUN: &str = "warn";

/// Starts logging for the rest of the process.
pub(crate) fn start(filter: &str, format: LogFormat) -> Result<()> {
    let filter =
        EnvFilter::try_new(filter).with_context(|| format!("failed to understand log filter '{filter}'"))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let started = match format {
        LogFormat::Human => log.with_target(false).with_ansi(stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    started.map_err(anyhow::Error::from_boxed).context("failed to start logging")
}

/// Starts logging for a run without a server: warnings only, above its live line.
pub(crate) fn start_above(screen: &Screen) -> Result<()> {
    let screen = screen.clone();
    let log = tracing_subscriber::fmt()
        .with_env_filter(FILTER_OF_RUN)
        .with_target(false)
        .with_ansi(false)
        .without_time()
        .with_writer(move || Above(screen.clone()));
    log.try_init().map_err(anyhow::Error::from_boxed).context("failed to start logging")
}

/// Writes each line that it is given above a live line.
struct Above(Screen);

impl Write for Above {
    fn write(&mut self, written: &[u8]) -> io::Result<usize> {
        self.0.lock().line(String::from_utf8_lossy(written).trim());
        Ok(written.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
