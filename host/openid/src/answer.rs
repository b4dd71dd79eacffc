//! What a browser brings back from the issuer, in the query of the redirect.

use subtle::ConstantTimeEq as _;

use crate::attempt::Attempt;
use crate::error::{SignInError, invalid, quote};

/// Maximum length of a code.
const CODE_CHARS_MAX: usize = 4_096;

/// The parameters that mean something; issuers add others.
#[derive(Default)]
pub(crate) struct Answer {
    code: Option<String>,
    state: Option<String>,
    iss: Option<String>,
    error: Option<String>,
    is_ambiguous: bool,
}

impl Answer {
    /// Reads a query.
    pub(crate) fn read(query: &str) -> Self {
        let mut answer = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let field = match &*name {
                "code" => &mut answer.code,
                "state" => &mut answer.state,
                "iss" => &mut answer.iss,
                "error" => &mut answer.error,
                _ => continue,
            };
            answer.is_ambiguous |= field.replace(value.into_owned()).is_some();
        }
        answer
    }

    /// Checks that it is the answer of this issuer to this attempt, and returns the code.
    pub(crate) fn check(
        self,
        attempt: &Attempt,
        issuer: &str,
        needs_iss: bool,
    ) -> Result<String, SignInError> {
        if self.is_ambiguous {
            return Err(invalid("a parameter of the answer is repeated"));
        }
        // First: until then, anybody may have sent the browser here.
        let state = self.state.as_deref().unwrap_or_default();
        if !bool::from(state.as_bytes().ct_eq(attempt.state.as_bytes())) {
            return Err(invalid("it is of another attempt: its state differs"));
        }
        match &self.iss {
            Some(iss) if iss != issuer => {
                return Err(invalid(format!("it is of the issuer '{}'", quote(iss))));
            }
            None if needs_iss => return Err(invalid("it does not name its issuer, which always does")),
            _ => {}
        }
        if let Some(error) = &self.error {
            return Err(SignInError::Refused(quote(error)));
        }
        let code = self.code.filter(|code| (1..=CODE_CHARS_MAX).contains(&code.len()));
        code.ok_or_else(|| invalid("it has no code"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_for_its_attempt_only() {
        let [state, nonce, verifier] = ["st", "n", "v"].map(str::to_owned);
        let attempt = Attempt { state, nonce, verifier };
        let check = |query: &str, needs_iss| {
            Answer::read(query)
                .check(&attempt, "https://id.example.org", needs_iss)
                .map_err(|error| error.to_string())
        };
        let iss = "iss=https%3A%2F%2Fid.example.org";
        for (query, needs_iss) in [
            ("code=a%2Bb&state=st".to_owned(), false),
            (format!("code=a%2Bb&state=st&{iss}&session_state=x&authuser=0"), true),
        ] {
            assert_eq!(check(&query, needs_iss).as_deref(), Ok("a+b"), "{query}");
        }
        for (query, needs_iss, why) in [
            ("code=a", false, "state"),
            ("code=a&state=", false, "state"),
            ("code=a&state=other", false, "state"),
            ("error=access_denied&state=other", false, "state"),
            ("code=a&state=st&state=st", false, "repeated"),
            ("code=a&code=b&state=st", false, "repeated"),
            ("code=a&state=st&iss=https%3A%2F%2Fid.example.org%2F", false, "of the issuer"),
            ("code=a&state=st", true, "does not name its issuer"),
            ("error=access_denied&state=st", false, "refused: access_denied"),
            ("code=a&error=access_denied&state=st", false, "refused"),
            ("state=st", false, "no code"),
            ("code=&state=st", false, "no code"),
        ] {
            let refused = check(query, needs_iss).unwrap_err();
            assert!(refused.contains(why), "{query}: {refused}");
        }
    }
}
