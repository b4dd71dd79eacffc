//! The plugin that a path names.

use crate::field_errors::truncated_quote;
use crate::problem::Problem;
use crate::problem_kind as kind;

pub(crate) fn unknown_plugin(name: &str) -> Problem {
    let detail = format!("plugin '{}' does not exist; GET /plugins lists all plugins", truncated_quote(name));
    Problem::of(kind::UNKNOWN_PLUGIN, detail)
}
