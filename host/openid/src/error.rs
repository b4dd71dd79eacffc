//! Why nobody has signed in.

/// Why nobody has signed in. The messages are for the log: they may quote the issuer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignInError {
    /// The issuer cannot be reached, or its answers cannot be used.
    #[error("the issuer is unavailable: {0}")]
    Unavailable(String),
    /// The issuer has signed nobody in, such as when the person declines.
    #[error("the issuer refused: {0}")]
    Refused(String),
    /// The answer is not one to this attempt, or the ID token is not one of the issuer for this server.
    #[error("the answer does not count: {0}")]
    Invalid(String),
}

pub(crate) fn invalid(why: impl Into<String>) -> SignInError {
    SignInError::Invalid(why.into())
}

pub(crate) fn unavailable(why: impl Into<String>) -> SignInError {
    SignInError::Unavailable(why.into())
}

/// Returns the start of a text of the issuer, for a message.
pub(crate) fn quote(text: &str) -> String {
    text.chars().take(100).collect::<String>().escape_debug().to_string()
}
