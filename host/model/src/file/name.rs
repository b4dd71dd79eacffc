//! Names of files: paths of plain parts that mean the same in a guest, in a URL and in a folder of a client.

use std::fmt;
use std::str::FromStr;

/// The maximum size of a name.
pub const FILE_NAME_BYTES_MAX: usize = 512;
/// The maximum size of a part, as file systems have it.
const PART_BYTES_MAX: usize = 255;
/// The maximum number of parts.
const PARTS_MAX: usize = 16;

/// The name of a file of a task, such as `in.v` or `out/report.json`: relative, with `/` between its parts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileName(String);

/// A text is no name of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFileName {
    /// It is longer than it may be, in whole.
    #[error("it is longer than {FILE_NAME_BYTES_MAX} bytes")]
    TooLong,
    /// A part is longer than it may be.
    #[error("a part of it is longer than {PART_BYTES_MAX} bytes")]
    PartTooLong,
    /// It has more parts than it may have.
    #[error("it has more than {PARTS_MAX} parts")]
    TooDeep,
    /// It is absolute.
    #[error("it must be relative, without a / at its start")]
    Absolute,
    /// It has an empty part, or one that is no name.
    #[error("each of its parts must be a name, and not empty, . or ..")]
    NotPlain,
    /// It has a character that names cannot have.
    #[error("it must not contain control characters or \\")]
    BadCharacter,
}

impl FileName {
    /// Returns it as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns its last part.
    pub fn last_part(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, last)| last)
    }

    /// Returns true if this name is a folder on the path to the other.
    pub fn is_folder_of(&self, other: &Self) -> bool {
        other.0.strip_prefix(&self.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl FromStr for FileName {
    type Err = InvalidFileName;

    fn from_str(text: &str) -> Result<Self, InvalidFileName> {
        if text.len() > FILE_NAME_BYTES_MAX {
            return Err(InvalidFileName::TooLong);
        }
        if text.contains(|c: char| c.is_control() || c == '\\') {
            return Err(InvalidFileName::BadCharacter);
        }
        if text.starts_with('/') {
            return Err(InvalidFileName::Absolute);
        }
        let mut parts = 0;
        for part in text.split('/') {
            if matches!(part, "" | "." | "..") {
                return Err(InvalidFileName::NotPlain);
            }
            if part.len() > PART_BYTES_MAX {
                return Err(InvalidFileName::PartTooLong);
            }
            parts += 1;
        }
        if parts > PARTS_MAX { Err(InvalidFileName::TooDeep) } else { Ok(Self(text.to_owned())) }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_relative_path_of_plain_parts() {
        for name in ["a", "in.v", ".config", "out/a b/ü.json", "a..b", "...", "-", "~"] {
            assert_eq!(name.parse::<FileName>().map(|name| name.to_string()).as_deref(), Ok(name));
        }
        let deep = ["a"; PARTS_MAX].join("/");
        assert!(deep.parse::<FileName>().is_ok());
        let long = format!("{}/{}", "a".repeat(255), "b".repeat(256));
        assert_eq!(long.len(), FILE_NAME_BYTES_MAX);
        for (name, why) in [
            (format!("{deep}/a"), InvalidFileName::TooDeep),
            (format!("{long}b"), InvalidFileName::TooLong),
            (long, InvalidFileName::PartTooLong),
            ("/etc/passwd".to_owned(), InvalidFileName::Absolute),
            ("a\\b".to_owned(), InvalidFileName::BadCharacter),
            ("a\0".to_owned(), InvalidFileName::BadCharacter),
            ("a\u{85}".to_owned(), InvalidFileName::BadCharacter),
        ] {
            assert_eq!(name.parse::<FileName>(), Err(why), "{name}");
        }
        for name in ["", ".", "..", "a/../b", "../a", "a//b", "a/", "./a"] {
            assert_eq!(name.parse::<FileName>(), Err(InvalidFileName::NotPlain), "{name}");
        }
    }

    #[test]
    fn a_folder_is_on_the_path_of_its_files() {
        let name = |text: &str| text.parse::<FileName>().unwrap();
        assert!(name("a").is_folder_of(&name("a/b")));
        assert!(!name("a").is_folder_of(&name("ab/b")) && !name("a").is_folder_of(&name("a")));
        assert_eq!(name("a/b/c.d").last_part(), "c.d");
    }
}
