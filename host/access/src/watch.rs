//! Looks at the files of keys twice a second, and puts their keys in force when one has changed.
//!
//! It compares what the files are rather than waiting for events: a mounted secret is replaced by way of links in
//! folders that nobody watches, and network mounts send no events.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::task::spawn_blocking;

use crate::access::Access;
use crate::file::{KeyFiles, KeysError, Stamps};
use crate::keys::Keys;
use crate::session_file::SessionFile;
use crate::stamp::FileStamp;
use crate::used_file::{self, LastUsedFile};

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
        let keys = keys?;
        used_file::restore(&data, &keys);
        let access = start(keys);
        let mut session_file = SessionFile::new(data.clone());
        if !access.is_open() {
            // A restart signs nobody out, not even for a moment. In a first start there is no data folder yet.
            match session_file.changed() {
                Ok(secret) => secret.into_iter().for_each(|secret| access.set_session_secret(secret)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::warn!(%error, "failed to read the secret of sessions; a restart ends those of today");
                }
            }
        }
        Ok((access.clone(), follow(self, data, access, seen, session_file)))
    }
}

async fn follow(
    files: KeyFiles,
    data: PathBuf,
    access: Access,
    mut seen: Stamps,
    mut session_file: SessionFile,
) {
    let mut last_used = LastUsedFile::new(data);
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let (files, keys, is_open) = (files.clone(), access.keys(), access.is_open());
        // Files may be on a mount that hangs.
        let looked = spawn_blocking(move || {
            if let Err(error) = last_used.write_if_due(&keys) {
                tracing::warn!(%error, "failed to write when keys were last used");
            }
            let is_same = seen.iter().all(|(path, before)| FileStamp::of(path) == *before);
            let read = (!is_same).then(|| files.read_stamped());
            let (seen, keys) = read.map_or((seen, None), |(seen, keys)| (seen, Some(keys)));
            // Nobody signs in to an open server. It closes with its first key, and has a secret by then.
            let has_keys = keys.as_ref().is_some_and(|keys| keys.as_ref().is_ok_and(|keys| !keys.is_empty()));
            let secret = if is_open && !has_keys { Ok(None) } else { session_file.changed() };
            (last_used, seen, keys, session_file, secret)
        });
        // It fails only if it panicked, or if the runtime ends.
        let Ok((file, now, read, sessions, secret)) = looked.await else { return };
        (last_used, seen, session_file) = (file, now, sessions);
        match secret {
            Ok(Some(secret)) => access.set_session_secret(secret),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "failed to read the secret of sessions; the one before stays in force");
            }
        }
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
