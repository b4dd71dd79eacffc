//! `GET /ui/login/openid` and `GET /ui/login/callback`: a browser goes away to sign in, and comes back.
//!
//! Two traps. The first is a link, not a form: the policy of pages forbids to send forms to another server. And the answer
//! to the second is a page that continues by itself, not a redirect: browsers send no `SameSite=Strict` cookie, as that of
//! the session is, along a chain of redirects that began at another site.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use wasmill_access::{AuditLine, NamedPerson, Refusal, SignInAttempt, is_person};

use super::identity_provider::{IdentityError, IdentityProvider};
use crate::http::authorize::{Peer, peer_address, refusal_problem};
use crate::http::browser::{is_own_path, redirect};
use crate::http::params::Params;
use crate::http::session_cookie;
use crate::openapi::Operation;
use crate::problem::Problem;
use crate::problem::kind;
use crate::state::Api;
use crate::ui::{empty_site, html};

/// The id of the operation in the audit.
const SIGN_IN: &str = "signInElsewhere";

/// The overview, relative to the callback.
const HOME: &str = "../";

const REFRESH: HeaderName = HeaderName::from_static("refresh");

pub(crate) fn begin_spec() -> Operation {
    Operation::page("/ui/login/openid").parameter("next")
}

pub(crate) fn callback_spec() -> Operation {
    Operation::page("/ui/login/callback").any_query()
}

/// Sends a browser away.
pub(crate) async fn begin(State(api): State<Api>, params: Params) -> Response {
    let Ok(provider) = provider(&api) else { return no_provider().into_response() };
    let next = params.iter().find(|(name, _)| *name == "next").map(|(_, value)| value);
    let (attempt, secrets) = api.access.begin_attempt(next.filter(|next| is_own_path(next)));
    match provider.begin(secrets).await {
        Ok(url) => {
            let mut response = redirect(&url);
            let cookie = session_cookie::set_attempt(&attempt, api.tls.is_some());
            response.headers_mut().extend(cookie.map(|cookie| (header::SET_COOKIE, cookie)));
            response
        }
        Err(error) => refused(&error_problem(&error)),
    }
}

/// Takes a browser back, and signs it in.
pub(crate) async fn callback(State(api): State<Api>, request: Request<Body>) -> Response {
    let (parts, _) = request.into_parts();
    let peer = peer_address(parts.extensions.get::<Peer>());
    let mut response = match finish(&api, &parts, peer).await {
        Ok((attempt, session)) => {
            let next = attempt.next.as_deref().unwrap_or(HOME);
            let mut response = html(wasmill_ui::shell::login::signed_in(next).whole(&empty_site()));
            let headers = response.headers_mut();
            let refresh = HeaderValue::try_from(format!("0; url={next}"));
            headers.extend(refresh.ok().map(|refresh| (REFRESH, refresh)));
            let cookie = session.and_then(|session| session_cookie::set(&session, api.tls.is_some()));
            headers.extend(cookie.map(|cookie| (header::SET_COOKIE, cookie)));
            response
        }
        Err(problem) => refused(&problem),
    };
    // An answer counts once.
    if let Some(cookie) = session_cookie::clear_attempt(api.tls.is_some()) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

async fn finish(api: &Api, parts: &Parts, peer: IpAddr) -> Result<(SignInAttempt, Option<String>), Problem> {
    let provider = provider(api)?;
    api.access.check_throttle(peer).map_err(refusal_problem)?;
    let attempt = session_cookie::attempt(&parts.headers, api.tls.is_some());
    let attempt = attempt.and_then(|text| api.access.open_attempt(text));
    let Some((attempt, secrets)) = attempt else {
        return Err(Problem::of(
            kind::SIGN_IN_FAILED,
            "this browser has begun no sign-in here within the last ten minutes; begin again",
        ));
    };
    let named = provider.finish(secrets, parts.uri.query().unwrap_or_default()).await.map_err(|error| {
        if matches!(error, IdentityError::Refused(_)) {
            api.access.count_wrong(peer);
        }
        error_problem(&error)
    })?;
    let named = nameable(named)?;
    let user = named.user.clone();
    let (identity, session) = api.access.sign_in_person(named, peer).map_err(|refusal| {
        if refusal == Refusal::UnknownPerson {
            tracing::warn!(%peer, user, "nobody signed in: no [[person]] of the keys file is about the user");
        }
        refusal_problem(refusal)
    })?;
    let (now, outcome) = (api.clock.now(), Some(StatusCode::OK.as_u16()));
    api.audit.tell(AuditLine::new(now, &identity, Some(peer), SIGN_IN, parts.uri.path(), outcome));
    tracing::info!(%peer, user, "a person has signed in");
    Ok((attempt, session))
}

/// Checks that an entry could be about a person; groups that none could be about are left out.
fn nameable(named: NamedPerson) -> Result<NamedPerson, Problem> {
    let NamedPerson { user, mut groups } = named;
    if !is_person(&user) {
        tracing::warn!(?user, "nobody signed in: no [[person]] of a keys file can have this name");
        return Err(refusal_problem(Refusal::UnknownPerson));
    }
    groups.retain(|group| is_person(group));
    Ok(NamedPerson { user, groups })
}

fn provider(api: &Api) -> Result<&Arc<dyn IdentityProvider>, Problem> {
    api.identity_provider.as_ref().ok_or_else(no_provider)
}

/// The settings name no issuer.
fn no_provider() -> Problem {
    Problem::of(
        kind::UNKNOWN_ROUTE,
        "this server signs nobody in with OpenID Connect; --openid-issuer names an issuer",
    )
}

/// Logs why nobody has signed in, and returns what the browser is told.
fn error_problem(error: &IdentityError) -> Problem {
    match error {
        IdentityError::Unavailable(why) => {
            tracing::warn!(why, "nobody can sign in with OpenID Connect");
            Problem::of(kind::ISSUER_UNAVAILABLE, "the issuer of identities does not answer; try again later")
        }
        IdentityError::Refused(why) => {
            tracing::warn!(why, "nobody signed in with OpenID Connect");
            Problem::of(
                kind::SIGN_IN_FAILED,
                "the issuer of identities has signed nobody in, or for another server",
            )
        }
    }
}

/// Sends a browser to the form, which names the error.
fn refused(problem: &Problem) -> Response {
    redirect(&format!("../login?error={}", problem.code()))
}
