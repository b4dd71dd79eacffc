//! Open files of guests: listings, streams, and accounting of writes; and files of the operator.
//!
//! `guest` holds the open files of one guest. The functions that open and change them stand in `link`.

pub(crate) mod disk;
pub(crate) mod listing;
mod names;
pub(crate) mod open;
pub(crate) mod regular_file;
pub(crate) mod scratch_stream;
pub(crate) mod streams;

use std::path::{Component, Path};

/// Bytes of all paths in one call: 16 times the maximum of Linux.
pub(crate) const PATHS_BYTES_MAX: usize = 64 << 10;

/// Returns true if a symbolic link with this target could lead out of its folder, now or after it is moved: if it
/// is absolute or contains `..`.
pub(crate) fn leads_up(target: &str) -> bool {
    Path::new(target).components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir))
}

/// Removes the trailing slashes of a path, so that it names a link itself and not its target.
pub(crate) fn trim_trailing_slashes(path: &str) -> &str {
    let mut path = path;
    while let Some(shorter) = path.strip_suffix("/.").or_else(|| path.strip_suffix('/')) {
        path = shorter;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::{leads_up, trim_trailing_slashes};

    #[test]
    fn a_trimmed_path_names_the_link_itself() {
        for path in ["a/up", "a/up/", "a/up//", "a/up/.", "a/up/././/"] {
            assert_eq!(trim_trailing_slashes(path), "a/up");
        }
    }

    #[test]
    fn a_link_may_point_only_beside_and_below_itself() {
        for target in ["file", "a/b/c", "./file", "a//b", "a/./b", "..."] {
            assert!(!leads_up(target), "{target}");
        }
        for target in ["/etc/passwd", "..", "../secret", "a/../../secret", "a/..", "//x", "./../x"] {
            assert!(leads_up(target), "{target}");
        }
    }
}
