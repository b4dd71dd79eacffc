//! Outgoing TCP of guests: what they may look up and connect to, and their streams.

pub(crate) mod guest_tcp;
mod known_addresses;
pub(crate) mod lookup;
pub(crate) mod streams;
