//! Keeps the files that a run leaves in its scratch folder, and that its manifest names.
//!
//! Called by `instance` once the guest is gone, so nothing changes the folder any more. Links are not followed.

use std::fs::{File, OpenOptions, read_dir};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use wasmill_model::{Cause, Failure, FileBudget, FileLimits, FileName, OutputFile, RunHost};

use crate::error::format;
use crate::folders::executor::block;
use crate::folders::scratch::folder::RunScratch;
use crate::guest::call_error::host_fault;
use crate::plugin::output_pattern::{Matched, OutputPattern};

/// A file to keep.
struct Found {
    name: FileName,
    path: PathBuf,
    bytes: u64,
}

/// Hands the files that match to the host, in the order of their names.
///
/// # Errors
///
/// Fails if one cannot be kept, or if they are more or larger than may be.
pub(crate) async fn keep(
    scratch: &RunScratch,
    patterns: &[OutputPattern],
    limits: FileLimits,
    host: &dyn RunHost,
) -> Result<(), Failure> {
    let found = block(|| find(scratch.path(), patterns, limits))?;
    for Found { name, path, bytes } in found {
        let file = block(|| open(&path)).map_err(|error| unreadable(&name, &error))?;
        host.keep_file(OutputFile { name, reader: Box::new(file.take(bytes)) }).await?;
    }
    Ok(())
}

/// Finds the files that match, within the limits.
fn find(root: &Path, patterns: &[OutputPattern], limits: FileLimits) -> Result<Vec<Found>, Failure> {
    let mut search = Search { patterns, budget: FileBudget::new(limits), found: Vec::new() };
    search.folder(root, "", &patterns.iter().map(OutputPattern::start).collect::<Vec<_>>())?;
    search.found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(search.found)
}

struct Search<'a> {
    patterns: &'a [OutputPattern],
    budget: FileBudget,
    found: Vec<Found>,
}

impl Search<'_> {
    /// Looks through a folder whose path has matched so far. The depth is bounded by that of names.
    fn folder(&mut self, path: &Path, prefix: &str, matched: &[Matched]) -> Result<(), Failure> {
        let read = |error: &io::Error| host_fault(format_args!("failed to read the scratch folder: {error}"));
        for entry in read_dir(path).map_err(|error| read(&error))? {
            let entry = entry.map_err(|error| read(&error))?;
            let (own, is_text) = match entry.file_name().into_string() {
                Ok(name) => (name, true),
                Err(name) => (name.to_string_lossy().into_owned(), false),
            };
            let matched: Vec<_> = self
                .patterns
                .iter()
                .zip(matched)
                .map(|(pattern, matched)| pattern.step(*matched, &own))
                .collect();
            let mut all = self.patterns.iter().zip(&matched);
            let is_match = all.clone().any(|(pattern, matched)| pattern.is_match(*matched));
            let may_continue = all.any(|(pattern, matched)| pattern.may_continue(*matched));
            let name = format!("{prefix}{own}");
            let kind = entry.file_type().map_err(|error| read(&error))?;
            if kind.is_dir() {
                if may_continue && is_text {
                    check_name(&format!("{name}/_"))?;
                    self.folder(&entry.path(), &format!("{name}/"), &matched)?;
                } else if may_continue {
                    return Err(refused(&name, "is a folder whose name is no UTF-8"));
                }
            } else if is_match && !is_text {
                return Err(refused(&name, "has a name that is no UTF-8"));
            } else if is_match && !kind.is_file() {
                let what = if kind.is_symlink() {
                    "is a link, whose target is not kept"
                } else {
                    "is no regular file"
                };
                return Err(refused(&name, what));
            } else if is_match {
                let bytes = entry.metadata().map_err(|error| read(&error))?.len();
                self.file(check_name(&name)?, entry.path(), bytes)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, name: FileName, path: PathBuf, bytes: u64) -> Result<(), Failure> {
        let counted = self.budget.add().and_then(|()| self.budget.grow(&name, 0, bytes));
        counted.map_err(|refusal| {
            let message = format!("`outputs` of the manifest cannot be kept: {refusal}");
            Failure::new(Cause::ResultLimit, format::truncate(message, format::MESSAGE_BYTES_MAX))
        })?;
        self.found.push(Found { name, path, bytes });
        Ok(())
    }
}

fn check_name(name: &str) -> Result<FileName, Failure> {
    name.parse().map_err(|error| refused(name, &format!("cannot be the name of a file of a task: {error}")))
}

fn refused(name: &str, why: &str) -> Failure {
    let name = format::truncate(name.escape_debug().to_string(), format::NAMES_BYTES_MAX);
    let message = format!("`outputs` of the manifest cannot be kept: '{name}' {why}");
    Failure::new(Cause::Plugin, message)
}

fn unreadable(name: &FileName, error: &io::Error) -> Failure {
    host_fault(format_args!("failed to read the file '{name}' of the scratch folder: {error}"))
}

/// Opens a regular file. A guest may have taken its rights away, and the host is its owner.
fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    use super::*;

    fn limits(bytes_max: u64, total_bytes_max: u64, count_max: u32) -> FileLimits {
        FileLimits { bytes_max, total_bytes_max, count_max }
    }

    fn names(root: &Path, patterns: &[&str], limits: FileLimits) -> Result<Vec<String>, String> {
        let patterns: Vec<_> = patterns.iter().map(|pattern| pattern.parse().unwrap()).collect();
        let found = find(root, &patterns, limits).map_err(|failure| failure.message)?;
        Ok(found.iter().map(|found| format!("{}={}", found.name, found.bytes)).collect())
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for path in ["out/deep", "other"] {
            std::fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        for (path, text) in [
            ("a.json", "1"),
            ("b.txt", "22"),
            ("out/c.json", "333"),
            ("out/deep/d", "4444"),
            ("other/e", "5"),
        ] {
            std::fs::write(folder.path().join(path), text).unwrap();
        }
        folder
    }

    #[test]
    fn what_matches_is_found_once_and_in_order() {
        let folder = folder();
        let all = limits(9, 99, 9);
        let found = |patterns: &[&str]| names(folder.path(), patterns, all).unwrap();
        assert_eq!(found(&["*.json", "out/**"]), ["a.json=1", "out/c.json=3", "out/deep/d=4"]);
        assert_eq!(found(&["**/*.json", "*.json"]), ["a.json=1", "out/c.json=3"]);
        assert_eq!(found(&["out", "nothing", "out/deep/d/x"]), [""; 0]);
        assert_eq!(found(&[]), [""; 0]);
    }

    #[test]
    fn each_limit_is_named() {
        let folder = folder();
        let refused = |limits| names(folder.path(), &["out/**"], limits).unwrap_err();
        assert!(names(folder.path(), &["out/**"], limits(4, 7, 2)).is_ok());
        assert!(refused(limits(3, 99, 9)).contains("file_max, 3"));
        assert!(refused(limits(9, 6, 9)).contains("files_max, 6"));
        assert!(refused(limits(9, 99, 1)).contains("files_per_task, 1"));
    }

    #[test]
    fn what_is_no_file_with_a_name_is_refused_where_it_matches() {
        let folder = folder();
        let (root, all) = (folder.path(), limits(9, 99, 9));
        symlink("/etc/passwd", root.join("out/link")).unwrap();
        symlink("/etc", root.join("out/etc")).unwrap();
        assert!(names(root, &["out/*.json"], all).is_ok());
        assert!(names(root, &["out/etc/*"], all).unwrap().is_empty(), "links are not followed");
        let why = names(root, &["out/link"], all).unwrap_err();
        assert!(why.contains("'out/link' is a link"), "{why}");
        std::fs::write(root.join(OsStr::from_bytes(b"other/\xff")), "").unwrap();
        let why = names(root, &["other/*"], all).unwrap_err();
        assert!(why.contains("no UTF-8"), "{why}");
        std::fs::write(root.join("back\\slash"), "").unwrap();
        let why = names(root, &["*"], all).unwrap_err();
        assert!(why.contains("control characters or \\"), "{why}");
        let socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        let why = names(root, &["socket"], all).unwrap_err();
        assert!(why.contains("no regular file"), "{why}");
        drop(socket);
        let mut deep = root.join("deep");
        for _ in 0..20 {
            deep.push("d");
        }
        std::fs::create_dir_all(&deep).unwrap();
        let why = names(root, &["deep/**"], all).unwrap_err();
        assert!(why.contains("more than 16 parts"), "{why}");
    }
}
