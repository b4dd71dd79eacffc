//! The plugin that a path names.

use crate::problem::Problem;
use crate::problem::field_errors::truncated_quote;
use crate::problem::kind;

pub(crate) fn unknown_plugin(name: &str) -> Problem {
    let detail = format!("plugin '{}' does not exist; GET /plugins lists all plugins", truncated_quote(name));
    Problem::of(kind::UNKNOWN_PLUGIN, detail)
}
