//! `wasmill key list`: shows the keys, and when each was last used.

use anyhow::{Result, anyhow};
use serde_json::json;
use unicode_width::UnicodeWidthStr;
use wasmill_access::{KeyFiles, Scope, read_last_used};
use wasmill_model::{Clock, SystemClock};

use super::made::{add_limits, add_reach, shown_time};
use crate::cli::key::ListKeysArgs;
use crate::exit;
use crate::output::{data, out};
use crate::settings::Settings;
use crate::terminal::style::Style;
use crate::terminal::text::padded;

/// Minimum columns of a name.
const NAME_COLUMNS: usize = 16;

pub(super) fn list(args: ListKeysArgs) -> Result<()> {
    let settings = Settings::load(args.given)?;
    let files = KeyFiles::new(&settings.data, settings.keys_file, None);
    let keys = files.and_then(|files| files.read()).map_err(|error| exit::settings_error(anyhow!(error)))?;
    let used = read_last_used(&settings.data)?;
    let now = SystemClock.now();
    if args.json {
        let keys = keys.list().into_iter().map(|key| {
            let last = used.get(&*key.id);
            let mut shown = json!({
                "name": key.name,
                "id": &*key.id,
                "scopes": key.scopes.iter().map(Scope::as_str).collect::<Vec<_>>(),
                "expires": key.expires.map(shown_time),
                "rate": key.rate.map(|rate| rate.to_string()),
                "expired": key.is_expired(now),
                "last_used_at": last.map(|(time, _)| shown_time(*time)),
                "last_used_from": last.map(|(_, peer)| peer.to_string()),
            });
            add_reach(&mut shown, &key.reach);
            add_limits(&mut shown, key.limits);
            shown
        });
        data!("{}", serde_json::Value::from_iter(keys));
        return Ok(());
    }
    let style = Style::stdout();
    out!(
        "{}",
        style.bold(format!("{:<16}  {:<16}  {:<20}  {:<38}  SCOPES", "NAME", "ID", "EXPIRES", "LAST USED"))
    );
    for key in keys.list() {
        let name = padded(&key.name, key.name.width().max(NAME_COLUMNS));
        let expires = key.expires.map_or("never".to_owned(), shown_time);
        let expires = padded(&expires, 20);
        let expires = if key.is_expired(now) { style.red(expires) } else { expires };
        let last = used.get(&*key.id);
        let last = last.map_or("never".to_owned(), |(time, peer)| format!("{} {peer}", shown_time(*time)));
        let rate = key.rate.map(|rate| rate.to_string());
        let limits = Some(key.limits.to_string()).filter(|limits| !limits.is_empty());
        let most: Vec<_> = rate.into_iter().chain(limits).collect();
        let most = if most.is_empty() { String::new() } else { format!("; at most {}", most.join(", ")) };
        let within = if key.reach.is_bounded() { format!(" within {}", key.reach) } else { String::new() };
        out!("{name}  {:<16}  {expires}  {last:<38}  {}{within}{most}", key.id, key.scopes);
    }
    Ok(())
}
