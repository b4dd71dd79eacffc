//! Runs one command of the real binary to its end.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::binary;

/// Output and exit code of a command.
#[derive(Debug)]
pub struct CommandOutput {
    /// The exit code.
    pub code: i32,
    /// stdout.
    pub out: String,
    /// stderr.
    pub err: String,
}

/// Returns a command in this folder, isolated from the settings of the user who runs the tests.
///
/// # Panics
///
/// If the binary was not built.
pub fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(binary().expect("a binary"));
    command.args(args);
    surroundings(&mut command, folder);
    command
}

/// Isolates a command: sets its folder, and clears its environment of settings.
pub(crate) fn surroundings(command: &mut Command, folder: &Path) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WASMILL_")) {
        command.env_remove(name);
    }
    for name in ["NO_COLOR", "LC_ALL", "LC_CTYPE"] {
        command.env_remove(name);
    }
    command
        .env("LANG", "C.UTF-8")
        .env("TERM", "xterm-256color")
        // Shared by all tests, so that each guest compiles once.
        .env("XDG_CACHE_HOME", binary().expect("a binary").with_file_name("tests-cache"))
        .current_dir(folder);
}

/// Runs a command with empty stdin.
///
/// # Panics
///
/// If it does not start.
pub fn wasmill(folder: &Path, args: &[&str]) -> CommandOutput {
    finish(command(folder, args).stdin(Stdio::null()))
}

/// Runs a command with this stdin.
///
/// # Panics
///
/// If it does not start or does not read stdin.
pub fn wasmill_with_stdin(folder: &Path, args: &[&str], stdin: &str) -> CommandOutput {
    let mut command = command(folder, args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(stdin.as_bytes()).expect("it reads");
    command_output(&child.wait_with_output().expect("its end"))
}

fn finish(command: &mut Command) -> CommandOutput {
    command_output(&command.output().expect("it starts"))
}

fn command_output(output: &std::process::Output) -> CommandOutput {
    CommandOutput {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Lets a command build plugins as a user would: hides from it that cargo runs it. Their dependencies are compiled once
/// for all such commands, beside the binary.
///
/// # Panics
///
/// If the binary was not built.
pub fn builds_plugins(command: &mut Command) {
    for name in
        ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "RUSTC_WRAPPER", "CARGO_BUILD_TARGET", "CARGO_TARGET_DIR"]
    {
        command.env_remove(name);
    }
    let shared = binary().expect("a binary").with_file_name("tests-cache").join("plugins");
    command.env("CARGO_BUILD_BUILD_DIR", shared);
}
