//! Puts into a form what is there already: a value, or what was entered.

use chrono::{Datelike, NaiveDate, NaiveDateTime};
use serde_json::value::RawValue;

use super::{Field, FieldKind, Items, JSON_PREFIX, PICK_PREFIX, Shape};
use crate::part::json;

/// How badly a value fits: a constant that has another value rules a variant out.
const RULED_OUT: u32 = u32::MAX;
/// A box for JSON takes anything, so it is chosen last.
const ANYTHING: u32 = 1_000;
/// A value that only a box for JSON can show, and a missing one.
const MISFIT: u32 = 1;

/// What a browser writes of a time, with and without seconds.
const LOCAL: &str = "%Y-%m-%dT%H:%M:%S";
const LOCAL_MINUTE: &str = "%Y-%m-%dT%H:%M";
const LOCAL_BYTES: usize = 19;

/// Returns the name of the member that a pointer leads to.
pub(super) fn member(at: &str) -> String {
    at.rsplit('/').next().unwrap_or_default().replace("~1", "/").replace("~0", "~")
}

/// Puts a value in place of the defaults; a field without one is emptied. Returns how badly it fits.
pub(super) fn set(field: &mut Field, value: Option<&str>) -> u32 {
    put(field, value, true, false)
}

/// Puts a default in; what it says nothing of keeps its own.
pub(super) fn set_default(field: &mut Field, value: &str) {
    put(field, Some(value), false, false);
}

fn put(field: &mut Field, value: Option<&str>, clears: bool, is_picked: bool) -> u32 {
    let Some(value) = value else {
        if clears {
            clear(field);
        }
        return if field.required { MISFIT } else { 0 };
    };
    let is_root = field.at.is_empty();
    let fits = match &mut field.kind {
        FieldKind::Json(text) => {
            value.clone_into(text);
            Some(ANYTHING)
        }
        FieldKind::Choice(options, chosen) if options.iter().any(|option| option == value) => {
            *chosen = Some(value.to_owned());
            Some(0)
        }
        FieldKind::Choice(options, _) if options.len() == 1 => {
            field.kind = FieldKind::Json(value.to_owned());
            return RULED_OUT;
        }
        FieldKind::Choice(..) => None,
        FieldKind::Text(text, shape) => shown(value, *shape).map(|shown| {
            (*text, *shape) = shown;
            0
        }),
        FieldKind::Number(number) => value.starts_with(is_of_number).then(|| {
            value.clone_into(number);
            0
        }),
        FieldKind::Lines(lines, items) => listed(value, *items).map(|listed| {
            *lines = listed;
            0
        }),
        FieldKind::Group(fields) => put_members(fields, value, clears, is_root || is_picked),
        FieldKind::Variants(variants, chosen) => put_variant(variants, chosen, value),
    };
    fits.unwrap_or_else(|| {
        field.kind = FieldKind::Json(value.to_owned());
        MISFIT
    })
}

fn put_members(fields: &mut [Field], value: &str, clears: bool, may_be_empty: bool) -> Option<u32> {
    let members = json::members(value)?;
    let is_known = |name: &str| fields.iter().any(|field| member(&field.at) == *name);
    let mut names: Vec<_> = members.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    // Members that the schema does not name, or names twice, and an object that is there but empty, need JSON.
    let is_plain = names.len() == members.len() && names.into_iter().all(|name| is_known(name));
    if !is_plain || (members.is_empty() && !may_be_empty) {
        return None;
    }
    let mut misfits = 0_u32;
    for field in fields {
        let name = member(&field.at);
        let value = members.iter().find(|(known, _)| *known == name).map(|(_, value)| value.get());
        misfits = misfits.saturating_add(put(field, value, clears, false));
    }
    Some(misfits)
}

/// Chooses the variant that the value fits best; the others stay as they are.
fn put_variant(variants: &mut [Field], chosen: &mut Option<usize>, value: &str) -> Option<u32> {
    let mut best: Option<(u32, usize, Field)> = None;
    for (index, variant) in variants.iter().enumerate() {
        let mut filled = variant.clone();
        let misfits = put(&mut filled, Some(value), true, true);
        let is_shown = is_json(variant) || !is_json(&filled);
        if is_shown && misfits != RULED_OUT && best.as_ref().is_none_or(|(least, ..)| misfits < *least) {
            best = Some((misfits, index, filled));
        }
    }
    let (misfits, index, filled) = best?;
    variants[index] = filled;
    *chosen = Some(index);
    Some(misfits)
}

fn is_json(field: &Field) -> bool {
    matches!(field.kind, FieldKind::Json(_))
}

fn clear(field: &mut Field) {
    match &mut field.kind {
        FieldKind::Text(text, _)
        | FieldKind::Number(text)
        | FieldKind::Lines(text, _)
        | FieldKind::Json(text) => text.clear(),
        FieldKind::Choice(_, chosen) => *chosen = None,
        FieldKind::Group(fields) => fields.iter_mut().for_each(clear),
        // Those that are not chosen keep their defaults.
        FieldKind::Variants(_, chosen) => *chosen = None,
    }
}

pub(super) fn is_of_number(first: char) -> bool {
    first == '-' || first.is_ascii_digit()
}

/// Returns a string as a field shows it, and the shape of that field, which is plain if one of this shape would change it;
/// `None` if each would.
fn shown(value: &str, shape: Shape) -> Option<(String, Shape)> {
    let text: String = serde_json::from_str(value).ok()?;
    // A browser changes line ends, and a field that is empty is left out.
    if text.contains('\r') || text.contains('\0') || text.is_empty() || json::string(&text) != value {
        return None;
    }
    if text.contains('\n') {
        return Some((text, Shape::Area));
    }
    let is_kept = match shape {
        Shape::Date => {
            let date = text.parse::<NaiveDate>();
            date.is_ok_and(|date| date.year() > 0 && date.to_string() == text)
        }
        // A browser trims them, and writes names of hosts in ASCII.
        Shape::Email | Shape::Uri => text.is_ascii() && text.trim() == text,
        Shape::DateTime => {
            if is_local(&text) {
                return None;
            }
            let local = text.strip_suffix('Z').filter(|local| local.len() == LOCAL_BYTES && is_local(local));
            if let Some(local) = local {
                return Some((local.to_owned(), shape));
            }
            false
        }
        Shape::Line | Shape::Area | Shape::Secret => true,
    };
    Some((text, if is_kept { shape } else { Shape::Line }))
}

/// Returns true if it is a time as a browser writes it, without a zone.
fn is_local(text: &str) -> bool {
    let is = |format| {
        // The parser takes spaces, signs and fewer digits, too.
        let time = NaiveDateTime::parse_from_str(text, format);
        time.is_ok_and(|time| time.year() > 0 && time.format(format).to_string() == text)
    };
    is(LOCAL) || is(LOCAL_MINUTE)
}

/// Returns the JSON of what was entered into a field of this shape.
pub(super) fn text(entered: &str, shape: Shape) -> String {
    let entered = entered.replace("\r\n", "\n");
    match shape {
        Shape::DateTime if is_local(&entered) => {
            let seconds = if entered.len() < LOCAL_BYTES { ":00" } else { "" };
            json::string(&format!("{entered}{seconds}Z"))
        }
        _ => json::string(&entered),
    }
}

/// Returns the items of an array as lines, unless lines would change them.
fn listed(value: &str, items: Items) -> Option<String> {
    let line = |item: &&RawValue| match items {
        Items::Numbers => item.get().starts_with(is_of_number).then(|| item.get().to_owned()),
        Items::Texts => {
            let text: String = serde_json::from_str(item.get()).ok()?;
            let is_line = !text.is_empty() && text.trim() == text && !text.contains(['\n', '\r', '\0']);
            (is_line && json::string(&text) == item.get()).then_some(text)
        }
    };
    let lines: Vec<_> = json::items(value)?.iter().map(line).collect::<Option<_>>()?;
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// Puts in what was entered, also where it is wrong or not used, so that nothing of it is lost.
pub fn fill<'a>(field: &mut Field, entered: &impl Fn(&str) -> Option<&'a str>) {
    if let Some(text) = entered(&format!("{JSON_PREFIX}{}", field.name)) {
        field.kind = FieldKind::Json(text.replace("\r\n", "\n"));
        return;
    }
    let own = entered(&field.name).map(|text| text.replace("\r\n", "\n"));
    match &mut field.kind {
        FieldKind::Text(text, shape) => {
            if let Some(own) = own {
                // An input for times would show nothing of what is none.
                if let Some((_, as_shown)) = shown(&self::text(&own, *shape), *shape) {
                    *shape = as_shown;
                }
                *text = own;
            }
        }
        FieldKind::Number(text) | FieldKind::Lines(text, _) => *text = own.unwrap_or_default(),
        FieldKind::Choice(options, chosen) => *chosen = own.filter(|own| options.contains(own)),
        FieldKind::Json(text) => text.clear(),
        FieldKind::Group(fields) => fields.iter_mut().for_each(|field| fill(field, entered)),
        FieldKind::Variants(variants, chosen) => {
            let picked = entered(&format!("{PICK_PREFIX}{}", field.name));
            *chosen = picked.and_then(|picked| picked.parse().ok()).filter(|picked| *picked < variants.len());
            variants.iter_mut().for_each(|variant| fill(variant, entered));
        }
    }
}

/// Returns what a browser sends of a form that nobody has changed.
pub fn sent(field: &Field) -> Vec<(String, String)> {
    let name = field.name.clone();
    match &field.kind {
        FieldKind::Text(text, _) | FieldKind::Number(text) | FieldKind::Lines(text, _) => {
            vec![(name, text.clone())]
        }
        FieldKind::Choice(_, chosen) => vec![(name, chosen.clone().unwrap_or_default())],
        FieldKind::Json(text) => vec![(format!("{JSON_PREFIX}{name}"), text.clone())],
        FieldKind::Group(fields) => fields.iter().flat_map(sent).collect(),
        FieldKind::Variants(variants, chosen) => {
            let picked = chosen.map(|chosen| chosen.to_string()).unwrap_or_default();
            let pick = (format!("{PICK_PREFIX}{name}"), picked);
            std::iter::once(pick).chain(variants.iter().flat_map(sent)).collect()
        }
    }
}
