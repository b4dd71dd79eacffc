//! Logs of runs.

mod log_line;
mod log_tail;

pub use log_line::{LINE_SEQ_MAX, LogLine, LogStream};
pub use log_tail::LogTail;
