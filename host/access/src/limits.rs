//! The limits of a key in a keys file: how much may wait, run and be stored at once.

use bytesize::ByteSize;
use wasmill_model::{KeyLimits, Reach, shown_size};

/// Reads the limits of a key of this reach.
///
/// # Errors
///
/// Fails if one is zero, which would allow nothing, or if running tasks are limited without the one group whose turn they
/// keep while they wait for it.
pub(crate) fn read(
    waiting: Option<u64>,
    running: Option<u64>,
    stored: Option<ByteSize>,
    reach: &Reach,
) -> Result<KeyLimits, String> {
    let limits = KeyLimits {
        waiting_max: waiting,
        running_max: running,
        stored_bytes_max: stored.map(|size| size.as_u64()),
    };
    for (name, limit) in [
        ("waiting", limits.waiting_max),
        ("running", limits.running_max),
        ("stored", limits.stored_bytes_max),
    ] {
        if limit == Some(0) {
            return Err(format!("its limit {name} must be at least 1; leave it out for no limit"));
        }
    }
    if running.is_some() && reach.only_group().is_none() {
        return Err("a key with a limit running needs exactly one group: its tasks wait in the turn of that group, so \
                    that they delay no others"
            .to_owned());
    }
    Ok(limits)
}

/// Returns the lines of a file that say them.
pub(crate) fn lines(limits: KeyLimits) -> String {
    let KeyLimits { waiting_max, running_max, stored_bytes_max } = limits;
    let line = |name: &str, limit: Option<String>| {
        limit.map(|limit| format!("{name} = {limit}\n")).unwrap_or_default()
    };
    let number = |limit: Option<u64>| limit.map(|limit| limit.to_string());
    line("waiting", number(waiting_max))
        + &line("running", number(running_max))
        + &line("stored", stored_bytes_max.map(|bytes| format!("\"{}\"", shown_size(bytes))))
}
