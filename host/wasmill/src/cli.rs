//! The command line: what can be typed, and what `--help` teaches.

pub(crate) mod run;
pub(crate) mod schedule;
pub(crate) mod server;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use wasmill_model::PluginName;

use crate::cli::run::{RunArgs, SubmitArgs};
use crate::cli::schedule::ScheduleCommand;
use crate::cli::server::{
    CancelArgs, DeleteArgs, ListTasksArgs, LogsArgs, ResultArgs, RetryArgs, ServerArgs, StatsArgs,
    StatusArgs, WatchArgs,
};
use crate::screen::paint::Color;
use crate::settings::{Listen, Settings};

const EXAMPLES: &str = "\
Alone:
  wasmill run hello.wasm --input '\"Ada\"'         one task here and now, no server
  wasmill run words.wasm --stdin text -- --top 3   a program, with its stdin and arguments

With a server, at --server or WASMILL_SERVER, else at http://127.0.0.1:8080:
  wasmill serve                                  start one
  wasmill submit io-stub --wait                  hand it a task, see it move, get the result
  wasmill watch                                  all tasks, live
  wasmill cancel ID                              stop one

Exit codes:
  0    done; of a task that was run or waited for: it completed
  1    the task failed, or the command did
  2    what was asked for, or a setting, makes no sense, or was refused; nothing was changed
  3    the task was cancelled, or its run was stopped
  4    the server cannot be reached, or cannot serve just now
  5    there is no such task, plugin or file
  6    the state of the task does not allow it: it has ended already, or not yet
  130  interrupted while it waited for a task, which goes on";

const RUN_EXAMPLES: &str = "\
Examples:
  wasmill run io-stub --input '{\"min_ms\": 3000, \"max_ms\": 5000}'
  wasmill run ./thumbs.wasm --input @request.json > thumbs.json
  wasmill run words.wasm --stdin text.txt -- --top 3
  wasmill run hello.wasm --input '\"Ada\"' --json | jq .usage

The manifest beside the file applies: its limits, permissions and schema. One attempt is made unless \
--max-attempts says more; checkpoints are kept in memory, from one attempt to the next, and are gone with \
the command. Compiled plugins are kept in $XDG_CACHE_HOME/wasmill, or ~/.cache/wasmill.

The log of the guest and its progress go to stderr, the result to stdout. Ctrl-C asks the guest to stop and \
gives it --grace; a second Ctrl-C stops it at once.

Exit codes: 0 completed, 1 failed, 2 the plugin or the input was refused, 3 stopped, 5 not found.";

const SUBMIT_EXAMPLES: &str = "\
Examples:
  wasmill submit                                 the default plugin, io-stub
  wasmill submit hello --input '\"Ada\"' --wait    log and progress on stderr, the result on stdout
  wasmill submit fetch --input @urls.json --timeout 5m --max-attempts 3
  id=$(wasmill submit words --stdin text.txt -- --top 3)

The task is on the server's disk before its id is printed.";

const CANCEL_EXAMPLES: &str = "\
Examples:
  wasmill cancel 01a2074c-e503-703b-819d-4717c026346b --grace 5s
  wasmill cancel --plugin fetch --state waiting --dry-run
  wasmill list --quiet --state failed | xargs wasmill delete

When a line is printed its task is over: the guest is gone and its slot is free.";

const WATCH_KEYS: &str = "\
Keys:
  q, Esc, Ctrl-C     leave
  up, down, j, k     select a task
  c, then y          cancel it";

const SERVE_EXAMPLES: &str = "\
Examples:
  wasmill serve                                  listen on 127.0.0.1:8080, keep tasks in ./data
  wasmill serve --slots 50 --drain 1m            at most 50 tasks at once, a minute to end
  WASMILL_LISTEN=0.0.0.0:8080 wasmill serve      listen on every interface

Then, from another terminal:
  curl -X POST localhost:8080/task               start the default task, which takes 3 to 5 minutes
  curl localhost:8080/task                       list all tasks
  curl localhost:8080/task/ID/status             see how one is doing
  curl -X DELETE localhost:8080/task/ID          stop it and forget it
  wasmill backup tasks.db                        copy the database, while the server runs
  wasmill doctor                                 say what is wrong here, and how to mend it

Every option can also be set in the environment as shown, or in wasmill.toml, where its name has '_' for \
'-'. A flag beats the environment, which beats the file, which beats the default. An empty variable counts \
as unset; an unknown one that begins with WASMILL_ is an error.";

/// Runs WebAssembly plugins as tasks behind a REST API: submit, watch, cancel, and lose nothing.
#[derive(Debug, Parser)]
#[command(name = "wasmill", version, max_term_width = 110, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// When colours are used.
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t, help_heading = "Output")]
    pub(crate) color: Color,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serves the REST API and runs tasks until it is told to stop.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Box<ServeArgs>),
    /// Runs one task here and now, without a server.
    #[command(after_help = RUN_EXAMPLES)]
    Run(Box<RunArgs>),
    /// Hands a task to a server.
    #[command(after_help = SUBMIT_EXAMPLES)]
    Submit(Box<SubmitArgs>),
    /// Lists the tasks of a server, newest first.
    List(ListTasksArgs),
    /// Says where a task stands.
    Status(StatusArgs),
    /// Prints the result of a task; exits with 6 if it has not ended, with 1 or 3 if there will be none.
    Result(ResultArgs),
    /// Prints what a task wrote to its stdout and stderr.
    Logs(LogsArgs),
    /// Stops tasks and keeps their records.
    #[command(after_help = CANCEL_EXAMPLES)]
    Cancel(CancelArgs),
    /// Stops tasks if they wait or run, and forgets them.
    Delete(DeleteArgs),
    /// Submits a new task with the input of an old one.
    Retry(RetryArgs),
    /// Shows the tasks of a server in a live table.
    #[command(after_help = WATCH_KEYS)]
    Watch(WatchArgs),
    /// Says how busy a server is.
    Stats(StatsArgs),
    /// Asks a running server whether it takes tasks; exits with 0 if so, else with 1.
    Health(HealthArgs),
    /// Copies the database into a file, also while a server uses it; to restore, put the file into a data
    /// folder as wasmill.db.
    Backup(BackupArgs),
    /// Looks at all that `serve` would meet here: kernel, memory, slots, disk, folders, ports, compiler.
    ///
    /// Takes the settings of `serve`, changes nothing, and says of each thing whether it is ok, works less
    /// well than it could (warn) or is in the way (fail), what that costs and how to mend it. Exits with 0
    /// if nothing fails, else with 1.
    Doctor(Box<DoctorArgs>),
    /// Lists, sets and runs schedules: tasks that a server starts again and again.
    #[command(subcommand)]
    Schedule(ScheduleCommand),
    /// Lists, checks and begins plugins.
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Prints a script that completes these commands in a shell.
    ///
    /// For bash: wasmill completions bash > ~/.local/share/bash-completion/completions/wasmill
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Compiles one plugin, in a process of its own; only `serve` knows how to ask for it.
    #[command(hide = true)]
    Compile {
        /// What is to be done, in the words of the server.
        order: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// Lists the plugins of a running server.
    List(ListArgs),
    /// Says what `serve` would say of a plugin, without a server; exits with 0 if it would run, else with 1.
    ///
    /// The manifest beside the file counts, and so do wasmill.toml and the options of `serve`.
    Check(Box<CheckArgs>),
    /// Writes a small, complete project for a plugin into a new folder.
    New(NewArgs),
    /// Adds a plugin to a running server, or replaces one; for servers with --allow-upload.
    Put(PutArgs),
    /// Takes plugins out of service and deletes their files; for servers with --allow-upload.
    Delete(DeletePluginArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// Prints what the server answers, as JSON.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// The plugin, a file whose name ends in .wasm.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}

#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// Prints the report as JSON.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}

#[derive(Args, Debug)]
pub(crate) struct NewArgs {
    /// The name of the plugin and of the new folder.
    #[arg(value_name = "NAME")]
    pub(crate) name: PluginName,

    /// The language it is written in.
    #[arg(long, value_enum)]
    pub(crate) lang: Language,
}

#[derive(Args, Debug)]
pub(crate) struct PutArgs {
    /// The plugin, a WebAssembly file.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Its name on the server [default: that of the file without .wasm]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<PluginName>,

    /// Prints what the server answers, as JSON.
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct DeletePluginArgs {
    /// The plugins, by their names.
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<PluginName>,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// The languages that there are templates for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// A component of our world.
    Rust,
    /// A program for WASI preview 1.
    C,
    /// A component of our world, with componentize-py.
    Python,
    /// A component of our world, with componentize-qjs.
    Js,
}

#[derive(Args, Debug)]
pub(crate) struct ServeArgs {
    /// A settings file. Without this, ./wasmill.toml is read if it exists.
    #[arg(long, value_name = "FILE", env = "WASMILL_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) settings: Settings,
}

#[derive(Args, Debug)]
pub(crate) struct BackupArgs {
    /// The file to make.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// The data folder [default: that of the settings file, else ./data]
    #[arg(long, value_name = "DIR", env = "WASMILL_DATA")]
    pub(crate) data: Option<PathBuf>,

    /// A settings file. Without this, ./wasmill.toml is read if it exists.
    #[arg(long, value_name = "FILE", env = "WASMILL_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// Replaces the file if it exists.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Args, Debug)]
pub(crate) struct HealthArgs {
    /// The address that a server on this machine listens on, unless --server names one; 0.0.0.0 is asked at
    /// 127.0.0.1.
    #[arg(long, value_name = "ADDRESS", env = "WASMILL_LISTEN", default_value = "127.0.0.1:8080")]
    pub(crate) listen: Listen,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}
