//! How a plugin uses a secret, as its manifest says.

use std::fmt;

use wasmill_egress::Endpoint;

/// How a plugin uses a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRule {
    /// The guest sees a placeholder, which the host replaces in header values of requests to these origins.
    Placed {
        /// The origins, all of them https.
        to: Vec<Endpoint>,
        /// What the placeholder is replaced with.
        form: SecretForm,
    },
    /// The guest sees the value.
    Revealed,
}

/// What a placeholder is replaced with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretForm {
    /// The value.
    Plain,
    /// The base64 of this user name, a colon and the value, as in `Authorization: Basic`.
    Basic(String),
}

/// Says where the secret goes, for people.
impl fmt::Display for SecretRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Placed { to, .. } => {
                f.write_str("to ")?;
                for (position, origin) in to.iter().enumerate() {
                    write!(f, "{}{}", if position == 0 { "" } else { ", " }, origin.origin())?;
                }
                Ok(())
            }
            Self::Revealed => f.write_str("revealed"),
        }
    }
}
