//! `POST /ui/logout`: signs a browser out.

use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;

use crate::http::browser::redirect;
use crate::http::session_cookie;
use crate::openapi::{Operation, ResponseSpec};
use crate::state::Api;

const CLEAR_SITE_DATA: HeaderName = HeaderName::from_static("clear-site-data");

/// Needs no session: a browser without one is signed out already.
pub(crate) async fn sign_out(State(api): State<Api>) -> Response {
    let mut response = redirect("login");
    let headers = response.headers_mut();
    if let Some(cookie) = session_cookie::clear(api.tls.is_some()) {
        headers.insert(header::SET_COOKIE, cookie);
    }
    headers.insert(CLEAR_SITE_DATA, HeaderValue::from_static("\"cookies\", \"storage\""));
    response
}

pub(crate) fn spec() -> Operation {
    let answer = ResponseSpec::empty("Signed out.")
        .header("Location", "The form to sign in.", "^login$")
        .header("Set-Cookie", "Removes the session.", "Max-Age=0")
        .header("Clear-Site-Data", "Removes what pages have stored.", "cookies");
    Operation::post("/ui/logout", "signOut", "Sign a browser out")
        .detail("Removes the cookie. A copy of it counts until its time is over; revoking its key ends it at once.")
        .responds(303, answer)
}
