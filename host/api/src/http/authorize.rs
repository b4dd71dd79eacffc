//! Checks the key of each request, and whether it may do what the operation needs.
//!
//! A layer around every route; what an operation needs is in the route table. Ends streams when their key does.

use std::net::IpAddr;
use std::sync::Arc;

use axum::RequestExt as _;
use axum::body::Body;
use axum::extract::{FromRequestParts, MatchedPath, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use wasmill_access::{Access, AuditDetails, Identity, OverRate, Refusal, Scope, SessionCheck};
use wasmill_model::TaskId;

use crate::http::audited::{Audited, audit_unavailable};
use crate::http::session_cookie;
use crate::http::sse::EVENT_STREAM;
use crate::openapi::{Bounds, Needs, RequestSpec, RequestSpecs, is_submit};
use crate::plugin::lookup::unknown_plugin;
use crate::problem::Problem;
use crate::problem::kind;
use crate::server::access_policy::{self, Proxied};
use crate::service::identity_provider::SignsIn;
use crate::state::Api;
use crate::task::lookup::unknown_task;

/// The address of a client, which the server adds to each request that changes something, and to all while keys are
/// asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// Who sent the request.
#[derive(Clone, Debug)]
pub(crate) struct Sender(pub(crate) Identity);

impl FromRequestParts<Api> for Sender {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Response> {
        match parts.extensions.get::<Self>() {
            Some(sender) => Ok(sender.clone()),
            // The layer lets a request without an identity pass only in the open mode.
            None => {
                let caller = identify(api, &parts.headers, &Extensions::new()).map_err(refusal_response)?;
                Ok(Self(caller.identity))
            }
        }
    }
}

/// What the layer knows of the operations.
#[derive(Clone)]
pub(crate) struct Authorizer {
    pub(crate) api: Api,
    pub(crate) specs: Arc<RequestSpecs>,
}

/// The layer.
pub(crate) async fn authorize(
    State(authorizer): State<Authorizer>,
    mut request: Request,
    next: Next,
) -> Response {
    let access = authorizer.api.access.clone();
    let spec = authorizer.spec(&request);
    let (needs, bounds) = spec.map_or((Needs::Nothing, Bounds::Nothing), |spec| (spec.needs, spec.bounds));
    let audited = spec.and_then(|spec| authorizer.audited(spec, &request));
    if access.is_open() || needs == Needs::Nothing {
        if let Err(problem) = authorizer.announce(audited.as_ref(), &Identity::default()).await {
            return problem.into_response();
        }
        let response = next.run(request).await;
        authorizer.tell(audited, &Identity::default(), &response);
        return end_with_key(response, &access, None);
    }
    // A page asks for its reader, whose key and origin were checked when the page was asked for.
    let caller = match request.extensions().get::<Sender>() {
        Some(Sender(identity)) => Ok(Caller { identity: identity.clone(), cookie: None, is_session: false }),
        None => identify(&authorizer.api, request.headers(), request.extensions()),
    };
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let Caller { identity, cookie, is_session } = match caller {
        Ok(caller) => caller,
        Err(Refusal::Missing) if has_key_in_query(&request) => {
            return refused(
                "a key must be in the header Authorization, not in the URL, which ends up in logs",
            );
        }
        Err(refusal) => return authorizer.refuse(refusal, needs),
    };
    if is_session && !access_policy::is_safe(request.method()) && !says_where_from(request.headers()) {
        let response = anonymous_change().into_response();
        authorizer.tell(audited, &identity, &response);
        return response;
    }
    let name = path_parameter(&mut request, bounds).await;
    let asked = Asked { needs, bounds, name: name.as_deref(), is_read };
    if let Err(problem) = authorizer.check(&identity, asked).await {
        let response = problem.into_response();
        authorizer.tell(audited, &identity, &response);
        return response;
    }
    if let Err(problem) = authorizer.announce(audited.as_ref(), &identity).await {
        return problem.into_response();
    }
    request.extensions_mut().insert(Sender(identity.clone()));
    let response = next.run(request);
    // A read may wait for a task for a minute. A change is not interrupted.
    let response = tokio::select! {
        biased;
        response = response => response,
        () = access.ended(&identity), if is_read => return refusal_response(Refusal::Unknown),
    };
    authorizer.tell(audited, &identity, &response);
    let mut response = end_with_key(response, &access, Some(identity));
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// The layer of the debug port: every route needs the scope `admin`.
pub(crate) async fn require_admin(State(access): State<Access>, request: Request, next: Next) -> Response {
    let peer = peer_address(request.extensions().get::<Peer>());
    // No session: its cookie is for the pages of the other port.
    match access.check(bearer(request.headers()), peer) {
        Ok(identity) if identity.may(Scope::Admin) => next.run(request).await,
        Ok(identity) => not_permitted(&identity, Scope::Admin).into_response(),
        Err(refusal) => refusal_response(refusal),
    }
}

/// Ends a stream of events once its request would be refused.
fn end_with_key(response: Response, access: &Access, identity: Option<Identity>) -> Response {
    if response.headers().get(header::CONTENT_TYPE).is_none_or(|kind| kind != EVENT_STREAM) {
        return response;
    }
    let identity = identity.unwrap_or_default();
    let access = access.clone();
    response.map(|body| {
        let ended = Box::pin(async move { access.ended(&identity).await });
        Body::from_stream(body.into_data_stream().take_until(ended))
    })
}

impl Authorizer {
    /// Returns what the audit says of a request: every change but a submit, whose new task names the key, and reads if the
    /// settings ask for them. The operations that a page calls are recorded, and not the page.
    fn audited(&self, spec: &RequestSpec, request: &Request) -> Option<Audited> {
        let is_change = !matches!(*request.method(), Method::GET | Method::HEAD);
        let is_told = match is_change {
            true => !is_submit(spec.needs, spec.bounds) && spec.needs != Needs::Nothing,
            false => self.api.config.audit.tells_reads && spec.shows_contents(),
        };
        let from = request.extensions().get::<Peer>().map(|peer| peer.0);
        (is_told && !spec.id.is_empty()).then(|| Audited::of(spec.id, is_change, request.uri(), from))
    }

    /// Refuses a request; the reader of a page learns where else to sign in.
    fn refuse(&self, refusal: Refusal, needs: Needs) -> Response {
        let mut response = refusal_response(refusal);
        let provider = self.api.identity_provider.as_ref().filter(|_| needs == Needs::Key);
        if let Some(provider) = provider {
            response.extensions_mut().insert(SignsIn(provider.name().to_owned()));
        }
        response
    }

    /// Writes down that a change begins, if the settings ask for that.
    async fn announce(&self, audited: Option<&Audited>, sender: &Identity) -> Result<(), Problem> {
        let is_required = self.api.config.audit.is_required;
        let Some(change) = audited.filter(|audited| is_required && audited.is_change) else {
            return Ok(());
        };
        let line = change.line(self.api.clock.now(), sender, None);
        if self.api.audit.write(line).await { Ok(()) } else { Err(audit_unavailable()) }
    }

    /// Tells the audit of a request that was answered.
    fn tell(&self, audited: Option<Audited>, sender: &Identity, response: &Response) {
        if let Some(audited) = audited {
            let line = audited.line(self.api.clock.now(), sender, Some(response.status().as_u16()));
            let details = response.extensions().get::<AuditDetails>().cloned().unwrap_or_default();
            self.api.audit.tell(line.with(details));
        }
    }

    /// Returns the specification of the operation.
    fn spec(&self, request: &Request) -> Option<&RequestSpec> {
        let path = request.extensions().get::<MatchedPath>();
        let spec = path.and_then(|path| self.specs.get(path.as_str()));
        let method = match *request.method() {
            Method::GET | Method::HEAD => "get",
            Method::POST => "post",
            Method::PUT => "put",
            Method::DELETE => "delete",
            // No operation has it: the answer is 405.
            _ => return None,
        };
        spec.and_then(|methods| methods.get(method))
    }

    /// Checks what the operation needs, within the reach of the key.
    async fn check(&self, identity: &Identity, asked: Asked<'_>) -> Result<(), Problem> {
        // First: whether a task outside exists must not show in what the key lacks.
        self.check_reach(identity, asked).await?;
        let Asked { needs, name, .. } = asked;
        let require = |scope: Scope| {
            if identity.may(scope) { Ok(()) } else { Err(not_permitted(identity, scope)) }
        };
        match needs {
            Needs::Nothing | Needs::Key => Ok(()),
            Needs::Scope(scope) => require(scope),
            Needs::Task(scope) => {
                if identity.may(scope)
                    || (identity.may(Scope::Submit) && self.may_read(identity, name).await?)
                {
                    return Ok(());
                }
                require(scope)
            }
            Needs::Copy => {
                require(Scope::Submit)?;
                if self.may_read(identity, name).await? { Ok(()) } else { require(Scope::Read) }
            }
            Needs::Copies => require(Scope::Submit).and_then(|()| require(Scope::Read)),
        }
    }

    /// Checks that the task or the plugin of the path is within the reach of the key.
    async fn check_reach(&self, identity: &Identity, asked: Asked<'_>) -> Result<(), Problem> {
        let reach = identity.reach();
        if !reach.is_bounded() {
            return Ok(());
        }
        match (asked.bounds, asked.name) {
            (Bounds::Refused, _) => Err(out_of_reach(identity)),
            (Bounds::Task, Some(name)) => {
                // What is no id is refused by the endpoint.
                let Ok(id) = name.parse::<TaskId>() else { return Ok(()) };
                let within = self.api.store.within(vec![id], reach.clone()).await?;
                if within.is_empty() { Err(unknown_task(id)) } else { Ok(()) }
            }
            (Bounds::Plugin, Some(name)) if !reach.covers_plugin(name) => {
                Err(if asked.is_read { unknown_plugin(name) } else { out_of_reach(identity) })
            }
            _ => Ok(()),
        }
    }

    /// Returns true if the task of the path may be read, or is gone, which the endpoint says.
    async fn may_read(&self, identity: &Identity, name: Option<&str>) -> Result<bool, Problem> {
        if identity.may(Scope::Read) {
            return Ok(true);
        }
        let id = name.and_then(|id| id.parse::<TaskId>().ok());
        let Some(id) = id else { return Ok(true) };
        let task = self.api.store.get(id).await?;
        Ok(task.is_none_or(|task| identity.may_read(task.submitted_by.as_deref())))
    }
}

/// What a request asks for.
#[derive(Clone, Copy)]
struct Asked<'a> {
    needs: Needs,
    bounds: Bounds,
    /// The task or the plugin of the path.
    name: Option<&'a str>,
    is_read: bool,
}

/// Returns the task or the plugin that the path names, decoded as the endpoint gets it.
async fn path_parameter(request: &mut Request, bounds: Bounds) -> Option<String> {
    if !matches!(bounds, Bounds::Task | Bounds::Plugin) {
        return None;
    }
    let parameters = request.extract_parts::<RawPathParams>().await.ok()?;
    parameters.iter().next().map(|(_, value)| value.to_owned())
}

/// Who sent a request, and how that is known.
struct Caller {
    identity: Identity,
    /// Renews the session of a browser.
    cookie: Option<HeaderValue>,
    is_session: bool,
}

/// Finds the identity of a request: that of its key, that of the person whom a trusted proxy names, or that of its session.
fn identify(api: &Api, headers: &HeaderMap, extensions: &Extensions) -> Result<Caller, Refusal> {
    let (peer, is_tls) = (peer_address(extensions.get::<Peer>()), api.tls.is_some());
    match extensions.get::<Proxied>() {
        Some(proxied) if !headers.contains_key(header::AUTHORIZATION) => {
            let Proxied::Person(named) = proxied else { return Err(Refusal::UnknownPerson) };
            let identity = api.access.check_person(named.clone(), peer)?;
            // The proxy knows the browser by a cookie, so a change needs what a change with a session does.
            return Ok(Caller { identity, cookie: None, is_session: true });
        }
        _ => {}
    }
    let session = session_cookie::session(headers, is_tls);
    match session.filter(|_| !headers.contains_key(header::AUTHORIZATION)) {
        Some(session) => {
            let SessionCheck { identity, renewed } = api.access.check_session(session, peer)?;
            let cookie = renewed.and_then(|session| session_cookie::set(&session, is_tls));
            Ok(Caller { identity, cookie, is_session: true })
        }
        None => {
            let identity = api.access.check(bearer(headers), peer)?;
            Ok(Caller { identity, cookie: None, is_session: false })
        }
    }
}

/// Returns the address of a client.
pub(crate) fn peer_address(peer: Option<&Peer>) -> IpAddr {
    // Without a peer the request came before keys were asked for.
    peer.map_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), |peer| peer.0)
}

/// Returns true if a browser says which page sent a request. The access policy has refused pages of others.
fn says_where_from(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site")
}

/// Refuses a change with a session that no page of this server can be shown to have asked for.
fn anonymous_change() -> Problem {
    let detail = "a change with the cookie of a session needs the header Origin or Sec-Fetch-Site, which browsers send; \
                  programs send a key in the header Authorization";
    Problem::of(kind::CROSS_ORIGIN, detail)
}

/// Returns the key of the header `Authorization`.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (first, None) = (given.next()?, given.next()) else { return None };
    let (scheme, text) = first.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| text.trim_ascii())
}

fn has_key_in_query(request: &Request) -> bool {
    request.uri().query().is_some_and(|query| query.contains("wmk_"))
}

fn refusal_response(refusal: Refusal) -> Response {
    let problem = refusal_problem(refusal);
    match refusal {
        Refusal::Missing => challenged(problem, "Bearer"),
        Refusal::Unknown | Refusal::Expired | Refusal::SessionEnded => {
            challenged(problem, "Bearer error=\"invalid_token\"")
        }
        Refusal::OverRate(_) | Refusal::Throttled { .. } | Refusal::UnknownPerson => problem.into_response(),
    }
}

/// Returns the problem of a request that is refused.
pub(crate) fn refusal_problem(refusal: Refusal) -> Problem {
    let (kind, detail) = match refusal {
        Refusal::Missing => (
            kind::KEY_MISSING,
            "this server asks for a key: send the header Authorization: Bearer wmk_…; commands read it from \
             WASMILL_KEY, from --key-file, or from where `wasmill login` has stored it",
        ),
        Refusal::Unknown => {
            (kind::KEY_UNKNOWN, "no key of this server has this text; it may have been revoked")
        }
        Refusal::OverRate(over) => return over_rate(over),
        Refusal::Expired => (kind::KEY_EXPIRED, "the key has expired; `wasmill key rotate` makes a new one"),
        Refusal::UnknownPerson => (
            kind::UNKNOWN_PERSON,
            "no [[person]] of the keys file is about whom the proxy or the issuer names, or the proxy names more than one user",
        ),
        Refusal::SessionEnded => (kind::SESSION_ENDED, "the session has ended; sign in again"),
        Refusal::Throttled { retry_after_secs } => {
            let detail = "this address has sent too many wrong keys; try again later";
            return Problem::of(kind::TOO_MANY_WRONG_KEYS, detail).with_retry_after(retry_after_secs);
        }
    };
    Problem::of(kind, detail)
}

/// The key has sent too many requests.
pub(crate) fn over_rate(over: OverRate) -> Problem {
    let OverRate { rate, retry_after_secs } = over;
    let detail = format!(
        "the key may send {rate}, where each task of a batch counts; try again in {retry_after_secs} s"
    );
    Problem::of(kind::TOO_MANY_REQUESTS, detail).with_retry_after(retry_after_secs)
}

/// Refuses a request without a key.
fn refused(detail: &str) -> Response {
    challenged(Problem::of(kind::KEY_MISSING, detail), "Bearer")
}

fn challenged(problem: Problem, challenge: &'static str) -> Response {
    let mut response = problem.into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    response
}

pub(crate) fn not_permitted(identity: &Identity, scope: Scope) -> Problem {
    let name = identity.key().map_or("", |key| &key.name);
    let has = identity.key().map(|key| key.scopes.to_string()).unwrap_or_default();
    let detail = format!("this needs the scope {}, and the key {name} has {has}", scope.as_str());
    Problem::of(kind::NOT_PERMITTED, detail)
}

/// The key reaches only a part of what the operation tells or changes.
fn out_of_reach(identity: &Identity) -> Problem {
    let name = identity.key().map_or("", |key| &key.name);
    let detail = format!(
        "this concerns more than the key {name} reaches, which is {}; it needs a key without plugins, groups and tags",
        identity.reach()
    );
    Problem::of(kind::OUT_OF_REACH, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_the_one_bearer_token() {
        let key = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
            }
            bearer(&headers).map(|text| String::from_utf8_lossy(text).into_owned())
        };
        assert_eq!(key(&["Bearer wmk_a"]).as_deref(), Some("wmk_a"));
        assert_eq!(key(&["bearer  wmk_a "]).as_deref(), Some("wmk_a"));
        for none in [&[][..], &["Basic wmk_a"], &["Bearer"], &["wmk_a"], &["Bearer a", "Bearer b"]] {
            assert_eq!(key(none), None, "{none:?}");
        }
    }
}
