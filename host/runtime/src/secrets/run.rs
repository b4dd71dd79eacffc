//! The secrets of one run: what the guest sees of them, what leaves in their place, and what is removed.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use data_encoding::BASE64;
use hyper::header::{HeaderMap, HeaderValue};
use wasmill_egress::Endpoint;
use wasmill_model::LogStream;
use zeroize::Zeroizing;

use crate::error::format;
use crate::secrets::redactor::Redactor;
use crate::secrets::rule::{SecretForm, SecretRule};
use crate::secrets::source::SecretValue;
use crate::secrets::stream::RedactedStream;

/// What a placeholder begins with.
const PLACEHOLDER: &str = "wmsecret:";
/// The maximum number of placeholders that are replaced in one request, which bounds how much a request grows.
const PLACEMENTS_MAX: usize = 16;

/// A secret with its value, for one run.
pub(super) struct Current<'a> {
    pub(super) name: &'a str,
    pub(super) rule: &'a SecretRule,
    pub(super) value: SecretValue,
}

/// The secrets of one run.
pub(crate) struct RunSecrets {
    /// The variables of the guest: placeholders and revealed values.
    env: Vec<(String, Zeroizing<String>)>,
    placed: Vec<Placed>,
    revealed: Option<Revealed>,
}

/// A secret that the guest never sees.
struct Placed {
    to: Vec<Endpoint>,
    /// Each text that the guest may send for it, the longest first.
    sought: Vec<String>,
    value: Zeroizing<String>,
}

struct Revealed {
    redactor: Arc<Redactor>,
    stdout: Mutex<RedactedStream>,
    stderr: Mutex<RedactedStream>,
}

impl RunSecrets {
    pub(super) fn new(current: &[Current<'_>], redactor: Option<Arc<Redactor>>) -> Self {
        let (mut env, mut placed) = (Vec::new(), Vec::new());
        for Current { name, rule, value } in current {
            let seen = match rule {
                SecretRule::Revealed => Zeroizing::new(value.to_string()),
                SecretRule::Placed { to, form } => {
                    let placeholder = format!("{PLACEHOLDER}{}", format::hex(&rand::random::<[u8; 16]>()));
                    placed.push(Placed::new(to, form, &placeholder, value));
                    Zeroizing::new(placeholder)
                }
            };
            env.push(((*name).to_owned(), seen));
        }
        let stream = |redactor: &Arc<Redactor>| Mutex::new(RedactedStream::new(redactor));
        let revealed = redactor.map(|redactor| Revealed {
            stdout: stream(&redactor),
            stderr: stream(&redactor),
            redactor,
        });
        Self { env, placed, revealed }
    }

    /// Returns the variables that the guest sees.
    pub(crate) fn env(&self) -> impl Iterator<Item = (&str, &str)> {
        self.env.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns true if a request may need a secret.
    pub(crate) fn has_placed(&self) -> bool {
        !self.placed.is_empty()
    }

    /// Replaces placeholders in the values of the headers of a request to this endpoint, the first one of each value.
    /// Elsewhere they leave as they are, and are worth nothing.
    pub(crate) fn place(&self, endpoint: &Endpoint, headers: &mut HeaderMap) {
        let mut left = PLACEMENTS_MAX;
        for header in headers.values_mut() {
            for placed in self.placed.iter().filter(|placed| endpoint.tls && placed.to.contains(endpoint)) {
                if left > 0
                    && let Some(replaced) = placed.replaced(header.as_bytes())
                    && let Ok(mut value) = HeaderValue::from_bytes(&replaced)
                {
                    value.set_sensitive(true);
                    *header = value;
                    left -= 1;
                }
            }
        }
    }

    /// Removes revealed secrets from a text.
    pub(crate) fn redact(&self, text: String) -> String {
        match &self.revealed {
            Some(revealed) => revealed.redactor.text(text),
            None => text,
        }
    }

    /// Removes revealed secrets from bytes.
    pub(crate) fn redact_bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        match &self.revealed {
            Some(revealed) => revealed.redactor.bytes(bytes),
            None => Cow::Borrowed(bytes),
        }
    }

    /// Removes revealed secrets from the next bytes of a log; may hold some of them until the next ones come.
    pub(crate) fn redact_log<'a>(&self, stream: LogStream, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        match &self.revealed {
            Some(revealed) => {
                let mut stream = revealed.stream(stream).lock().unwrap_or_else(PoisonError::into_inner);
                Cow::Owned(stream.append(bytes))
            }
            None => Cow::Borrowed(bytes),
        }
    }

    /// Returns what is held of a log that has ended.
    pub(crate) fn finish_log(&self, stream: LogStream) -> Vec<u8> {
        let finish = |revealed: &Revealed| {
            revealed.stream(stream).lock().unwrap_or_else(PoisonError::into_inner).finish()
        };
        self.revealed.as_ref().map(finish).unwrap_or_default()
    }
}

impl Revealed {
    fn stream(&self, stream: LogStream) -> &Mutex<RedactedStream> {
        match stream {
            LogStream::Stdout => &self.stdout,
            LogStream::Stderr => &self.stderr,
        }
    }
}

impl Placed {
    fn new(to: &[Endpoint], form: &SecretForm, placeholder: &str, value: &str) -> Self {
        let basic = |user: &str, password: &str| BASE64.encode(format!("{user}:{password}").as_bytes());
        let (sought, value) = match form {
            SecretForm::Plain => (vec![placeholder.to_owned()], value.to_owned()),
            // Libraries that know HTTP encode what they take for the password.
            SecretForm::Basic(user) => {
                (vec![basic(user, placeholder), placeholder.to_owned()], basic(user, value))
            }
        };
        Self { to: to.to_owned(), sought, value: Zeroizing::new(value) }
    }

    /// Returns the value of a header with the secret in it, if it has a placeholder.
    fn replaced(&self, header: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let found = |sought: &String| {
            let position = header.windows(sought.len()).position(|window| window == sought.as_bytes())?;
            Some((position, position + sought.len()))
        };
        let (start, end) = self.sought.iter().find_map(found)?;
        Some(Zeroizing::new([&header[..start], self.value.as_bytes(), &header[end..]].concat()))
    }
}

impl fmt::Debug for RunSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.env.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests;
