//! The schema of a task request, for the OpenAPI document. `submit` parses each field itself, to report all errors.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use wasmill_model::{
    ATTEMPTS_MAX, DEPENDENCIES_MAX, GROUP_CHARS_MAX, KEY_CHARS_MAX, Priority, TAG_CHARS_MAX, TAGS_MAX,
};

use crate::openapi::schema::{
    AnyJson, Base64Schema, DurationSchema, FilesFromSchema, InputFromSchema, NO_CONTROLS, NameSchema,
    OnFailureSchema, TimeSchema,
};
use crate::task::request::backoff::BackoffRequest;
use crate::task::request::dependencies;
use crate::task::request::webhook::WebhookRequest;

/// A task request. All fields are optional or may be `null`; unknown fields are refused.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct TaskRequest {
    /// The plugin that runs the task, by default `io-stub`. It must be in service.
    #[schemars(with = "Option<NameSchema>")]
    plugin: Option<String>,
    /// Any JSON; the plugin gets it as text. It must match the plugin's schema, if there is one.
    input: Option<AnyJson>,
    /// Files that the plugin finds in its scratch folder: names such as `in.v` or `lib/a.v`, and the bytes of each as base64.
    #[schemars(with = "Option<BTreeMap<String, Base64Schema>>")]
    files: Option<BTreeMap<String, String>>,
    /// Wall-clock limit of one attempt, from 1ms to the setting `--timeout-max`. The default is the plugin's,
    /// else the setting `--timeout`.
    #[schemars(with = "Option<DurationSchema>")]
    timeout: Option<String>,
    /// Maximum number of attempts, including the first. The default is the plugin's, else 1.
    #[schemars(range(min = 1, max = ATTEMPTS_MAX))]
    max_attempts: Option<u32>,
    /// Delays between attempts: `first`, by default 1s, then each `factor` times as long, by default 2, up to `max`, by
    /// default 5m; each extended at random by up to `jitter` of itself, by default 0.5. The default is the plugin's.
    backoff: Option<BackoffRequest>,
    /// Minimum wait before the task starts, at most 366 days. Cannot be combined with `run_at`.
    #[schemars(with = "Option<DurationSchema>")]
    delay: Option<String>,
    /// Earliest start of the task, at most 366 days ahead; until then it waits, with `ready_at` in the future.
    run_at: Option<TimeSchema>,
    /// Each step outweighs one minute of waiting in the queue. The default is 0.
    #[schemars(range(min = -Priority::MAX, max = Priority::MAX))]
    priority: Option<i32>,
    /// Labels for filters.
    #[schemars(length(max = TAGS_MAX), inner(length(min = 1, max = TAG_CHARS_MAX), regex(pattern = NO_CONTROLS)))]
    tags: Option<Vec<String>>,
    /// At most one unfinished task may have this key.
    #[schemars(length(min = 1, max = KEY_CHARS_MAX), regex(pattern = NO_CONTROLS))]
    unique_key: Option<String>,
    /// What happens if the key is taken: `refuse` responds 409, `return` responds with the task that holds
    /// it.
    #[schemars(with = "Option<OnConflictRequest>")]
    on_conflict: Option<String>,
    /// Tasks that must finish before this one starts: ids, or `{"item": 0}` for a task of the same batch.
    #[schemars(length(max = DEPENDENCIES_MAX))]
    depends_on: Option<Vec<dependencies::DependencyRequest>>,
    /// What happens if a dependency fails, is cancelled or is deleted: `cancel` (the default) cancels this
    /// task, `run` runs it anyway.
    #[schemars(with = "Option<OnFailureSchema>")]
    on_failure: Option<String>,
    /// With `dependencies` it gets the results of its dependencies: a program after its stdin, any other plugin
    /// from the function `dependencies` of its contract.
    #[schemars(with = "Option<InputFromSchema>")]
    input_from: Option<String>,
    /// With `dependencies` its scratch folder has the files that its dependencies left; with `dependency-folders` those of
    /// each are in a folder with its index in `depends_on`, from `0`.
    #[schemars(with = "Option<FilesFromSchema>")]
    files_from: Option<String>,
    /// Receiver of a webhook when the task finishes: a URL, or an object that also selects outcomes.
    webhook: Option<WebhookRequest>,
    /// Group of the task, such as a tenant: the groups of a plugin share its slots by round robin.
    #[schemars(length(min = 1, max = GROUP_CHARS_MAX), regex(pattern = NO_CONTROLS))]
    group: Option<String>,
}

/// What happens if a unique key is taken.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
#[expect(dead_code, reason = "only its schema is used")]
enum OnConflictRequest {
    Refuse,
    Return,
}
