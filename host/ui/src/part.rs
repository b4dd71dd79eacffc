//! Pieces that several pages share.

pub mod ansi;
pub mod chart;
pub mod command;
pub mod confirm;
pub mod hex;
pub mod json;
pub mod magic;
pub mod state;
pub mod text;
pub mod time;
pub mod unit;
