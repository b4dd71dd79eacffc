//! The server itself: its version, health and documentation.

pub(crate) mod check;
pub(crate) mod check_reports;
pub(crate) mod docs;
pub(crate) mod doctor;
pub(crate) mod health;
pub(crate) mod identity_provider;
pub(crate) mod index;
pub(crate) mod keys;
pub(crate) mod openapi;
pub(crate) mod own_key;
pub(crate) mod sign_in;
pub(crate) mod sign_in_elsewhere;
pub(crate) mod sign_out;
