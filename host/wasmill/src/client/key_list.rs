//! The list of keys that commands send: a line with the URL of a server and its key, for each server.
//!
//! `wasmill login` and `wasmill logout` change it, and people may; lines that are not understood stay.

use std::path::PathBuf;

use super::Address;
use super::private_file::{read_private, write_private};

/// Returns the key of a server, if one is stored.
///
/// # Errors
///
/// Fails with what is wrong if the list cannot be read.
pub(super) fn read(server: &Address) -> Result<Option<String>, String> {
    let Some(path) = path().filter(|path| path.exists()) else { return Ok(None) };
    let text = read_private(&path).map_err(|why| format!("keys in {}: {why}", path.display()))?;
    let line = text.lines().find(|line| is_of(line, server));
    Ok(line.and_then(parts).map(|(_, key)| key.to_owned()))
}

/// Stores the key of a server in place of another one, and returns where.
///
/// # Errors
///
/// Fails with what is wrong if the list cannot be read or written.
pub(crate) fn store(server: &Address, key: &str) -> Result<PathBuf, String> {
    let path = path().ok_or("neither XDG_CONFIG_HOME nor HOME is set, so there is no place for it")?;
    change(&path, |kept| format!("{kept}{server} {key}\n"), server)?;
    Ok(path)
}

/// Removes the key of a server, and returns true if there was one.
///
/// # Errors
///
/// Fails with what is wrong if the list cannot be read or written.
pub(crate) fn forget(server: &Address) -> Result<bool, String> {
    let Some(path) = path().filter(|path| path.exists()) else { return Ok(false) };
    if read(server)?.is_none() {
        return Ok(false);
    }
    change(&path, |kept| kept, server)?;
    Ok(true)
}

/// Writes the lines of other servers, with what is added to them.
fn change(
    path: &std::path::Path,
    add: impl FnOnce(String) -> String,
    server: &Address,
) -> Result<(), String> {
    let failed = |why: &dyn std::fmt::Display| format!("keys in {}: {why}", path.display());
    let before = if path.exists() { read_private(path).map_err(|why| failed(&why))? } else { String::new() };
    write_private(path, &add(without(&before, server))).map_err(|error| failed(&error))
}

/// Returns the lines that are not of a server.
fn without(text: &str, server: &Address) -> String {
    text.lines().filter(|line| !is_of(line, server)).map(|line| format!("{line}\n")).collect()
}

fn is_of(line: &str, server: &Address) -> bool {
    parts(line).is_some_and(|(url, _)| url.parse::<Address>().is_ok_and(|url| url == *server))
}

fn parts(line: &str) -> Option<(&str, &str)> {
    line.trim().split_once(char::is_whitespace).map(|(url, key)| (url, key.trim()))
}

/// Returns `wasmill/keys` of the user's configuration.
fn path() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")))?;
    Some(config.join("wasmill/keys"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_a_key_for_each_server() {
        let text = "http://127.0.0.1:8080  one\n\nhttps://tasks.example.org/wasmill/ two\n# three\n";
        let of = |server: &str| {
            let server = server.parse().unwrap();
            let line = text.lines().find(|line| is_of(line, &server));
            line.and_then(parts).map(|(_, key)| key)
        };
        assert_eq!(of("127.0.0.1:8080"), Some("one"));
        assert_eq!(of("https://tasks.example.org/wasmill"), Some("two"));
        assert_eq!(of("https://tasks.example.org"), None);
        let kept = without(text, &"http://127.0.0.1:8080/".parse().unwrap());
        assert_eq!(kept, "\nhttps://tasks.example.org/wasmill/ two\n# three\n");
    }
}
