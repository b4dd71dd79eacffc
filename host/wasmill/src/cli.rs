//! The command line: what can be typed, and what `--help` teaches.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

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
pub(crate) struct HealthArgs {
    /// The address the server listens on; 0.0.0.0 is asked at 127.0.0.1.
    #[arg(long, value_name = "ADDRESS", env = "WASMILL_LISTEN", default_value = "127.0.0.1:8080")]
    pub(crate) listen: std::net::SocketAddr,
}
