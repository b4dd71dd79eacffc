//! The log filter: a level, or a filter by module.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use tracing_subscriber::EnvFilter;

/// How to set levels, for error messages.
const LEVELS: &str =
    "use off, error, warn, info, debug or trace, and set a module's level as in wasmill_store=debug";

/// A validated log filter. A bare word that is not a level is rejected: `tracing` would take it for a module name and
/// log nothing else.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub(crate) struct LogFilter(pub(crate) String);

/// The text is not a log filter.
#[derive(Debug)]
pub(crate) struct InvalidLogFilter(String);

impl fmt::Display for InvalidLogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidLogFilter {}

impl FromStr for LogFilter {
    type Err = InvalidLogFilter;

    fn from_str(text: &str) -> Result<Self, InvalidLogFilter> {
        let is_level = |word: &str| word.parse::<tracing_subscriber::filter::LevelFilter>().is_ok();
        let is_ours = |word: &str| word.starts_with("wasmill") || word.contains("::");
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let bare = parts.filter(|part| !part.contains(['=', '[']));
        for word in bare {
            if !is_level(word) && !is_ours(word) {
                return Err(InvalidLogFilter(format!("'{word}' is not a log level; {LEVELS}")));
            }
        }
        let leveled = text.split(',').map(str::trim).filter(|part| !part.contains(['{', '}', '"']));
        for (part, level) in leveled.filter_map(|part| Some((part, part.rsplit_once('=')?.1))) {
            if !is_level(level) {
                return Err(InvalidLogFilter(format!("'{level}' in '{part}' is not a log level; {LEVELS}")));
            }
        }
        EnvFilter::try_new(text).map_err(|error| InvalidLogFilter(error.to_string()))?;
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for LogFilter {
    type Error = InvalidLogFilter;

    fn try_from(text: String) -> Result<Self, InvalidLogFilter> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_level_is_rejected_by_name() {
        for (text, named) in [
            ("warning", "'warning' is not a log level"),
            ("verbose", "'verbose' is not a log level"),
            ("info,wasmill_store=debug,critical", "'critical'"),
            ("none", "'none'"),
            ("wasmill_store=verbose", "'verbose' in 'wasmill_store=verbose'"),
            ("info,hyper=verbos", "'verbos' in 'hyper=verbos'"),
        ] {
            let error = text.parse::<LogFilter>().expect_err(text);
            assert!(error.to_string().contains(named), "{error}");
        }
    }

    #[test]
    fn levels_and_module_filters_are_accepted() {
        for text in [
            "info",
            "WARN",
            "off",
            "warn,wasmill_store=trace",
            "hyper=debug",
            "wasmill_store",
            "a::b",
            "[span]=info",
        ] {
            assert!(text.parse::<LogFilter>().is_ok(), "{text}");
        }
    }
}
