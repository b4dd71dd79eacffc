//! Who may do what: origins, keys and their reach, sessions, limits, TLS, the audit.

mod audit;
mod keys;
mod limits;
mod login;
mod openid;
mod policy;
mod proxies;
mod sessions;
mod tenants;
mod tls;
