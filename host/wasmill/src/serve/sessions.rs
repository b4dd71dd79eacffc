//! Shares the secret that signs sessions among the hosts of a database, so that a browser that has signed in at one of
//! them is signed in at all.
//!
//! The file of the data folder stays what each host goes by. The database has the secret that all agreed upon: a host
//! takes that, unless its file was replaced since it last looked, which replaces it for all.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use tokio::task::spawn_blocking;
use wasmill_access::{Access, SessionSecret};
use wasmill_store::Store;

/// A session counts at another host within three seconds, and so does the end of all.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// The name of the secret in the database.
const NAME: &str = "sessions";

/// Shares the secret of sessions.
pub(crate) struct SharedSessions {
    store: Store,
    access: Access,
    data: PathBuf,
    /// The secret of the last look.
    agreed: Option<SessionSecret>,
    has_failed: bool,
}

impl SharedSessions {
    pub(crate) fn new(store: Store, access: Access, data: PathBuf) -> Self {
        Self { store, access, data, agreed: None, has_failed: false }
    }

    /// Compares the file with the database, and puts the secret of the other hosts in force. Logs the first of several
    /// failures.
    pub(crate) async fn look(&mut self) {
        let looked = self.agree().await;
        if let Err(error) = &looked
            && !self.has_failed
        {
            tracing::warn!(%error, "failed to share the secret of sessions; who signs in here may have to at other hosts");
        }
        self.has_failed = looked.is_err();
    }

    async fn agree(&mut self) -> Result<()> {
        // Nobody signs in to an open server.
        if self.access.is_open() {
            return Ok(());
        }
        let data = self.data.clone();
        let own = spawn_blocking(move || SessionSecret::load(&data)).await??;
        let replaced = self.agreed.as_ref().map(SessionSecret::to_bytes);
        let Some(shared) = self.store.share_secret(NAME, own.to_bytes(), replaced).await? else {
            return Ok(());
        };
        let shared = SessionSecret::from_bytes(shared)?;
        if shared != own {
            let (data, secret) = (self.data.clone(), shared.clone());
            spawn_blocking(move || secret.save(&data)).await??;
            self.access.set_session_secret(shared.clone());
        }
        self.agreed = Some(shared);
        Ok(())
    }

    /// Looks until the server stops.
    pub(crate) async fn run(mut self) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            self.look().await;
        }
    }
}
