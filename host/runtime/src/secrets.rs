//! Secrets of the operator that plugins use: as placeholders that the host replaces in headers, or revealed to the guest
//! and removed from all that it leaves behind.
//!
//! The binary names where each secret is, the manifest how a plugin uses it. A value is read when a plugin is loaded and,
//! if its file has changed, when a run starts. No value is ever shown: `Debug` shows names.

mod grant;
mod redactor;
mod rule;
mod run;
mod source;
mod stream;

pub(crate) use self::grant::GrantedSecrets;
pub use self::rule::{SecretForm, SecretRule};
pub(crate) use self::run::RunSecrets;
pub use self::source::{SecretConfig, SecretSource, Secrets, is_secret_name};
