//! Parses query strings, and refuses undocumented parameters and bodies.
//!
//! The OpenAPI document defines the parameters of each operation and whether it has a body; a layer refuses
//! anything else before the endpoint runs. A typo is therefore never ignored, and a new route cannot forget
//! the check.

use std::convert::Infallible;
use std::sync::OnceLock;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::Method;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::Api;
use crate::body;
use crate::field_errors::{ERRORS_MAX, FieldError, FieldErrors, truncated_quote};
use crate::openapi::{self, RequestSpec};
use crate::problem::Problem;

/// A parameter of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Param {
    pub(crate) name: String,
    /// Whether it may be repeated.
    pub(crate) is_list: bool,
}

impl Param {
    /// Creates a parameter that appears at most once.
    pub(crate) fn single(name: &str) -> Self {
        Self { name: name.to_owned(), is_list: false }
    }
}

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

impl FromRequestParts<Api> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Infallible> {
        Ok(parts.extensions.remove::<Self>().unwrap_or_default())
    }
}

/// Layer around every route: refuses parameters and bodies that the operation does not document.
pub(crate) async fn reject_undocumented(
    State(api): State<Api>,
    mut request: Request,
    next: Next,
) -> Response {
    let spec = request_spec(&request);
    match Params::read(request.uri().query(), &spec.params) {
        Ok(params) => request.extensions_mut().insert(params),
        Err(errors) => return Problem::invalid_request(errors).into_response(),
    };
    if spec.has_body {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    match body::require_empty_body(&api.config, &parts, body).await {
        Ok(body) => next.run(Request::from_parts(parts, body)).await,
        Err(problem) => problem.into_response(),
    }
}

/// Returns what the document allows for the matched operation; nothing for an undocumented one.
fn request_spec(request: &Request) -> &'static RequestSpec {
    static ALL: OnceLock<openapi::RequestSpecs> = OnceLock::new();
    static NOTHING: RequestSpec = RequestSpec { params: Vec::new(), has_body: false };
    let all = ALL.get_or_init(openapi::request_specs);
    let method = match *request.method() {
        Method::GET | Method::HEAD => "get",
        Method::POST => "post",
        Method::PUT => "put",
        Method::DELETE => "delete",
        _ => return &NOTHING,
    };
    let path = request.extensions().get::<MatchedPath>();
    let methods = path.and_then(|path| all.get(path.as_str()));
    methods.and_then(|methods| methods.get(method)).unwrap_or(&NOTHING)
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
