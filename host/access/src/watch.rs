//! Looks at the files of keys twice a second, and puts their keys in force when one has changed.
//!
//! It compares what the files are rather than waiting for events: a mounted secret is replaced by way of links in
//! folders that nobody watches, and network mounts send no events.

use std::path::PathBuf;
use std::time::Duration;

use tokio::task::spawn_blocking;

use crate::access::Access;
use crate::file::{KeyFiles, KeysError, Stamps};
use crate::keys::Keys;
use crate::stamp::FileStamp;
use crate::used_file::LastUsedFile;

/// A revoked key is out within two seconds, the time to read the files and the end of streams included.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

impl KeyFiles {
    /// Reads the keys, and returns what to run beside the server.
    ///
    /// # Errors
    ///
    /// See [`KeyFiles::read`].
    pub fn follow(
        self,
        data: PathBuf,
        start: impl FnOnce(Keys) -> Access,
    ) -> Result<(Access, impl Future<Output = ()> + Send + 'static), KeysError> {
        let (seen, keys) = self.read_stamped();
        let access = start(keys?);
        Ok((access.clone(), follow(self, data, access, seen)))
    }
}

async fn follow(files: KeyFiles, data: PathBuf, access: Access, mut seen: Stamps) {
    let mut last_used = LastUsedFile::new(data);
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let (files, keys) = (files.clone(), access.keys());
        // Files may be on a mount that hangs.
        let looked = spawn_blocking(move || {
            if let Err(error) = last_used.write_if_due(&keys) {
                tracing::warn!(%error, "failed to write when keys were last used");
            }
            let is_same = seen.iter().all(|(path, before)| FileStamp::of(path) == *before);
            let read = (!is_same).then(|| files.read_stamped());
            let (seen, keys) = read.map_or((seen, None), |(seen, keys)| (seen, Some(keys)));
            (last_used, seen, keys)
        });
        // It fails only if it panicked, or if the runtime ends.
        let Ok((file, now, read)) = looked.await else { return };
        (last_used, seen) = (file, now);
        match read {
            Some(Ok(keys)) => {
                tracing::info!(keys = keys.list().len(), "the keys have changed");
                access.replace(keys);
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "the keys before stay in force");
                access.set_stale();
            }
            None => {}
        }
    }
}
