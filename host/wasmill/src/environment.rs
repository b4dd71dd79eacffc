//! Settings from the environment: an empty variable counts as unset, and an unknown one with our prefix is an error,
//! like an unknown key in `wasmill.toml`.
//!
//! Used once, when the command line is parsed; `doctor` reports the error.

use std::ffi::OsString;

use anyhow::{Result, ensure};
use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{Arg, Command, CommandFactory, FromArgMatches};

use crate::cli::{Cli, VARIABLE_PREFIX};
use crate::exit::{Exit, cli_error};
use crate::output::note;
use crate::settings::similar::hint;
use crate::terminal::text::sanitize;

/// The variable with the webhook secrets. It has no flag, because flags are visible in process lists.
pub(crate) const WEBHOOK_SECRET: &str = "WASMILL_WEBHOOK_SECRET";

/// The variables with keys: that of a server for the first minutes, and that of commands.
pub(crate) const ADMIN_KEY: &str = "WASMILL_ADMIN_KEY";
pub(crate) const KEY: &str = "WASMILL_KEY";

/// Known names that are not settings: the secrets, and a variable that cargo passes to programs it starts.
const NON_SETTINGS: [&str; 4] = [WEBHOOK_SECRET, ADMIN_KEY, KEY, "WASMILL_IO_STUB"];

/// The prefix of variables that this project's tests read.
const TEST_PREFIX: &str = "WASMILL_TEST_";

/// Parses the command line and its environment variables; exits on errors.
pub(crate) fn parse() -> Cli {
    let mut command = without_empty_variables(Cli::command());
    let matches = command.try_get_matches_from_mut(std::env::args_os());
    let parsed = matches.and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    parsed.unwrap_or_else(|error| exit_with(&with_variable_name(without_environment(error), &mut command)))
}

/// Returns the error that the flags alone cause, if it is of the same kind: with the environment, clap's usage lists
/// options that are set by variables as if they were required.
fn without_environment(error: Error) -> Error {
    let command = without_variables(Cli::command());
    match command.try_get_matches_from(std::env::args_os()) {
        Err(flags_only) if flags_only.kind() == error.kind() && error.use_stderr() => flags_only,
        _ => error,
    }
}

fn without_variables(command: Command) -> Command {
    command.mut_args(|arg| arg.env(None)).mut_subcommands(without_variables)
}

/// Exits with a command line error. clap quotes arguments and variables unchanged, so if one of them could control the
/// terminal, the error is printed sanitized, without colors.
fn exit_with(error: &Error) -> ! {
    let is_unsafe = |text: OsString| is_unsafe(&text.to_string_lossy());
    let variables =
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with(VARIABLE_PREFIX));
    if !error.use_stderr() || !std::env::args_os().chain(variables.map(|(_, value)| value)).any(is_unsafe) {
        error.exit();
    }
    note!("{}", error.render().to_string().trim_end());
    std::process::exit(error.exit_code());
}

fn is_unsafe(text: &str) -> bool {
    *sanitize(text) != *text
}

fn without_empty_variables(command: Command) -> Command {
    let is_empty = |arg: &Arg| arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    command
        .mut_args(|arg| if is_empty(&arg) { arg.env(None) } else { arg })
        .mut_subcommands(without_empty_variables)
}

/// Names the variable in the error for a value that came from one.
fn with_variable_name(mut error: Error, command: &mut Command) -> Error {
    if error.kind() == ErrorKind::InvalidUtf8 {
        let message = not_utf8(command);
        return command.error(ErrorKind::InvalidUtf8, message);
    }
    let Some(ContextValue::String(arg)) = error.get(ContextKind::InvalidArg) else { return error };
    let flag = arg.split([' ', '=', '[']).next().unwrap_or_default();
    // A value that no flag gives comes from the variable.
    let variable = args(command)
        .filter(|known| !is_given(flag) && known.get_long().is_some_and(|long| flag == format!("--{long}")))
        .filter_map(|known| known.get_env()?.to_str())
        .find(|variable| std::env::var_os(variable).is_some());
    if let Some(variable) = variable {
        let arg = format!("{variable} ({arg})");
        error.insert(ContextKind::InvalidArg, ContextValue::String(arg));
    }
    error
}

/// Names the argument or the variable that is not UTF-8; a path may be any bytes.
fn not_utf8(command: &Command) -> String {
    let arguments = std::env::args_os().find(|given| given.to_str().is_none());
    let paths = ValueParser::path_buf().type_id();
    let mut variables = args(command).filter(|arg| arg.get_value_parser().type_id() != paths);
    let variable = variables.find_map(|arg| {
        let name = arg.get_env()?;
        std::env::var_os(name)?.to_str().is_none().then_some(name)
    });
    match (variable, arguments) {
        (Some(name), None) => format!("environment variable {} is not UTF-8", name.display()),
        (_, given) => format!("argument '{}' is not UTF-8", given.unwrap_or_default().display()),
    }
}

/// Rejects variables with this prefix that are not UTF-8.
///
/// # Errors
///
/// Names the variable.
pub(crate) fn check_utf8(prefix: &str) -> Result<()> {
    for (name, value) in std::env::vars_os() {
        if name.to_string_lossy().starts_with(prefix) {
            ensure!(value.to_str().is_some(), "environment variable {} is not UTF-8", name.display());
        }
    }
    Ok(())
}

/// Returns true if the flag is on the command line.
pub(crate) fn is_given(flag: &str) -> bool {
    std::env::args_os()
        .filter_map(|given| given.into_string().ok())
        .any(|given| given.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('=')))
}

fn args(command: &Command) -> Box<dyn Iterator<Item = &Arg> + '_> {
    Box::new(command.get_arguments().chain(command.get_subcommands().flat_map(args)))
}

/// Rejects variables that look like settings but are unknown.
///
/// # Errors
///
/// Names the variable, and a similar one if there is any.
pub(crate) fn check() -> Result<()> {
    let command = Cli::command();
    let mut known: Vec<&str> = args(&command).filter_map(|arg| arg.get_env()?.to_str()).collect();
    known.extend(NON_SETTINGS);
    unknown_variable(std::env::vars_os(), &known).map_or(Ok(()), |why| Err(cli_error(Exit::Usage, why)))
}

fn unknown_variable(set: impl Iterator<Item = (OsString, OsString)>, known: &[&str]) -> Option<String> {
    let names = set.map(|(name, value)| (name.to_string_lossy().into_owned(), value));
    let ours = names.filter(|(name, _)| name.starts_with(VARIABLE_PREFIX) && !name.starts_with(TEST_PREFIX));
    let mut unknown_variable = ours.filter(|(name, value)| {
        !known.contains(&name.as_str())
            && !value.is_empty()
            && !is_service_link(name, &value.to_string_lossy())
    });
    let (name, _) = unknown_variable.next()?;
    let hint = hint(&name, known.iter().copied());
    Some(format!("unknown environment variable {name}; {hint}"))
}

/// Returns true for variables that Kubernetes sets in containers for a service whose name starts with `wasmill`.
fn is_service_link(name: &str, value: &str) -> bool {
    let is_port = name.ends_with("_PORT") && value.contains("://");
    let is_part = name.contains("_PORT_") && ["_TCP", "_UDP", "_SCTP"].iter().any(|kind| name.contains(kind));
    name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || is_port || is_part
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 3] = ["WASMILL_SLOTS", "WASMILL_LISTEN", WEBHOOK_SECRET];

    fn error_for(name: &str, value: &str) -> Option<String> {
        unknown_variable([(name.into(), value.into())].into_iter(), &KNOWN)
    }

    #[test]
    fn an_unknown_variable_is_named_with_a_similar_one() {
        let slot = error_for("WASMILL_SLOT", "3").unwrap();
        assert!(slot.contains("WASMILL_SLOT;") && slot.contains("did you mean WASMILL_SLOTS?"), "{slot}");
        let secret = error_for("WASMILL_WEBHOOK_SECRETS", "x").unwrap();
        assert!(secret.contains(WEBHOOK_SECRET), "{secret}");
        let other = error_for("WASMILL_SOMETHING_ELSE", "1").unwrap();
        assert!(other.contains("--help"), "{other}");
    }

    #[test]
    fn known_empty_and_foreign_variables_are_accepted() {
        for (name, value) in [
            ("WASMILL_SLOTS", "3"),
            ("WASMILL_SLOT", ""),
            ("WASMILL_TEST_REQUIRE", "all"),
            ("WASMILLER", "1"),
            ("SLOTS", "3"),
            ("WASMILL_SERVICE_HOST", "10.0.0.1"),
            ("WASMILL_SERVICE_PORT_HTTP", "8080"),
            ("WASMILL_PORT", "tcp://10.0.0.1:8080"),
            ("WASMILL_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("WASMILL_UI_PORT_80_TCP", "tcp://10.0.0.1:80"),
        ] {
            assert_eq!(error_for(name, value), None, "{name}");
        }
        assert!(error_for("WASMILL_PORT", "8080").is_some(), "this one is not from Kubernetes");
    }
}
