//! The command line: commands, options and the text of `--help`.

pub(crate) mod author;
pub(crate) mod files;
pub(crate) mod key;
pub(crate) mod run;
pub(crate) mod schedule;
pub(crate) mod server;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, Args, Command as ClapCommand, Parser, Subcommand, ValueEnum};
use wasmill_model::{PluginName, parse_duration};

use crate::cli::author::{DEV_EXAMPLES, DevArgs, TEST_EXAMPLES, TestArgs};
use crate::cli::files::FilesArgs;
use crate::cli::key::KeyCommand;
use crate::cli::run::{RunArgs, SubmitArgs};
use crate::cli::schedule::ScheduleCommand;
use crate::cli::server::{
    CancelArgs, DeleteArgs, EventArgs, HealthArgs, ListTasksArgs, LoginArgs, LogoutArgs, LogsArgs,
    ResultArgs, RetryArgs, ServerArgs, StatsArgs, StatusArgs, TaskArgs, WatchArgs,
};
use crate::exit::Exit;
use crate::settings::{ForAudit, ForBackup, ForMigrate, ForTrust, Given};
use crate::terminal::style::Color;

const EXAMPLES: &str = "\
Without a server:
  wasmill run hello.wasm --input '\"Ada\"'         run one task in this process
  wasmill run words.wasm --stdin text -- --top 3   run a program with stdin and arguments
  wasmill test                                     run the test cases in hello.test.toml beside hello.wasm

With a server (--server or WASMILL_SERVER, default http://127.0.0.1:8080):
  wasmill serve                                  start a server
  wasmill submit io-stub --wait                  submit a task, follow it, print its result
  wasmill watch                                  show all tasks in a live table
  wasmill cancel ID                              stop a task";

const RUN_EXAMPLES: &str = "\
Examples:
  wasmill run io-stub --input '{\"min_ms\": 3000, \"max_ms\": 5000}'
  wasmill run ./thumbs.wasm --input @request.json > thumbs.json
  wasmill run words.wasm --stdin text.txt -- --top 3
  wasmill run hello.wasm --input '\"Ada\"' --json | jq .usage

The manifest next to the file applies: its limits, permissions and schema. There is one attempt unless \
--max-attempts is greater; checkpoints are kept in memory between attempts and are lost when the command \
exits. Compiled plugins are cached in $XDG_CACHE_HOME/wasmill, or ~/.cache/wasmill.

Log and progress of the guest go to stderr, the result to stdout. Ctrl-C asks the guest to stop and waits for \
--grace; a second Ctrl-C kills it at once.

Exit codes: 0 completed, 1 failed, 2 plugin or input rejected, 3 stopped, 5 not found.";

const SUBMIT_EXAMPLES: &str = "\
Examples:
  wasmill submit                                 the default plugin, io-stub
  wasmill submit hello --input '\"Ada\"' --wait    log and progress on stderr, result on stdout
  wasmill submit fetch --input @urls.json --timeout 5m --max-attempts 3
  id=$(wasmill submit words --stdin text.txt -- --top 3)
  wasmill submit synth --file top.v --file lib/cells.v=cells.v

The task is on the server's disk before the command prints its id.";

const CANCEL_EXAMPLES: &str = "\
Examples:
  wasmill cancel 01a2074c-e503-703b-819d-4717c026346b --grace 5s
  wasmill cancel --plugin fetch --state waiting --dry-run

When a line is printed, the guest of that task is gone and its slot is free.";

const DELETE_EXAMPLES: &str = "\
Examples:
  wasmill delete 01a2074c-e503-703b-819d-4717c026346b
  wasmill delete --state completed --created-before 2026-11-23T00:00:00Z --dry-run
  wasmill delete --tag tenant:42

Given by id, an unfinished task is stopped first; options select finished tasks only.";

const EVENT_EXAMPLES: &str = "\
Examples:
  wasmill event 01a2074c-e503-703b-819d-4717c026346b
  wasmill event 01a2 '{\"approved\": true}' --name legal
  wasmill event 01a2 @answer.json --idempotency-key call-17

When the line is printed, the event is on the server's disk. The next run of the task receives it; a task that is \
suspended until an event resumes at once.";

const RETRY_EXAMPLES: &str = "\
Examples:
  wasmill retry 01a2074c-e503-703b-819d-4717c026346b --wait
  wasmill retry --plugin fetch --cause io --dry-run
  wasmill retry --state cancelled --tag tenant:42

Options select failed tasks, unless --state says other finished ones.";

const WATCH_KEYS: &str = "\
Keys:
  q, Esc, Ctrl-C     leave
  up, down, j, k     select a task
  c, then y          cancel it";

const SERVE_EXAMPLES: &str = "\
Examples:
  wasmill serve                                  listen on 127.0.0.1:8080, store tasks in ./data
  wasmill serve --slots 50 --drain 1m            run at most 50 tasks at once, drain for a minute
  WASMILL_LISTEN=0.0.0.0:8080 wasmill serve      listen on every interface

Then, from another terminal:
  curl -X POST localhost:8080/task               submit the default task, which takes 3 to 5 minutes
  curl localhost:8080/task                       list all tasks
  curl localhost:8080/task/ID/status             get the status of a task
  curl -X DELETE localhost:8080/task/ID          stop and delete a task
  wasmill backup tasks.db                        copy the database while the server runs
  wasmill doctor                                 diagnose this machine and suggest fixes

Every option can also be set by the environment variable shown, or in wasmill.toml with '_' in place of \
'-'. Precedence: flag, environment, file, default. An empty variable counts as unset; an unknown variable \
that begins with WASMILL_ is an error.";

/// Run WebAssembly plugins as durable tasks behind a REST API
#[derive(Debug, Parser)]
#[command(name = "wasmill", version, max_term_width = 110, after_help = format!("{EXAMPLES}\n\n{}", Exit::help()))]
#[command(mut_subcommands(with_variables))]
pub(crate) struct Cli {
    /// When to use colors
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t, help_heading = "Output")]
    pub(crate) color: Color,

    #[command(subcommand)]
    pub(crate) command: Command,
}

pub(crate) const VARIABLE_PREFIX: &str = "WASMILL_";

/// Prefixes the variables of all options.
fn with_variables(command: ClapCommand) -> ClapCommand {
    let with_variable = |arg: Arg| match arg.get_env().and_then(OsStr::to_str) {
        Some(name) => {
            let variable = format!("{VARIABLE_PREFIX}{name}");
            arg.env(variable)
        }
        None => arg,
    };
    command.mut_args(with_variable).mut_subcommands(with_variables)
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the REST API and run tasks until stopped
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Given),
    /// Run one task in this process, without a server
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Run the test cases of plugins in this process, without a server
    #[command(after_help = TEST_EXAMPLES)]
    Test(TestArgs),
    /// Build a plugin and run it, again after each change of its sources
    #[command(after_help = DEV_EXAMPLES)]
    Dev(DevArgs),
    /// Submit a task
    #[command(after_help = SUBMIT_EXAMPLES)]
    Submit(Box<SubmitArgs>),
    /// List tasks, newest first
    List(ListTasksArgs),
    /// Show the status of a task
    Status(StatusArgs),
    /// Explain why a task waits
    Why(TaskArgs),
    /// List the tasks that depend on a task, newest first
    Dependents(TaskArgs),
    /// Print the result of a task; exit with 6 if it is not finished, with 1 or 3 if it did not succeed
    Result(ResultArgs),
    /// List the files of a task, or get one
    Files(FilesArgs),
    /// Print the stdout and stderr of a task
    Logs(LogsArgs),
    /// Cancel tasks and keep their records
    #[command(after_help = CANCEL_EXAMPLES)]
    Cancel(CancelArgs),
    /// Delete tasks; those given by id are cancelled first if they are unfinished
    #[command(after_help = DELETE_EXAMPLES)]
    Delete(DeleteArgs),
    /// Post an event to a task, such as an approval that it waits for
    #[command(after_help = EVENT_EXAMPLES)]
    Event(EventArgs),
    /// Submit new tasks with the input of old ones, which are kept
    #[command(after_help = RETRY_EXAMPLES)]
    Retry(RetryArgs),
    /// Show tasks in a live table
    #[command(after_help = WATCH_KEYS)]
    Watch(WatchArgs),
    /// Show server statistics
    Stats(StatsArgs),
    /// Show what needs a person: failing plugins, full queues, lost hosts and the like
    Attention(StatsArgs),
    /// List the hosts that share the database of a server
    Hosts(StatsArgs),
    /// Check whether a server accepts tasks; exit with 0 if it does, else with 1
    Health(HealthArgs),
    /// Back up the embedded database to a file, even while a server uses it. To restore, put the file into a data folder as
    /// wasmill.db
    Backup(BackupArgs),
    /// Prepare a PostgreSQL database
    #[command(subcommand)]
    Database(DatabaseCommand),
    /// Diagnose what `serve` needs on this machine: kernel, memory, slots, disk, folders, ports, compiler
    ///
    /// Takes the settings of `serve` and changes nothing. Reports each item as ok, degraded (warn) or broken (fail),
    /// with the effect and the fix. Exits with 0 if nothing fails, else with 1.
    Doctor(DoctorArgs),
    /// List, set and run schedules, which submit tasks at set times
    #[command(subcommand)]
    Schedule(ScheduleCommand),
    /// Show who changed what on a server of this machine, oldest first
    ///
    /// It reads the files of the audit, and needs no server.
    Audit(AuditArgs),
    /// Store a key for a server, which later commands send there; needs no key in the environment then
    ///
    /// The key is that of --key-file, of the variable WASMILL_KEY, or of stdin; a terminal asks for it without showing it.
    /// It is asked of the server what the key may do, and a key that is refused is not stored. The file is
    /// ~/.config/wasmill/keys, for its owner alone.
    Login(LoginArgs),
    /// Forget the stored key for a server
    Logout(LogoutArgs),
    /// Create, list, check, rotate and revoke the keys that a server asks for
    #[command(subcommand)]
    Key(KeyCommand),
    /// List, check, create and upload plugins
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Print a shell completion script
    ///
    /// For bash: wasmill completions bash > ~/.local/share/bash-completion/completions/wasmill
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Compile one plugin in a child process; used by `serve` only
    #[command(hide = true)]
    Compile {
        /// The compile request, encoded by the server
        request: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DatabaseCommand {
    /// Create the tables, or bring them to the version of this program
    ///
    /// Needs the right to create tables, which the user of `serve` need not have.
    Migrate(MigrateArgs),
}

#[derive(Args, Debug)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    pub(crate) given: Given<ForMigrate>,
}

#[derive(Args, Debug)]
pub(crate) struct AuditArgs {
    /// Only what was done within this time, such as 1h
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) since: Option<Duration>,

    /// Only what this key did, by name or id
    #[arg(long, value_name = "NAME|ID")]
    pub(crate) who: Option<String>,

    /// Print one JSON object per line
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) given: Given<ForAudit>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PluginCommand {
    /// List the plugins of a server
    List(ListArgs),
    /// Check a plugin as `serve` would, without a server; exit with 0 if it would run, else with 1
    ///
    /// Applies the manifest next to the file, wasmill.toml and the options of `serve`.
    Check(CheckArgs),
    /// Create a small, complete plugin project in a new folder
    New(NewArgs),
    /// Print the JSON Schema of a plugin's input
    Schema(PluginSchemaArgs),
    /// List files as trusted, for a server with --plugin-trust listed
    ///
    /// Writes the SHA-256 of a plugin, its manifest and its schema into trusted.toml of the plugins folder; the server
    /// notices. The files may lie elsewhere, such as before an upload.
    Trust(TrustArgs),
    /// Upload a plugin to a server, or replace one; needs --allow-upload there
    Put(PutArgs),
    /// Delete plugins from a server; needs --allow-upload there
    Delete(DeletePluginArgs),
}

#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// Print the server's response as JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// The plugin file, whose name ends in .wasm
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    #[command(flatten)]
    pub(crate) given: Given,
}

#[derive(Args, Debug)]
pub(crate) struct DoctorArgs {
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) given: Given,
}

#[derive(Args, Debug)]
pub(crate) struct NewArgs {
    /// Name of the plugin and of the new folder
    #[arg(value_name = "NAME")]
    pub(crate) name: PluginName,

    /// Programming language
    #[arg(long, value_enum)]
    pub(crate) lang: Language,
}

#[derive(Args, Debug)]
pub(crate) struct TrustArgs {
    /// Plugins, or single files such as manifests
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// Keep earlier digests of the same names, so that both versions are trusted
    #[arg(long)]
    pub(crate) keep: bool,

    #[command(flatten)]
    pub(crate) given: Given<ForTrust>,
}

#[derive(Args, Debug)]
pub(crate) struct PutArgs {
    /// The plugin file, a WebAssembly module or component
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Name on the server [default: the file name without .wasm]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<PluginName>,

    /// File with its signature, for a server with --plugin-trust signed [default: FILE.minisig, if there is one]
    #[arg(long, value_name = "FILE")]
    pub(crate) signature: Option<PathBuf>,

    /// Compile and check the file on the server, and show what would change; take nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Print the server's response as JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct PluginSchemaArgs {
    /// Plugin name
    #[arg(value_name = "NAME")]
    pub(crate) name: PluginName,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Args, Debug)]
pub(crate) struct DeletePluginArgs {
    /// Plugin names
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<PluginName>,

    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// The languages with a project template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// A component of the Wasmill world, with the guest crate
    Rust,
    /// A program for WASI preview 1
    C,
    /// A program for WASI preview 1
    Zig,
    /// A program for WASI preview 1
    Go,
    /// A component of the Wasmill world, built with componentize-py
    Python,
    /// A component of the Wasmill world, built with componentize-qjs
    Js,
    /// A component of the Wasmill world, built with esbuild and componentize-qjs
    Ts,
}

#[derive(Args, Debug)]
pub(crate) struct BackupArgs {
    /// The file to create
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Copy the files of its tasks into this folder, those that are not there from an earlier backup
    #[arg(long, value_name = "FOLDER")]
    pub(crate) files: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) given: Given<ForBackup>,

    /// Replace the file if it exists
    #[arg(long)]
    pub(crate) force: bool,
}
