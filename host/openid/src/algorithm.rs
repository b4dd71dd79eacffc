//! How an ID token may be signed (RFC 7518, RFC 8037).
//!
//! `none` and the ones with a shared secret are no members, so no token can ask for them.

use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RsaParameters,
    VerificationAlgorithm,
};

/// A signature that an issuer may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA, PKCS #1 v1.5, with SHA-256.
    Rs256,
    /// The same with SHA-384.
    Rs384,
    /// The same with SHA-512.
    Rs512,
    /// RSA, PSS, with SHA-256.
    Ps256,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// ECDSA with P-384 and SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

/// How keys of a kind verify.
#[derive(Clone, Copy)]
pub(crate) enum Verifier {
    Rsa(&'static RsaParameters),
    /// The curve, and what verifies with it.
    Curve(&'static str, &'static dyn VerificationAlgorithm),
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Rs256, Self::Rs384, Self::Rs512, Self::Ps256, Self::Es256, Self::Es384, Self::EdDsa];

    /// Returns its name in a token.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Returns the kind of key (`kty`) that it needs, and how that verifies.
    pub(crate) fn verifier(self) -> (&'static str, Verifier) {
        match self {
            Self::Rs256 => ("RSA", Verifier::Rsa(&RSA_PKCS1_2048_8192_SHA256)),
            Self::Rs384 => ("RSA", Verifier::Rsa(&RSA_PKCS1_2048_8192_SHA384)),
            Self::Rs512 => ("RSA", Verifier::Rsa(&RSA_PKCS1_2048_8192_SHA512)),
            Self::Ps256 => ("RSA", Verifier::Rsa(&RSA_PSS_2048_8192_SHA256)),
            Self::Es256 => ("EC", Verifier::Curve("P-256", &ECDSA_P256_SHA256_FIXED)),
            Self::Es384 => ("EC", Verifier::Curve("P-384", &ECDSA_P384_SHA384_FIXED)),
            Self::EdDsa => ("OKP", Verifier::Curve("Ed25519", &ED25519)),
        }
    }
}
