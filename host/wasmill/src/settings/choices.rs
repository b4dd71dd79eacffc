//! The settings that take one of a few words.

use clap::ValueEnum;

/// Who may use the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AuthMode {
    /// Everyone on this machine until there is a key; on other addresses than loopback, keys are needed
    Auto,
    /// Keys are needed
    Keys,
    /// Everyone who reaches the port may do everything
    None,
}

/// Which files may be plugins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TrustMode {
    /// Every file
    Any,
    /// Those that trusted.toml of the plugins folder names with their SHA-256; `wasmill plugin trust` lists them
    Listed,
    /// Those with a signature of minisign beside them, such as fetch.wasm.minisig
    Signed,
}

impl TrustMode {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Listed => "listed",
            Self::Signed => "signed",
        }
    }
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people
    Human,
    /// One JSON object per line, for machines
    Json,
}

/// The claim that names a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum UserClaim {
    /// The subject, which the issuer never gives to another user
    Sub,
    /// The address, if the issuer has verified it
    Email,
}

/// How a token may be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SigningAlgorithm {
    /// RSA with SHA-256
    #[value(name = "RS256")]
    Rs256,
    /// RSA with SHA-384
    #[value(name = "RS384")]
    Rs384,
    /// RSA with SHA-512
    #[value(name = "RS512")]
    Rs512,
    /// RSA with padding PSS and SHA-256
    #[value(name = "PS256")]
    Ps256,
    /// ECDSA with P-256
    #[value(name = "ES256")]
    Es256,
    /// ECDSA with P-384
    #[value(name = "ES384")]
    Es384,
    /// Ed25519
    #[value(name = "EdDSA")]
    EdDsa,
}
