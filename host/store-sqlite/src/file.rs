//! The database file: opened, locked, checked and copied.

pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod connection;
pub(crate) mod examine;
pub(crate) mod fault;
pub(crate) mod folder;
pub(crate) mod home;
pub(crate) mod leftover;
pub(crate) mod lock;
pub(crate) mod migrations;
