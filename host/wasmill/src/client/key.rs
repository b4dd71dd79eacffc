//! The key that commands send: of a file or a variable, never of an option, since those are visible in process lists.
//!
//! It is never shown, not even in errors.

use std::io::{IsTerminal, stdin};
use std::path::Path;

use hyper::header::HeaderValue;
use wasmill_access::check_key;
use wasmill_runtime::read_bounded;

use super::Address;
use super::key_list;
use super::private_file::{FILE_BYTES_MAX, read_private};
use crate::environment::KEY;
use crate::terminal::hidden::read_hidden;

/// Returns the header with the key for a server: of `--key-file`, of the variable, or of the user's list of keys.
pub(super) fn read(server: &Address, file: Option<&Path>) -> Result<Option<HeaderValue>, String> {
    if let Some(path) = file {
        let text = read_private(path).map_err(|why| format!("key file {}: {why}", path.display()))?;
        return header(&text).map(Some).map_err(|why| format!("key file {}: {why}", path.display()));
    }
    if let Some(text) = std::env::var_os(KEY).filter(|text| !text.is_empty()) {
        let text = text.into_string().map_err(|_| format!("{KEY} is not UTF-8"))?;
        return header(&text).map(Some).map_err(|why| format!("{KEY}: {why}"));
    }
    key_list::read(server)?
        .map(|key| header(&key))
        .transpose()
        .map_err(|why| format!("stored key of {server}: {why}"))
}

/// Returns the key that a command is given to look at or to store: of a file, of the variable, or of stdin.
///
/// # Errors
///
/// Fails with what is wrong if there is none, or it could not be sent.
pub(crate) fn given_key(file: Option<&Path>) -> Result<String, String> {
    let text = match (file, std::env::var_os(KEY).filter(|text| !text.is_empty())) {
        (Some(path), _) => read_private(path).map_err(|why| format!("key file {}: {why}", path.display()))?,
        (None, Some(text)) => text.into_string().map_err(|_| format!("{KEY} is not UTF-8"))?,
        (None, None) if stdin().is_terminal() => {
            read_hidden("key: ").map_err(|error| format!("failed to read the key: {error}"))?
        }
        (None, None) => {
            let bytes = read_bounded(stdin().lock(), FILE_BYTES_MAX);
            let bytes = bytes.map_err(|error| format!("failed to read the key from stdin: {error}"))?;
            String::from_utf8(bytes).map_err(|_| "the key on stdin is not UTF-8".to_owned())?
        }
    };
    header(&text).map_err(|why| format!("the key: {why}"))?;
    Ok(text.trim().to_owned())
}

pub(super) fn header(text: &str) -> Result<HeaderValue, String> {
    let text = text.trim();
    if text.starts_with("wmk_") {
        check_key(text).map_err(|error| error.to_string())?;
    }
    let value = HeaderValue::try_from(format!("Bearer {text}"));
    let mut value = value.map_err(|_| "it has characters that are not allowed in headers".to_owned())?;
    if text.is_empty() || text.contains(char::is_whitespace) {
        return Err("it must be one word".to_owned());
    }
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use wasmill_access::SecretKey;

    use super::*;

    #[test]
    fn a_damaged_key_is_told_before_it_is_sent_and_is_not_shown() {
        let key = SecretKey::random();
        assert_eq!(header(&format!(" {}\n", key.reveal())).unwrap(), format!("Bearer {}", key.reveal()));
        for damaged in [&key.reveal()[..60], "a b", "", "a\u{1}"] {
            let error = header(damaged).unwrap_err();
            assert!(damaged.is_empty() || !error.contains(damaged), "{error}");
        }
    }
}
