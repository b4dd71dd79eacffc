//! What all pages have in common: who reads, the frame, the headers, and answers to polls.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use wasmill_access::{Identity, Scope};
use wasmill_ui::{Page, Rights, Site};

use crate::http::authorize::{Sender, not_permitted};
use crate::http::browser::{is_own_path, redirect};
use crate::http::params::{Params, whole_number};
use crate::openapi::Operation;
use crate::problem::Problem;
use crate::state::{Api, DashboardConfig};
use crate::ui::cache::{Kept, PageCache, Turn};
use crate::ui::rest::{Dashboard, Rest};

/// Of a page only this server's own files, nothing inline, and no script that makes markup of text.
pub(crate) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types wasmill";

/// A page needs none of these, so nothing that is slipped into one gets them.
const PERMISSIONS: &str = "camera=(), microphone=(), geolocation=(), usb=(), payment=(), display-capture=()";

/// Parameters of every page: whether only its content is wanted, and what was just done, with numbers.
const COMMON: [&str; 4] = ["fragment", "did", "n", "left"];

/// Specifies a page with the parameters of every page.
pub(crate) fn spec(path: &'static str) -> Operation {
    COMMON.into_iter().fold(Operation::page(path), Operation::parameter)
}

/// `GET /ui`: the overview is a folder below, so that its links are the same as everywhere.
pub(crate) async fn to_overview() -> impl IntoResponse {
    redirect("ui/")
}

/// `GET /ui/login`: asks for a key.
pub(crate) async fn login(State(api): State<Api>, params: Params) -> Response {
    let param = |name: &str| params.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
    let next = param("next").filter(|next| is_own_path(next));
    let provider = api.identity_provider.as_ref().map(|provider| provider.name());
    html(wasmill_ui::shell::login::page(param("error"), next, provider).whole(&empty_site()))
}

pub(crate) fn login_spec() -> Operation {
    ["error", "next"].into_iter().fold(Operation::page("/ui/login"), Operation::parameter)
}

/// A request for a page.
pub(crate) struct View {
    pub(crate) api: Api,
    pub(crate) rest: Rest,
    pub(crate) params: Params,
    pub(crate) rights: Rights,
    sender: Identity,
    cache: PageCache,
    url: String,
    is_fragment: bool,
    /// Whether the key came with a cookie.
    has_cookie: bool,
    /// What the browser has.
    known: Option<HeaderValue>,
}

impl FromRequestParts<Api> for View {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Response> {
        let Some(dashboard) = parts.extensions.get::<Dashboard>().cloned() else {
            return Err(Problem::internal_error("a page has no routes to ask").into_response());
        };
        let rest = Rest::from_request_parts(parts, api).await.map_err(IntoResponse::into_response)?;
        let Sender(sender) = Sender::from_request_parts(parts, api).await?;
        let Ok(params) = Params::from_request_parts(parts, api).await;
        let is_fragment = params.iter().any(|(name, _)| name == "fragment");
        Ok(Self {
            api: api.clone(),
            rest,
            params,
            rights: rights(&sender),
            sender,
            cache: dashboard.cache,
            url: parts.uri.to_string(),
            is_fragment,
            has_cookie: !parts.headers.contains_key(header::AUTHORIZATION),
            known: parts.headers.get(header::IF_NONE_MATCH).cloned(),
        })
    }
}

fn rights(sender: &Identity) -> Rights {
    Rights {
        watch: sender.may(Scope::Watch),
        read: sender.may(Scope::Read),
        submit: sender.may(Scope::Submit),
        cancel: sender.may(Scope::Cancel),
        schedule: sender.may(Scope::Schedule),
        plugins: sender.may(Scope::Plugins),
        admin: sender.may(Scope::Admin),
    }
}

impl View {
    /// Returns the value of a parameter, unless it is empty.
    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(known, value)| *known == name && !value.is_empty()).map(|(_, value)| value)
    }

    /// Returns true if the reader reaches a part of the tasks only.
    pub(crate) fn is_bounded(&self) -> bool {
        self.sender.reach().is_bounded()
    }

    /// Fails unless the reader may change plugins.
    pub(crate) fn require_plugins(&self) -> Result<(), Problem> {
        if self.rights.plugins { Ok(()) } else { Err(not_permitted(&self.sender, Scope::Plugins)) }
    }

    /// Waits until nobody else renders the same page, if this is a poll.
    pub(crate) async fn turn(&self) -> Option<Turn> {
        if !self.is_fragment {
            return None;
        }
        Some(self.cache.turn((self.url.clone(), self.sender.id().cloned())).await)
    }

    /// Answers a poll with what somebody else has just got.
    pub(crate) fn kept(&self, turn: Option<&Turn>) -> Option<Response> {
        Some(self.poll(&turn?.kept()?))
    }

    /// Answers with a page.
    pub(crate) fn show(&self, turn: Option<Turn>, site: &Site, page: &Page) -> Response {
        let Some(turn) = turn else { return html(page.whole(site)) };
        let fragment = page.fragment(site);
        let digest = Sha256::digest(&fragment);
        let etag = digest.iter().take(9).map(|byte| format!("{byte:02x}")).collect::<String>();
        self.poll(&turn.keep(Bytes::from(fragment), format!("\"{etag}\"")))
    }

    /// Answers a poll: nothing, if the browser has it already.
    fn poll(&self, kept: &Kept) -> Response {
        let mut headers = HeaderMap::new();
        if let Ok(etag) = HeaderValue::try_from(&kept.etag) {
            headers.insert(header::ETAG, etag);
        }
        headers.insert("poll-after", millis(kept.poll_after).into());
        if self.known.as_ref().is_some_and(|known| known.as_bytes() == kept.etag.as_bytes()) {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        (headers, html(kept.html.clone())).into_response()
    }

    /// Returns what the frame says.
    pub(crate) async fn site(&self) -> Site {
        let hosts = self.api.store.hosts().await;
        let DashboardConfig { name, colour, trace_url } = self.api.config.dashboard.clone();
        Site {
            name,
            colour,
            trace_url,
            is_signed_in: self.has_cookie && self.sender.key().is_some(),
            key_name: self.sender.key().map(|key| key.name.to_string()),
            rights: self.rights,
            can_upload: self.rights.plugins && self.api.upload_limits.permits().is_ok(),
            is_paused: self.api.scheduler.is_paused(),
            is_draining: self.api.scheduler.is_draining(),
            is_bounded: self.is_bounded(),
            has_hosts: hosts.is_ok_and(|hosts| hosts.len() > 1),
            flash: self.flash(),
            ..empty_site()
        }
    }

    /// Says what was just done. The words are ours: a link from elsewhere cannot put others here.
    fn flash(&self) -> Option<String> {
        let number = |name: &str| self.param(name).and_then(whole_number);
        let tasks = |count: u64| if count == 1 { "1 task".to_owned() } else { format!("{count} tasks") };
        let count = number("n").unwrap_or(1);
        let action = self.param("did")?;
        let done = match action {
            "retry" => format!("Submitted {} again.", tasks(count)),
            "cancel" => format!("Cancelled {}.", tasks(count)),
            "delete" => format!("Deleted {}.", tasks(count)),
            "submit" => "Submitted.".to_owned(),
            "delete-plugin" => "Deleted the plugin.".to_owned(),
            "delete-schedule" => "Deleted the schedule.".to_owned(),
            "put-schedule" => "Stored the schedule.".to_owned(),
            "run-schedule" => "Started a run.".to_owned(),
            "redeliver" => "The webhook is delivered again.".to_owned(),
            "upload" => "The plugin is in service.".to_owned(),
            "pause" => "Paused.".to_owned(),
            "resume" => "Resumed.".to_owned(),
            _ => return None,
        };
        let left = number("left").filter(|left| *left > 0);
        Some(left.map_or_else(
            || done.clone(),
            |left| match action {
                "cancel" => format!("{done} {} ended by themselves before.", tasks(left)),
                _ => format!("{done} {} left out: gone, in the way, or refused by now.", tasks(left)),
            },
        ))
    }
}

/// A frame without a reader.
pub(crate) fn empty_site() -> Site {
    Site { version: env!("CARGO_PKG_VERSION"), ..Site::default() }
}

/// Marks a response that is a page already, whatever its status.
#[derive(Clone, Copy)]
pub(crate) struct Rendered;

/// Answers with HTML under the policy.
pub(crate) fn html(text: impl Into<Body>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        // Forms then name the origin that they come from.
        (header::REFERRER_POLICY, "same-origin"),
        // A page that opened this one, or that this one opened, cannot hold on to its window.
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), PERMISSIONS),
    ];
    let mut response = (headers, text.into()).into_response();
    response.extensions_mut().insert(Rendered);
    response
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
