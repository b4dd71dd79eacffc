//! `trusted.toml` of the plugins folder: the names of files with the SHA-256 of each.
//!
//! `wasmill plugin trust` edits it line by line, so that comments stay.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use wasmill_model::{position, without_bom};

use crate::files::regular_file;

/// The file of the plugins folder that lists trusted files.
pub(crate) const LIST_FILE: &str = "trusted.toml";

/// The maximum size of the list.
const LIST_BYTES_MAX: u64 = 4 << 20;

const HEAD: &str = "# Files that may be plugins, with their SHA-256, written by `wasmill plugin trust`.\n";

/// The files of a list.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Listed(BTreeMap<String, Vec<String>>);

/// One digest, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Digests {
    One(String),
    Many(Vec<String>),
}

/// Why a file was not listed.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The file to trust, or the list, cannot be read or written.
    #[error("failed to {what} {path}: {error}", path = path.display())]
    Io {
        /// What failed.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The list is not valid.
    #[error("{path} is not valid: {why}; correct it first", path = path.display())]
    Invalid {
        /// The list.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl Listed {
    /// Reads a list; a missing one is empty.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let text = match regular_file::read_text(path, LIST_BYTES_MAX) {
            Err(error) if error.kind() == ErrorKind::NotFound && !regular_file::is_dangling(path) => {
                String::new()
            }
            text => text.map_err(|error| format!("the list {} cannot be read: {error}", path.display()))?,
        };
        Self::parse(&text).map_err(|why| format!("the list {} is not valid: {why}", path.display()))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let text = without_bom(text);
        let read: BTreeMap<String, Digests> = toml::from_str(text).map_err(|error| {
            let at = position(text, error.span().map_or(0, |span| span.start));
            format!("{at}: {}", error.message())
        })?;
        let checked = read.into_iter().map(|(name, digests)| {
            let digests = match digests {
                Digests::One(digest) => vec![digest],
                Digests::Many(digests) => digests,
            };
            let checked = digests.iter().map(|digest| check_digest(&name, digest)).collect::<Result<_, _>>();
            Ok((name.clone(), checked?))
        });
        checked.collect::<Result<_, _>>().map(Self)
    }

    /// Returns true if a file of this name may have this digest.
    pub(super) fn has(&self, name: &str, digest: &str) -> bool {
        self.0.get(name).is_some_and(|digests| digests.iter().any(|listed| listed == digest))
    }
}

fn check_digest(name: &str, digest: &str) -> Result<String, String> {
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    if hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(hex.to_ascii_lowercase())
    } else {
        Err(format!(
            "the SHA-256 of {} must be 64 hexadecimal digits, as printed by `sha256sum`",
            name.escape_debug()
        ))
    }
}

/// Lists files as trusted in a plugins folder, by their names with their digests. Earlier digests of the same names stay
/// if `keep`.
///
/// # Errors
///
/// Fails if the list cannot be changed.
pub(crate) fn list(folder: &Path, files: &[(String, String)], keep: bool) -> Result<(), ListError> {
    let path = folder.join(LIST_FILE);
    let failed = |what| {
        let path = path.clone();
        move |error| ListError::Io { what, path, error }
    };
    let text = match regular_file::read_text(&path, LIST_BYTES_MAX) {
        Err(error) if error.kind() == ErrorKind::NotFound => HEAD.to_owned(),
        text => text.map_err(failed("read"))?,
    };
    let invalid = |why| ListError::Invalid { path: path.clone(), why };
    let edited = files.iter().try_fold(text, |text, (name, digest)| edited(&text, name, digest, keep));
    let edited = edited.map_err(invalid)?;
    Listed::parse(&edited).map_err(invalid)?;
    write(&path, &edited).map_err(failed("write"))
}

/// Sets the digest of a name in the text of a list.
fn edited(text: &str, name: &str, digest: &str, keep: bool) -> Result<String, String> {
    let listed = Listed::parse(text)?;
    let earlier = listed.0.get(name);
    let mut digests = vec![digest];
    if keep && let Some(earlier) = earlier {
        digests.extend(earlier.iter().map(String::as_str).filter(|earlier| *earlier != digest));
    }
    let quoted: Vec<_> = digests.iter().map(|digest| format!("\"{digest}\"")).collect();
    let value = if quoted.len() == 1 { quoted[0].clone() } else { format!("[{}]", quoted.join(", ")) };
    let line = format!("{} = {value}", quoted_key(name));
    if earlier.is_none() {
        let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        return Ok(format!("{text}{gap}{line}\n"));
    }
    let is_of_name = |line: &str| {
        Listed::parse(line).is_ok_and(|listed| listed.0.len() == 1 && listed.0.contains_key(name))
    };
    if !text.lines().any(is_of_name) {
        return Err(format!("the digests of {name} are not in one line"));
    }
    let lines = text.lines().map(|old| if is_of_name(old) { line.as_str() } else { old });
    Ok(lines.flat_map(|line| [line, "\n"]).collect())
}

/// Writes a name as a key: a text of JSON is one of TOML.
fn quoted_key(name: &str) -> String {
    serde_json::Value::from(name).to_string()
}

/// Replaces the list as a whole; readable as the umask allows, since a server may run as another user.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut builder = tempfile::Builder::new();
    let mut file =
        builder.prefix(".trusted.").permissions(Permissions::from_mode(0o666)).tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_with_anything_else_than_digests_is_not_valid() {
        for text in ["a", "a = 1", "a = \"1\"", "[a]", "a = [\"sha256:zz\"]", "a = \"x\"\na = \"y\""] {
            assert!(Listed::parse(text).is_err(), "{text}");
        }
        let digest = "AB".repeat(32);
        let listed = Listed::parse(&format!("a = \"sha256:{digest}\"\nb = []")).unwrap();
        assert!(listed.has("a", &"ab".repeat(32)) && !listed.has("b", &"ab".repeat(32)));
    }

    #[test]
    fn a_digest_over_several_lines_is_left_to_its_author() {
        let text = format!("a = [\n\"{}\",\n]\n", "0".repeat(64));
        assert!(edited(&text, "a", &"1".repeat(64), false).unwrap_err().contains("one line"));
        assert!(edited(&text, "b", &"1".repeat(64), false).is_ok());
    }
}
