//! The command line: what can be typed, and what `--help` teaches.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use wasmill_model::PluginName;

use crate::settings::Settings;

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

Every option can also be set in the environment as shown, or in wasmill.toml, where its name has '_' for
'-'. A flag beats the environment, which beats the file, which beats the default.";

/// Runs WebAssembly plugins as tasks behind a REST API: submit, watch, cancel, and lose nothing.
#[derive(Debug, Parser)]
#[command(name = "wasmill", version, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serves the REST API and runs tasks until it is told to stop.
    #[command(after_help = SERVE_EXAMPLES)]
    Serve(Box<ServeArgs>),
    /// Asks a running server whether it takes tasks; exits with 0 if so, else with 1.
    Health(HealthArgs),
    /// Copies the database into a file, also while a server uses it; to restore, put the file into a data
    /// folder as wasmill.db.
    Backup(BackupArgs),
    /// Lists, checks and begins plugins.
    #[command(subcommand)]
    Plugin(PluginCommand),
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
}

#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// The address of the server.
    #[arg(long, value_name = "URL", env = "WASMILL_SERVER", default_value = "http://127.0.0.1:8080")]
    pub(crate) server: String,

    /// Prints what the server answers, as JSON.
    #[arg(long)]
    pub(crate) json: bool,
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
pub(crate) struct NewArgs {
    /// The name of the plugin and of the new folder.
    #[arg(value_name = "NAME")]
    pub(crate) name: PluginName,

    /// The language it is written in.
    #[arg(long, value_enum)]
    pub(crate) lang: Language,
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
    /// The address the server listens on; 0.0.0.0 is asked at 127.0.0.1.
    #[arg(long, value_name = "ADDRESS", env = "WASMILL_LISTEN", default_value = "127.0.0.1:8080")]
    pub(crate) listen: std::net::SocketAddr,
}
