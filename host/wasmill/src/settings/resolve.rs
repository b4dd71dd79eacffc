//! What the settings mean to the parts of the server.

use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use wasmill_access::AuditTarget;
use wasmill_api::{AccessPolicy, ProxyIdentity, TlsFiles};
use wasmill_model::{Backoff, FileLimits, Limits, SLOTS_DEFAULT, shown_size};
use wasmill_runtime::{MaxLimits, PluginTrust, SignedTrust, SigningKeys, SigningKeysError};
use wasmill_scheduler::Retention;
use wasmill_store::SharedSettings;

use super::value::shown_duration;
use super::{Settings, TrustMode, WEBHOOK_WAIT_MAX};

/// How the waits between webhook attempts grow: from 5 s, eight attempts spread over 11 to 17 hours.
const WEBHOOK_WAIT_FACTOR: f64 = 5.0;

impl Settings {
    /// Returns how many slots are wanted; the host may afford fewer.
    pub(crate) fn slots_wanted(&self) -> u32 {
        self.slots.unwrap_or(SLOTS_DEFAULT)
    }

    /// Returns the limits of a run whose plugin has no manifest.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            memory_bytes: self.memory.as_u64(),
            timeout: self.timeout,
            cpu: self.cpu.or(self.cpu_max),
            result_bytes: self.result.as_u64(),
            log_bytes: self.log_tail.as_u64(),
            disk_bytes: self.disk.as_u64(),
            files: FileLimits {
                bytes_max: self.file_max.as_u64(),
                total_bytes_max: self.files_max.as_u64(),
                count_max: self.files_per_task,
            },
            ..Limits::default()
        }
    }

    /// Returns the maximum that manifests may request.
    pub(crate) fn max_limits(&self) -> MaxLimits {
        MaxLimits {
            memory_bytes: self.memory_max.as_u64(),
            timeout: self.timeout_max,
            cpu: self.cpu_max,
            result_bytes: self.result_max.as_u64(),
            log_bytes: self.log_tail_max.as_u64(),
            disk_bytes: self.disk_max.as_u64(),
            concurrency: self.concurrency,
        }
    }

    /// Returns which finished tasks are kept.
    pub(crate) fn retention(&self) -> Retention {
        Retention {
            keep_for: Some(self.keep_for).filter(|period| *period > Duration::ZERO),
            keep_max: Some(self.keep_max).filter(|max| *max > 0),
        }
    }

    /// Returns the settings that all hosts of a database should share, by their names in the file. The fingerprint is
    /// that of the secrets of webhooks.
    pub(crate) fn shared(&self, webhook_secrets: String) -> SharedSettings {
        let size = |size: ByteSize| shown_size(size.as_u64());
        let time = shown_duration;
        let optional = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
        let allowed = self.webhook_allow.iter().map(ToString::to_string).collect::<Vec<_>>();
        let shared = [
            ("waiting_max", self.waiting_max.to_string()),
            ("keep_for", time(self.keep_for)),
            ("keep_max", self.keep_max.to_string()),
            ("timeout", time(self.timeout)),
            ("timeout_max", time(self.timeout_max)),
            ("cpu", optional(self.cpu.map(time))),
            ("cpu_max", optional(self.cpu_max.map(time))),
            ("memory", size(self.memory)),
            ("memory_max", size(self.memory_max)),
            ("result", size(self.result)),
            ("result_max", size(self.result_max)),
            ("log_tail", size(self.log_tail)),
            ("log_tail_max", size(self.log_tail_max)),
            ("disk", size(self.disk)),
            ("disk_max", size(self.disk_max)),
            ("file_max", size(self.file_max)),
            ("files_max", size(self.files_max)),
            ("files_per_task", self.files_per_task.to_string()),
            ("children_max", self.children_max.to_string()),
            ("children_depth", self.children_depth.to_string()),
            ("concurrency", optional(self.concurrency.map(|concurrency| concurrency.to_string()))),
            ("group_tag", optional(self.group_tag.clone())),
            ("allow_upload", self.allow_upload.to_string()),
            ("secrets", self.secrets.names().collect::<Vec<_>>().join(",")),
            ("plugin_trust", self.plugin_trust.as_str().to_owned()),
            ("openid_issuer", optional(self.openid.openid_issuer.clone())),
            ("openid_client_id", optional(self.openid.openid_client_id.clone())),
            ("webhook_attempts", self.webhook_attempts.to_string()),
            ("webhook_backoff", time(self.webhook_backoff)),
            ("webhook_timeout", time(self.webhook_timeout)),
            ("webhook_allow", allowed.join(",")),
            ("webhook_secret_file", webhook_secrets),
        ];
        shared.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Returns which requests are accepted.
    pub(crate) fn access_policy(&self) -> AccessPolicy {
        AccessPolicy {
            public_hosts: self.public_host.clone(),
            allowed_origins: self.allow_origin.clone(),
            trusted_proxies: self.trust_proxy.clone(),
            proxy_identity: self
                .proxy_user_header
                .clone()
                .map(|user| ProxyIdentity { user, groups: self.proxy_groups_header.clone() }),
            serves_tls: self.tls_cert.is_some(),
            hsts: self.hsts,
        }
    }

    /// Returns which files may be plugins.
    ///
    /// # Errors
    ///
    /// Fails if the keys that may sign them cannot be read.
    pub(crate) fn trust(&self) -> Result<PluginTrust, SigningKeysError> {
        Ok(match (self.plugin_trust, &self.plugin_keys) {
            (TrustMode::Listed, _) => PluginTrust::Listed(self.plugins.clone()),
            (TrustMode::Signed, Some(keys)) => PluginTrust::Signed(SignedTrust {
                keys: Arc::new(SigningKeys::read(keys)?),
                allow_older: self.allow_older,
                versions: Some(self.data.join("plugin-versions.toml")),
            }),
            (TrustMode::Any | TrustMode::Signed, _) => PluginTrust::Any,
        })
    }

    /// Returns where the audit goes.
    pub(crate) fn audit_target(&self) -> AuditTarget {
        match &self.audit_file {
            Some(path) if path.as_os_str() == "-" => AuditTarget::Log,
            Some(path) => AuditTarget::File(path.clone()),
            None => AuditTarget::File(self.data.join("audit.log")),
        }
    }

    /// Returns the files of the certificate, if there is one.
    pub(crate) fn tls_files(&self) -> Option<TlsFiles> {
        let (certificate, key) = self.tls_cert.clone().zip(self.tls_key.clone())?;
        Some(TlsFiles { certificate, key })
    }

    /// Returns the waits between delivery attempts.
    pub(crate) fn webhook_backoff(&self) -> Backoff {
        let (first, factor, max) = (self.webhook_backoff, WEBHOOK_WAIT_FACTOR, WEBHOOK_WAIT_MAX);
        Backoff { first, factor, max, ..Backoff::default() }
    }
}
