//! The parameters that say which tasks are meant, the same for a list and for a cancel of many.

use chrono::{DateTime, Utc};
use serde_json::json;
use wasmill_model::{TAGS_MAX, TaskState, Timestamp};
use wasmill_store::Filter;

use crate::openapi::Operation;
use crate::openapi::values::{NO_CONTROLS, Name, plain};
use crate::problem::Fault;

/// The names of the parameters, for messages.
pub(crate) const NAMES: &str = "state, plugin, tag, created_after, created_before, q";

/// Takes over one parameter of a query; false if it is none of a filter.
pub(crate) fn take(filter: &mut Filter, name: &str, value: &str, faults: &mut Vec<Fault>) -> bool {
    let taken = match name {
        "state" => states(filter, value),
        "plugin" => once(&mut filter.plugin, value.parse().ok(), "the name of a plugin"),
        "tag" => tag(filter, value),
        "created_after" => once(&mut filter.created_after, moment(value), MOMENT),
        "created_before" => once(&mut filter.created_before, moment(value), MOMENT),
        "q" => once(&mut filter.id, value.parse().ok(), ID),
        _ => return false,
    };
    if let Err(must) = taken {
        faults.push(Fault::parameter(name, format!("{name} must be {must}")));
    }
    true
}

/// Writes the filter as parameters, each with `&` before it, so that the next page is asked for with it.
pub(crate) fn parameters(filter: &Filter) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for state in &filter.states {
        query.append_pair("state", state.as_str());
    }
    if let Some(plugin) = &filter.plugin {
        query.append_pair("plugin", plugin.as_str());
    }
    for tag in &filter.tags {
        query.append_pair("tag", tag.as_str());
    }
    for (name, moment) in [("created_after", filter.created_after), ("created_before", filter.created_before)]
    {
        if let Some(moment) = moment {
            let text = moment.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
            query.append_pair(name, &text);
        }
    }
    if let Some(id) = &filter.id {
        query.append_pair("q", &id.to_string());
    }
    let query = query.finish();
    if query.is_empty() { query } else { format!("&{query}") }
}

const ID: &str = "the beginning of an id, 4 to 32 hexadecimal digits, given once";
/// The beginning of an id, each of whose hyphens may be left out.
const ID_PATTERN: &str = "^([0-9A-Fa-f]{4,7}|[0-9A-Fa-f]{8}(-?[0-9A-Fa-f]{0,4}|-?[0-9A-Fa-f]{4}(-?[0-9A-Fa-f]{0,4}|\
    -?[0-9A-Fa-f]{4}(-?[0-9A-Fa-f]{0,4}|-?[0-9A-Fa-f]{4}-?[0-9A-Fa-f]{0,12}))))$";
const MOMENT: &str = "a time such as 2026-11-23T07:26:49Z, given once";

fn states(filter: &mut Filter, value: &str) -> Result<(), &'static str> {
    for word in value.split(',') {
        let state = TaskState::ALL.into_iter().find(|state| state.as_str() == word);
        let state = state.ok_or("one or more of waiting, running, completed, failed, cancelled")?;
        if !filter.states.contains(&state) {
            filter.states.push(state);
        }
    }
    Ok(())
}

/// Takes one more tag; a task must have all of them.
fn tag(filter: &mut Filter, value: &str) -> Result<(), &'static str> {
    let tag = value.parse().map_err(|_| "1 to 64 characters without control characters")?;
    if filter.tags.len() == TAGS_MAX {
        return Err("given at most 16 times");
    }
    filter.tags.push(tag);
    Ok(())
}

fn once<T>(slot: &mut Option<T>, value: Option<T>, must: &'static str) -> Result<(), &'static str> {
    if slot.is_some() || value.is_none() {
        return Err(must);
    }
    *slot = value;
    Ok(())
}

/// Reads RFC 3339. A `+` of an offset that was not escaped arrives as a space.
fn moment(text: &str) -> Option<Timestamp> {
    let moment = DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok()?;
    Some(moment.with_timezone(&Utc))
}

/// Tells of the parameters, where these states may be asked for.
pub(crate) fn about(operation: Operation, states: &[TaskState]) -> Operation {
    let names: Vec<_> = states.iter().map(|state| state.as_str()).collect();
    let states = json!({"type": "array", "items": {"type": "string", "enum": names}, "minItems": 1});
    let tag = json!({"type": "string", "minLength": 1, "maxLength": 64, "pattern": NO_CONTROLS});
    let tags = json!({"type": "array", "items": tag, "minItems": 1, "maxItems": TAGS_MAX});
    let moment = json!({"type": "string", "format": "date-time"});
    let id = json!({"type": "string", "pattern": ID_PATTERN});
    operation
        .query("state", "Tasks in one of these states.", &states)
        .query("plugin", "Tasks of this plugin.", &plain::<Name>())
        .query("tag", "Tasks that have all of these tags.", &tags)
        .query("created_after", "Tasks accepted at this moment or later.", &moment)
        .query("created_before", "Tasks accepted before this moment.", &moment)
        .query("q", "Tasks whose ids begin so, with hyphens or without.", &id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> (Filter, usize) {
        let (mut filter, mut faults) = (Filter::default(), Vec::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            assert!(take(&mut filter, &name, &value, &mut faults), "{name}");
        }
        (filter, faults.len())
    }

    #[test]
    fn a_filter_survives_its_parameters() {
        for query in [
            "",
            "&state=waiting&state=running",
            "&plugin=noop",
            "&plugin=noop&tag=tenant%3A42&tag=%C3%BC",
            "&state=failed&plugin=a.b-c_d&created_after=2026-11-23T07%3A26%3A49Z",
            "&created_before=2026-11-23T07%3A26%3A49.603656725Z",
            "&tag=a&q=01a2074ce50",
        ] {
            let (filter, faults) = read(query);
            assert_eq!((parameters(&filter).as_str(), faults), (query, 0));
        }
    }

    #[test]
    fn states_come_one_by_one_or_with_commas_and_offsets_escaped_or_not() {
        assert_eq!(read("state=waiting,running&state=running").0, read("state=waiting&state=running").0);
        let utc = read("created_after=2026-11-23T07:00:00Z").0;
        assert_eq!(read("created_after=2026-11-23T08:00:00+01:00").0, utc);
        assert_eq!(read("created_after=2026-11-23T08:00:00%2B01:00").0, utc);
    }

    #[test]
    fn what_makes_no_sense_is_a_fault() {
        for query in [
            "state=",
            "state=done",
            "state=waiting,",
            "plugin=No Name",
            "tag=",
            "tag=%00",
            "plugin=a&plugin=b",
            "created_after=yesterday",
            "created_before=2026-11-23",
            "q=",
            "q=01a",
            "q=tasks",
            "q=01a2&q=01a3",
        ] {
            assert_eq!(read(query).1, 1, "{query}");
        }
    }
}
