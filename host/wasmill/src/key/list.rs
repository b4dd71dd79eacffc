//! `wasmill key list`: shows the keys and when each was last used, and what people may do whom a proxy signs in.

use std::collections::HashMap;
use std::net::IpAddr;

use anyhow::{Result, anyhow};
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;
use wasmill_access::{Key, KeyFiles, Person, Scope, Whom, read_last_used};
use wasmill_model::{Clock, SystemClock, Timestamp};

use super::made::{add_limits, add_reach, shown_time};
use crate::cli::key::ListKeysArgs;
use crate::exit;
use crate::output::{data, out};
use crate::settings::Settings;
use crate::terminal::style::Style;
use crate::terminal::text::padded;

/// Minimum columns of a name.
const NAME_COLUMNS: usize = 16;

/// When and from where keys were last used, by id.
type Uses = HashMap<String, (Timestamp, IpAddr)>;

pub(super) fn list(args: ListKeysArgs) -> Result<()> {
    let settings = Settings::load(args.given)?;
    let files = KeyFiles::new(&settings.data, settings.keys_file, None);
    let keys = files.and_then(|files| files.read()).map_err(|error| exit::settings_error(anyhow!(error)))?;
    let used = read_last_used(&settings.data)?;
    let now = SystemClock.now();
    if args.json {
        let rows = keys.list().into_iter().map(|key| key_json(key, &used, now));
        data!("{}", Value::from_iter(rows.chain(keys.people().iter().map(person_json))));
        return Ok(());
    }
    let style = Style::stdout();
    let headings = format!("{:<16}  {:<16}  {:<20}  {:<38}  SCOPES", "NAME", "ID", "EXPIRES", "LAST USED");
    out!("{}", style.bold(headings));
    for key in keys.list() {
        let expires = padded(&key.expires.map_or("never".to_owned(), shown_time), 20);
        let expires = if key.is_expired(now) { style.red(expires) } else { expires };
        let last = used.get(&*key.id);
        let last = last.map_or("never".to_owned(), |(time, peer)| format!("{} {peer}", shown_time(*time)));
        out!("{}  {:<16}  {expires}  {last:<38}  {}", name(&key.name), key.id, rights(key));
    }
    if keys.people().is_empty() {
        return Ok(());
    }
    out!("");
    out!("{}", style.bold(format!("{:<16}  {:<16}  SCOPES", "PEOPLE", "")));
    for person in keys.people() {
        let (kind, whom) = match person.whom() {
            Whom::User(user) => ("user", user),
            Whom::Group(group) => ("members of it", group),
        };
        out!("{}  {kind:<16}  {}", name(whom), rights(person.rights()));
    }
    Ok(())
}

fn name(name: &str) -> String {
    padded(name, name.width().max(NAME_COLUMNS))
}

/// Returns scopes, reach and limits in words.
pub(super) fn rights(key: &Key) -> String {
    let rate = key.rate.map(|rate| rate.to_string());
    let limits = Some(key.limits.to_string()).filter(|limits| !limits.is_empty());
    let most: Vec<_> = rate.into_iter().chain(limits).collect();
    let most = if most.is_empty() { String::new() } else { format!("; at most {}", most.join(", ")) };
    let within = if key.reach.is_bounded() { format!(" within {}", key.reach) } else { String::new() };
    format!("{}{within}{most}", key.scopes)
}

fn key_json(key: &Key, used: &Uses, now: Timestamp) -> Value {
    let last = used.get(&*key.id);
    let mut shown = json!({
        "kind": "key",
        "name": key.name,
        "id": &*key.id,
        "expires": key.expires.map(shown_time),
        "expired": key.is_expired(now),
        "last_used_at": last.map(|(time, _)| shown_time(*time)),
        "last_used_from": last.map(|(_, peer)| peer.to_string()),
    });
    add_rights(&mut shown, key);
    shown
}

fn person_json(person: &Person) -> Value {
    let (kind, name) = match person.whom() {
        Whom::User(user) => ("user", user),
        Whom::Group(group) => ("member_of", group),
    };
    let mut shown = json!({"kind": kind, "name": name});
    add_rights(&mut shown, person.rights());
    shown
}

pub(super) fn add_rights(shown: &mut Value, key: &Key) {
    shown["scopes"] = key.scopes.iter().map(Scope::as_str).collect();
    shown["rate"] = json!(key.rate.map(|rate| rate.to_string()));
    add_reach(shown, &key.reach);
    add_limits(shown, key.limits);
}
