//! Parses `depends_on`, `on_failure`, `input_from` and `files_from` of a task request.
//!
//! `options` calls it.

use schemars::JsonSchema;
use serde_json::value::RawValue;
use wasmill_model::{DEPENDENCIES_MAX, FilesFrom, NewDependencies, OnFailure, TaskId};

use crate::http::fields::{self, Fields, whole_number};
use crate::openapi::schema::IdSchema;
use crate::problem::field_errors::{FieldError, FieldErrors};

/// Maximum number of dependencies of all tasks in a batch: each costs a lookup and a row in the batch's
/// transaction.
pub(crate) const BATCH_DEPENDENCIES_MAX: usize = 20_000;

/// A dependency in a request.
// For the OpenAPI document only. Tasks of the same batch have no id yet, so an index names them.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) enum DependencyRequest {
    /// The id of a stored task.
    IdSchema(#[schemars(with = "IdSchema")] String),
    /// A task of the same batch.
    BatchItem(BatchItem),
}

/// A task of the same batch.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct BatchItem {
    /// Its index in the batch, from 0. It must precede the task that depends on it.
    item: usize,
}

/// The raw fields.
pub(crate) struct DependencyFields<'a> {
    pub(crate) depends_on: Option<&'a RawValue>,
    pub(crate) on_failure: Option<&'a RawValue>,
    pub(crate) input_from: Option<&'a RawValue>,
    pub(crate) files_from: Option<&'a RawValue>,
}

impl DependencyFields<'_> {
    /// Parses the dependencies; `earlier` holds the ids of the preceding tasks of the batch, if it is one.
    pub(crate) fn read(
        self,
        earlier: Option<&[TaskId]>,
        errors: &mut FieldErrors,
    ) -> Option<NewDependencies> {
        let Self { depends_on, on_failure, input_from, files_from } = self;
        let mut error = |field: &str, detail: &str| errors.push(FieldError::field(field, detail));
        let on_failure = match on_failure.map(text) {
            None => OnFailure::default(),
            Some(_) if depends_on.is_none() => {
                error("on_failure", "on_failure requires depends_on");
                OnFailure::default()
            }
            Some(word) if word == "cancel" => OnFailure::Cancel,
            Some(word) if word == "run" => OnFailure::Run,
            Some(_) => {
                error("on_failure", "on_failure must be \"cancel\" or \"run\"");
                OnFailure::default()
            }
        };
        let is_dependencies = input_from.map(|from| text(from) == "dependencies");
        if is_dependencies == Some(false) {
            error("input_from", "input_from must be \"dependencies\"");
        }
        let pass_results = is_dependencies == Some(true);
        let files_from = files_from.and_then(|from| {
            let from = text(from).parse::<FilesFrom>();
            if from.is_err() {
                error("files_from", "files_from must be \"dependencies\" or \"dependency-folders\"");
            }
            from.ok()
        });
        let on = depends_on.map_or_else(|| Some(Vec::new()), |value| tasks(value, earlier, errors));
        for (field, is_given) in [("input_from", pass_results), ("files_from", files_from.is_some())] {
            if is_given && on.as_ref().is_some_and(Vec::is_empty) {
                let detail = format!("{field} requires at least one task in depends_on");
                errors.push(FieldError::field(field, detail));
            }
        }
        let on = on.filter(|on| !on.is_empty())?;
        Some(NewDependencies { on, on_failure, pass_results, files_from })
    }
}

/// Parses the list; `None` if it is invalid.
fn tasks(value: &RawValue, earlier: Option<&[TaskId]>, errors: &mut FieldErrors) -> Option<Vec<TaskId>> {
    let items: Option<Vec<&RawValue>> = serde_json::from_str(value.get()).ok();
    let Some(items) = items.filter(|items| items.len() <= DEPENDENCIES_MAX) else {
        let detail = format!("depends_on must be an array of at most {DEPENDENCIES_MAX} task ids");
        errors.push(FieldError::field("depends_on", detail));
        return None;
    };
    let mut on = Vec::with_capacity(items.len());
    for (place, item) in items.iter().enumerate() {
        match task(item, earlier) {
            Ok(id) => on.push(id),
            Err(detail) => {
                errors.push(FieldError::at(format!("/depends_on/{place}"), detail));
            }
        }
    }
    (on.len() == items.len()).then_some(on)
}

fn task(value: &RawValue, earlier: Option<&[TaskId]>) -> Result<TaskId, String> {
    if let Some(id) = fields::text(value) {
        return id.parse().map_err(|_| "a dependency must be a task id, which is a UUID".to_owned());
    }
    let mut errors = FieldErrors::default();
    let item = Fields::read(value, &["item"]).and_then(|mut fields| {
        fields.report("", &mut errors);
        whole_number(fields.take("item")?)
    });
    match (item.filter(|_| errors.is_empty()), earlier) {
        (None, _) => {
            let detail = "a dependency must be a task id, or an index in the batch such as {\"item\": 0}";
            Err(detail.to_owned())
        }
        (Some(_), None) => Err("item is only valid in a batch".to_owned()),
        (Some(item), Some(earlier)) => {
            let task = usize::try_from(item).ok().and_then(|item| earlier.get(item)).copied();
            let detail = "item must be the index of an earlier task of the batch, from 0";
            task.ok_or_else(|| detail.to_owned())
        }
    }
}

fn text(value: &RawValue) -> String {
    fields::text(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::value::to_raw_value;
    use serde_json::{Value, json};

    use super::*;

    fn read(body: &Value, earlier: Option<&[TaskId]>) -> (Option<NewDependencies>, Vec<String>) {
        let field = |name: &str| {
            let value = body.get(name).filter(|value| !value.is_null());
            value.map(|value| to_raw_value(value).expect("JSON"))
        };
        let (on, failure) = (field("depends_on"), field("on_failure"));
        let (from, files) = (field("input_from"), field("files_from"));
        let fields = DependencyFields {
            depends_on: on.as_deref(),
            on_failure: failure.as_deref(),
            input_from: from.as_deref(),
            files_from: files.as_deref(),
        };
        let mut errors = FieldErrors::default();
        let read = fields.read(earlier, &mut errors);
        (read, errors.into_parts().1.into_iter().filter_map(|error| error.pointer).collect())
    }

    #[test]
    fn dependencies_are_parsed() {
        let ids = [TaskId::new(), TaskId::new()];
        let body = json!({"depends_on": [ids[1].to_string(), {"item": 0}], "on_failure": "run"});
        let (read_one, errors) = read(&body, Some(&ids[..1]));
        let new = |on: &[TaskId], on_failure, pass_results, files_from| NewDependencies {
            on: on.to_vec(),
            on_failure,
            pass_results,
            files_from,
        };
        let expected = new(&[ids[1], ids[0]], OnFailure::Run, false, None);
        assert_eq!((read_one, errors), (Some(expected), vec![]));
        let body = json!({"depends_on": [{"item": 0.0}]});
        assert_eq!(read(&body, Some(&ids)).0.map(|read| read.on), Some(vec![ids[0]]));
        let body = json!({"depends_on": [ids[0].to_string()], "input_from": "dependencies"});
        assert_eq!(read(&body, None).0, Some(new(&ids[..1], OnFailure::Cancel, true, None)));
        let body = json!({"depends_on": [ids[0].to_string()], "files_from": "dependency-folders"});
        let folders = Some(FilesFrom::DependencyFolders);
        assert_eq!(read(&body, None).0, Some(new(&ids[..1], OnFailure::Cancel, false, folders)));
        for body in [json!({}), json!({"depends_on": null}), json!({"depends_on": [], "on_failure": "run"})] {
            assert_eq!(read(&body, None), (None, vec![]), "{body}");
        }
    }

    #[test]
    fn invalid_dependencies_are_errors() {
        let id = TaskId::new().to_string();
        let many = vec![id.clone(); DEPENDENCIES_MAX + 1];
        for (body, pointer) in [
            (json!({"depends_on": id}), "/depends_on"),
            (json!({"depends_on": many}), "/depends_on"),
            (json!({"depends_on": [id, "7"]}), "/depends_on/1"),
            (json!({"depends_on": [id, 7]}), "/depends_on/1"),
            (json!({"depends_on": [{"item": 1}]}), "/depends_on/0"),
            (json!({"depends_on": [{"item": -1}]}), "/depends_on/0"),
            (json!({"depends_on": [{"item": 0, "id": id}]}), "/depends_on/0"),
            (json!({"depends_on": [[0]]}), "/depends_on/0"),
            (json!({"depends_on": [{"item": 0.5}]}), "/depends_on/0"),
            (json!({"on_failure": "run"}), "/on_failure"),
            (json!({"depends_on": [id], "on_failure": "retry"}), "/on_failure"),
            (json!({"depends_on": [id], "on_failure": 1}), "/on_failure"),
            (json!({"depends_on": [id], "input_from": "somewhere"}), "/input_from"),
            (json!({"depends_on": ["7"], "input_from": "dependencies"}), "/depends_on/0"),
            (json!({"input_from": "dependencies"}), "/input_from"),
            (json!({"depends_on": [id], "files_from": "somewhere"}), "/files_from"),
            (json!({"files_from": "dependencies"}), "/files_from"),
            (json!({"depends_on": [], "input_from": "dependencies"}), "/input_from"),
        ] {
            assert_eq!(read(&body, Some(&[TaskId::new()])).1, [pointer], "{body}");
        }
        assert_eq!(read(&json!({"depends_on": [{"item": 0}]}), None).1, ["/depends_on/0"]);
    }
}
