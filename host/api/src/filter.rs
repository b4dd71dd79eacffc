//! The parameters that say which tasks are meant, the same for a list and for a cancel of many.

use chrono::{DateTime, Utc};
use serde_json::json;
use wasmill_model::{TAGS_MAX, TaskState, Timestamp};
use wasmill_store::Filter;

use crate::faults::{Fault, Faults};
use crate::openapi::Operation;
use crate::openapi::values::{NO_CONTROLS, Name, plain};

/// Takes over one parameter of a query, if it is one of a filter.
pub(crate) fn take(filter: &mut Filter, name: &str, value: &str, faults: &mut Faults) {
    let taken = match name {
        "state" => states(filter, value),
        "plugin" => one(&mut filter.plugin, value.parse().ok(), PLUGIN_NAME),
        "tag" => tag(filter, value),
        "created_after" => one(&mut filter.created_after, moment(value), MOMENT),
        "created_before" => one(&mut filter.created_before, moment(value), MOMENT),
        "q" => one(&mut filter.id, value.parse().ok(), ID),
        "id_end" => one(&mut filter.id_end, value.parse().ok(), ID_END),
        "schedule" => one(&mut filter.schedule, value.parse().ok(), SCHEDULE_NAME),
        "group" => one(&mut filter.group, value.parse().ok(), LABEL),
        "unique_key" => one(&mut filter.unique_key, value.parse().ok(), KEY),
        _ => return,
    };
    if let Err(must) = taken {
        faults.push(Fault::parameter(name, format!("{name} must be {must}")));
    }
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
    if let Some(id) = &filter.id_end {
        query.append_pair("id_end", &id.to_string());
    }
    if let Some(schedule) = &filter.schedule {
        query.append_pair("schedule", schedule.as_str());
    }
    if let Some(group) = &filter.group {
        query.append_pair("group", group.as_str());
    }
    if let Some(key) = &filter.unique_key {
        query.append_pair("unique_key", key.as_str());
    }
    let query = query.finish();
    if query.is_empty() { query } else { format!("&{query}") }
}

pub(crate) const PLUGIN_NAME: &str =
    "the name of a plugin, 1 to 64 of a-z, 0-9, '.', '_' and '-', which starts with a letter or digit";
const SCHEDULE_NAME: &str =
    "the name of a schedule, 1 to 64 of a-z, 0-9, '.', '_' and '-', which starts with a letter or digit";
const ID: &str = "the beginning of an id, 4 to 32 hexadecimal digits";
const ID_END: &str = "the end of an id, 4 to 32 hexadecimal digits without hyphens";
const LABEL: &str = "1 to 64 characters without control characters";
const KEY: &str = "1 to 255 characters without control characters";
/// The beginning of an id, each of whose hyphens may be left out.
const ID_PATTERN: &str = "^([0-9A-Fa-f]{4,7}|[0-9A-Fa-f]{8}(-?[0-9A-Fa-f]{0,4}|-?[0-9A-Fa-f]{4}(-?[0-9A-Fa-f]{0,4}|\
    -?[0-9A-Fa-f]{4}(-?[0-9A-Fa-f]{0,4}|-?[0-9A-Fa-f]{4}-?[0-9A-Fa-f]{0,12}))))$";
const MOMENT: &str = "a time such as 2026-11-23T07:26:49Z";

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
    let tag = value.parse().map_err(|_| LABEL)?;
    if filter.tags.len() == TAGS_MAX {
        return Err("given at most 16 times");
    }
    filter.tags.push(tag);
    Ok(())
}

fn one<T>(slot: &mut Option<T>, value: Option<T>, must: &'static str) -> Result<(), &'static str> {
    *slot = Some(value.ok_or(must)?);
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
    let id_end = json!({"type": "string", "pattern": "^[0-9A-Fa-f]{4,32}$"});
    let group = json!({"type": "string", "minLength": 1, "maxLength": 64, "pattern": NO_CONTROLS});
    let key = json!({"type": "string", "minLength": 1, "maxLength": 255, "pattern": NO_CONTROLS});
    operation
        .query("state", "Tasks in one of these states.", &states)
        .query("plugin", "Tasks of this plugin.", &plain::<Name>())
        .query("tag", "Tasks that have all of these tags.", &tags)
        .query("created_after", "Tasks accepted at this moment or later.", &moment)
        .query("created_before", "Tasks accepted before this moment.", &moment)
        .query("q", "Tasks whose ids begin so, with hyphens or without.", &id)
        .query("id_end", "Tasks whose ids end so, without hyphens.", &id_end)
        .query("schedule", "Tasks that this schedule has asked for.", &plain::<Name>())
        .query("group", "Tasks of this group.", &group)
        .query("unique_key", "Tasks that have this unique key, or had it while they were not finished.", &key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> (Filter, usize) {
        let (mut filter, mut faults) = (Filter::default(), Faults::default());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            take(&mut filter, &name, &value, &mut faults);
        }
        (filter, faults.into_parts().1.len())
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
            "&id_end=0fdb&schedule=nightly&group=tenant+7&unique_key=k%26",
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
        ] {
            assert_eq!(read(query).1, 1, "{query}");
        }
    }
}
