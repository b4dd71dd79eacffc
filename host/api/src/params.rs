//! The parameters of a query, and the layer that is strict about what a request brings.
//!
//! One reader for every route: the API document says which parameters an operation takes and whether it takes a
//! body, and what is not in it is refused before the endpoint is called. So a typo stops nothing, nothing is
//! passed over, and a new route cannot forget it.

use std::convert::Infallible;
use std::sync::OnceLock;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::Method;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::app::Api;
use crate::body;
use crate::field_errors::{FAULTS_MAX, Fault, Faults, quoted};
use crate::openapi::{self, Takes};
use crate::problem::Problem;

/// One parameter that an operation takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Param {
    pub(crate) name: String,
    /// Whether it may be given several times.
    pub(crate) is_list: bool,
}

impl Param {
    /// Makes one that is given once.
    pub(crate) fn single(name: &str) -> Self {
        Self { name: name.to_owned(), is_list: false }
    }
}

/// The parameters of a query: names that are known, each given once unless it may be given again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads a query that may have these parameters.
    ///
    /// # Errors
    ///
    /// Fails if there is another one, or one of them twice.
    pub(crate) fn read(query: Option<&str>, known: &[Param]) -> Result<Self, Faults> {
        let (mut params, mut faults, mut unknown) = (Vec::new(), Faults::default(), 0);
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let Some(param) = known.iter().find(|param| param.name == name) else {
                unknown += 1;
                if unknown <= FAULTS_MAX {
                    faults.push(unknown_parameter(&name, if unknown == 1 { Some(known) } else { None }));
                } else {
                    faults.count(1);
                }
                continue;
            };
            let is_given = || params.iter().any(|(given, _): &(String, _)| *given == *name);
            if !param.is_list && is_given() {
                faults.push(Fault::parameter(&name, format!("{name} must be given once")));
                continue;
            }
            params.push((name.into_owned(), value.into_owned()));
        }
        if faults.is_empty() { Ok(Self(params)) } else { Err(faults) }
    }

    /// Returns the names and values, in their order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Reads a whole number; unlike other parsers it takes no sign.
pub(crate) fn whole_number(value: &str) -> Option<u64> {
    let is_number = !value.is_empty() && value.bytes().all(|digit| digit.is_ascii_digit());
    value.parse().ok().filter(|_| is_number)
}

fn unknown_parameter(name: &str, known: Option<&[Param]>) -> Fault {
    let mut detail = format!("unknown parameter '{}'", quoted(name));
    match known {
        Some([]) => detail.push_str("; there are none here"),
        Some(known) => {
            let names: Vec<_> = known.iter().map(|param| param.name.as_str()).collect();
            detail = format!("{detail}; known are {}", names.join(", "));
        }
        None => {}
    }
    Fault::parameter(name, detail)
}

impl FromRequestParts<Api> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Infallible> {
        Ok(parts.extensions.remove::<Self>().unwrap_or_default())
    }
}

/// The layer around every route: refuses parameters and bodies that the operation does not take.
pub(crate) async fn strict(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let takes = takes(&request);
    match Params::read(request.uri().query(), &takes.params) {
        Ok(params) => request.extensions_mut().insert(params),
        Err(faults) => return Problem::invalid_request(faults).into_response(),
    };
    if takes.has_body {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    match body::read_nothing(&api.config, &parts, body).await {
        Ok(body) => next.run(Request::from_parts(parts, body)).await,
        Err(problem) => problem.into_response(),
    }
}

/// Returns what the document says that the operation takes; nothing if it says nothing.
fn takes(request: &Request) -> &'static Takes {
    static ALL: OnceLock<openapi::TakesByPath> = OnceLock::new();
    static NOTHING: Takes = Takes { params: Vec::new(), has_body: false };
    let all = ALL.get_or_init(openapi::takes);
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
        params.map(|params| params.0).map_err(|faults| faults.into_parts().0)
    }

    #[test]
    fn known_parameters_are_taken_once_and_lists_as_often_as_they_come() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(read(""), Ok(vec![]));
        assert_eq!(read("b=1&a=%C3%BC&b="), Ok(vec![pair("b", "1"), pair("a", "ü"), pair("b", "")]));
    }

    #[test]
    fn parameters_that_are_unknown_or_given_twice_are_refused() {
        assert_eq!(read("c=1"), Err("unknown parameter 'c'; known are a, b".to_owned()));
        assert_eq!(read("a=1&b=2&%61=1"), Err("a must be given once".to_owned()));
        assert_eq!(read("A"), Err("unknown parameter 'A'; known are a, b".to_owned()));
        let many: String = (0..5_000).map(|n| format!("&x{n}=1")).collect();
        let detail = read(&many).expect_err("refused");
        assert!(detail.ends_with("; and 4990 more") && detail.matches("known are").count() == 1, "{detail}");
        assert_eq!(
            Params::read(Some("a"), &[]).map_err(|faults| faults.into_parts().0).err().as_deref(),
            Some("unknown parameter 'a'; there are none here")
        );
    }
}
