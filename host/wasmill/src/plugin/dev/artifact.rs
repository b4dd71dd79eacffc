//! Finds the plugin that a build has made.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};

use crate::plugin::package_file;

/// Where the build tools of this world put a plugin.
const OUTPUT_FOLDERS: [&str; 8] = [
    ".",
    "target/wasm32-wasip2/release",
    "target/wasm32-wasip2/debug",
    "target/wasm32-wasip1/release",
    "target/wasm32-wasip1/debug",
    "zig-out/bin",
    "dist",
    "build",
];

/// Returns the plugin: the file that was named, or the newest one where build tools put them.
///
/// One that was found elsewhere is copied beside the manifest of this folder, if there is one for it: a manifest counts
/// for the file beside it only.
pub(super) fn find(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(file) = named {
        if !file.exists() {
            bail!("the build succeeded, but there is no {}", file.display());
        }
        return Ok(file.to_owned());
    }
    let found = OUTPUT_FOLDERS.iter().flat_map(|folder| plugins_in(Path::new(folder)));
    let Some((_, newest)) = found.max() else {
        bail!("the build succeeded, but there is no .wasm file in {}; name it", OUTPUT_FOLDERS.join(", "));
    };
    let is_here = newest.parent().is_none_or(|folder| folder == Path::new("."));
    match manifest_of(&newest) {
        Some(name) if !is_here => beside_manifest(&newest, &name),
        _ => Ok(newest),
    }
}

fn plugins_in(folder: &Path) -> Vec<(SystemTime, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let plugin = |entry: fs::DirEntry| {
        let path = entry.path();
        let is_plugin = path.extension().is_some_and(|extension| extension == "wasm");
        let modified = entry.metadata().and_then(|metadata| metadata.modified()).ok();
        modified.filter(|_| is_plugin).map(|modified| (modified, path))
    };
    entries.filter_map(plugin).collect()
}

/// Returns the name of the manifest in this folder that is for this file, whose name is that of its Rust package.
fn manifest_of(plugin: &Path) -> Option<String> {
    let stem = plugin.file_stem()?.to_string_lossy();
    let names = fs::read_dir(".").into_iter().flatten().flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        Some(name.strip_suffix(".toml")?.to_owned())
    });
    names.into_iter().find(|name| *name == stem || package_file(name) == stem)
}

/// Copies by a rename, so that a server that watches the folder sees a whole file.
fn beside_manifest(plugin: &Path, name: &str) -> Result<PathBuf> {
    let target = PathBuf::from(format!("{name}.wasm"));
    let draft = PathBuf::from(format!("{name}.wasm.new"));
    fs::copy(plugin, &draft)
        .and_then(|_| fs::rename(&draft, &target))
        .with_context(|| format!("failed to copy {} to {}", plugin.display(), target.display()))?;
    Ok(target)
}
