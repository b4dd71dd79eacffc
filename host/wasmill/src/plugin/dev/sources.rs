//! The sources of a plugin: which files there are, and which have changed.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The maximum number of files and folders that are looked at.
const ENTRIES_MAX: usize = 50_000;
/// Larger files are compared by their metadata alone.
const HASHED_BYTES_MAX: u64 = 4 << 20;

/// Folders that builds write to. So do those whose names begin with a dot.
const OUTPUT_FOLDERS: [&str; 6] = ["target", "node_modules", "__pycache__", "zig-out", "build", "dist"];
/// What builds write beside their sources.
const OUTPUT_SUFFIXES: [&str; 5] = [".wasm", ".wasm.new", "Cargo.lock", ".pyc", "~"];

/// The sources at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    files: BTreeMap<PathBuf, Source>,
    pub(super) folders: Vec<PathBuf>,
}

/// A file. A build may write a source without changing it, such as generated code: so the contents count.
#[derive(Clone, Copy, Debug)]
struct Source {
    bytes: u64,
    modified: Option<SystemTime>,
    hash: u64,
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
            && self.hash == other.hash
            && (self.bytes <= HASHED_BYTES_MAX || self.modified == other.modified)
    }
}

impl Eq for Source {}

impl Sources {
    /// Reads the sources below these paths. Files whose metadata is as in `earlier` are not read again.
    pub(super) fn read(roots: &[PathBuf], earlier: &Self) -> Self {
        let mut sources = Self::default();
        let mut left = roots.to_vec();
        let mut entries = 0;
        while let Some(path) = left.pop() {
            entries += 1;
            if entries > ENTRIES_MAX {
                break;
            }
            // What is gone, or may not be read, is no source.
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            if metadata.is_dir() {
                let inside = fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path());
                left.extend(inside.filter(|path| !is_output(path)));
                sources.folders.push(path);
            } else if let Ok(metadata) = fs::metadata(&path)
                && metadata.is_file()
            {
                let source = Source::read(&path, &metadata, earlier.files.get(&path));
                sources.files.insert(path, source);
            }
        }
        sources
    }

    /// Returns a file that is new, gone or different.
    pub(super) fn changed_from(&self, earlier: &Self) -> Option<PathBuf> {
        let changed = |(path, source): &(&PathBuf, &Source)| earlier.files.get(*path) != Some(*source);
        let gone = |path: &&PathBuf| !self.files.contains_key(*path);
        let changed = self.files.iter().find(changed).map(|(path, _)| path);
        changed.or_else(|| earlier.files.keys().find(gone)).cloned()
    }
}

impl Source {
    fn read(path: &Path, metadata: &Metadata, earlier: Option<&Self>) -> Self {
        let (bytes, modified) = (metadata.len(), metadata.modified().ok());
        let is_unchanged = |earlier: &&Self| earlier.bytes == bytes && earlier.modified == modified;
        if let Some(earlier) = earlier.filter(is_unchanged) {
            return *earlier;
        }
        let mut hasher = DefaultHasher::new();
        if bytes <= HASHED_BYTES_MAX
            && let Ok(contents) = fs::read(path)
        {
            hasher.write(&contents);
        }
        Self { bytes, modified, hash: hasher.finish() }
    }
}

fn is_output(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.')
        || OUTPUT_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
        || (OUTPUT_FOLDERS.contains(&&*name) && path.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_changes_is_found_and_an_output_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let roots = [folder.path().to_owned()];
        fs::create_dir_all(path("src/deep")).unwrap();
        fs::create_dir_all(path("target/release")).unwrap();
        fs::write(path("src/deep/lib.rs"), "one").unwrap();
        let first = Sources::read(&roots, &Sources::default());
        assert_eq!(first.folders.len(), 3, "{first:?}");

        for output in ["target/release/lib.rs", "hello.wasm", ".hidden", "src/lib.rs~"] {
            fs::write(path(output), "x").unwrap();
        }
        assert_eq!(Sources::read(&roots, &first).changed_from(&first), None);

        fs::write(path("src/deep/lib.rs"), "two").unwrap();
        let second = Sources::read(&roots, &first);
        assert_eq!(second.changed_from(&first), Some(path("src/deep/lib.rs")));

        fs::write(path("src/new.rs"), "").unwrap();
        let third = Sources::read(&roots, &second);
        assert_eq!(third.changed_from(&second), Some(path("src/new.rs")));
        fs::remove_file(path("src/deep/lib.rs")).unwrap();
        assert_eq!(Sources::read(&roots, &third).changed_from(&third), Some(path("src/deep/lib.rs")));
    }

    #[test]
    fn a_source_that_is_written_again_has_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("generated.rs");
        let roots = [folder.path().to_owned()];
        fs::write(&file, "same").unwrap();
        let first = Sources::read(&roots, &Sources::default());
        fs::remove_file(&file).unwrap();
        fs::write(&file, "same").unwrap();
        let later = SystemTime::UNIX_EPOCH;
        fs::File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
        assert_eq!(Sources::read(&roots, &first).changed_from(&first), None);
    }
}
