//! What guests do with files: the folders that they were granted, what they hold open, and what they write.
//!
//! The loader opens the granted folders, `guest` keeps what one guest has open, and the linkers take the calls
//! of `components` and `modules` in the place of wasmtime's. What a call does to a file stays wasmtime's.

pub(crate) mod components;
pub(crate) mod descriptors;
pub(crate) mod disk;
pub(crate) mod granted;
pub(crate) mod grants;
pub(crate) mod lane;
pub(crate) mod listing;
pub(crate) mod modules;
pub(crate) mod open;
mod streams;
mod ways;

use std::path::{Component, Path};

/// Bytes of all paths of a call: 16 times what Linux takes for one.
const PATHS_BYTES_MAX: usize = 64 << 10;

/// Says whether a link with this target could lead out of the folder it is put into, now or when it is moved:
/// whether it is absolute or goes up anywhere.
fn leads_up(target: &str) -> bool {
    Path::new(target).components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir))
}

/// Returns a path that names a link itself, where slashes at the end would lead to what the link leads to.
fn without_slashes(path: &str) -> &str {
    let mut path = path;
    while let Some(shorter) = path.strip_suffix("/.").or_else(|| path.strip_suffix('/')) {
        path = shorter;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::{leads_up, without_slashes};

    #[test]
    fn a_path_names_the_link_itself() {
        for path in ["a/up", "a/up/", "a/up//", "a/up/.", "a/up/././/"] {
            assert_eq!(without_slashes(path), "a/up");
        }
    }

    #[test]
    fn a_link_may_lead_beside_and_beneath_itself_only() {
        for target in ["file", "a/b/c", "./file", "a//b", "a/./b", "..."] {
            assert!(!leads_up(target), "{target}");
        }
        for target in ["/etc/passwd", "..", "../secret", "a/../../secret", "a/..", "//x", "./../x"] {
            assert!(leads_up(target), "{target}");
        }
    }
}
