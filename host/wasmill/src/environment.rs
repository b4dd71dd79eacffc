//! The environment as a source of settings: an empty variable counts as unset, and one of our names that means
//! nothing is an error, as an unknown line of `wasmill.toml` is.
//!
//! Used once, where the command line is read; `doctor` shows the error in its report.

use std::ffi::OsString;

use anyhow::Result;
use clap::error::{ContextKind, ContextValue, Error};
use clap::{Arg, Command, CommandFactory, FromArgMatches};

use crate::cli::Cli;
use crate::exit::{Exit, told};
use crate::output::tell;
use crate::screen::text::clean;

/// What the names of our variables begin with.
const PREFIX: &str = "WASMILL_";

/// The variable that holds the secrets of webhooks. It is no flag: flags are seen in lists of processes.
pub(crate) const WEBHOOK_SECRET: &str = "WASMILL_WEBHOOK_SECRET";

/// Names that are no settings: of the secrets, and of what cargo hands to the programs it starts.
const OTHERS: [&str; 2] = [WEBHOOK_SECRET, "WASMILL_IO_STUB"];

/// What the names of variables begin with that the tests of this project read.
const OF_TESTS: &str = "WASMILL_TEST_";

/// How many letters may differ in a name that is suggested.
const DISTANCE_MAX: usize = 4;

/// Reads the command line and the variables that stand for its options; ends the process where they are wrong.
pub(crate) fn parse() -> Cli {
    let mut command = without_empty_variables(Cli::command());
    let matches = command.try_get_matches_from_mut(std::env::args_os());
    let parsed = matches.and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    parsed.unwrap_or_else(|error| end(&named(of_flags_alone(error), &command)))
}

/// Returns the error as it is without the environment, if that has nothing to do with it: else the usage names
/// options that are only variables as if they had to be given.
fn of_flags_alone(error: Error) -> Error {
    let command = without_variables(Cli::command());
    match command.try_get_matches_from(std::env::args_os()) {
        Err(alone) if alone.kind() == error.kind() && error.use_stderr() => alone,
        _ => error,
    }
}

fn without_variables(command: Command) -> Command {
    command.mut_args(|arg| arg.env(None)).mut_subcommands(without_variables)
}

/// Ends the process with an error of the command line. clap quotes what it was given as it is, so that goes through
/// the writer of this program where it could drive a terminal; its colours are lost there.
fn end(error: &Error) -> ! {
    let is_harmful = |text: OsString| is_harmful(&text.to_string_lossy());
    let variables = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with(PREFIX));
    if !error.use_stderr() || !std::env::args_os().chain(variables.map(|(_, value)| value)).any(is_harmful) {
        error.exit();
    }
    tell!("{}", error.render().to_string().trim_end());
    std::process::exit(error.exit_code());
}

fn is_harmful(text: &str) -> bool {
    *clean(text) != *text
}

fn without_empty_variables(command: Command) -> Command {
    let is_empty = |arg: &Arg| arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    command
        .mut_args(|arg| if is_empty(&arg) { arg.env(None) } else { arg })
        .mut_subcommands(without_empty_variables)
}

/// Names the variable in the error of a value that came from one.
fn named(mut error: Error, command: &Command) -> Error {
    let text = |error: &Error, kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let (arg, value) = (text(&error, ContextKind::InvalidArg), text(&error, ContextKind::InvalidValue));
    let (Some(arg), Some(value)) = (arg, value) else { return error };
    let flag = arg.split([' ', '=', '[']).next().unwrap_or_default().to_owned();
    let is_given = is_given(&flag);
    let variable = args(command)
        .filter(|known| known.get_long().is_some_and(|long| flag == format!("--{long}")))
        .filter_map(|known| known.get_env()?.to_str())
        .find(|variable| !is_given && std::env::var(variable).is_ok_and(|held| held == value));
    if let Some(variable) = variable {
        error.insert(ContextKind::InvalidArg, ContextValue::String(format!("{variable} ({arg})")));
    }
    error
}

/// Says whether a flag stands on the command line.
pub(crate) fn is_given(flag: &str) -> bool {
    std::env::args()
        .any(|given| given.strip_prefix(flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('=')))
}

fn args(command: &Command) -> Box<dyn Iterator<Item = &Arg> + '_> {
    Box::new(command.get_arguments().chain(command.get_subcommands().flat_map(args)))
}

/// Refuses variables that look like settings and are none.
///
/// # Errors
///
/// Names the variable, and the one that was probably meant.
pub(crate) fn check() -> Result<()> {
    let command = Cli::command();
    let mut known: Vec<&str> = args(&command).filter_map(|arg| arg.get_env()?.to_str()).collect();
    known.extend(OTHERS);
    unknown(std::env::vars_os(), &known).map_or(Ok(()), |why| Err(told(Exit::Usage, why)))
}

fn unknown(set: impl Iterator<Item = (OsString, OsString)>, known: &[&str]) -> Option<String> {
    let names = set.filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    let ours = names.filter(|(name, _)| name.starts_with(PREFIX) && !name.starts_with(OF_TESTS));
    let mut unknown = ours.filter(|(name, value)| {
        !known.contains(&name.as_str())
            && !value.is_empty()
            && !is_service_link(name, &value.to_string_lossy())
    });
    let (name, _) = unknown.next()?;
    let distance = |other: &str| strsim::damerau_levenshtein(&name, other);
    let nearest =
        known.iter().min_by_key(|other| distance(other)).filter(|other| distance(other) <= DISTANCE_MAX);
    let meant = match nearest {
        Some(nearest) => format!("did you mean {nearest}?"),
        None => "`wasmill serve --help` lists those there are".to_owned(),
    };
    Some(format!("there is no setting {name} for the environment; {meant}"))
}

/// Returns true for what Kubernetes sets in each container for a service whose name begins with `wasmill`.
fn is_service_link(name: &str, value: &str) -> bool {
    let is_port = name.ends_with("_PORT") && value.contains("://");
    let is_part = name.contains("_PORT_") && ["_TCP", "_UDP", "_SCTP"].iter().any(|kind| name.contains(kind));
    name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || is_port || is_part
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 3] = ["WASMILL_SLOTS", "WASMILL_LISTEN", WEBHOOK_SECRET];

    fn complaint(name: &str, value: &str) -> Option<String> {
        unknown([(name.into(), value.into())].into_iter(), &KNOWN)
    }

    #[test]
    fn a_variable_of_ours_that_means_nothing_is_named_with_the_one_that_was_meant() {
        let slot = complaint("WASMILL_SLOT", "3").unwrap();
        assert!(slot.contains("WASMILL_SLOT ") && slot.contains("did you mean WASMILL_SLOTS?"), "{slot}");
        let secret = complaint("WASMILL_WEBHOOK_SECRETS", "x").unwrap();
        assert!(secret.contains(WEBHOOK_SECRET), "{secret}");
        let other = complaint("WASMILL_SOMETHING_ELSE", "1").unwrap();
        assert!(other.contains("--help"), "{other}");
    }

    #[test]
    fn known_empty_and_foreign_variables_pass() {
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
            assert_eq!(complaint(name, value), None, "{name}");
        }
        assert!(complaint("WASMILL_PORT", "8080").is_some(), "that is meant for us");
    }
}
