//! `wasmill run`: runs one task in this process, without a server or a database.
//!
//! Loads one plugin into a runtime with one slot and acts as its host: log and progress go to stderr, the result to
//! stdout. `attempt` does what the scheduler does for a server: timeout, attempts and stopping.

mod attempt;
mod find;
mod host;
mod load;
mod report;
mod task;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};

pub(crate) use self::attempt::{AttemptOutcome, StopRequests};
pub(crate) use self::find::{FoundPlugin, find};
pub(crate) use self::host::LocalHost;
pub(crate) use self::load::{load_unless_stopped, plugins};
use self::report::RunReport;
pub(crate) use self::task::LocalTask;
use crate::cli::run::RunArgs;
use crate::exit::{Exit, cli_error};
use crate::input::json_argument;
use crate::settings::Settings;
use crate::telemetry;
use crate::terminal::status_line::SharedStatusLine;

/// How long to wait for threads that still work for a guest that is gone.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs the task.
pub(crate) fn run(args: RunArgs) -> Result<Exit> {
    let input = args.input.read()?.map(|input| input.get().to_owned());
    let events = args.event.iter().map(|event| Ok(json_argument(event)?.get().to_owned()));
    let events = events.collect::<Result<Vec<_>>>()?;
    let settings = Settings::load(args.given)?;
    let source = find(&args.plugin, &settings.plugins)?;
    let status_line = SharedStatusLine::new(args.quiet);
    telemetry::start_for_run(&status_line)?;
    let host = Arc::new(LocalHost::new(status_line.clone(), events));
    let task = LocalTask { input, timeout: args.timeout, attempts_max: args.max_attempts };
    let report = block_on(execute(&settings, source, task, &host, args.grace, &status_line))??;
    status_line.lock().clear();
    if args.json {
        report.print_json()?;
    } else {
        report.print(args.quiet);
    }
    Ok(report.exit())
}

/// Waits for a future of this command, on threads of its own.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
    let threads = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("failed to start threads")?;
    let output = threads.block_on(future);
    threads.shutdown_timeout(SHUTDOWN_TIMEOUT);
    Ok(output)
}

async fn execute(
    settings: &Settings,
    source: FoundPlugin,
    task: LocalTask,
    host: &Arc<LocalHost>,
    grace: Duration,
    status_line: &SharedStatusLine,
) -> Result<RunReport> {
    let mut stop = StopRequests::listen(grace)?;
    let shown = source.name().to_owned();
    let Some(loaded) = load_unless_stopped(settings, source, status_line, &mut stop).await? else {
        return Ok(RunReport::stopped_early(&shown));
    };
    let violations = loaded.violations(task.input.as_deref());
    if !violations.is_empty() {
        let message = format!("the plugin rejects the input\n  {}", violations.join("\n  "));
        return Err(cli_error(Exit::Usage, message));
    }
    task.run(&loaded, host, status_line, &mut stop).await
}
