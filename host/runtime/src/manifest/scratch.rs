//! The key `allow.scratch` of a manifest: the size of a scratch folder, or a table with its path and its number of files.

use bytesize::ByteSize;
use serde::Deserialize;
use serde::de::{Deserializer, Error};

use crate::error::format;
use crate::folders::rule::{DirRule, ScratchRule, is_plain};

/// Where programs expect a folder for temporary files.
const GUEST_DEFAULT: &str = "/tmp";
/// Files unless the manifest says otherwise: one in 4 KiB, as file systems provide for, at most this many.
const FILES_DEFAULT_MAX: u64 = 10_000;
const FILES_DEFAULT_MIN: u64 = 16;
/// The maximum number of files: the host keeps a record of each, and removes each.
const FILES_MAX: u64 = 100_000;

/// The key as written.
#[derive(Debug)]
pub(super) struct Scratch {
    size: ByteSize,
    guest: Option<String>,
    files: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScratchTable {
    size: ByteSize,
    guest: Option<String>,
    files: Option<u64>,
}

impl<'de> Deserialize<'de> for Scratch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::Table(table) => {
                let ScratchTable { size, guest, files } = table.try_into().map_err(D::Error::custom)?;
                Ok(Self { size, guest, files })
            }
            toml::Value::String(size) => {
                Ok(Self { size: size.parse().map_err(D::Error::custom)?, guest: None, files: None })
            }
            _ => Err(D::Error::custom("expected a size such as \"64MiB\", or a table with `size`")),
        }
    }
}

impl Scratch {
    /// Checks the key against what this host allows, and against the other folders of the guest.
    pub(super) fn check(self, bytes_max: u64, dirs: &[DirRule]) -> Result<ScratchRule, String> {
        let Self { size, guest, files } = self;
        let (size, guest) = (size.as_u64(), guest.unwrap_or_else(|| GUEST_DEFAULT.to_owned()));
        if size == 0 {
            return Err("allow.scratch must be at least 1 byte".to_owned());
        }
        if size > bytes_max {
            let (asked, max) = (format::bytes(size), format::bytes(bytes_max));
            return Err(format!("allow.scratch asks for {asked}, but disk_max of this host is {max}"));
        }
        if !is_plain(&guest) {
            let guest = guest.escape_debug();
            return Err(format!(
                "allow.scratch: the guest path '{guest}' must be absolute and plain, such as /tmp"
            ));
        }
        if dirs.iter().any(|dir| dir.guest == guest) {
            return Err(format!(
                "allow.scratch has the guest path '{guest}', which allow.dirs names as well"
            ));
        }
        let default = (size / (4 << 10)).clamp(FILES_DEFAULT_MIN, FILES_DEFAULT_MAX);
        let files_max = files.unwrap_or(default);
        if !(1..=FILES_MAX).contains(&files_max) {
            return Err(format!("allow.scratch: files must be from 1 to {FILES_MAX}"));
        }
        Ok(ScratchRule { guest, bytes_max: size, files_max })
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Key {
        scratch: Scratch,
    }

    fn check(scratch: &str) -> Result<ScratchRule, String> {
        let dirs = [DirRule { host: "/usr".into(), guest: "/in".to_owned(), write: false }];
        let key: Key = toml::from_str(&format!("scratch = {scratch}")).map_err(|error| error.to_string())?;
        key.scratch.check(1 << 30, &dirs)
    }

    #[test]
    fn a_size_is_enough() {
        let rule = |guest: &str, bytes_max, files_max| {
            Ok(ScratchRule { guest: guest.to_owned(), bytes_max, files_max })
        };
        assert_eq!(check("\"8MiB\""), rule("/tmp", 8 << 20, 2_048));
        assert_eq!(check("\"1GiB\""), rule("/tmp", 1 << 30, 10_000));
        assert_eq!(check("\"1B\""), rule("/tmp", 1, 16));
        assert_eq!(check("{ size = \"1KiB\", guest = \"/\", files = 3 }"), rule("/", 1 << 10, 3));
    }

    #[test]
    fn what_cannot_be_is_rejected() {
        for (scratch, said) in [
            ("\"0\"", "at least 1 byte"),
            ("\"1025MiB\"", "disk_max of this host is 1 GiB"),
            ("\"much\"", "scratch"),
            ("64", "expected a size"),
            ("true", "expected a size"),
            ("[\"64MiB\"]", "expected a size"),
            ("{ guest = \"/tmp\" }", "missing field `size`"),
            ("{ size = \"1MiB\", path = \"/tmp\" }", "unknown field"),
            ("{ size = \"1MiB\", guest = \"tmp\" }", "absolute and plain"),
            ("{ size = \"1MiB\", guest = \"/a/../b\" }", "absolute and plain"),
            ("{ size = \"1MiB\", guest = \"/in\" }", "allow.dirs names as well"),
            ("{ size = \"1MiB\", files = 0 }", "files must be"),
            ("{ size = \"1MiB\", files = 100001 }", "files must be"),
        ] {
            let why = check(scratch).unwrap_err();
            assert!(why.contains(said), "{scratch}: {why}");
        }
    }
}
