//! What values that travel as text look like, for the schemas of the API document.
//!
//! The types of answers and requests name them with `#[schemars(with = "…")]` where they hold plain
//! text or a type of another room.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use wasmill_model::{TaskState, duration_pattern};

use crate::task_view::Rfc3339;

/// The pattern of a text without control characters.
pub(crate) const NO_CONTROLS: &str = "^[^\\x00-\\x1f\\x7f-\\x9f]*$";

/// Names a schema that is written in place.
macro_rules! inline {
    ($name:ident, $schema:expr) => {
        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

/// The id of a task.
pub(crate) struct Id;
inline!(Id, json_schema!({"type": "string", "format": "uuid"}));

/// The name of a plugin.
pub(crate) struct Name;
inline!(Name, json_schema!({"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,63}$"}));

/// A time with a unit, as requests say it.
pub(crate) struct Span;
inline!(Span, json_schema!({"type": "string", "pattern": duration_pattern()}));

/// A moment, as requests say it.
pub(crate) struct Moment;
inline!(Moment, json_schema!({"type": "string", "format": "date-time"}));

/// A SHA-256 in hexadecimal.
pub(crate) struct Digest;
inline!(Digest, json_schema!({"type": "string", "pattern": "^[0-9a-f]{64}$"}));

/// The id of a trace.
pub(crate) struct TraceName;
inline!(TraceName, json_schema!({"type": "string", "pattern": "^[0-9a-f]{32}$"}));

/// Where a task stands, for machines.
pub(crate) struct State;
inline!(State, json_schema!({"type": "string", "enum": TaskState::ALL.map(TaskState::as_str)}));

/// Where a task stands, in words for people.
pub(crate) struct Words;
inline!(
    Words,
    json_schema!({
        "type": "string",
        "pattern": "^(created, but waiting to start|in process|completed|cancelled|failed by .+)$",
        "examples": ["created, but waiting to start", "in process", "completed", "failed by io bound"],
    })
);

/// Any JSON.
pub(crate) struct Anything;
inline!(Anything, Schema::default());

inline!(
    Rfc3339,
    json_schema!({
        "type": "string",
        "format": "date-time",
        "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{9}Z$",
        "examples": ["2026-11-23T07:26:49.603656725Z"],
    })
);

/// Returns the schema of a type without names, for parameters and headers.
pub(crate) fn plain<T: JsonSchema>() -> Value {
    T::json_schema(&mut SchemaGenerator::default()).to_value()
}
