//! `wasmill run`: one task here and now, without a server and without a database.
//!
//! Puts a runtime of one slot together, loads one plugin and runs it, with this process as its host: log and
//! progress on stderr, the result on stdout. What the scheduler does for a server, timeout, attempts and
//! the stop, `attempt` does here.

mod attempt;
mod find;
mod host;
mod report;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use wasmill_model::{Later, Limits, PluginName, TaskId, Usage};
use wasmill_runtime::{CacheConfig, InputBudget, PluginState, PluginsConfig, Runtime, RuntimeConfig};

use self::attempt::{Attempt, End, Ran, Stop};
use self::find::Found;
use self::host::LocalHost;
use self::report::Report;
use crate::cli::ServeArgs;
use crate::cli::run::RunArgs;
use crate::exit::{Exit, told};
use crate::process;
use crate::screen::live::{Live, Moment, REDRAW};
use crate::screen::text::clipped;
use crate::serve::INPUT_CHECKS;
use crate::settings::{Config, Settings};
use crate::telemetry;

/// How long threads that still do something for a guest that is gone are waited for.
const SHUTDOWN_MAX: Duration = Duration::from_secs(1);

/// Runs it.
pub(crate) fn run(args: RunArgs) -> Result<Exit> {
    let input = args.input.read()?.map(|input| input.get().to_owned());
    let settings = Settings { plugins: args.plugins, memory: args.memory, ..Settings::default() };
    let config = Config::load(ServeArgs { config: args.config, settings })?;
    let found = find::find(&args.plugin, &config.plugins)?;
    let live = Screen::new(args.quiet);
    telemetry::start_above(&live)?;
    let threads = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("failed to start threads")?;
    let order = Order {
        input,
        timeout: args.timeout.map(|timeout| timeout.0),
        attempts_max: args.max_attempts,
        grace: args.grace.0,
    };
    let report = threads.block_on(carry_out(&config, found, order, &live));
    threads.shutdown_timeout(SHUTDOWN_MAX);
    let report = report?;
    live.lock().clear();
    if args.json {
        report.print_json()?;
    } else {
        report.print(args.quiet);
    }
    Ok(report.exit())
}

/// What is to be done with the plugin.
struct Order {
    input: Option<String>,
    /// `None` means that of the manifest.
    timeout: Option<Duration>,
    attempts_max: u32,
    grace: Duration,
}

async fn carry_out(config: &Config, found: Found, order: Order, live: &Screen) -> Result<Report> {
    let mut stop = Stop::listen(order.grace)?;
    let shown = found.name().to_owned();
    let (limits, config) =
        (config.limits(), PluginsConfig { ceilings: Some(config.ceilings), ..plugins(config) });
    let mut loading = tokio::task::spawn_blocking(move || load(limits, config, &found));
    let (runtime, plugin, digest) = loop {
        tokio::select! {
            biased;
            () = stop.asked() => return Ok(Report::stopped_early(&shown)),
            loaded = &mut loading => break loaded??,
            () = tokio::time::sleep(REDRAW) => {
                let note = "compiling".to_owned();
                live.lock().draw(&Moment { title: shown.clone(), note, elapsed: stop.age(), ..Moment::default() });
            }
        }
    };
    let terms = runtime.terms(&plugin).context("the plugin was just put into service")?;
    check_input(&runtime, &plugin, order.input.as_deref())?;
    let host = Arc::new(LocalHost::new(live.clone()));
    let backoff = terms.retry.backoff.unwrap_or_default();
    let task = TaskId::new();
    let mut attempt = 1;
    loop {
        let one = Attempt {
            task,
            plugin: plugin.clone(),
            number: attempt,
            attempts_max: order.attempts_max,
            input: order.input.clone(),
            timeout: order.timeout.unwrap_or(terms.limits.timeout),
        };
        host.begin();
        let begun = Instant::now();
        let ran = one.run(&runtime, &host, live, &mut stop).await;
        let usage = Usage { wall: begun.elapsed(), ..host.usage() };
        let end = match ran {
            Ran::Ended(end) => end,
            Ran::Parked(Later { wait, state }) => {
                host.keep(state);
                live.lock().line(&format!("wasmill: parked, goes on in {wait:?}"));
                tokio::select! {
                    biased;
                    () = stop.asked() => End::Stopped,
                    () = tokio::time::sleep(wait) => continue,
                }
            }
        };
        let may_go_on = attempt < order.attempts_max && !stop.was_asked();
        let failure = match &end {
            End::Failed(failure) if may_go_on && failure.cause.is_transient() => failure,
            _ => return Ok(Report::new(&plugin, digest, attempt, stop.age(), usage, end)),
        };
        // Jitter spreads tasks that failed together; this one is alone.
        let wait = backoff.wait(attempt, 0.0);
        live.lock().line(&format!(
            "wasmill: attempt {attempt} of {} failed by {}: {}; the next is in {wait:?}",
            order.attempts_max,
            failure.cause.words(),
            clipped(&failure.message, 200),
        ));
        tokio::select! {
            biased;
            () = stop.asked() => return Ok(Report::new(&plugin, digest, attempt, stop.age(), usage, End::Stopped)),
            () = tokio::time::sleep(wait) => attempt += 1,
        }
    }
}

/// Says how plugins are loaded for a command that is no server.
pub(crate) fn plugins(config: &Config) -> PluginsConfig {
    PluginsConfig {
        http_roots: config.http_roots.clone(),
        cache: process::cache_folder()
            .map(|folder| CacheConfig { bytes_max: config.cache_bytes, ..CacheConfig::new(folder) }),
        input_checks: &INPUT_CHECKS,
        ..PluginsConfig::default()
    }
}

/// Makes a runtime that has one slot and one plugin. Blocks while it compiles.
fn load(limits: Limits, plugins: PluginsConfig, found: &Found) -> Result<(Runtime, PluginName, String)> {
    let size = RuntimeConfig { slots: 1, limits, memory_total_bytes: None };
    let (builtins, file) = match found {
        Found::BuiltIn(name, bytes) => (vec![(name.as_str(), *bytes)], None),
        Found::File { path, .. } => (Vec::new(), Some(path)),
    };
    let runtime = Runtime::start(size, &builtins, plugins)?;
    let info = match file {
        Some(path) => runtime.load(path)?,
        None => runtime.plugins_info().pop().context("one plugin is built in")?,
    };
    match (&info.state, info.name.parse()) {
        (PluginState::Rejected(reason), _) => {
            let named = file.map_or(info.name.clone(), |path| path.display().to_string());
            Err(told(Exit::Usage, format!("{named} cannot run: {reason}")))
        }
        (_, Err(_)) => Err(told(Exit::Usage, format!("'{}' cannot name a plugin", info.name))),
        (_, Ok(name)) => Ok((runtime, name, info.digest.unwrap_or_default())),
    }
}

/// Asks the plugin whether the input will do, as a server does before it takes a task.
fn check_input(runtime: &Runtime, plugin: &PluginName, input: Option<&str>) -> Result<()> {
    let violations = runtime.check_input(plugin, input, &mut InputBudget::full());
    if violations.is_empty() {
        return Ok(());
    }
    let mut message = "the input does not fit the plugin".to_owned();
    for violation in violations {
        message.push_str(&format!("\n  /input{}: {}", violation.pointer, violation.message));
    }
    Err(told(Exit::Usage, message))
}

/// The live line, which the guest's log passes above.
#[derive(Clone)]
pub(crate) struct Screen(Arc<Mutex<Live>>);

impl Screen {
    fn new(is_quiet: bool) -> Self {
        Self(Arc::new(Mutex::new(Live::new(is_quiet))))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Live> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
