//! Parses query strings.
//!
//! A layer parses them before the endpoint runs, which takes the result as an argument: see `undocumented`.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::openapi::Param;
use crate::problem::field_errors::{ERRORS_MAX, FieldError, FieldErrors, truncated_quote};

/// The parameters of a query: known fields only, each once unless it is a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Parses a query with these known parameters.
    ///
    /// # Errors
    ///
    /// Fails on unknown and on repeated parameters.
    pub(crate) fn read(query: Option<&str>, known: &[Param]) -> Result<Self, FieldErrors> {
        let (mut params, mut errors, mut unknown) = (Vec::new(), FieldErrors::default(), 0);
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let Some(param) = known.iter().find(|param| param.name == name) else {
                unknown += 1;
                if unknown <= ERRORS_MAX {
                    errors.push(unknown_parameter(&name, if unknown == 1 { Some(known) } else { None }));
                } else {
                    errors.add_unlisted(1);
                }
                continue;
            };
            let is_given = || params.iter().any(|(given, _): &(String, _)| *given == *name);
            if !param.is_list && is_given() {
                errors.push(FieldError::parameter(&name, format!("{name} must appear only once")));
                continue;
            }
            params.push((name.into_owned(), value.into_owned()));
        }
        if errors.is_empty() { Ok(Self(params)) } else { Err(errors) }
    }

    /// Returns names and values in request order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Parses an unsigned integer without a sign.
pub(crate) fn whole_number(value: &str) -> Option<u64> {
    let is_number = !value.is_empty() && value.bytes().all(|digit| digit.is_ascii_digit());
    value.parse().ok().filter(|_| is_number)
}

/// Parses a boolean parameter.
pub(crate) fn flag(flag: &mut bool, name: &str, value: &str, errors: &mut FieldErrors) {
    match value {
        "true" => *flag = true,
        "false" => *flag = false,
        _ => errors.push(FieldError::parameter(name, format!("{name} must be true or false"))),
    }
}

fn unknown_parameter(name: &str, known: Option<&[Param]>) -> FieldError {
    let mut detail = format!("unknown parameter '{}'", truncated_quote(name));
    match known {
        Some([]) => detail.push_str("; this route takes none"),
        Some(known) => {
            let names: Vec<_> = known.iter().map(|param| param.name.as_str()).collect();
            detail = format!("{detail}; known parameters: {}", names.join(", "));
        }
        None => {}
    }
    FieldError::parameter(name, detail)
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.remove::<Self>().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Vec<(String, String)>, String> {
        let known = |name: &str, is_list| Param { name: name.to_owned(), is_list };
        let params = Params::read(Some(query), &[known("a", false), known("b", true)]);
        params.map(|params| params.0).map_err(|errors| errors.into_parts().0)
    }

    #[test]
    fn lists_may_repeat_and_other_parameters_may_not() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(read(""), Ok(vec![]));
        assert_eq!(read("b=1&a=%C3%BC&b="), Ok(vec![pair("b", "1"), pair("a", "ü"), pair("b", "")]));
    }

    #[test]
    fn unknown_and_repeated_parameters_are_refused() {
        assert_eq!(read("c=1"), Err("unknown parameter 'c'; known parameters: a, b".to_owned()));
        assert_eq!(read("a=1&b=2&%61=1"), Err("a must appear only once".to_owned()));
        assert_eq!(read("A"), Err("unknown parameter 'A'; known parameters: a, b".to_owned()));
        let many: String = (0..5_000).map(|n| format!("&x{n}=1")).collect();
        let detail = read(&many).expect_err("refused");
        assert!(
            detail.ends_with("; and 4990 more") && detail.matches("known parameters:").count() == 1,
            "{detail}"
        );
        assert_eq!(
            Params::read(Some("a"), &[]).map_err(|errors| errors.into_parts().0).err().as_deref(),
            Some("unknown parameter 'a'; this route takes none")
        );
    }
}
