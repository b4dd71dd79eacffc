//! Who signs people in elsewhere, as the routes know it: the binary brings one, or none.

use wasmill_access::{AttemptSecrets, NamedPerson};
use wasmill_model::BoxFuture;

/// Signs people in, such as an issuer of OpenID Connect.
pub trait IdentityProvider: Send + Sync {
    /// Returns its name, for the link.
    fn name(&self) -> &str;

    /// Returns where to send a browser.
    fn begin(&self, secrets: AttemptSecrets) -> BoxFuture<'_, Result<String, IdentityError>>;

    /// Finds out who has signed in, from the query that the browser brings back.
    fn finish<'a>(
        &'a self,
        secrets: AttemptSecrets,
        query: &'a str,
    ) -> BoxFuture<'a, Result<NamedPerson, IdentityError>>;
}

/// Why nobody has signed in. The texts are for the log.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It cannot be reached.
    #[error("{0}")]
    Unavailable(String),
    /// It signed nobody in, or what the browser brings does not count.
    #[error("{0}")]
    Refused(String),
}

/// Marks the refusal of a page whose reader may sign in elsewhere: the name of who does that.
#[derive(Clone)]
pub(crate) struct SignsIn(pub(crate) String);
