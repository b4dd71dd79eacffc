//! `wasmill key rotate`: makes a new key beside the old one, which ends after the overlap.

use anyhow::Result;
use wasmill_access::KeyFile;

use super::made::{after, edit_error, end, show, shown_time};
use crate::cli::key::RotateKeyArgs;
use crate::output::note;
use crate::settings::Settings;

pub(super) fn rotate(args: RotateKeyArgs) -> Result<()> {
    let RotateKeyArgs { name, overlap, expires, json, given } = args;
    let settings = Settings::load(given)?;
    let (usual, given) = (end(None)?, expires.map(|expires| end(Some(expires))).transpose()?);
    let ends = after(overlap)?;
    let expires = |never| given.unwrap_or(if never { None } else { usual });
    let (key, new) =
        KeyFile::new(&settings.data).rotate(&name, ends, expires).map_err(|error| edit_error(&error))?;
    note!("the old key ends at {}", shown_time(ends));
    show(&new, &key, json);
    Ok(())
}
