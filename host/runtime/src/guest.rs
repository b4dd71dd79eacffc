//! The host's state of one guest: its account, handles, input, output and log.

pub(crate) mod call_error;
pub(crate) mod handle_bytes;
pub(crate) mod log;
pub(crate) mod output;
pub(crate) mod program;
pub(crate) mod state;
pub(crate) mod wasi_ctx;
