//! `wasmill test`: runs the cases beside a plugin in the real engine, without a server, and compares what happened.
//!
//! Each case is a task of its own, run as `wasmill run` does, with the manifest's limits and permissions.

mod cases;
mod compare;
mod diff;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;
use wasmill_model::{Cause, Failure, Usage};

use self::cases::Case;
use crate::cli::author::TestArgs;
use crate::exit::{Exit, cli_error};
use crate::output::{data, note, out};
use crate::run::{
    AttemptOutcome, FoundPlugin, LocalHost, LocalTask, StopRequests, block_on, find, load_unless_stopped,
};
use crate::settings::Settings;
use crate::telemetry;
use crate::terminal::status_line::SharedStatusLine;
use crate::terminal::style::Style;
use crate::terminal::text::{format_bytes, format_duration};

/// What the names of the files with cases end with.
const CASES_SUFFIX: &str = ".test.toml";

/// How many lines of a log are shown of a case that fails.
const LOG_LINES_MAX: usize = 20;

/// How long a guest may clean up after Ctrl-C.
const GRACE: Duration = Duration::from_secs(2);

/// A plugin and the cases to run.
struct Suite {
    source: FoundPlugin,
    cases: Vec<Case>,
}

/// How many cases passed and failed.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    was_stopped: bool,
}

/// Runs the cases.
pub(crate) fn test(args: &TestArgs) -> Result<Exit> {
    let settings = Settings::load(args.given.clone())?;
    let suites = suites(args, &settings)?;
    let status_line = SharedStatusLine::new(args.json);
    telemetry::start_for_run(&status_line)?;
    let tally = block_on(run_all(&settings, suites, args.json, &status_line))??;
    status_line.lock().clear();
    let Tally { passed, failed, was_stopped } = tally;
    if !args.json {
        let style = Style::stdout();
        let count = format!("{passed} of {} cases passed", passed + failed);
        out!("{}", if failed == 0 { style.green(count) } else { style.red(count) });
    }
    if was_stopped {
        note!("stopped before the last case");
        return Ok(Exit::Cancelled);
    }
    Ok(if failed == 0 { Exit::Done } else { Exit::Failed })
}

/// Reads all cases before the first one runs, so that a mistake in a file shows at once.
fn suites(args: &TestArgs, settings: &Settings) -> Result<Vec<Suite>> {
    let files = match (&args.plugin, &args.cases) {
        (Some(plugin), cases) => {
            let source = find(plugin, &settings.plugins)?;
            let beside = match (&source, cases) {
                (_, Some(cases)) => cases.clone(),
                (FoundPlugin::File { path, .. }, None) => path.with_extension(&CASES_SUFFIX[1..]),
                (FoundPlugin::BuiltIn(name, _), None) => {
                    let message =
                        format!("'{name}' is built in and has no cases beside it: use --cases FILE");
                    return Err(cli_error(Exit::Usage, message));
                }
            };
            vec![(source, beside)]
        }
        (None, Some(cases)) => vec![(plugin_of(cases, settings)?, cases.clone())],
        (None, None) => {
            let files = in_this_folder()?;
            files.into_iter().map(|file| Ok((plugin_of(&file, settings)?, file))).collect::<Result<_>>()?
        }
    };
    let mut suites = Vec::new();
    for (source, file) in files {
        let mut cases = cases::read(&file)?;
        if let Some(filter) = &args.filter {
            cases.retain(|case| format!("{}: {}", source.name(), case.name).contains(filter.as_str()));
        }
        suites.push(Suite { source, cases });
    }
    suites.retain(|suite| !suite.cases.is_empty());
    if suites.is_empty() {
        let filter = args.filter.as_deref().unwrap_or_default();
        return Err(cli_error(Exit::Usage, format!("no case has '{filter}' in its plugin and name")));
    }
    Ok(suites)
}

/// Returns the plugin beside a file with cases.
fn plugin_of(cases: &Path, settings: &Settings) -> Result<FoundPlugin> {
    let shown = cases.display().to_string();
    let Some(stem) = shown.strip_suffix(CASES_SUFFIX) else {
        let message = format!("{shown} does not name its plugin: its name should end in {CASES_SUFFIX}");
        return Err(cli_error(Exit::Usage, message));
    };
    find(&format!("{stem}.wasm"), &settings.plugins)
}

fn in_this_folder() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(".").context("failed to read the current folder")? {
        let name = entry.context("failed to read the current folder")?.file_name();
        if name.to_string_lossy().ends_with(CASES_SUFFIX) {
            files.push(PathBuf::from(name));
        }
    }
    files.sort();
    if files.is_empty() {
        let message = format!("there is no file with cases in this folder: its name ends in {CASES_SUFFIX}");
        return Err(cli_error(Exit::NotFound, message));
    }
    Ok(files)
}

async fn run_all(
    settings: &Settings,
    suites: Vec<Suite>,
    is_json: bool,
    status_line: &SharedStatusLine,
) -> Result<Tally> {
    let mut stop = StopRequests::listen(GRACE)?;
    let mut tally = Tally::default();
    for Suite { source, cases } in suites {
        let plugin = source.name().to_owned();
        let Some(loaded) = load_unless_stopped(settings, source, status_line, &mut stop).await? else {
            return Ok(Tally { was_stopped: true, ..tally });
        };
        for case in cases {
            let host = Arc::new(LocalHost::keeping_log());
            let started_at = Instant::now();
            let violations = loaded.violations(case.input.as_deref());
            let (end, usage) = if violations.is_empty() {
                let task = LocalTask {
                    input: case.input.clone(),
                    timeout: case.timeout,
                    attempts_max: case.attempts_max,
                };
                let report = task.run(&loaded, &host, status_line, &mut stop).await?;
                (report.end, report.usage)
            } else {
                // A server refuses such a task.
                let failure = Failure::new(Cause::InvalidInput, violations.join("\n"));
                (AttemptOutcome::Failed(failure), Usage::default())
            };
            if matches!(end, AttemptOutcome::Stopped) {
                return Ok(Tally { was_stopped: true, ..tally });
            }
            let took = started_at.elapsed();
            let log = host.kept_log();
            let wrong = compare::mismatches(&case, &end, &usage, &log);
            status_line.lock().clear();
            if is_json {
                print_json(&plugin, &case.name, took, &usage, &wrong)?;
            } else {
                print(&plugin, &case.name, took, &usage, &wrong, &log);
            }
            *(if wrong.is_empty() { &mut tally.passed } else { &mut tally.failed }) += 1;
        }
    }
    Ok(tally)
}

fn print(plugin: &str, case: &str, took: Duration, usage: &Usage, wrong: &[String], log: &str) {
    let style = Style::stdout();
    let costs = style.dim(format!("({}, {})", format_duration(took), format_bytes(usage.memory_bytes)));
    if wrong.is_empty() {
        out!("{}  {plugin}: {case} {costs}", style.green("ok    "));
        return;
    }
    out!("{}  {plugin}: {case} {costs}", style.red("FAILED"));
    for line in wrong.iter().flat_map(|wrong| wrong.lines()) {
        out!("        {line}");
    }
    let lines: Vec<_> = log.lines().collect();
    if let Some(hidden) = lines.len().checked_sub(LOG_LINES_MAX).filter(|hidden| *hidden > 0) {
        out!("        {}", style.dim(format!("its log, without the first {hidden} lines:")));
    } else if !lines.is_empty() {
        out!("        {}", style.dim("its log:"));
    }
    for line in lines.iter().skip(lines.len().saturating_sub(LOG_LINES_MAX)) {
        out!("          {line}");
    }
}

fn print_json(plugin: &str, case: &str, took: Duration, usage: &Usage, wrong: &[String]) -> Result<()> {
    let line = json!({
        "plugin": plugin,
        "case": case,
        "passed": wrong.is_empty(),
        "wrong": wrong,
        "duration_ms": u64::try_from(took.as_millis())?,
        "usage": wasmill_api::usage_view(usage),
    });
    data!("{line}");
    Ok(())
}
