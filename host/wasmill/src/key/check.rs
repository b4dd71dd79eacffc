//! `wasmill key check`: whose a key is, what it may do, and whether a server with these files would take it.

use anyhow::{Result, anyhow};
use serde_json::{Value, json};
use wasmill_access::{KeyFiles, check_key};
use wasmill_model::{Clock, SystemClock};

use super::list::{add_rights, rights};
use super::made::shown_time;
use crate::cli::key::CheckKeyArgs;
use crate::client::given_key;
use crate::exit::{self, Exit, cli_error};
use crate::output::{data, note};
use crate::settings::Settings;

pub(super) fn check(args: CheckKeyArgs) -> Result<Exit> {
    let CheckKeyArgs { key_file, json, given } = args;
    let text = given_key(key_file.as_deref()).map_err(|why| cli_error(Exit::Usage, why))?;
    let settings = Settings::load(given)?;
    let files = KeyFiles::new(&settings.data, settings.keys_file, None);
    let keys = files.and_then(|files| files.read()).map_err(|error| exit::settings_error(anyhow!(error)))?;
    let now = SystemClock.now();
    let found = keys.get(text.as_bytes());
    let is_in_force = found.is_some_and(|key| !key.is_expired(now));
    if json {
        data!(
            "{}",
            found.map_or(Value::Null, |key| {
                let expires = key.expires.map(shown_time);
                let mut shown = json!({
                    "name": key.name, "id": &*key.id, "in_force": is_in_force, "expires": expires,
                });
                add_rights(&mut shown, key);
                shown
            })
        );
    } else if let Some(key) = found {
        let ends = match key.expires.map(shown_time) {
            None => "never ends".to_owned(),
            Some(end) if is_in_force => format!("ends at {end}"),
            Some(end) => format!("has ended at {end}; `wasmill key rotate {}` makes a new one", key.name),
        };
        data!("key {} ({}) may {} and {ends}", key.name, key.id, rights(key));
    } else {
        let id = check_key(&text).map(|id| format!(" {id}")).unwrap_or_default();
        note!(
            "no file has the key{id}: it was revoked, or is of another server (--data and --keys-file name the files)"
        );
    }
    Ok(if is_in_force { Exit::Done } else { Exit::Failed })
}
