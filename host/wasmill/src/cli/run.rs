//! Options of `run` and `submit`: a task and its options.

use std::time::Duration;

use clap::Args;
use wasmill_model::{ATTEMPTS_MAX, IdPrefix, parse_duration};

use crate::cli::files::FileArg;
use crate::cli::server::{ServerArgs, WaitArgs};
use crate::settings::{ForRun, Given, count};

/// The input of a task, given in one of two ways.
#[derive(Args, Debug, Default)]
pub(crate) struct InputArgs {
    /// Input: JSON, or @FILE or - (stdin) with JSON
    #[arg(long, short, value_name = "JSON|@FILE|-", allow_hyphen_values = true, conflicts_with_all = ["stdin", "args"])]
    pub(crate) input: Option<String>,

    /// Stdin of a program: a file, or - for this command's own
    #[arg(long, value_name = "FILE|-", allow_hyphen_values = true)]
    pub(crate) stdin: Option<String>,

    /// Arguments of a program, after `--`
    #[arg(value_name = "ARG", last = true)]
    pub(crate) args: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// A .wasm file, or the name of a plugin in the plugins folder or built in
    #[arg(value_name = "FILE|NAME")]
    pub(crate) plugin: String,

    #[command(flatten)]
    pub(crate) input: InputArgs,

    /// Timeout of one attempt [default: as in the manifest, else 10m]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,

    /// Maximum attempts, including the first; the backoff is that of the manifest
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count(1..=ATTEMPTS_MAX, ""))]
    pub(crate) max_attempts: u32,

    /// An event that the task has from the start, as JSON; repeatable
    #[arg(long, value_name = "JSON|@FILE|-", allow_hyphen_values = true)]
    pub(crate) event: Vec<String>,

    /// How long to wait for the guest to stop after Ctrl-C; a second Ctrl-C kills it at once
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub(crate) grace: Duration,

    /// Hide log and progress
    #[arg(long, short)]
    pub(crate) quiet: bool,

    /// Print the outcome as one JSON object that includes the result
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) given: Given<ForRun>,
}

#[derive(Args, Debug)]
pub(crate) struct SubmitArgs {
    /// Name of a plugin on the server [default: io-stub]
    #[arg(value_name = "PLUGIN")]
    pub(crate) plugin: Option<String>,

    #[command(flatten)]
    pub(crate) input: InputArgs,

    /// File that the plugin finds in its scratch folder, under this name, or that of the path; repeatable
    #[arg(long, value_name = "[NAME=]PATH")]
    pub(crate) file: Vec<FileArg>,

    #[command(flatten)]
    pub(crate) wait: WaitArgs,

    #[command(flatten)]
    pub(crate) options: TaskOptions,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// Options of a submitted task. Unset options are left to the plugin or the server; a server rejects options that it
/// does not know.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Task options")]
pub(crate) struct TaskOptions {
    /// Timeout of one attempt
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<String>,

    /// Maximum attempts, including the first; 1 to 100
    #[arg(long, value_name = "N", value_parser = count::<u32>(.., ""))]
    pub(crate) max_attempts: Option<u32>,

    /// Waits between attempts, as JSON: {"first": "1s", "factor": 2, "max": "5m", "jitter": 0.5}
    #[arg(long, value_name = "JSON")]
    pub(crate) backoff: Option<String>,

    /// Priority; tasks with a higher one start first
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = parse_priority)]
    pub(crate) priority: Option<i64>,

    /// Start after this delay at the earliest
    #[arg(long, value_name = "TIME", conflicts_with = "run_at")]
    pub(crate) delay: Option<String>,

    /// Start at this time at the earliest, such as 2026-11-23T07:26:49Z
    #[arg(long, value_name = "TIME")]
    pub(crate) run_at: Option<String>,

    /// Tag to find the task by; repeatable
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Vec<String>,

    /// Group of the task, such as a tenant; the groups of a plugin share its slots fairly
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,

    /// Allow only one unfinished task with this key
    #[arg(long, value_name = "KEY")]
    pub(crate) unique_key: Option<String>,

    /// What to do if the unique key is taken: refuse the task, or return the id of the existing one
    #[arg(long, value_name = "refuse|return", requires = "unique_key")]
    pub(crate) on_conflict: Option<String>,

    /// Start after this task has finished, given by its id, or the start or end of one; repeatable
    #[arg(long, value_name = "ID")]
    pub(crate) after: Vec<IdPrefix>,

    /// What to do if a task given by --after does not complete: cancel this one, or run it anyway
    #[arg(long, value_name = "cancel|run", requires = "after")]
    pub(crate) on_failure: Option<String>,

    /// Pass the results of the tasks given by --after; a program gets them as stdin
    #[arg(long, requires = "after")]
    pub(crate) with_results: bool,

    /// Pass the files that the tasks given by --after leave, under their names or in a folder for each
    #[arg(long, value_name = "dependencies|dependency-folders", requires = "after")]
    pub(crate) files_from: Option<String>,

    /// Idempotency key: the same request sent again returns the first task
    #[arg(long, value_name = "KEY", value_parser = parse_idempotency_key)]
    pub(crate) idempotency_key: Option<String>,

    /// URL to notify by POST when the task has finished
    #[arg(long, value_name = "URL")]
    pub(crate) webhook: Option<String>,

    /// Outcomes that trigger the webhook [default: all]
    #[arg(long, value_name = "completed|failed|cancelled", requires = "webhook", value_delimiter = ',')]
    pub(crate) webhook_on: Vec<String>,
}

/// Parses an idempotency key by the same rules as a server.
fn parse_idempotency_key(text: &str) -> Result<String, &'static str> {
    let is_valid = (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_valid {
        Ok(text.to_owned())
    } else {
        Err("must be 1 to 255 visible ASCII characters, without spaces")
    }
}

fn parse_priority(text: &str) -> Result<i64, &'static str> {
    text.parse().map_err(|_| "must be a whole number, such as 5 or -5")
}
