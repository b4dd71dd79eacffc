//! The imports of `wit/task.wit`, implemented with the run's `RunHost`.
//!
//! Called by the guest, through wasmtime. Sizes and ranges are checked here, once.

use std::sync::Arc;
use std::time::Duration;

use wasmill_model::Progress;
use wasmtime::Result;

use crate::format;
use crate::guest::call_error::HostFault;
use crate::guest::state::Guest;
use crate::link::bindings::wasmill::task::{failures, run};
use crate::observe::instance_status::HostCall;

/// Bytes kept of a progress note.
const NOTE_BYTES_MAX: usize = 256;

impl run::Host for Guest {
    fn context(&mut self) -> Result<run::RunContext> {
        Ok(run::RunContext {
            task: self.run.task.to_string(),
            plugin: self.run.plugin.to_string(),
            attempt: self.run.attempt,
            max_attempts: self.run.attempts_max,
        })
    }

    fn progress(&mut self, fraction: f64, note: String) -> Result<()> {
        let fraction = if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) };
        self.run.host.progress(Progress { fraction, note: format::truncate(note, NOTE_BYTES_MAX) });
        Ok(())
    }

    async fn save(&mut self, state: Vec<u8>) -> Result<Result<(), String>> {
        if state.len() as u64 > self.plugin.config.limits.checkpoint_bytes {
            let limit = format::bytes(self.plugin.config.limits.checkpoint_bytes);
            let refusal = format!("the checkpoint of {} bytes is over its limit of {limit}", state.len());
            return Ok(Err(refusal));
        }
        self.status().begin_call(HostCall::Save);
        Ok(Arc::clone(&self.run.host).save(state).await)
    }

    async fn restore(&mut self) -> Result<Option<Vec<u8>>> {
        self.status().begin_call(HostCall::Restore);
        let host = Arc::clone(&self.run.host);
        host.restore().await.map_err(|reason| HostFault(reason).into())
    }

    fn stop_requested(&mut self) -> Result<bool> {
        Ok(self.run.host.is_asked_to_stop())
    }

    async fn sleep(&mut self, ms: u32) -> Result<bool> {
        let time = Duration::from_millis(u64::from(ms));
        self.status().begin_call_for(HostCall::Sleep, time);
        let host = Arc::clone(&self.run.host);
        // Returns at once if a stop was requested before; an error means that the time has elapsed.
        Ok(tokio::time::timeout(time, host.asked_to_stop()).await.is_ok())
    }
}

impl failures::Host for Guest {}
