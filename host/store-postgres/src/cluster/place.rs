//! Where a host runs: a data folder, which it locks. A host that finds its own folder in the database knows that the
//! one before it there is dead, and need not wait for the end of its lease.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;
use wasmill_store::{StoreError, lock_file, locked_by_other};

/// Name of the file with the id of the folder.
const FILE: &str = "host";

/// A place that no other process has. Cheap to clone; the lock ends with the last clone.
#[derive(Clone, Debug)]
pub struct Place {
    pub(crate) id: String,
    #[expect(dead_code, reason = "held, never read")]
    lock: Option<Arc<File>>,
}

impl Place {
    /// Locks a data folder, and gives it an id if it has none. Creates the folder.
    ///
    /// # Errors
    ///
    /// [`StoreError::Refused`] if another process has locked it, or its file cannot be written.
    pub fn in_folder(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(FILE);
        let failed =
            |error| StoreError::Refused { message: format!("failed to lock {}: {error}", path.display()) };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut file = lock_file(&path).map_err(failed)?.map_err(|_| StoreError::Refused {
            message: format!(
                "data folder {} is in use by another wasmill; give each host a data folder of its own",
                folder.display()
            ),
        })?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        let id = match text.trim().parse::<Uuid>() {
            Ok(id) => id,
            Err(_) => {
                let id = Uuid::new_v4();
                file.rewind().and_then(|()| file.set_len(0)).map_err(failed)?;
                writeln!(file, "{id}").map_err(failed)?;
                file.sync_all().map_err(failed)?;
                id
            }
        };
        Ok(Self { id: id.to_string(), lock: Some(Arc::new(file)) })
    }

    /// Returns true if a process has locked the folder. Creates and writes nothing.
    pub fn is_taken(folder: &Path) -> bool {
        locked_by_other(&folder.join(FILE)).is_some()
    }

    /// Names a place that the caller keeps others away from.
    pub fn named(id: &str) -> Self {
        Self { id: id.to_owned(), lock: None }
    }
}
