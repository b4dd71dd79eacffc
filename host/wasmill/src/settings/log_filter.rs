//! The log filter: a level, or a filter by module.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The default filter, which an empty one means too.
pub(super) const LOG: &str = "info";

/// How to set levels, for error messages.
const LEVELS: &str =
    "use off, error, warn, info, debug or trace, and set a module's level as in wasmill_store=debug";

/// Checks a log filter. A bare word that is not a level is rejected: `tracing` would take it for a module name and log
/// nothing else.
pub(super) fn parse_log_filter(text: &str) -> Result<String, String> {
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok();
    let is_ours = |word: &str| word.starts_with("wasmill") || word.contains("::");
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let bare = parts.filter(|part| !part.contains(['=', '[']));
    for word in bare {
        if !is_level(word) && !is_ours(word) {
            return Err(format!("'{word}' is not a log level; {LEVELS}"));
        }
    }
    let leveled = text.split(',').map(str::trim).filter(|part| !part.contains(['{', '}', '"']));
    for (part, level) in leveled.filter_map(|part| Some((part, part.rsplit_once('=')?.1))) {
        if !is_level(level) {
            return Err(format!("'{level}' in '{part}' is not a log level; {LEVELS}"));
        }
    }
    EnvFilter::try_new(text).map_err(|error| error.to_string())?;
    Ok(if text.is_empty() { LOG } else { text }.to_owned())
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
            let error = parse_log_filter(text).expect_err(text);
            assert!(error.contains(named), "{error}");
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
            assert_eq!(parse_log_filter(text).as_deref(), Ok(text));
        }
        assert_eq!(parse_log_filter("").as_deref(), Ok(LOG));
    }
}
