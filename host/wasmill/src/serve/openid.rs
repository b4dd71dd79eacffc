//! Who signs people in elsewhere: connects OpenID Connect with the way out, and with the routes.

#[cfg(feature = "oidc")]
mod issuer;

use std::sync::Arc;

use anyhow::Result;
use wasmill_access::Access;
use wasmill_api::IdentityProvider;
use wasmill_model::Clock;

use crate::settings::Settings;

/// Returns who signs people in, if the settings name an issuer, and has the server take their sessions.
///
/// # Errors
///
/// Fails if a file cannot be read, or this program was built without OpenID Connect.
pub(super) fn identity_provider(
    settings: &Settings,
    access: &Access,
    clock: &Arc<dyn Clock>,
) -> Result<Option<Arc<dyn IdentityProvider>>> {
    if settings.openid.openid_issuer.is_none() {
        return Ok(None);
    }
    #[cfg(feature = "oidc")]
    return issuer::start(settings, access, clock).map(Some);
    #[cfg(not(feature = "oidc"))]
    {
        let _ = (access, clock);
        anyhow::bail!("--openid-issuer: this program was built without the feature oidc")
    }
}
