//! Options of `dev` and `test`, for those who write plugins.

use std::path::PathBuf;

use clap::Args;

use crate::settings::{ForRun, Given};

pub(super) const TEST_EXAMPLES: &str = "\
Examples:
  wasmill test                                   all cases of this folder
  wasmill test hello.wasm --filter greets        those with this text in their name
  wasmill test target/wasm32-wasip2/release/hello.wasm --cases hello.test.toml

A file with cases, beside the plugin:
  [[case]]
  name = \"greets the name in its input\"
  input = \"Ada\"
  result = \"Hello, Ada!\"

  [[case]]
  name = \"refuses a number\"
  input = 5
  failure = \"invalid-input\"
  message_has = \"string\"

Exit codes: 0 all passed, 1 a case failed, 2 plugin or cases invalid, 3 stopped, 5 not found.";

pub(super) const DEV_EXAMPLES: &str = "\
Examples:
  wasmill dev --input '\"Ada\"' -- cargo build --release --target wasm32-wasip2
  wasmill dev --test -- cargo build --release --target wasm32-wasip2
  wasmill dev hello.wasm --watch main.c -- clang --target=wasm32-wasi -O2 -o hello.wasm main.c

Hidden files, the outputs of build tools (target, node_modules, *.wasm and the like) and links to folders are not \
watched. A plugin that cargo has built is copied beside its manifest in this folder, so that its limits and permissions \
apply. Log and progress go to stderr, the result to stdout.

Ctrl-C ends the build or the run, and this command.";

#[derive(Args, Debug)]
pub(crate) struct DevArgs {
    /// The .wasm file that the build makes [default: the newest one where build tools put them]
    #[arg(value_name = "FILE")]
    pub(crate) plugin: Option<PathBuf>,

    /// Input: JSON, or @FILE with JSON
    #[arg(long, short, value_name = "JSON|@FILE", allow_hyphen_values = true, conflicts_with_all = ["stdin", "test"])]
    pub(crate) input: Option<String>,

    /// Stdin of a program
    #[arg(long, value_name = "FILE", conflicts_with = "test")]
    pub(crate) stdin: Option<String>,

    /// Run the test cases beside the plugin, instead of one task
    #[arg(long)]
    pub(crate) test: bool,

    /// File or folder with sources; repeatable
    #[arg(long, value_name = "PATH", default_value = ".")]
    pub(crate) watch: Vec<PathBuf>,

    /// The build command, after `--`
    #[arg(value_name = "COMMAND", last = true, required = true)]
    pub(crate) command: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct TestArgs {
    /// A .wasm file, or the name of a plugin [default: each that has a file with cases in this folder]
    #[arg(value_name = "FILE|NAME")]
    pub(crate) plugin: Option<String>,

    /// File with the cases [default: NAME.test.toml beside the plugin]
    #[arg(long, value_name = "FILE")]
    pub(crate) cases: Option<PathBuf>,

    /// Run only cases with this text in 'PLUGIN: NAME'
    #[arg(long, value_name = "TEXT")]
    pub(crate) filter: Option<String>,

    /// Print one JSON object for each case
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) given: Given<ForRun>,
}
