//! Removes files of contents that nobody knows: a power cut may lose the row of an unused content and keep its file.
//!
//! Runs once after the start, beside everything else. The row of a content is committed before its file is created, so a
//! file without one is a leftover.

use std::path::Path;
use std::sync::Arc;

use crate::content::folder::{ContentFolder, content_of};
use crate::content::unused;
use crate::file::connection;

/// Removes the leftovers on a thread of its own.
pub(crate) fn remove_leftovers(database: Arc<Path>, folder: Arc<ContentFolder>) {
    if !folder.path().is_dir() {
        return;
    }
    let sweep = move || {
        if let Err(error) = sweep(&database, &folder) {
            let path = folder.path().display();
            tracing::warn!(%path, %error, "failed to look for files that no task has; the next start does");
        }
    };
    if let Err(error) = std::thread::Builder::new().name("files-sweep".to_owned()).spawn(sweep) {
        tracing::warn!(%error, "failed to start a thread to look for files that no task has");
    }
}

fn sweep(database: &Path, folder: &ContentFolder) -> Result<(), Box<dyn std::error::Error>> {
    let connection = connection::reader(database)?;
    for entry in std::fs::read_dir(folder.path())? {
        let name = entry?.file_name();
        let Some(content) = name.to_str().and_then(content_of) else { continue };
        if !unused::is_known(&connection, content)? {
            tracing::debug!(%content, "removed a file that no task has");
            folder.remove(&[content])?;
        }
    }
    Ok(())
}
