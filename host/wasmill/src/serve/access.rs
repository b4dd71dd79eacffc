//! Who may use the API: the keys, and whether a server may start without one.

use std::sync::Arc;

use anyhow::{Result, bail};
use wasmill_access::{Access, KeyFiles, Keys, KeysError};
use wasmill_model::{BoxFuture, Clock};
use wasmill_scheduler::Scheduler;
use wasmill_store::Store;

use crate::environment::ADMIN_KEY;
use crate::settings::{AuthMode, Settings};

/// Returns where the keys of these settings come from.
///
/// # Errors
///
/// Fails if the key of the environment is too short.
pub(crate) fn key_files(settings: &Settings) -> Result<KeyFiles, KeysError> {
    let admin = std::env::var_os(ADMIN_KEY).filter(|text| !text.is_empty());
    KeyFiles::new(&settings.data, settings.keys_file.clone(), admin)
}

/// Returns why a server with these settings must not start without keys, if so.
pub(crate) fn needs_keys(settings: &Settings) -> Option<String> {
    let listen = &settings.listen;
    match settings.auth {
        AuthMode::None => None,
        _ if settings.openid.openid_issuer.is_some() => Some(
            "--openid-issuer signs people in, and there is no key and no [[person]] in a keys file that says what they may do"
                .to_owned(),
        ),
        AuthMode::Auto if listen.is_local() => None,
        AuthMode::Auto => Some(format!("{listen} can be reached from other machines, and there is no key")),
        AuthMode::Keys => Some("--auth keys asks for keys, and there is none".to_owned()),
    }
}

/// Reads the keys, and returns what follows their files.
///
/// # Errors
///
/// Fails if keys are invalid, or needed and missing.
pub(super) fn prepare_access(
    settings: &Settings,
    clock: &Arc<dyn Clock>,
) -> Result<(Access, Option<BoxFuture<'static, ()>>)> {
    if settings.auth == AuthMode::None {
        tracing::warn!(
            "--auth none: everyone who reaches {} may do everything, and keys are ignored",
            settings.listen
        );
        return Ok((Access::new(Keys::default(), false, Arc::clone(clock)), None));
    }
    let needed = needs_keys(settings);
    let start = |keys| Access::new(keys, needed.is_some(), Arc::clone(clock));
    let (access, follow) = key_files(settings)?.follow(settings.data.clone(), start)?;
    if let Some(why) = needed.filter(|_| access.keys().is_empty()) {
        bail!(
            "{why}; do one of these:\n  \
             - make a key, which is shown once: wasmill key create NAME --scope admin --data {}\n  \
             - set a key of your own, of at least 32 characters: {ADMIN_KEY}=…\n  \
             - let everyone who reaches the port do everything: --auth none",
            settings.data.display()
        );
    }
    Ok((access, Some(Box::pin(follow))))
}

/// Applies the limits of running tasks that keys have, at once, and returns what applies them again when the keys change.
pub(super) fn limit_running(
    access: &Access,
    store: &Store,
    scheduler: &Scheduler,
) -> impl Future<Output = ()> + use<> {
    let (mut keys, store, scheduler) = (access.watch(), store.clone(), scheduler.clone());
    store.limit_groups(keys.borrow_and_update().group_limits());
    async move {
        // Ends with the server, which holds the sender.
        while keys.changed().await.is_ok() {
            store.limit_groups(keys.borrow_and_update().group_limits());
            // There may be room for more by now.
            scheduler.wake();
        }
    }
}
