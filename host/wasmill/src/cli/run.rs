//! Options of `run` and `submit`: a task and how it is to be done.

use std::path::PathBuf;

use bytesize::ByteSize;
use clap::Args;
use wasmill_model::IdPrefix;

use crate::cli::server::{ServerArgs, WaitArgs};
use crate::settings::Span;

/// The input of a task, in one of two ways.
#[derive(Args, Debug, Default)]
pub(crate) struct InputArgs {
    /// The input: JSON, or @FILE or - (stdin) that holds JSON.
    #[arg(long, short, value_name = "JSON|@FILE|-", allow_hyphen_values = true, conflicts_with_all = ["stdin", "args"])]
    pub(crate) input: Option<String>,

    /// The stdin of a program: a file, or - for that of this command.
    #[arg(long, value_name = "FILE|-", allow_hyphen_values = true)]
    pub(crate) stdin: Option<String>,

    /// The arguments of a program, after `--`.
    #[arg(value_name = "ARG", last = true)]
    pub(crate) args: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// A .wasm file; or the name of a plugin, which is one in the plugins folder or part of this program.
    #[arg(value_name = "FILE|NAME")]
    pub(crate) plugin: String,

    #[command(flatten)]
    pub(crate) input: InputArgs,

    /// The time of one attempt [default: that of the manifest, else 10m]
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<Span>,

    /// How often a failure is attempted in all; the waits in between are those of the manifest.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) max_attempts: u32,

    /// How long the guest may take to put things in order after Ctrl-C; a second Ctrl-C cuts it short.
    #[arg(long, value_name = "TIME", default_value = "10s")]
    pub(crate) grace: Span,

    /// Shows neither log nor progress.
    #[arg(long, short)]
    pub(crate) quiet: bool,

    /// Prints how the run ended as one JSON object, its result in it.
    #[arg(long)]
    pub(crate) json: bool,

    /// The folder whose *.wasm files are plugins [default: ./plugins]
    #[arg(long, value_name = "DIR", env = "WASMILL_PLUGINS")]
    pub(crate) plugins: Option<PathBuf>,

    /// Memory of the guest, unless the manifest says otherwise [default: 64MiB]
    #[arg(long, value_name = "SIZE", env = "WASMILL_MEMORY")]
    pub(crate) memory: Option<ByteSize>,

    /// A settings file. Without this, ./wasmill.toml is read if it exists.
    #[arg(long, value_name = "FILE", env = "WASMILL_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct SubmitArgs {
    /// The name of a plugin of the server [default: io-stub]
    #[arg(value_name = "PLUGIN")]
    pub(crate) plugin: Option<String>,

    #[command(flatten)]
    pub(crate) input: InputArgs,

    #[command(flatten)]
    pub(crate) wait: WaitArgs,

    #[command(flatten)]
    pub(crate) options: TaskOptions,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// How a server is to do a task. What is left out is as the plugin or the server has it; a server that
/// does not know an option refuses it.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Task options")]
pub(crate) struct TaskOptions {
    /// The time of one attempt.
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<String>,

    /// How often a failure is attempted in all, 1 to 100.
    #[arg(long, value_name = "N")]
    pub(crate) max_attempts: Option<u32>,

    /// The waits between attempts, as JSON: {"first": "1s", "factor": 2, "most": "5m", "jitter": 0.5}.
    #[arg(long, value_name = "JSON")]
    pub(crate) backoff: Option<String>,

    /// Tasks of a higher priority start first.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) priority: Option<i64>,

    /// Starts no earlier than after this time.
    #[arg(long, value_name = "TIME", conflicts_with = "run_at")]
    pub(crate) delay: Option<String>,

    /// Starts no earlier than at this time, as 2026-11-23T07:26:49Z.
    #[arg(long, value_name = "TIME")]
    pub(crate) run_at: Option<String>,

    /// A word that the task can be found by; may be given again.
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Vec<String>,

    /// Whose task it is, such as a tenant: the groups of a plugin take turns.
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,

    /// No second task with this key is taken while one waits or runs.
    #[arg(long, value_name = "KEY")]
    pub(crate) unique_key: Option<String>,

    /// What becomes of a second task with the unique key: it is refused, or the first one's id is returned.
    #[arg(long, value_name = "refuse|return", requires = "unique_key")]
    pub(crate) on_conflict: Option<String>,

    /// Starts when this task has ended, named by its id, or how that begins or ends; may be given again.
    #[arg(long, value_name = "ID")]
    pub(crate) after: Vec<IdPrefix>,

    /// What happens when a task named with --after goes wrong: this one is cancelled, or runs all the same.
    #[arg(long, value_name = "cancel|run", requires = "after")]
    pub(crate) on_failure: Option<String>,

    /// Hands it the results of the tasks named with --after: a program gets them as stdin.
    #[arg(long, requires = "after")]
    pub(crate) with_results: bool,

    /// The same key and the same task, sent again, give the first task again.
    #[arg(long, value_name = "KEY", value_parser = request_key)]
    pub(crate) idempotency_key: Option<String>,

    /// A URL that is told, by POST, when the task has ended.
    #[arg(long, value_name = "URL")]
    pub(crate) webhook: Option<String>,

    /// Of which ends it is told [default: all]
    #[arg(long, value_name = "completed|failed|cancelled", requires = "webhook", value_delimiter = ',')]
    pub(crate) webhook_on: Vec<String>,
}

/// Takes a key for `Idempotency-Key`, as servers do.
fn request_key(text: &str) -> Result<String, &'static str> {
    let is_key = (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_key {
        Ok(text.to_owned())
    } else {
        Err("a key is 1 to 255 visible ASCII characters, without spaces")
    }
}
