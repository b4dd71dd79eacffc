//! `wasmill run`: runs one task in this process, without a server or a database.
//!
//! Loads one plugin into a runtime with one slot and acts as its host: log and progress go to stderr, the result to
//! stdout. `attempt` does what the scheduler does for a server: timeout, attempts and stopping.

mod attempt;
mod find;
mod host;
mod report;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use wasmill_model::{AttemptCounts, Backoff, Failure, Limits, PluginName, Suspension, TaskId, Usage};
use wasmill_runtime::{CacheConfig, InputBudget, LoaderConfig, PluginState, Runtime, RuntimeConfig};

use self::attempt::{Attempt, AttemptOutcome, AttemptStep, StopRequests};
use self::find::FoundPlugin;
use self::host::LocalHost;
use self::report::RunReport;
use crate::built_in::INPUT_CHECKS;
use crate::cli::run::RunArgs;
use crate::exit::{Exit, cli_error};
use crate::serve::protected::protected_beside_a_server;
use crate::settings::Settings;
use crate::terminal::status_line::{REDRAW_INTERVAL, SharedStatusLine, StatusView};
use crate::terminal::text::truncated;
use crate::{process, telemetry};

/// How long to wait for threads that still work for a guest that is gone.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs the task.
pub(crate) fn run(args: RunArgs) -> Result<Exit> {
    let input = args.input.read()?.map(|input| input.get().to_owned());
    let settings = Settings::load(args.given)?;
    let source = find::find(&args.plugin, &settings.plugins)?;
    let status_line = SharedStatusLine::new(args.quiet);
    telemetry::start_for_run(&status_line)?;
    let threads = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("failed to start threads")?;
    let options =
        RunOptions { input, timeout: args.timeout, attempts_max: args.max_attempts, grace: args.grace };
    let report = threads.block_on(execute(&settings, source, options, &status_line));
    threads.shutdown_timeout(SHUTDOWN_TIMEOUT);
    let report = report?;
    status_line.lock().clear();
    if args.json {
        report.print_json()?;
    } else {
        report.print(args.quiet);
    }
    Ok(report.exit())
}

struct RunOptions {
    input: Option<String>,
    /// `None` means the manifest's timeout.
    timeout: Option<Duration>,
    attempts_max: u32,
    grace: Duration,
}

/// A runtime with the one plugin to run.
struct LoadedPlugin {
    runtime: Runtime,
    plugin: PluginName,
    digest: String,
}

async fn execute(
    settings: &Settings,
    source: FoundPlugin,
    options: RunOptions,
    status_line: &SharedStatusLine,
) -> Result<RunReport> {
    let mut stop = StopRequests::listen(options.grace)?;
    let shown = source.name().to_owned();
    let Some(loaded) = load_unless_stopped(settings, source, status_line, &mut stop).await? else {
        return Ok(RunReport::stopped_early(&shown));
    };
    let LoadedPlugin { runtime, plugin, digest } = loaded;
    let config = runtime.plugin_config(&plugin).context("the plugin was just put into service")?;
    check_input(&runtime, &plugin, options.input.as_deref())?;
    let host = Arc::new(LocalHost::new(status_line.clone()));
    let backoff = config.retry.backoff.unwrap_or_default();
    let task = TaskId::new();
    let (attempts_max, retry_on) = (options.attempts_max, config.retry.on);
    let mut attempts = AttemptCounts { attempt: 1, attempts_max, host_crashes: 0, retry_on };
    loop {
        let one = Attempt {
            task,
            plugin: plugin.clone(),
            number: attempts.attempt,
            attempts_max,
            input: options.input.clone(),
            timeout: options.timeout.unwrap_or(config.limits.timeout),
        };
        host.start_attempt();
        let started_at = Instant::now();
        let ran = one.run(&runtime, &host, status_line, &mut stop).await;
        let usage = Usage { wall: started_at.elapsed(), ..host.usage() };
        let end = match ran {
            AttemptStep::Ended(end) => end,
            AttemptStep::Suspended(Suspension { wait, state }) => {
                host.set_checkpoint(state);
                status_line.lock().line(&format!("wasmill: suspended, resumes in {wait:?}"));
                tokio::select! {
                    biased;
                    () = stop.requested() => AttemptOutcome::Stopped,
                    () = tokio::time::sleep(wait) => continue,
                }
            }
        };
        let may_retry = !stop.was_requested();
        let end = match retry(&end, attempts, backoff).filter(|_| may_retry) {
            None => end,
            Some((failure, wait)) => {
                announce_retry(status_line, failure, attempts, wait);
                tokio::select! {
                    biased;
                    () = stop.requested() => AttemptOutcome::Stopped,
                    () = tokio::time::sleep(wait) => {
                        attempts.attempt += 1;
                        continue;
                    }
                }
            }
        };
        return Ok(RunReport::new(&plugin, digest, attempts.attempt, stop.elapsed(), usage, end));
    }
}

/// Returns the failure after which there is another attempt, and the wait before it.
fn retry(end: &AttemptOutcome, attempts: AttemptCounts, backoff: Backoff) -> Option<(&Failure, Duration)> {
    let AttemptOutcome::Failed(failure) = end else { return None };
    // Jitter spreads tasks that failed together; this task is alone.
    attempts.wait_after(failure, backoff, 0.0).map(|wait| (failure, wait))
}

/// Prints why an attempt failed, and when the next one starts.
fn announce_retry(
    status_line: &SharedStatusLine,
    failure: &Failure,
    AttemptCounts { attempt, attempts_max, .. }: AttemptCounts,
    wait: Duration,
) {
    status_line.lock().line(&format!(
        "wasmill: attempt {attempt} of {attempts_max} failed by {}: {}; retrying in {wait:?}",
        failure.cause.words(),
        truncated(&failure.message, 200),
    ));
}

/// Loads the plugin and shows that it compiles. Returns `None` if a signal stops the command first.
async fn load_unless_stopped(
    settings: &Settings,
    source: FoundPlugin,
    status_line: &SharedStatusLine,
    stop: &mut StopRequests,
) -> Result<Option<LoadedPlugin>> {
    let title = source.name().to_owned();
    let limits = settings.limits();
    let loader = LoaderConfig { max_limits: Some(settings.max_limits()), ..plugins(settings) };
    let mut loading = tokio::task::spawn_blocking(move || load(limits, loader, &source));
    loop {
        tokio::select! {
            biased;
            () = stop.requested() => return Ok(None),
            loaded = &mut loading => return Ok(Some(loaded??)),
            () = tokio::time::sleep(REDRAW_INTERVAL) => {
                status_line.lock().draw(&StatusView {
                    title: title.clone(),
                    note: "compiling".to_owned(),
                    elapsed: stop.elapsed(),
                    ..StatusView::default()
                });
            }
        }
    }
}

/// Returns how commands other than `serve` load plugins.
pub(crate) fn plugins(settings: &Settings) -> LoaderConfig {
    LoaderConfig {
        http_roots: settings.http_roots.clone(),
        cache: process::cache_folder()
            .map(|folder| CacheConfig { bytes_max: settings.cache.as_u64(), ..CacheConfig::new(folder) }),
        scratch: process::cache_folder().map(|folder| folder.join("scratch")),
        input_checks: &INPUT_CHECKS,
        protected: protected_beside_a_server(settings),
        secrets: settings.secrets.secrets(),
        ..LoaderConfig::default()
    }
}

/// Creates a runtime with one slot and one plugin. Blocks while it compiles.
fn load(limits: Limits, plugins: LoaderConfig, source: &FoundPlugin) -> Result<LoadedPlugin> {
    let size = RuntimeConfig { slots: 1, limits, memory_total_bytes: None };
    let (builtins, file) = match source {
        FoundPlugin::BuiltIn(name, bytes) => (vec![(name.as_str(), *bytes)], None),
        FoundPlugin::File { path, .. } => (Vec::new(), Some(path)),
    };
    let runtime = Runtime::start(size, &builtins, plugins)?;
    let info = match file {
        Some(path) => runtime.load(path)?,
        None => runtime.plugins_info().pop().context("one plugin is built in")?,
    };
    match (&info.state, info.name.parse()) {
        (PluginState::Rejected(reason), _) => {
            let named = file.map_or(info.name.clone(), |path| path.display().to_string());
            Err(cli_error(Exit::Usage, format!("{named} cannot run: {reason}")))
        }
        (_, Err(_)) => Err(cli_error(Exit::Usage, format!("'{}' is not a valid plugin name", info.name))),
        (_, Ok(plugin)) => Ok(LoadedPlugin { runtime, plugin, digest: info.digest.unwrap_or_default() }),
    }
}

/// Validates the input against the plugin, as a server does before it accepts a task.
fn check_input(runtime: &Runtime, plugin: &PluginName, input: Option<&str>) -> Result<()> {
    let violations = runtime.check_input(plugin, input, &mut InputBudget::full());
    if violations.is_empty() {
        return Ok(());
    }
    let mut message = "the plugin rejects the input".to_owned();
    for violation in violations {
        message.push_str(&format!("\n  /input{}: {}", violation.pointer, violation.message));
    }
    Err(cli_error(Exit::Usage, message))
}
