//! `wasmill key create`: makes a key.

use anyhow::Result;
use wasmill_access::{KeyFile, NewKey, Scopes};

use super::made::{edit_error, end, show};
use crate::cli::key::CreateKeyArgs;
use crate::settings::Settings;

pub(super) fn create(args: CreateKeyArgs) -> Result<()> {
    let CreateKeyArgs { name, scope, expires, rate, json, given } = args;
    let settings = Settings::load(given)?;
    let scopes: Scopes = scope.into_iter().collect();
    let new = NewKey { name, scopes, expires: end(expires)?, rate };
    let key = KeyFile::new(&settings.data).create(&new).map_err(|error| edit_error(&error))?;
    show(&new.name, &key, scopes, new.expires, json);
    Ok(())
}
