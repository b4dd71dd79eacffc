//! The key that commands send: of a file or a variable, never of an option, since those are visible in process lists.
//!
//! It is never shown, not even in errors.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hyper::header::HeaderValue;
use wasmill_access::check_key;
use wasmill_runtime::read_text;

use super::Address;
use crate::environment::KEY;

/// Maximum size of a file with keys.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Returns the header with the key for a server: of `--key-file`, of the variable, or of the user's list of keys.
pub(super) fn read(server: &Address, file: Option<&Path>) -> Result<Option<HeaderValue>, String> {
    if let Some(path) = file {
        let text = read_file(path).map_err(|why| format!("key file {}: {why}", path.display()))?;
        return header(&text).map(Some).map_err(|why| format!("key file {}: {why}", path.display()));
    }
    if let Some(text) = std::env::var_os(KEY).filter(|text| !text.is_empty()) {
        let text = text.into_string().map_err(|_| format!("{KEY} is not UTF-8"))?;
        return header(&text).map(Some).map_err(|why| format!("{KEY}: {why}"));
    }
    let Some(path) = user_file().filter(|path| path.exists()) else { return Ok(None) };
    let named = |why: String| format!("keys in {}: {why}", path.display());
    let text = read_file(&path).map_err(named)?;
    of_server(&text, server).map(header).transpose().map_err(named)
}

/// Returns the key of a list that belongs to a server.
fn of_server<'a>(text: &'a str, server: &Address) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.trim().split_once(char::is_whitespace));
    lines.find(|(url, _)| url.parse::<Address>().is_ok_and(|url| url == *server)).map(|(_, key)| key.trim())
}

/// Returns `wasmill/keys` of the user's configuration.
fn user_file() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")))?;
    Some(config.join("wasmill/keys"))
}

fn read_file(path: &Path) -> Result<String, String> {
    let found = path.metadata().map_err(|error| match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => error.to_string(),
    })?;
    if found.is_file() && found.mode() & 0o077 != 0 && found.uid() == rustix::process::geteuid().as_raw() {
        return Err("others may read it; chmod 600 it".to_owned());
    }
    read_text(path, FILE_BYTES_MAX).map_err(|error| error.to_string())
}

fn header(text: &str) -> Result<HeaderValue, String> {
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
    use std::os::unix::fs::PermissionsExt;

    use wasmill_access::SecretKey;

    use super::*;

    #[test]
    fn a_list_has_a_key_for_each_server() {
        let text = "http://127.0.0.1:8080  one\n\nhttps://tasks.example.org/wasmill/ two\n";
        let of = |server: &str| of_server(text, &server.parse().unwrap());
        assert_eq!(of("127.0.0.1:8080"), Some("one"));
        assert_eq!(of("https://tasks.example.org/wasmill"), Some("two"));
        assert_eq!(of("https://tasks.example.org"), None);
    }

    #[test]
    fn a_damaged_key_is_told_before_it_is_sent_and_is_not_shown() {
        let key = SecretKey::random();
        assert_eq!(header(&format!(" {}\n", key.reveal())).unwrap(), format!("Bearer {}", key.reveal()));
        for damaged in [&key.reveal()[..60], "a b", "", "a\u{1}"] {
            let error = header(damaged).unwrap_err();
            assert!(damaged.is_empty() || !error.contains(damaged), "{error}");
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(read_file(file.path()).is_ok());
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read_file(file.path()).unwrap_err().contains("chmod 600"));
    }
}
