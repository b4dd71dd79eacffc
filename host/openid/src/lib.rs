//! OpenID Connect: sends a browser to an issuer, and finds out from what it brings back who has signed in.
//!
//! The binary connects it with an HTTP client, and the interface with browsers. It does no I/O but through the function
//! that it is given, stores nothing, and knows no cookies. What a person may do is not its business.
//!
//! The code flow of OpenID Connect Core 1.0 with PKCE (RFC 7636), and the issuer in the answer (RFC 9207).

mod algorithm;
mod answer;
mod attempt;
mod claims;
mod discovery;
mod error;
mod fetch;
mod jwks;
mod provider;
mod token;

pub use algorithm::Algorithm;
pub use attempt::Attempt;
pub use claims::{Person, UserClaim};
pub use error::SignInError;
pub use fetch::{Fetch, FetchFn, Fetched};
pub use provider::{Provider, ProviderConfig};
