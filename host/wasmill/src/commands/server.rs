//! Commands about a server as a whole, one file each.

mod attention;
mod health;
mod hosts;
mod login;
mod stats;

pub(crate) use self::attention::attention;
pub(crate) use self::health::health;
pub(crate) use self::hosts::hosts;
pub(crate) use self::login::{login, logout};
pub(crate) use self::stats::stats;
