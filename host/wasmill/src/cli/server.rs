//! Options of the commands that talk to a server.

use std::path::PathBuf;

use clap::Args;
use wasmill_model::IdPrefix;

use crate::settings::Span;

/// Which server is meant.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerArgs {
    /// The address of the server; https:// and a path are fine, too.
    #[arg(long, value_name = "URL", env = "WASMILL_SERVER", default_value = "http://127.0.0.1:8080")]
    pub(crate) server: String,

    /// A PEM file with certificates that https:// trusts besides those of the web.
    #[arg(long, value_name = "FILE", env = "WASMILL_CA")]
    pub(crate) ca: Option<PathBuf>,

    /// A header of each request, as 'Authorization: Bearer …' for a proxy; may be given again. Its value is never
    /// shown; in the environment, where lists of processes do not show it either, there is one a line.
    #[arg(
        long,
        value_name = "NAME: VALUE",
        env = "WASMILL_HEADERS",
        hide_env_values = true,
        value_delimiter = '\n'
    )]
    pub(crate) header: Vec<String>,
}

/// Which tasks are meant, all conditions together.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct FilterArgs {
    /// Only tasks in this state: waiting, running, completed, failed or cancelled; several with commas.
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    pub(crate) state: Vec<String>,

    /// Only tasks of this plugin.
    #[arg(long, value_name = "NAME")]
    pub(crate) plugin: Option<String>,

    /// Only tasks with this tag, where the server knows tags.
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Vec<String>,

    /// Only tasks submitted at this time or later, as 2026-11-23T07:26:49Z.
    #[arg(long, value_name = "TIME")]
    pub(crate) created_after: Option<String>,

    /// Only tasks submitted before this time.
    #[arg(long, value_name = "TIME")]
    pub(crate) created_before: Option<String>,

    /// Only tasks whose ids begin so, in at least four digits.
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<IdPrefix>,

    /// Only tasks whose ids end so, in at least four digits.
    #[arg(long, value_name = "ID")]
    pub(crate) id_end: Option<IdPrefix>,

    /// Only tasks of this schedule.
    #[arg(long, value_name = "NAME")]
    pub(crate) schedule: Option<String>,

    /// Only tasks of this group.
    #[arg(long, value_name = "NAME")]
    pub(crate) group: Option<String>,

    /// Only tasks with this unique key.
    #[arg(long, value_name = "KEY")]
    pub(crate) unique_key: Option<String>,
}

impl FilterArgs {
    /// Returns the conditions as parameters of a query, in the words of the API.
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
        ];
        parameters.extend(once.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
        parameters.extend(self.id.map(|id| ("q", id.to_string())));
        parameters.extend(self.id_end.map(|id| ("id_end", id.to_string())));
        parameters.extend(self.tag.iter().map(|tag| ("tag", tag.clone())));
        parameters
    }
}

/// Of one task, something that can be printed as JSON.
#[derive(Args, Debug)]
pub(crate) struct TaskArgs {
    /// The task, by its id, or how that begins or ends.
    #[arg(value_name = "ID")]
    pub(crate) id: IdPrefix,

    /// Prints what the server answers, as JSON.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    /// Prints the input of the task instead, as it came.
    #[arg(long)]
    pub(crate) input: bool,

    #[command(flatten)]
    pub(crate) task: TaskArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ResultArgs {
    /// The task, by its id, or how that begins or ends.
    #[arg(value_name = "ID")]
    pub(crate) id: IdPrefix,

    /// Waits until the task has ended; on a terminal, with a progress bar.
    #[arg(long)]
    pub(crate) wait: bool,

    /// Prints the whole record of the task as JSON, instead of its result alone.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct LogsArgs {
    /// The task, by its id, or how that begins or ends.
    #[arg(value_name = "ID")]
    pub(crate) id: IdPrefix,

    /// Goes on with what is written from now on, until the task has ended.
    #[arg(long, short)]
    pub(crate) follow: bool,

    /// Only lines after this one, by the number that --json shows as `seq`.
    #[arg(long, value_name = "SEQ")]
    pub(crate) after: Option<u64>,

    /// Writes the time before each line.
    #[arg(long, short)]
    pub(crate) timestamps: bool,

    /// Prints one JSON object a line: seq, time, attempt, stream, text.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct ListTasksArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,

    /// How many tasks, the newest; 0 for all.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    pub(crate) limit: usize,

    /// Prints the ids alone, for other commands.
    #[arg(long, short, conflicts_with = "json")]
    pub(crate) quiet: bool,

    /// Prints one JSON array, as the server answers it.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct CancelArgs {
    /// The tasks, by their ids, or how those begin or end; without any, the options below say which.
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<IdPrefix>,

    #[command(flatten)]
    pub(crate) filter: FilterArgs,

    /// Every task that waits or runs.
    #[arg(long)]
    pub(crate) all: bool,

    /// Only says how many tasks the options mean.
    #[arg(long, conflicts_with = "ids")]
    pub(crate) dry_run: bool,

    /// Asks the guest to stop and gives it so long to put things in order, at most 60s.
    #[arg(long, value_name = "TIME")]
    pub(crate) grace: Option<Span>,

    /// Prints what the server answers, as JSON; one line for each task.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct DeleteArgs {
    /// The tasks, by their ids, or how those begin or end.
    #[arg(value_name = "ID", required = true)]
    pub(crate) ids: Vec<IdPrefix>,

    /// Asks the guest to stop and gives it so long to put things in order, at most 60s.
    #[arg(long, value_name = "TIME")]
    pub(crate) grace: Option<Span>,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct RetryArgs {
    /// The task, by its id, or how that begins or ends; it keeps its record, and a new one gets its input.
    #[arg(value_name = "ID")]
    pub(crate) id: IdPrefix,

    #[command(flatten)]
    pub(crate) wait: WaitArgs,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// What happens after a task was accepted.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct WaitArgs {
    /// Waits until the task has ended, with its log and progress on stderr, and prints its result; the exit
    /// code says how it ended. Ctrl-C stops the waiting, not the task.
    #[arg(long, short)]
    pub(crate) wait: bool,

    /// Shows neither log nor progress.
    #[arg(long, short)]
    pub(crate) quiet: bool,

    /// Prints what the server answers as JSON: the accepted task, or with --wait its whole record.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    pub(crate) filter: FilterArgs,

    /// How often the table is brought up to date.
    #[arg(long, value_name = "TIME", default_value = "1s")]
    pub(crate) interval: Span,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct StatsArgs {
    /// Prints what the server answers, as JSON.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}
