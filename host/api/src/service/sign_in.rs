//! `POST /ui/login`: signs a browser in with a key.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use wasmill_access::{AuditLine, Identity, Refusal};

use crate::http::authorize::{Peer, peer_address, refusal_problem};
use crate::http::body::{BodyMax, read_form};
use crate::http::browser::{accepts_html, is_own_path, redirect};
use crate::http::params::Params;
use crate::http::session_cookie;
use crate::openapi::{Operation, Param, ResponseSpec};
use crate::problem::Problem;
use crate::problem::kind;
use crate::state::Api;

/// Where a browser goes that named no page: the overview, relative to `/ui/login`.
const HOME: &str = "./";

/// The id of the operation.
const SIGN_IN: &str = "signIn";
/// Maximum size of the form.
const FORM_MAX: BodyMax = BodyMax { bytes: 8 << 10, setting: None };

/// The fields of the form.
#[derive(JsonSchema)]
#[schemars(rename = "SignIn", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct SignInForm {
    /// The text of a key.
    key: String,
    /// Path of this server to return to.
    next: Option<String>,
}

pub(crate) async fn sign_in(State(api): State<Api>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let peer = peer_address(parts.extensions.get::<Peer>());
    let read = match read_form(&api.config.body, &parts.headers, body, FORM_MAX).await {
        // It has been checked to be text.
        Ok(text) => fields(&String::from_utf8_lossy(&text)),
        Err(problem) => Err(problem),
    };
    let (key, next) = match read {
        Ok(read) => read,
        Err(problem) => return problem.into_response(),
    };
    let signed_in = match key.as_deref().map(str::trim).filter(|key| !key.is_empty()) {
        Some(key) => api.access.sign_in(key.as_bytes(), peer),
        None if api.access.is_open() => Ok((Identity::default(), None)),
        None => Err(Refusal::Missing),
    };
    match signed_in {
        Ok((identity, session)) => {
            let (now, path) = (api.clock.now(), parts.uri.path());
            let outcome = Some(StatusCode::SEE_OTHER.as_u16());
            api.audit.tell(AuditLine::new(now, &identity, Some(peer), SIGN_IN, path, outcome));
            let cookie = session.and_then(|session| session_cookie::set(&session, api.tls.is_some()));
            tracing::info!(%peer, "a browser has signed in");
            let mut response = redirect(next.as_deref().unwrap_or(HOME));
            if let Some(cookie) = cookie {
                response.headers_mut().insert(header::SET_COOKIE, cookie);
            }
            response
        }
        Err(refusal) => refused(&parts.headers, refusal_problem(refusal)),
    }
}

/// Reads the fields of the form: the key, and where to return to.
fn fields(text: &str) -> Result<(Option<String>, Option<String>), Problem> {
    let known = [Param::single("key"), Param::single("next")];
    let fields = Params::read(Some(text), &known).map_err(Problem::invalid_request)?;
    let field = |wanted| fields.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned());
    Ok((field("key"), field("next").filter(|next| is_own_path(next))))
}

/// Sends a browser back to the form, which names the error; a program gets the problem.
fn refused(headers: &HeaderMap, problem: Problem) -> Response {
    if accepts_html(headers) {
        return redirect(&format!("login?error={}", problem.code()));
    }
    problem.into_response()
}

pub(crate) fn spec() -> Operation {
    let answer =
        ResponseSpec::empty("Signed in; or, for a client that accepts HTML, back to the form with an error.")
            .header("Location", "The page to show next.", "^.+$")
            .optional_header(
                "Set-Cookie",
                "The session, unless the server is open.",
                "HttpOnly; SameSite=Strict",
            );
    Operation::post("/ui/login", SIGN_IN, "Sign a browser in")
        .detail(
            "Takes a key, and sets a cookie that counts where a key in the header `Authorization` does. A session lasts 12 \
             hours, and one whose key has the scope `plugins` or `admin` ends after an hour without a request. It ends \
             with its key.",
        )
        .form_body::<SignInForm>("The form.")
        .responds(303, answer)
        .problems(&[kind::KEY_MISSING, kind::KEY_UNKNOWN, kind::KEY_EXPIRED])
        .problems(&[kind::TOO_MANY_WRONG_KEYS, kind::TOO_MANY_REQUESTS])
        .problems(&[kind::UNREADABLE_BODY, kind::BODY_TOO_SLOW, kind::BODY_TOO_LARGE, kind::NOT_A_FORM])
        .problems(&[kind::ENCODED_BODY])
}
