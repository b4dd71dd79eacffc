//! `wasmill key revoke`: ends a key.

use anyhow::Result;
use wasmill_access::KeyFile;

use super::made::edit_error;
use crate::cli::key::RevokeKeyArgs;
use crate::output::out;
use crate::settings::Settings;

pub(super) fn revoke(args: RevokeKeyArgs) -> Result<()> {
    let RevokeKeyArgs { name, given } = args;
    let settings = Settings::load(given)?;
    for id in KeyFile::new(&settings.data).revoke(&name).map_err(|error| edit_error(&error))? {
        out!("revoked {id}");
    }
    Ok(())
}
