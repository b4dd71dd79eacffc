//! Log lines on stderr, for people or machines, where warnings and errors are counted; and traces for a collector.

use std::io::{self, IsTerminal, Write, stderr};
use std::sync::Arc;

use anyhow::{Context, Result};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{self, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt, registry};
use wasmill_api::LogEvents;
use wasmill_egress::ConnectionQuota;
use wasmill_model::{Clock, Tracer};
use wasmill_runtime::connector;
use wasmill_traces::Export;

use crate::environment;
use crate::settings::LogFormat;
use crate::terminal::status_line::SharedStatusLine;

/// The log filter of a run without a server: denied permissions and an unusable cache.
const FILTER_OF_RUN: &str = "warn";

/// Starts logging for the rest of the process; returns the counter of logged warnings and errors.
pub(crate) fn start(filter: &str, format: LogFormat) -> Result<Arc<LogEvents>> {
    let filter = EnvFilter::try_new(filter).with_context(|| format!("invalid log filter '{filter}'"))?;
    let events = Arc::new(LogEvents::default());
    // The filter precedes both layers, so only logged events are counted.
    let log = registry().with(filter).with(CountLayer(Arc::clone(&events)));
    // A closed stderr must not end the thread that logs.
    let lines = fmt::layer().with_writer(stderr).log_internal_errors(false);
    let started = match format {
        LogFormat::Human => log.with(lines.with_target(false).with_ansi(stderr().is_terminal())).try_init(),
        LogFormat::Json => log.with(lines.json().flatten_event(true)).try_init(),
    };
    started.context("failed to start logging")?;
    Ok(events)
}

/// Creates the tracer, and the exporter with its loop if the setting or the environment names a collector.
///
/// # Errors
///
/// Fails if the address or the certificates of the collector are invalid.
pub(crate) fn traces(endpoint: Option<&str>, clock: &Arc<dyn Clock>) -> Result<(Tracer, Option<Export>)> {
    environment::check_utf8("OTEL_")?;
    wasmill_traces::prepare(endpoint, clock, |roots| connector(roots, ConnectionQuota::Own))
}

/// Counts errors and warnings.
struct CountLayer(Arc<LogEvents>);

impl<S: Subscriber> Layer<S> for CountLayer {
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        match *event.metadata().level() {
            Level::ERROR => self.0.add_error(),
            Level::WARN => self.0.add_warning(),
            _ => {}
        }
    }
}

/// Starts logging for a run without a server: warnings only, above the status line.
pub(crate) fn start_for_run(terminal: &SharedStatusLine) -> Result<()> {
    let terminal = terminal.clone();
    let log = fmt()
        .with_env_filter(FILTER_OF_RUN)
        .with_target(false)
        .with_ansi(false)
        .without_time()
        .with_writer(move || AboveStatusLine(terminal.clone()));
    log.try_init().map_err(anyhow::Error::from_boxed).context("failed to start logging")
}

/// Writes each line above the status line.
struct AboveStatusLine(SharedStatusLine);

impl Write for AboveStatusLine {
    fn write(&mut self, written: &[u8]) -> io::Result<usize> {
        self.0.lock().line(String::from_utf8_lossy(written).trim());
        Ok(written.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
