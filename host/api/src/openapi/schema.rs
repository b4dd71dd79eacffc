//! Schemas of values that are serialized as text.
//!
//! Request and response types refer to them with `#[schemars(with = "…")]` where they hold plain text or a
//! type of another crate.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use wasmill_model::{TaskPhase, TaskState, duration_pattern};

/// Pattern of text without control characters.
pub(crate) const NO_CONTROLS: &str = "^[^\\x00-\\x1f\\x7f-\\x9f]*$";

/// Pattern of base64 with padding (RFC 4648, section 4), whose last digit has no bits that are left over.
const BASE64_PATTERN: &str =
    "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$";

/// Implements `JsonSchema` with an inline schema.
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

/// A task id.
pub(crate) struct IdSchema;
inline!(IdSchema, json_schema!({"type": "string", "format": "uuid"}));

/// A plugin name.
pub(crate) struct NameSchema;
inline!(NameSchema, json_schema!({"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,63}$"}));

/// The name of a schedule; that of a key with a reach has its space before it, to keys without one.
pub(crate) struct ScheduleNameSchema;
inline!(
    ScheduleNameSchema,
    json_schema!({"type": "string", "pattern": "^([0-9a-f]{32}:)?[a-z0-9][a-z0-9._-]{0,63}$"})
);

/// A duration with a unit.
pub(crate) struct DurationSchema;
inline!(DurationSchema, json_schema!({"type": "string", "pattern": duration_pattern()}));

/// A time in RFC 3339.
pub(crate) struct TimeSchema;
inline!(TimeSchema, json_schema!({"type": "string", "format": "date-time"}));

/// Bytes as base64.
pub(crate) struct Base64Schema;
inline!(
    Base64Schema,
    json_schema!({"type": "string", "contentEncoding": "base64", "pattern": BASE64_PATTERN})
);

/// Bytes as they are.
pub(crate) struct BinarySchema;
inline!(BinarySchema, json_schema!({"type": "string", "format": "binary"}));

/// A SHA-256 in hexadecimal.
pub(crate) struct DigestSchema;
inline!(DigestSchema, json_schema!({"type": "string", "pattern": "^[0-9a-f]{64}$"}));

pub(crate) struct TraceIdSchema;
inline!(TraceIdSchema, json_schema!({"type": "string", "pattern": "^[0-9a-f]{32}$"}));

/// A task state.
pub(crate) struct StateSchema;
inline!(StateSchema, json_schema!({"type": "string", "enum": TaskPhase::ALL.map(TaskPhase::as_str)}));

/// What a waiting task waits for.
pub(crate) struct QueueStateSchema;
inline!(
    QueueStateSchema,
    json_schema!({"type": "string", "enum": TaskState::ALL.into_iter().filter(|state| state.is_waiting())
        .map(TaskState::as_str).collect::<Vec<_>>()})
);

/// What resumes a suspended task early.
pub(crate) struct WakeOnSchema;
inline!(WakeOnSchema, json_schema!({"type": "string", "enum": ["event", "any_child", "all_children"]}));

pub(crate) struct StatusTextSchema;
inline!(
    StatusTextSchema,
    json_schema!({
        "type": "string",
        "pattern": "^(created, but waiting to start|in process|completed|cancelled|failed by .+)$",
        "examples": ["created, but waiting to start", "in process", "completed", "failed by io bound"],
    })
);

pub(crate) struct AnyJson;
inline!(AnyJson, Schema::default());

/// What happens when a dependency does not complete.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) enum OnFailureSchema {
    Cancel,
    Run,
}

/// Where further input comes from.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) enum InputFromSchema {
    Dependencies,
}

/// From where a task gets files.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", inline)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) enum FilesFromSchema {
    Dependencies,
    DependencyFolders,
}

/// Returns the inline schema of a type, for parameters and headers.
pub(crate) fn plain<T: JsonSchema>() -> Value {
    T::json_schema(&mut SchemaGenerator::default()).to_value()
}
