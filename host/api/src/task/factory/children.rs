//! Children that tasks submit, with the checks of `POST /task`.
//!
//! A child has the rights of its parent: those that the key of the task has by now. It is in the group of the parent and has
//! its tags, so whoever reaches the parent reaches it, and whoever does not, does not.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::value::RawValue;
use wasmill_access::Identity;
use wasmill_model::{
    ChildName, ChildOf, ChildrenError, Group, KeySpace, NewChild, NewTask, ScheduleName, TAGS_MAX, Task,
    Timestamp,
};
use wasmill_runtime::InputBudget;
use wasmill_scheduler::AcceptChildren;

use crate::http::fields::Fields;
use crate::problem::field_errors::{FieldErrors, truncated_quote};
use crate::state::Api;
use crate::task::submit::{CheckedTask, Refusal, check_one};

/// The fields of a task request that a child may have beside its plugin and its input. Its parent waits for what it depends
/// on, and its name is its unique key.
const OPTIONS: [&str; 8] =
    ["timeout", "max_attempts", "backoff", "delay", "run_at", "priority", "tags", "webhook"];

/// Returns the function that checks the children of a task; the origin is the task that names the key or the schedule
/// which answers for it.
pub fn child_factory(api: &Api) -> AcceptChildren {
    let api = api.clone();
    Arc::new(move |parent: &Task, origin: &Task, children: Vec<NewChild>, now: Timestamp| {
        let sender = submitter(&api, origin)?;
        let (mut budget, mut names) = (InputBudget::full(), HashSet::new());
        let mut tasks = Vec::with_capacity(children.len());
        for child in children {
            let task = accept(&api, &sender, parent, &child, now, &mut budget).map_err(|error| {
                let named = |why| format!("child '{}': {why}", truncated_quote(&child.name));
                match error {
                    ChildrenError::Refused(why) => ChildrenError::Refused(named(why)),
                    ChildrenError::Unavailable(why) => ChildrenError::Unavailable(named(why)),
                }
            })?;
            if !names.insert(child.name.clone()) {
                let name = truncated_quote(&child.name);
                return Err(ChildrenError::Refused(format!("two children are called '{name}'")));
            }
            tasks.push(signed(&api, &sender, origin, task));
        }
        Ok(tasks)
    })
}

/// Signs a child as its origin was: a task of a schedule, or of a client of the database, names no key.
fn signed(api: &Api, sender: &Identity, origin: &Task, child: NewTask) -> NewTask {
    if origin.submitted_by.is_some() {
        return sender.signed(child);
    }
    NewTask { limited_by: api.access.keys().limited_of(&space(origin)), ..child }
}

/// Returns the space of the schedule of a task.
fn space(origin: &Task) -> KeySpace {
    origin.schedule.as_ref().map(ScheduleName::space).unwrap_or_default()
}

/// Returns who answers for a task.
fn submitter(api: &Api, origin: &Task) -> Result<Identity, ChildrenError> {
    api.access.submitter(origin.submitted_by.as_deref(), &space(origin)).ok_or_else(|| {
        let why =
            "the key of the task is not in force any more or may not submit, so the task submits nothing";
        ChildrenError::Refused(why.to_owned())
    })
}

fn accept(
    api: &Api,
    sender: &Identity,
    parent: &Task,
    child: &NewChild,
    now: Timestamp,
    budget: &mut InputBudget,
) -> Result<NewTask, ChildrenError> {
    let name: ChildName =
        child.name.parse().map_err(|error| refused(format!("its name must have {error}")))?;
    let request = request(child, parent.group.as_ref()).map_err(refused)?;
    let bytes_max = api.config.body.bytes_max;
    if request.len() > bytes_max {
        return Err(refused(format!("it has {} bytes, and {bytes_max} are the most", request.len())));
    }
    let raw = serde_json::from_str(&request).map_err(|error| refused(error.to_string()))?;
    let mut task = check_one(api, sender, raw, now, None, budget)
        .and_then(CheckedTask::without_files)
        .map_err(|refusal| {
            let is_later = refusal.not_ready.is_some() && refusal.errors.is_empty();
            let why = Refusal::into_text(refusal);
            if is_later { ChildrenError::Unavailable(why) } else { refused(why) }
        })?;
    task.tags.extend(parent.tags.iter().cloned());
    task.tags.sort_unstable();
    task.tags.dedup();
    if task.tags.len() > TAGS_MAX {
        return Err(refused(format!("it would have more than {TAGS_MAX} tags with those of its parent")));
    }
    // A tag may name a group; that of the parent counts.
    task.group.clone_from(&parent.group);
    let child_of = ChildOf { parent: parent.id, name, depth: parent.depth.saturating_add(1) };
    Ok(NewTask { child_of: Some(child_of), trace: parent.trace.clone(), ..task })
}

/// Builds the request that a client would send.
fn request(child: &NewChild, group: Option<&Group>) -> Result<String, String> {
    let text = |text: &str| serde_json::to_string(text).map_err(|error| error.to_string());
    let mut request = format!("{{\"plugin\": {}", text(&child.plugin)?);
    if let Some(input) = &child.input {
        let input: &RawValue =
            serde_json::from_str(input).map_err(|error| format!("its input is not JSON: {error}"))?;
        request += &format!(", \"input\": {}", input.get());
    }
    if let Some(group) = group {
        request += &format!(", \"group\": {}", text(group.as_str())?);
    }
    let options = options(child.options.as_deref().unwrap_or("{}"))?;
    if !options.is_empty() {
        request += ", ";
        request += options;
    }
    Ok(request + "}")
}

/// Returns the fields of an object, without its braces.
fn options(text: &str) -> Result<&str, String> {
    let raw: &RawValue =
        serde_json::from_str(text).map_err(|error| format!("its options are not JSON: {error}"))?;
    let fields = Fields::read(raw, &OPTIONS).ok_or("its options must be a JSON object")?;
    let mut errors = FieldErrors::default();
    fields.report("", &mut errors);
    if !errors.is_empty() {
        return Err(format!("its options: {}", errors.into_parts().0));
    }
    let inner = raw.get().strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    Ok(inner.unwrap_or_default().trim())
}

fn refused(why: impl Into<String>) -> ChildrenError {
    ChildrenError::Refused(why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(input: Option<&str>, options: Option<&str>, group: Option<&str>) -> Result<String, String> {
        let child = NewChild {
            name: "a".to_owned(),
            plugin: "p".to_owned(),
            input: input.map(str::to_owned),
            options: options.map(str::to_owned),
        };
        request(&child, group.map(|group| group.parse().expect("a group")).as_ref())
    }

    #[test]
    fn a_child_is_the_request_that_a_client_would_send() {
        let expected = r#"{"plugin": "p", "input": [1], "group": "a \"b\"", "priority": 3}"#;
        assert_eq!(
            built(Some(" [1] "), Some(r#"{ "priority": 3 }"#), Some("a \"b\"")).as_deref(),
            Ok(expected)
        );
        assert_eq!(built(None, None, None).as_deref(), Ok(r#"{"plugin": "p"}"#));
        let nested = built(None, Some(r#"{"backoff": {"first": "1s"}}"#), None);
        assert_eq!(nested.as_deref(), Ok(r#"{"plugin": "p", "backoff": {"first": "1s"}}"#));
    }

    #[test]
    fn a_child_says_nothing_but_what_a_child_may() {
        for (input, options) in [
            (Some("1, \"group\": \"other\""), None),
            (Some(""), None),
            (None, Some("[]")),
            (None, Some("{")),
            (None, Some(r#"{"group": "other"}"#)),
            (None, Some(r#"{"plugin": "other"}"#)),
            (None, Some(r#"{"input": 1}"#)),
            (None, Some(r#"{"depends_on": []}"#)),
            (None, Some(r#"{"unique_key": "k"}"#)),
            (None, Some(r#"{"priority": 1, "priority": 2}"#)),
        ] {
            assert!(built(input, options, None).is_err(), "{input:?} {options:?}");
        }
    }
}
