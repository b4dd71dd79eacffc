//! Options of commands that talk to a server.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use wasmill_api::Listen;
use wasmill_model::{IdPrefix, parse_duration};

use crate::settings::{LISTEN, count};

/// The server to talk to.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerArgs {
    /// URL of the server; https:// and a path are allowed
    #[arg(long, value_name = "URL", env, default_value = format!("http://{LISTEN}"))]
    pub(crate) server: String,

    /// PEM file with certificates that https:// trusts in addition to the public roots
    #[arg(long, value_name = "FILE", env)]
    pub(crate) ca: Option<PathBuf>,

    /// File with the key to send; the variable WASMILL_KEY may hold the key itself [default: the line of the server in
    /// ~/.config/wasmill/keys, a URL and a key]
    #[arg(long, value_name = "FILE", env)]
    pub(crate) key_file: Option<PathBuf>,

    /// Header to send with each request, such as 'Authorization: Bearer …' for a proxy; repeatable. Values are never
    /// shown. The environment variable holds one header per line and keeps values out of process lists
    #[arg(long, value_name = "NAME: VALUE", env = "HEADERS", hide_env_values = true, value_delimiter = '\n')]
    pub(crate) header: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct LoginArgs {
    /// Print what the key may do as JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct LogoutArgs {
    /// URL of the server
    #[arg(long, value_name = "URL", env, default_value = format!("http://{LISTEN}"))]
    pub(crate) server: String,
}

#[derive(Args, Debug)]
pub(crate) struct HealthArgs {
    /// Address that a server on this machine listens on, unless --server names one; 0.0.0.0 is checked at 127.0.0.1
    #[arg(long, env, value_name = "ADDRESS", default_value = LISTEN)]
    pub(crate) listen: Listen,

    /// The certificate file of that server: if there is one, it is asked over https, whatever name it is for
    #[arg(long, env, value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// Filter for tasks; all conditions must match.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct FilterArgs {
    /// Only tasks in this state: waiting (or only blocked, scheduled, suspended or available), running, completed,
    /// failed or cancelled; several separated by commas
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    pub(crate) state: Vec<String>,

    /// Only tasks of this plugin
    #[arg(long, value_name = "NAME")]
    pub(crate) plugin: Option<String>,

    /// Only tasks with this tag; repeatable
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Vec<String>,

    /// Only tasks submitted at this time or later, such as 2026-11-23T07:26:49Z
    #[arg(long, value_name = "TIME")]
    pub(crate) created_after: Option<String>,

    /// Only tasks submitted before this time
    #[arg(long, value_name = "TIME")]
    pub(crate) created_before: Option<String>,

    /// Only tasks whose id starts with this prefix of at least four digits
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<IdPrefix>,

    /// Only tasks whose id ends with this suffix of at least four digits
    #[arg(long, value_name = "ID")]
    pub(crate) id_end: Option<IdPrefix>,

    /// Only tasks of this schedule
    #[arg(long, value_name = "NAME")]
    pub(crate) schedule: Option<String>,

    /// Only tasks of this group
    #[arg(long, value_name = "NAME")]
    pub(crate) group: Option<String>,

    /// Only tasks with this unique key
    #[arg(long, value_name = "KEY")]
    pub(crate) unique_key: Option<String>,

    /// Only the children of this task, whose id is given in full
    #[arg(long, value_name = "ID")]
    pub(crate) parent: Option<String>,

    /// Only tasks that failed for this cause, such as io, timeout or exit-3
    #[arg(long, value_name = "CAUSE")]
    pub(crate) cause: Option<String>,
}

impl FilterArgs {
    /// Returns the conditions as query parameters of the API.
    pub(crate) fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut parameters = Vec::new();
        if !self.state.is_empty() {
            parameters.push(("state", self.state.join(",")));
        }
        let once = [
            ("plugin", &self.plugin),
            ("created_after", &self.created_after),
            ("created_before", &self.created_before),
            ("schedule", &self.schedule),
            ("group", &self.group),
            ("unique_key", &self.unique_key),
            ("parent", &self.parent),
            ("cause", &self.cause),
        ];
        parameters.extend(once.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
        parameters.extend(self.id.map(|id| ("q", id.to_string())));
        parameters.extend(self.id_end.map(|id| ("id_end", id.to_string())));
        parameters.extend(self.tag.iter().map(|tag| ("tag", tag.clone())));
        parameters
    }
}

/// Options of a command that prints something about one task.
#[derive(Args, Debug)]
pub(crate) struct TaskArgs {
    /// Task id, or the start or end of one
    #[arg(value_name = "ID")]
    pub(crate) id: IdPrefix,

    /// Print the server's response as JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    /// Print the task's input instead, unchanged
    #[arg(long)]
    pub(crate) input: bool,

    #[command(flatten)]
    pub(crate) task: TaskArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ResultArgs {
    /// Task id, or the start or end of one
    #[arg(value_name = "ID")]
    pub(crate) id: IdPrefix,

    /// Wait until the task has finished; on a terminal, with a progress bar
    #[arg(long)]
    pub(crate) wait: bool,

    /// Print the whole task as JSON instead of its result
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct LogsArgs {
    /// Task id, or the start or end of one
    #[arg(value_name = "ID")]
    pub(crate) id: IdPrefix,

    /// Follow the log until the task has finished
    #[arg(long, short)]
    pub(crate) follow: bool,

    /// Only lines after this one, by the number that --json shows as `seq`
    #[arg(long, value_name = "SEQ", value_parser = count::<u64>(.., ""))]
    pub(crate) after: Option<u64>,

    /// Print the time before each line
    #[arg(long, short)]
    pub(crate) timestamps: bool,

    /// Print one JSON object per line: seq, time, attempt, stream, text
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ListTasksArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,

    /// Maximum number of tasks, newest first; 0 for all
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50, value_parser = count::<usize>(.., ""))]
    pub(crate) limit: usize,

    /// Print task ids only, for use by other commands
    #[arg(long, short, conflicts_with = "json")]
    pub(crate) quiet: bool,

    /// Print the tasks as one JSON array
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// The tasks that a command acts on: by id, or by a filter.
#[derive(Args, Debug)]
pub(crate) struct SelectionArgs {
    /// Task ids, or the start or end of each; without ids, the options below select the tasks
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<IdPrefix>,

    #[command(flatten)]
    pub(crate) filter: FilterArgs,

    /// Select all that the command acts on: unfinished tasks to cancel, finished ones to delete, failed ones to retry
    #[arg(long)]
    pub(crate) all: bool,

    /// Only count the selected tasks
    #[arg(long, conflicts_with = "ids")]
    pub(crate) dry_run: bool,
}

#[derive(Args, Debug)]
pub(crate) struct CancelArgs {
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,

    /// Ask guests to stop and wait this long before killing them, at most 60s
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) grace: Option<Duration>,

    /// Print the server's response as JSON, one line per task
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct EventArgs {
    /// Task id, or its start or end
    #[arg(value_name = "ID")]
    pub(crate) id: IdPrefix,

    /// Payload: JSON, or @FILE or - (stdin) with JSON [default: null]
    #[arg(value_name = "JSON|@FILE|-", allow_hyphen_values = true)]
    pub(crate) payload: Option<String>,

    /// Name of the event, which the task receives with it
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// Repeating the command with the same key within 24 hours has no further effect
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,

    /// Print the server's response as JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,

    /// Print the server's responses as JSON, one line for each thousand selected tasks
    #[arg(long, conflicts_with = "ids")]
    pub(crate) json: bool,

    /// Ask guests to stop and wait this long before killing them, at most 60s
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) grace: Option<Duration>,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct RetryArgs {
    #[command(flatten)]
    pub(crate) selection: SelectionArgs,

    #[command(flatten)]
    pub(crate) wait: WaitArgs,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// What to do once a task is accepted.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct WaitArgs {
    /// Wait until the task has finished, with log and progress on stderr, and print its result; the exit code reports
    /// the outcome. Ctrl-C stops waiting, not the task
    #[arg(long, short)]
    pub(crate) wait: bool,

    /// Hide log and progress
    #[arg(long, short)]
    pub(crate) quiet: bool,

    /// Print the server's response as JSON: the accepted task, or with --wait the whole task
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,

    /// How often to refresh the table
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    pub(crate) interval: Duration,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct StatsArgs {
    /// Print the server's response as JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}
