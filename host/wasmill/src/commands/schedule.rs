//! `wasmill schedule`: lists, sets, pauses and runs schedules.

use anyhow::Result;
use hyper::{Method, StatusCode};
use serde::Deserialize;
use wasmill_model::ScheduleName;

use crate::cli::schedule::{
    ListSchedulesArgs, MissedRuns, RunScheduleArgs, ScheduleCommand, SchedulesArgs, SetScheduleArgs,
    ShowScheduleArgs,
};
use crate::client::{Client, ClientRequest, block_on};
use crate::commands::query::Body;
use crate::commands::show::line;
use crate::commands::submit::{body, report_created};
use crate::exit::{Exit, cli_error};
use crate::output::{data, out};
use crate::terminal::style::Style;
use crate::terminal::text::truncated;

/// Columns of a cron expression in the list.
const CRON_COLUMNS: usize = 18;

/// The shown parts of a schedule.
#[derive(Deserialize)]
struct Schedule {
    name: String,
    from: String,
    cron: String,
    timezone: String,
    plugin: String,
    paused: bool,
    next_runs: Vec<String>,
    runs: u64,
    skipped: u64,
    last_error: Option<String>,
    #[serde(default)]
    missed: String,
    #[serde(default)]
    overlap: bool,
    #[serde(default)]
    last_run: Option<LastRun>,
    /// The task request; lists omit it.
    #[serde(default)]
    task: serde_json::Value,
}

/// The latest run.
#[derive(Deserialize)]
struct LastRun {
    time: String,
    task: String,
}

/// Runs one of the subcommands.
pub(crate) fn schedule(command: &ScheduleCommand) -> Result<Exit> {
    match command {
        ScheduleCommand::List(args) => list(args),
        ScheduleCommand::Show(args) => show(args),
        ScheduleCommand::Set(args) => set(args),
        ScheduleCommand::Delete(args) => for_each_schedule(args, &Method::DELETE, "", "deleted"),
        ScheduleCommand::Pause(args) => for_each_schedule(args, &Method::POST, "/pause", "paused"),
        ScheduleCommand::Resume(args) => for_each_schedule(args, &Method::POST, "/resume", "resumed"),
        ScheduleCommand::Run(args) => run(args),
    }
}

fn list(args: &ListSchedulesArgs) -> Result<Exit> {
    let client = Client::new(&args.server)?;
    let response = block_on(async { client.get("/schedules").await?.error_for_status() })?;
    if args.json {
        data!("{}", response.text());
        return Ok(Exit::Done);
    }
    let schedules: Vec<Schedule> = response.read_list()?;
    let style = Style::stdout();
    let head = format!(
        "{:<20}  {:<18}  {:<25}  {:<16}  {:<8}  {:>8}  {:>8}",
        "NAME", "CRON", "NEXT", "PLUGIN", "FROM", "RUNS", "SKIPPED"
    );
    out!("{}", style.bold(head));
    for schedule in schedules {
        let Schedule { name, from, cron, plugin, runs, skipped, .. } = &schedule;
        let (cron, plugin) = (truncated(cron, CRON_COLUMNS), truncated(plugin, usize::MAX));
        let next = next(&schedule);
        out!("{name:<20}  {cron:<18}  {next:<25}  {plugin:<16}  {from:<8}  {runs:>8}  {skipped:>8}");
        if let Some(error) = &schedule.last_error {
            out!("  {}", style.red(error));
        }
    }
    Ok(Exit::Done)
}

fn next(schedule: &Schedule) -> &str {
    match schedule.next_runs.first() {
        _ if schedule.paused => "paused",
        Some(next) => next,
        None => "never",
    }
}

fn show(args: &ShowScheduleArgs) -> Result<Exit> {
    let client = Client::new(&args.server)?;
    let response =
        block_on(async { client.get(&format!("/schedules/{}", args.name)).await?.error_for_status() })?;
    if args.json {
        data!("{}", response.text());
        return Ok(Exit::Done);
    }
    let schedule: Schedule = response.read()?;
    let Schedule { name, from, cron, timezone, paused, runs, skipped, missed, overlap, .. } = &schedule;
    line("schedule", name);
    line("from", from);
    line("cron", &format!("{cron} ({timezone})"));
    line("missed", missed);
    line("overlap", if *overlap { "yes" } else { "no" });
    line("task", &schedule.task.to_string());
    if *paused {
        line("next", "paused");
    } else {
        line("next", &schedule.next_runs.join("\n          "));
    }
    line("runs", &format!("{runs}, {skipped} skipped"));
    if let Some(last) = &schedule.last_run {
        line("last run", &format!("{}, task {}", last.time, last.task));
    }
    if let Some(error) = &schedule.last_error {
        line("error", &Style::stdout().red(error));
    }
    Ok(Exit::Done)
}

fn set(args: &SetScheduleArgs) -> Result<Exit> {
    let SetScheduleArgs { name, cron, plugin, timezone, missed, no_overlap, input, options, .. } = args;
    if options.idempotency_key.is_some() {
        let why = "--idempotency-key applies to a single task; a schedule submits a new one each time";
        return Err(cli_error(Exit::Usage, why));
    }
    if !options.after.is_empty() {
        let why = "--after applies to a single task; a schedule submits a new one each time";
        return Err(cli_error(Exit::Usage, why));
    }
    let task = body(plugin.as_deref(), input.read()?, options, &[])?;
    let missed = missed.map(|missed| match missed {
        MissedRuns::Skip => "skip",
        MissedRuns::One => "one",
        MissedRuns::All => "all",
    });
    let body = Body::default()
        .with("cron", Some(cron))
        .with("timezone", timezone.as_ref())
        .with("missed", missed)
        .with("overlap", no_overlap.then_some(false))
        .with("task", Some(task));
    let body = Some(body.to_json());
    let client = Client::new(&args.server)?;
    let path = format!("/schedules/{name}");
    let response = block_on(async {
        client
            .send(ClientRequest { body, ..ClientRequest::new(Method::PUT, &path) })
            .await?
            .error_for_status()
    })?;
    if args.json {
        data!("{}", response.text());
        return Ok(Exit::Done);
    }
    let schedule: Schedule = response.read()?;
    let done = if response.status == StatusCode::CREATED { "created" } else { "replaced" };
    out!("{name} {done}, next at {} ({})", next(&schedule), schedule.timezone);
    Ok(Exit::Done)
}

/// Runs an operation for each schedule, up to the first error.
fn for_each_schedule(args: &SchedulesArgs, method: &Method, below: &str, done: &str) -> Result<Exit> {
    let client = Client::new(&args.server)?;
    block_on(async {
        for name in &args.names {
            let path = path(name, below);
            client.send(ClientRequest::new(method.clone(), &path)).await?.error_for_status()?;
            out!("{name} {done}");
        }
        Ok(Exit::Done)
    })
}

fn path(name: &ScheduleName, below: &str) -> String {
    format!("/schedules/{name}{below}")
}

fn run(args: &RunScheduleArgs) -> Result<Exit> {
    let client = Client::new(&args.server)?;
    block_on(async {
        let response = client
            .send(ClientRequest::new(Method::POST, &path(&args.name, "/run")))
            .await?
            .error_for_status()?;
        report_created(&client, &response, args.wait).await
    })
}
