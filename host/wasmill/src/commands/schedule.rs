//! `wasmill schedule`: lists, sets, holds back and runs what a server does again and again.

use anyhow::Result;
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wasmill_model::ScheduleName;

use crate::cli::schedule::{
    ListSchedulesArgs, MissedRuns, RunScheduleArgs, ScheduleCommand, SchedulesArgs, SetScheduleArgs,
    ShowScheduleArgs,
};
use crate::client::{Ask, Client, block_on};
use crate::commands::submit::{accepted, body};
use crate::exit::{Exit, told};
use crate::output::{data, say};
use crate::screen::paint::Paint;
use crate::screen::text::clipped;

/// Columns of an expression in the list.
const CRON_COLUMNS: usize = 18;

/// The body of `PUT /schedules/{name}`; what was not asked for is not in it.
#[derive(Serialize)]
struct Request<'a> {
    cron: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    timezone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missed: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    overlap: Option<bool>,
    task: Box<RawValue>,
}

/// What is shown of a schedule.
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
    /// What it asks for; lists leave it out.
    #[serde(default)]
    task: serde_json::Value,
}

/// The newest run.
#[derive(Deserialize)]
struct LastRun {
    time: String,
    task: String,
}

/// Carries out one of its commands.
pub(crate) fn schedule(command: &ScheduleCommand) -> Result<Exit> {
    match command {
        ScheduleCommand::List(args) => list(args),
        ScheduleCommand::Show(args) => show(args),
        ScheduleCommand::Set(args) => set(args),
        ScheduleCommand::Delete(args) => each(args, &Method::DELETE, "", "deleted"),
        ScheduleCommand::Pause(args) => each(args, &Method::POST, "/pause", "paused"),
        ScheduleCommand::Resume(args) => each(args, &Method::POST, "/resume", "resumed"),
        ScheduleCommand::Run(args) => run(args),
    }
}

fn list(args: &ListSchedulesArgs) -> Result<Exit> {
    let client = Client::new(&args.server)?;
    let answer = block_on(async { client.get("/schedules").await?.good() })?;
    if args.json {
        data!("{}", answer.text());
        return Ok(Exit::Done);
    }
    let schedules: Vec<Schedule> = answer.read()?;
    let paint = Paint::stdout();
    let head = format!(
        "{:<20}  {:<18}  {:<25}  {:<16}  {:<8}  {:>8}  {:>8}",
        "NAME", "CRON", "NEXT", "PLUGIN", "FROM", "RUNS", "SKIPPED"
    );
    say!("{}", paint.bold(head));
    for schedule in schedules {
        let Schedule { name, from, cron, plugin, runs, skipped, .. } = &schedule;
        let (cron, plugin) = (clipped(cron, CRON_COLUMNS), clipped(plugin, usize::MAX));
        let next = next(&schedule);
        say!("{name:<20}  {cron:<18}  {next:<25}  {plugin:<16}  {from:<8}  {runs:>8}  {skipped:>8}");
        if let Some(error) = &schedule.last_error {
            say!("  {}", paint.red(error));
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
    let answer = block_on(async { client.get(&format!("/schedules/{}", args.name)).await?.good() })?;
    if args.json {
        data!("{}", answer.text());
        return Ok(Exit::Done);
    }
    let schedule: Schedule = answer.read()?;
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
        line("error", &Paint::stdout().red(error));
    }
    Ok(Exit::Done)
}

fn line(name: &str, value: &str) {
    say!("{name:<9} {value}");
}

fn set(args: &SetScheduleArgs) -> Result<Exit> {
    let SetScheduleArgs { name, cron, plugin, timezone, missed, no_overlap, input, options, .. } = args;
    if options.idempotency_key.is_some() {
        let why = "--idempotency-key is for a single task: a schedule asks for a new one each time";
        return Err(told(Exit::Usage, why));
    }
    if !options.after.is_empty() {
        let why = "--after is for a single task: a schedule asks for a new one each time";
        return Err(told(Exit::Usage, why));
    }
    let task = RawValue::from_string(body(plugin.as_deref(), input.read()?, options, &[])?)?;
    let missed = missed.map(|missed| match missed {
        MissedRuns::Skip => "skip",
        MissedRuns::One => "one",
        MissedRuns::All => "all",
    });
    let overlap = no_overlap.then_some(false);
    let request = Request { cron, timezone: timezone.as_deref(), missed, overlap, task };
    let body = Some(("application/json", serde_json::to_vec(&request)?.into()));
    let client = Client::new(&args.server)?;
    let path = format!("/schedules/{name}");
    let answer = block_on(async { client.send(Ask { body, ..Ask::new(Method::PUT, &path) }).await?.good() })?;
    if args.json {
        data!("{}", answer.text());
        return Ok(Exit::Done);
    }
    let schedule: Schedule = answer.read()?;
    let done = if answer.status == StatusCode::CREATED { "made" } else { "replaced" };
    say!("{name} {done}, next at {} ({})", next(&schedule), schedule.timezone);
    Ok(Exit::Done)
}

/// Does something to each, one after another, up to the first that it cannot be done to.
fn each(args: &SchedulesArgs, method: &Method, below: &str, done: &str) -> Result<Exit> {
    let client = Client::new(&args.server)?;
    block_on(async {
        for name in &args.names {
            let path = path(name, below);
            client.send(Ask::new(method.clone(), &path)).await?.good()?;
            say!("{name} {done}");
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
        let answer = client.send(Ask::new(Method::POST, &path(&args.name, "/run"))).await?.good()?;
        accepted(&client, &answer, args.wait).await
    })
}
