//! Several hosts on one database: registration, the lease, and what a host learns of the others.
//!
//! Transactions of all hosts are serial: each takes the turn first, a row that it locks until its commit. So what one
//! transaction reads stays true until it commits, as with one host, and a host whose registration was revoked cannot
//! write.

pub(crate) mod catch_up;
pub(crate) mod floor_check;
pub(crate) mod hints;
pub(crate) mod keeper;
pub(crate) mod membership;
pub(crate) mod others;
pub(crate) mod place;
pub(crate) mod secret;
pub(crate) mod snapshot;
pub(crate) mod turn;
