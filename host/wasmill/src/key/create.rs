//! `wasmill key create`: makes a key.

use anyhow::Result;
use wasmill_access::{KeyFile, NewKey, Scopes};
use wasmill_model::{KeyLimits, Reach};

use super::made::{edit_error, end, show};
use crate::cli::key::CreateKeyArgs;
use crate::exit::{Exit, cli_error};
use crate::settings::Settings;

pub(super) fn create(args: CreateKeyArgs) -> Result<()> {
    let CreateKeyArgs {
        name,
        scope,
        expires,
        rate,
        waiting,
        running,
        stored,
        plugin,
        group,
        tag,
        json,
        given,
    } = args;
    let stored = stored.map(|size| size.as_u64());
    let limits = KeyLimits { waiting_max: waiting, running_max: running, stored_bytes_max: stored };
    let settings = Settings::load(given)?;
    let scopes: Scopes = scope.into_iter().collect();
    let reach = Reach::new(plugin, group, tag).map_err(|error| cli_error(Exit::Usage, error.to_string()))?;
    let new = NewKey { name, scopes, expires: end(expires)?, rate, reach, limits };
    let key = KeyFile::new(&settings.data).create(&new).map_err(|error| edit_error(&error))?;
    show(&new, &key, json);
    Ok(())
}
