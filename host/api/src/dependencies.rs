//! The options of a task request that say what it waits for: `depends_on`, `on_failure` and `input_from`.
//!
//! `options` reads them; `task` shows what was stored.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use wasmill_model::{DEPENDENCIES_MAX, NewDependencies, OnFailure, TaskId};
use wasmill_store::DependencyStatus;

use crate::field_errors::{Fault, Faults};
use crate::fields::{self, Fields, whole_number};
use crate::openapi::values::{Id, State};

/// The most tasks that those of one batch wait for, all together: a lookup and a row for each, while all
/// other writes wait for that of the batch.
pub(crate) const OF_BATCH_MAX: usize = 20_000;

/// A task to wait for, as requests name it.
// For the API document only; a task of the batch is named by its place, since it has no id yet.
#[derive(JsonSchema)]
#[schemars(untagged, inline)]
#[expect(dead_code, reason = "it is described, never made")]
pub(crate) enum Wish {
    /// The id of a task that is stored already.
    Id(#[schemars(with = "Id")] String),
    /// A task of the same batch.
    Item(Item),
}

/// A task of the same batch.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, inline)]
#[expect(dead_code, reason = "it is described, never made")]
pub(crate) struct Item {
    /// Its place in the batch; the first is 0. It has to stand before the task that waits for it.
    item: usize,
}

/// What may happen when one of those tasks goes wrong, as requests say it.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
#[expect(dead_code, reason = "it is described, never made")]
pub(crate) enum FailureWish {
    Cancel,
    Run,
}

/// Where the input comes from besides the request, as requests say it.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase", inline)]
#[expect(dead_code, reason = "it is described, never made")]
pub(crate) enum InputWish {
    Dependencies,
}

/// The three fields, as they came.
pub(crate) struct Wishes<'a> {
    pub(crate) depends_on: Option<&'a RawValue>,
    pub(crate) on_failure: Option<&'a RawValue>,
    pub(crate) input_from: Option<&'a RawValue>,
}

impl Wishes<'_> {
    /// Reads what the task waits for; `earlier` are the tasks of its batch that stand before it, if it is of
    /// one.
    pub(crate) fn read(self, earlier: Option<&[TaskId]>, faults: &mut Faults) -> Option<NewDependencies> {
        let Self { depends_on, on_failure, input_from } = self;
        let mut fault = |field: &str, detail: &str| faults.push(Fault::field(field, detail));
        let on_failure = match on_failure.map(text) {
            None => OnFailure::default(),
            Some(_) if depends_on.is_none() => {
                fault("on_failure", "on_failure is for a task with depends_on");
                OnFailure::default()
            }
            Some(word) if word == "cancel" => OnFailure::Cancel,
            Some(word) if word == "run" => OnFailure::Run,
            Some(_) => {
                fault("on_failure", "on_failure must be \"cancel\" or \"run\"");
                OnFailure::default()
            }
        };
        let is_dependencies = input_from.map(|from| text(from) == "dependencies");
        if is_dependencies == Some(false) {
            fault("input_from", "input_from must be \"dependencies\"");
        }
        let pass_results = is_dependencies == Some(true);
        let on = depends_on.map_or_else(|| Some(Vec::new()), |value| tasks(value, earlier, faults));
        if pass_results && on.as_ref().is_some_and(Vec::is_empty) {
            let detail = "input_from is for a task with depends_on, and there has to be a task in it";
            faults.push(Fault::field("input_from", detail));
        }
        let on = on.filter(|on| !on.is_empty())?;
        Some(NewDependencies { on, on_failure, pass_results })
    }
}

/// Reads the list of tasks; `None` if something is wrong with it.
fn tasks(value: &RawValue, earlier: Option<&[TaskId]>, faults: &mut Faults) -> Option<Vec<TaskId>> {
    let items: Option<Vec<&RawValue>> = serde_json::from_str(value.get()).ok();
    let Some(items) = items.filter(|items| items.len() <= DEPENDENCIES_MAX) else {
        let detail = format!("depends_on must be an array of at most {DEPENDENCIES_MAX} ids of tasks");
        faults.push(Fault::field("depends_on", detail));
        return None;
    };
    let mut on = Vec::with_capacity(items.len());
    for (place, item) in items.iter().enumerate() {
        match task(item, earlier) {
            Ok(id) => on.push(id),
            Err(detail) => {
                faults.push(Fault::at(format!("/depends_on/{place}"), detail));
            }
        }
    }
    (on.len() == items.len()).then_some(on)
}

fn task(value: &RawValue, earlier: Option<&[TaskId]>) -> Result<TaskId, String> {
    if let Some(id) = fields::text(value) {
        return id.parse().map_err(|_| "a task to wait for is named by its id, a UUID".to_owned());
    }
    let mut faults = Faults::default();
    let item = Fields::read(value, &["item"]).and_then(|mut fields| {
        fields.report("", &mut faults);
        whole_number(fields.take("item")?)
    });
    match (item.filter(|_| faults.is_empty()), earlier) {
        (None, _) => {
            let detail =
                "a task to wait for is named by its id, or by its place in the batch such as {\"item\": 0}";
            Err(detail.to_owned())
        }
        (Some(_), None) => Err("item names a task of the same batch, and this is none".to_owned()),
        (Some(item), Some(earlier)) => {
            let task = usize::try_from(item).ok().and_then(|item| earlier.get(item)).copied();
            let detail = "item must be the place of a task that stands before this one; the first is 0";
            task.ok_or_else(|| detail.to_owned())
        }
    }
}

fn text(value: &RawValue) -> String {
    fields::text(value).unwrap_or_default()
}

/// What a task waits for, or waited for. Part of `GET /task/{id}`.
#[derive(Default, Serialize, JsonSchema)]
pub(crate) struct DependsView {
    /// The tasks that it waits for, or waited for.
    #[schemars(length(max = DEPENDENCIES_MAX))]
    depends_on: Vec<DependencyView>,
    /// What happens when one of them fails, is cancelled or is deleted; `null` if there are none.
    #[schemars(with = "Option<FailureWish>")]
    on_failure: Option<&'static str>,
    /// `dependencies` if it is handed their results.
    #[schemars(with = "Option<InputWish>")]
    input_from: Option<&'static str>,
}

/// A task that another one waits for.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Dependency")]
struct DependencyView {
    #[schemars(with = "Id")]
    id: TaskId,
    /// How it ended: `completed`, `failed` or `cancelled`; `null` while it has not.
    #[schemars(with = "Option<State>")]
    outcome: Option<&'static str>,
}

impl From<DependencyStatus> for DependsView {
    fn from(depends: DependencyStatus) -> Self {
        let view = |on: wasmill_store::Dependency| DependencyView {
            id: on.id,
            outcome: on.outcome.map(wasmill_model::TaskState::as_str),
        };
        Self {
            depends_on: depends.on.into_iter().map(view).collect(),
            on_failure: Some(depends.on_failure.as_str()),
            input_from: depends.pass_results.then_some("dependencies"),
        }
    }
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
        let (on, failure, from) = (field("depends_on"), field("on_failure"), field("input_from"));
        let fields =
            Wishes { depends_on: on.as_deref(), on_failure: failure.as_deref(), input_from: from.as_deref() };
        let mut faults = Faults::default();
        let read = fields.read(earlier, &mut faults);
        (read, faults.into_parts().1.into_iter().filter_map(|fault| fault.pointer).collect())
    }

    #[test]
    fn dependencies_are_read() {
        let ids = [TaskId::new(), TaskId::new()];
        let body = json!({"depends_on": [ids[1].to_string(), {"item": 0}], "on_failure": "run"});
        let (read_one, faults) = read(&body, Some(&ids[..1]));
        let expected =
            NewDependencies { on: vec![ids[1], ids[0]], on_failure: OnFailure::Run, pass_results: false };
        assert_eq!((read_one, faults), (Some(expected), vec![]));
        let body = json!({"depends_on": [{"item": 0.0}]});
        assert_eq!(read(&body, Some(&ids)).0.map(|read| read.on), Some(vec![ids[0]]));
        let body = json!({"depends_on": [ids[0].to_string()], "input_from": "dependencies"});
        let expected =
            NewDependencies { on: vec![ids[0]], on_failure: OnFailure::Cancel, pass_results: true };
        assert_eq!(read(&body, None).0, Some(expected));
        for body in [json!({}), json!({"depends_on": null}), json!({"depends_on": [], "on_failure": "run"})] {
            assert_eq!(read(&body, None), (None, vec![]), "{body}");
        }
    }

    #[test]
    fn dependencies_that_make_no_sense_are_faults() {
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
            (json!({"depends_on": [], "input_from": "dependencies"}), "/input_from"),
        ] {
            assert_eq!(read(&body, Some(&[TaskId::new()])).1, [pointer], "{body}");
        }
        assert_eq!(read(&json!({"depends_on": [{"item": 0}]}), None).1, ["/depends_on/0"]);
    }
}
