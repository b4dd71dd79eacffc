//! The task filter of a query string, shared by list, cancel and retry.

use chrono::{DateTime, Utc};
use serde_json::json;
use wasmill_access::Identity;
use wasmill_model::{
    Cause, GROUP_CHARS_MAX, KEY_CHARS_MAX, TAG_CHARS_MAX, TAGS_MAX, TaskPhase, TaskState, Timestamp,
};
use wasmill_store::Filter;

use crate::openapi::Operation;
use crate::openapi::schema::{IdSchema, NO_CONTROLS, NameSchema, ScheduleNameSchema, plain};
use crate::problem::field_errors::{FieldError, FieldErrors};

/// Parses one query parameter into the filter; ignores those that do not belong to it.
pub(crate) fn take(filter: &mut Filter, name: &str, value: &str, errors: &mut FieldErrors) {
    let taken = match name {
        "state" => states(filter, value),
        "plugin" => one(&mut filter.plugin, value.parse().ok(), PLUGIN_NAME),
        "tag" => tag(filter, value),
        "created_after" => one(&mut filter.created_after, time(value), TIME),
        "created_before" => one(&mut filter.created_before, time(value), TIME),
        "q" => one(&mut filter.id, value.parse().ok(), ID),
        "id_end" => one(&mut filter.id_end, value.parse().ok(), ID_END),
        "schedule" => one(&mut filter.schedule, value.parse().ok(), SCHEDULE_NAME),
        "group" => one(&mut filter.group, value.parse().ok(), LABEL),
        "unique_key" => one(&mut filter.unique_key, value.parse().ok(), KEY),
        "parent" => one(&mut filter.parent, value.parse().ok(), TASK_ID),
        "cause" => one(&mut filter.cause, value.parse().ok(), CAUSE),
        _ => return,
    };
    if let Err(expected) = taken {
        errors.push(FieldError::parameter(name, format!("{name} must be {expected}")));
    }
}

/// Keeps a filter within the reach of its sender, whose schedules have names of their own.
pub(crate) fn within(filter: &mut Filter, sender: &Identity) {
    filter.reach.clone_from(sender.reach());
    if filter.reach.is_bounded() {
        filter.schedule = filter.schedule.take().map(|schedule| schedule.within(&sender.space()));
    }
}

/// Writes the filter as query parameters, each preceded by `&`, for the link to the next page.
pub(crate) fn parameters(filter: &Filter) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let all_wait = waiting_states().all(|state| filter.states.contains(&state));
    if all_wait {
        query.append_pair("state", TaskPhase::Waiting.as_str());
    }
    for state in filter.states.iter().filter(|state| !(all_wait && state.is_waiting())) {
        query.append_pair("state", state.as_str());
    }
    if let Some(plugin) = &filter.plugin {
        query.append_pair("plugin", plugin.as_str());
    }
    for tag in &filter.tags {
        query.append_pair("tag", tag.as_str());
    }
    for (name, time) in [("created_after", filter.created_after), ("created_before", filter.created_before)] {
        if let Some(time) = time {
            let text = time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
            query.append_pair(name, &text);
        }
    }
    if let Some(id) = &filter.id {
        query.append_pair("q", &id.to_string());
    }
    if let Some(id) = &filter.id_end {
        query.append_pair("id_end", &id.to_string());
    }
    if let Some(schedule) = &filter.schedule {
        // To a key with a reach it is the name that the key chose.
        let name = if filter.reach.is_bounded() { schedule.chosen() } else { schedule.as_str() };
        query.append_pair("schedule", name);
    }
    if let Some(group) = &filter.group {
        query.append_pair("group", group.as_str());
    }
    if let Some(key) = &filter.unique_key {
        query.append_pair("unique_key", key.as_str());
    }
    if let Some(parent) = &filter.parent {
        query.append_pair("parent", &parent.to_string());
    }
    if let Some(cause) = &filter.cause {
        query.append_pair("cause", &cause.to_string());
    }
    let query = query.finish();
    if query.is_empty() { query } else { format!("&{query}") }
}

pub(crate) const PLUGIN_NAME: &str =
    "a plugin name: 1 to 64 of a-z, 0-9, '.', '_' and '-', starting with a letter or digit";
const SCHEDULE_NAME: &str =
    "a schedule name: 1 to 64 of a-z, 0-9, '.', '_' and '-', starting with a letter or digit";
const ID: &str = "the start of a task id, 4 to 32 hexadecimal digits";
const ID_END: &str = "the end of a task id, 4 to 32 hexadecimal digits without hyphens";
const LABEL: &str = "1 to 64 characters without control characters";
const KEY: &str = "1 to 255 characters without control characters";
const TASK_ID: &str = "a task id";
const CAUSE: &str = "a cause of failure such as io, timeout or exit-3, or exit for any exit code";
/// A prefix of a UUID in which each hyphen is optional.
const ID_PATTERN: &str = "^([0-9A-Fa-f]{4,7}|[0-9A-Fa-f]{8}(-?[0-9A-Fa-f]{0,4}|-?[0-9A-Fa-f]{4}(-?[0-9A-Fa-f]{0,4}|\
    -?[0-9A-Fa-f]{4}(-?[0-9A-Fa-f]{0,4}|-?[0-9A-Fa-f]{4}-?[0-9A-Fa-f]{0,12}))))$";
const STATES: &str =
    "one or more of waiting, blocked, scheduled, suspended, available, running, completed, failed, cancelled";
const TIME: &str = "a time such as 2026-11-23T07:26:49Z";

fn states(filter: &mut Filter, value: &str) -> Result<(), &'static str> {
    for word in value.split(',') {
        let is_it = |state: &TaskState| [state.as_str(), state.phase().as_str()].contains(&word);
        let named: Vec<_> = TaskState::ALL.into_iter().filter(is_it).collect();
        if named.is_empty() {
            return Err(STATES);
        }
        for state in named {
            if !filter.states.contains(&state) {
                filter.states.push(state);
            }
        }
    }
    Ok(())
}

fn waiting_states() -> impl Iterator<Item = TaskState> {
    TaskState::ALL.into_iter().filter(|state| state.is_waiting())
}

/// Adds a tag; a task must have all of them.
fn tag(filter: &mut Filter, value: &str) -> Result<(), &'static str> {
    let tag = value.parse().map_err(|_| LABEL)?;
    if filter.tags.len() == TAGS_MAX {
        return Err("given at most 16 times");
    }
    filter.tags.push(tag);
    Ok(())
}

fn one<T>(slot: &mut Option<T>, value: Option<T>, expected: &'static str) -> Result<(), &'static str> {
    *slot = Some(value.ok_or(expected)?);
    Ok(())
}

/// Parses RFC 3339. An unescaped `+` of an offset arrives as a space.
fn time(text: &str) -> Option<Timestamp> {
    let time = DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok()?;
    Some(time.with_timezone(&Utc))
}

/// Documents the parameters; `states` are the values allowed for `state`.
pub(crate) fn add_parameters(operation: Operation, states: &[TaskState]) -> Operation {
    let waiting = states.iter().any(|state| state.is_waiting()).then_some(TaskPhase::Waiting.as_str());
    let names: Vec<_> = waiting.into_iter().chain(states.iter().map(|state| state.as_str())).collect();
    let states = json!({"type": "array", "items": {"type": "string", "enum": names}, "minItems": 1});
    let tag = json!({"type": "string", "minLength": 1, "maxLength": TAG_CHARS_MAX, "pattern": NO_CONTROLS});
    let tags = json!({"type": "array", "items": tag, "minItems": 1, "maxItems": TAGS_MAX});
    let time = json!({"type": "string", "format": "date-time"});
    let id = json!({"type": "string", "pattern": ID_PATTERN});
    let id_end = json!({"type": "string", "pattern": "^[0-9A-Fa-f]{4,32}$"});
    let group =
        json!({"type": "string", "minLength": 1, "maxLength": GROUP_CHARS_MAX, "pattern": NO_CONTROLS});
    let key = json!({"type": "string", "minLength": 1, "maxLength": KEY_CHARS_MAX, "pattern": NO_CONTROLS});
    let cause = json!({"type": "string", "pattern": cause_pattern()});
    operation
        .query("state", "Tasks in one of these states; `waiting` stands for all that wait.", &states)
        .query("plugin", "Tasks of this plugin.", &plain::<NameSchema>())
        .query("tag", "Tasks with all of these tags.", &tags)
        .query("created_after", "Tasks created at or after this time.", &time)
        .query("created_before", "Tasks created before this time.", &time)
        .query("q", "Tasks whose id starts with this, with or without hyphens.", &id)
        .query("id_end", "Tasks whose id ends with this, without hyphens.", &id_end)
        .query("schedule", "Tasks that this schedule created.", &plain::<ScheduleNameSchema>())
        .query("group", "Tasks of this group.", &group)
        .query("unique_key", "Tasks that hold this unique key, or held it before they finished.", &key)
        .query("parent", "Tasks that this one has submitted as its children.", &plain::<IdSchema>())
        .query(
            "cause",
            "Tasks whose `error` has this cause; `exit` stands for every exit code. A task that waits for its next \
             attempt has the error of the one before.",
            &cause,
        )
}

/// Returns what a cause looks like: the code of an exit is a number.
fn cause_pattern() -> String {
    let kinds: Vec<_> = Cause::ALL.iter().map(|cause| cause.kind()).collect();
    format!("^({}|exit--?[0-9]{{1,10}})$", kinds.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> (Filter, usize) {
        let (mut filter, mut errors) = (Filter::default(), FieldErrors::default());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            take(&mut filter, &name, &value, &mut errors);
        }
        (filter, errors.into_parts().1.len())
    }

    #[test]
    fn a_filter_round_trips_through_its_parameters() {
        for query in [
            "",
            "&state=waiting&state=running",
            "&state=blocked&state=suspended",
            "&plugin=noop",
            "&plugin=noop&tag=tenant%3A42&tag=%C3%BC",
            "&state=failed&plugin=a.b-c_d&created_after=2026-11-23T07%3A26%3A49Z",
            "&created_before=2026-11-23T07%3A26%3A49.603656725Z",
            "&tag=a&q=01a2074ce50",
            "&id_end=0fdb&schedule=nightly&group=tenant+7&unique_key=k%26",
            "&parent=01a2074c-e503-703b-819d-4717c026346b",
            "&cause=memory-limit",
            "&state=failed&cause=exit-3",
        ] {
            let (filter, errors) = read(query);
            assert_eq!((parameters(&filter).as_str(), errors), (query, 0));
        }
    }

    #[test]
    fn states_may_repeat_or_use_commas_and_offsets_need_no_escape() {
        assert_eq!(read("state=waiting,running&state=running").0, read("state=waiting&state=running").0);
        let utc = read("created_after=2026-11-23T07:00:00Z").0;
        assert_eq!(read("created_after=2026-11-23T08:00:00+01:00").0, utc);
        assert_eq!(read("created_after=2026-11-23T08:00:00%2B01:00").0, utc);
    }

    #[test]
    fn invalid_values_are_errors() {
        for query in [
            "state=",
            "state=done",
            "state=waiting,",
            "plugin=No Name",
            "tag=",
            "tag=%00",
            "created_after=yesterday",
            "created_before=2026-11-23",
            "q=",
            "q=01a",
            "q=tasks",
            "id_end=12",
            "id_end=0fdb-12",
            "schedule=No Name",
            "group=",
            "unique_key=%0A",
            "parent=01a2",
            "cause=",
            "cause=unheard-of",
            "cause=exit-x",
        ] {
            assert_eq!(read(query).1, 1, "{query}");
        }
    }
}
