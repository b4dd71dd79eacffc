//! What an ID token says, and whether it counts here and now (OpenID Connect Core 1.0, section 3.1.3.7).

use serde::Deserialize;
use serde_json::{Map, Value};
use subtle::ConstantTimeEq as _;
use wasmill_model::Timestamp;

use crate::attempt::Attempt;
use crate::error::{SignInError, invalid, quote};

/// Tolerated difference of the clocks.
const SKEW_SECS: f64 = 60.0;

/// How old a token may be that is said to be new.
const AGE_SECS_MAX: f64 = 600.0;

/// Who has signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The value of the claim that names the user.
    pub user: String,
    /// The groups of the user.
    pub groups: Vec<String>,
}

/// The claim that names the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserClaim {
    /// The subject, which the issuer never gives to another one.
    Sub,
    /// The address, if the issuer has verified it.
    Email,
}

/// What a token has to say.
#[derive(Clone, Copy)]
pub(crate) struct Expected<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) user: UserClaim,
    pub(crate) groups: Option<&'a str>,
}

/// The claims of a token. A claim that appears twice is an error.
#[derive(Debug, Deserialize)]
pub(crate) struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: f64,
    iat: f64,
    nbf: Option<f64>,
    nonce: Option<String>,
    azp: Option<String>,
    email: Option<String>,
    email_verified: Option<Value>,
    #[serde(flatten)]
    further: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn all(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl Claims {
    /// Checks that the token is for this server, this attempt and now, and returns whom it is about.
    pub(crate) fn check(
        self,
        expected: Expected<'_>,
        attempt: &Attempt,
        now: Timestamp,
    ) -> Result<Person, SignInError> {
        if self.iss != expected.issuer {
            return Err(invalid(format!("the token is of the issuer '{}'", quote(&self.iss))));
        }
        let audiences = self.aud.all();
        if !audiences.iter().any(|audience| audience == expected.client_id) {
            return Err(invalid("the token is for another client"));
        }
        let is_for_us = self.azp.as_deref().map_or(audiences.len() == 1, |azp| azp == expected.client_id);
        if !is_for_us {
            return Err(invalid("the token was issued to another client"));
        }
        self.check_times(now)?;
        // Compared in constant time, as is the state.
        let nonce = self.nonce.as_deref().unwrap_or_default();
        if !bool::from(nonce.as_bytes().ct_eq(attempt.nonce.as_bytes())) {
            return Err(invalid("the token is of another attempt: its nonce differs"));
        }
        let groups = expected.groups.map(|claim| self.groups(claim)).unwrap_or_default();
        Ok(Person { user: self.user(expected.user)?, groups })
    }

    fn check_times(&self, now: Timestamp) -> Result<(), SignInError> {
        let now = now.timestamp() as f64;
        if self.exp <= now - SKEW_SECS {
            return Err(invalid("the token has expired"));
        }
        if self.iat > now + SKEW_SECS || self.nbf.is_some_and(|from| from > now + SKEW_SECS) {
            return Err(invalid("the token is of the future: do the clocks differ?"));
        }
        if self.iat < now - AGE_SECS_MAX - SKEW_SECS {
            return Err(invalid("the token was issued long ago: do the clocks differ?"));
        }
        Ok(())
    }

    fn user(&self, claim: UserClaim) -> Result<String, SignInError> {
        match claim {
            UserClaim::Sub => Ok(self.sub.clone()),
            UserClaim::Email => {
                // Some issuers let their users claim any address.
                let is_verified = self.email_verified == Some(Value::Bool(true));
                let email = self.email.clone().filter(|_| is_verified);
                email.ok_or_else(|| invalid("the token has no email that the issuer has verified"))
            }
        }
    }

    /// Returns the texts of a claim, which may be a list or one text.
    fn groups(&self, claim: &str) -> Vec<String> {
        match self.further.get(claim) {
            Some(Value::String(group)) => vec![group.clone()],
            Some(Value::Array(groups)) => {
                groups.iter().filter_map(Value::as_str).map(str::to_owned).collect()
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
