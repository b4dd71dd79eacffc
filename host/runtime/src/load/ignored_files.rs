//! Files of the plugins folder that look like plugins by their name, and are none.
//!
//! The scan finds them, and the watch loop logs each once. Reads no file.

use std::collections::BTreeMap;
use std::path::Path;

use crate::trust::SIGNATURE_SUFFIX;

/// Maximum names that are kept and logged.
const IGNORED_MAX: usize = 100;

/// The names found by the last scan, and whether each was logged.
#[derive(Default)]
pub(crate) struct IgnoredFiles(BTreeMap<String, bool>);

impl IgnoredFiles {
    /// Adds a file without the extension of plugins, if its name looks like that of a plugin.
    pub(crate) fn add(&mut self, path: &Path) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if self.0.len() < IGNORED_MAX && looks_like_plugin(&name) {
            self.0.insert(name.into_owned(), false);
        }
    }

    /// Logs each file that an earlier scan found, too: the names of copies in progress come and go.
    pub(crate) fn log_lasting(&mut self, earlier: &Self, folder: &Path) {
        for (name, is_logged) in &mut self.0 {
            match earlier.0.get(name) {
                Some(false) => tracing::warn!(
                    file = %folder.join(name).display(),
                    "ignored a file of the plugins folder: the name of a plugin ends with .wasm, in lower case"
                ),
                Some(true) => {}
                None => continue,
            }
            *is_logged = true;
        }
    }
}

/// Returns true for names such as `HELLO.WASM`, `hello.wat` and `hello.wasm.txt`, but not for hidden files and
/// signatures.
fn looks_like_plugin(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    !name.starts_with('.')
        && !name.ends_with(SIGNATURE_SUFFIX)
        && (name.ends_with(".wasm") || name.ends_with(".wat") || name.contains(".wasm."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_like_plugins_are_kept_and_bounded() {
        for name in ["UP.WASM", "a.Wasm", "a.wat", "a.wasm.txt"] {
            assert!(looks_like_plugin(name), "{name}");
        }
        for name in ["a.toml", "a.schema.json", ".a.wasm.tmp", "wasm", "README.md", "a.wasm.minisig"] {
            assert!(!looks_like_plugin(name), "{name}");
        }
        let mut ignored = IgnoredFiles::default();
        for number in 0..2 * IGNORED_MAX {
            ignored.add(Path::new(&format!("{number}.WASM")));
        }
        assert_eq!(ignored.0.len(), IGNORED_MAX);
    }

    #[test]
    fn a_file_is_logged_once_by_the_second_scan() {
        let scan = || {
            let mut scan = IgnoredFiles::default();
            scan.add(Path::new("/p/UP.WASM"));
            scan
        };
        let (mut first, mut second, mut third) = (scan(), scan(), scan());
        first.log_lasting(&IgnoredFiles::default(), Path::new("/p"));
        assert!(!first.0["UP.WASM"]);
        second.log_lasting(&first, Path::new("/p"));
        assert!(second.0["UP.WASM"]);
        third.log_lasting(&second, Path::new("/p"));
        assert!(third.0["UP.WASM"]);
    }
}
