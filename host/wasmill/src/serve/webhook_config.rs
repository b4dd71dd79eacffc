//! How webhooks are delivered: secrets, destinations, attempts.
//!
//! Used by `serve`; the doctor checks the secrets.

use anyhow::{Context, Result, anyhow, ensure};
use wasmill_api::webhook_payload;
use wasmill_egress::ConnectionQuota;
use wasmill_model::without_bom;
use wasmill_runtime::{connector, read_text};
use wasmill_webhooks::{SigningSecrets, WebhookConfig};

use crate::environment::WEBHOOK_SECRET;
use crate::exit;
use crate::settings::Settings;

/// Maximum size of the file of webhook secrets.
const SECRETS_BYTES_MAX: u64 = 64 << 10;

/// Returns the webhook settings.
pub(super) fn webhook_config(settings: &Settings) -> Result<WebhookConfig> {
    let connector = connector(settings.http_roots.as_deref(), ConnectionQuota::Host)
        .map_err(|reason| anyhow!("failed to read the certificates of http_roots: {reason}"))?;
    Ok(WebhookConfig {
        secrets: webhook_secrets(settings)?,
        allowed: settings.webhook_allow.clone(),
        attempts_max: settings.webhook_attempts,
        backoff: settings.webhook_backoff(),
        timeout: settings.webhook_timeout,
        connector,
        payload: webhook_payload,
    })
}

/// Reads the secrets that sign webhooks, from a file or from the environment. They have no flag, because command lines
/// are visible in process lists.
pub(crate) fn webhook_secrets(settings: &Settings) -> Result<SigningSecrets> {
    if let Some(path) = &settings.webhook_secret_file {
        let text = read_text(path, SECRETS_BYTES_MAX)
            .map_err(|error| exit::read_error(format!("webhook_secret_file {}", path.display()), &error))?;
        let secrets: SigningSecrets =
            without_bom(&text).parse().with_context(|| format!("webhook_secret_file {}", path.display()))?;
        ensure!(!secrets.is_empty(), "webhook_secret_file {} is empty", path.display());
        return Ok(secrets);
    }
    let Some(text) = std::env::var_os(WEBHOOK_SECRET) else { return Ok(SigningSecrets::default()) };
    if text.is_empty() {
        tracing::warn!("{WEBHOOK_SECRET} is empty, which counts as unset: webhooks are not signed");
        return Ok(SigningSecrets::default());
    }
    let secrets: SigningSecrets = text
        .to_str()
        .context("it is not UTF-8")
        .and_then(|text| Ok(text.parse()?))
        .context(WEBHOOK_SECRET)?;
    ensure!(!secrets.is_empty(), "{WEBHOOK_SECRET} contains no secret");
    Ok(secrets)
}
