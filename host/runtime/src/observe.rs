//! What is known of running guests: status, CPU time, stacks, requests in flight.
//!
//! Written by the layers above; decides nothing.

pub(crate) mod backtrace;
pub(crate) mod cpu;
pub(crate) mod http_calls;
pub(crate) mod instance_status;
pub(crate) mod load_stats;
pub(crate) mod samples;
pub(crate) mod stack_requests;
pub(crate) mod tcp_sockets;
pub(crate) mod thread_monitor;
