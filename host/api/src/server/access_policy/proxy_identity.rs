//! Who a trusted proxy says has sent a request.
//!
//! The server asks it beside the access policy. Headers from any other address count for nothing, so nobody but the proxy
//! can claim to be anyone.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use axum::http::{HeaderMap, HeaderName, header};
use wasmill_access::{NamedPerson, PERSON_GROUPS_MAX, is_person};

use super::AccessPolicy;

/// Headers that clients and browsers send, and that say nothing of who somebody is.
const OTHERS: [HeaderName; 7] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::HOST,
    header::ORIGIN,
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-real-ip"),
];

/// A header in which a proxy says who somebody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityHeader(HeaderName);

/// The text is not a header for this.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is no header in which a proxy says who somebody is; expected one such as X-Forwarded-User")]
pub struct InvalidIdentityHeader(String);

impl fmt::Display for IdentityHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl FromStr for IdentityHeader {
    type Err = InvalidIdentityHeader;

    fn from_str(text: &str) -> Result<Self, InvalidIdentityHeader> {
        let invalid = || InvalidIdentityHeader(text.chars().take(40).collect());
        let name = text.parse::<HeaderName>().map_err(|_| invalid())?;
        if OTHERS.contains(&name) { Err(invalid()) } else { Ok(Self(name)) }
    }
}

/// The headers in which trusted proxies say who has sent a request.
#[derive(Clone, Debug)]
pub struct ProxyIdentity {
    /// Names the user.
    pub user: IdentityHeader,
    /// Names the groups of the user, separated by commas.
    pub groups: Option<IdentityHeader>,
}

/// What a trusted proxy says of the sender of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proxied {
    /// It has signed this person in.
    Person(NamedPerson),
    /// It names nobody that there can be, or more than one.
    Invalid,
}

impl AccessPolicy {
    /// Returns whom a trusted proxy has signed in; `None` if it says nothing, or if the peer is no trusted proxy.
    pub(crate) fn proxied(&self, headers: &HeaderMap, peer: IpAddr) -> Option<Proxied> {
        let ProxyIdentity { user, groups } = self.proxy_identity.as_ref()?;
        if !headers.contains_key(&user.0) || !self.is_trusted_proxy(peer) {
            return None;
        }
        let text = |name: &HeaderName| {
            let mut values = headers.get_all(name).iter();
            // A second one may be that of a client, which the proxy has passed on.
            match (values.next(), values.next()) {
                (None, _) => Some(""),
                (Some(value), None) => value.to_str().ok().map(str::trim),
                (Some(_), Some(_)) => None,
            }
        };
        let user = text(&user.0).filter(|user| is_person(user));
        let listed = groups.as_ref().map_or(Some(""), |groups| text(&groups.0));
        let (Some(user), Some(listed)) = (user, listed) else { return Some(Proxied::Invalid) };
        let groups = listed.split(',').map(str::trim).filter(|group| is_person(group));
        let groups = groups.take(PERSON_GROUPS_MAX).map(str::to_owned).collect();
        Some(Proxied::Person(NamedPerson { user: user.to_owned(), groups }))
    }
}
