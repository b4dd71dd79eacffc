//! The imports of `wit/task.wit`, implemented with the run's `RunHost`.
//!
//! Called by the guest, through wasmtime. Sizes and ranges are checked here, once.

use std::sync::Arc;
use std::time::Duration;

use wasmill_model::{
    Child, ChildrenError, DependencyResult, NewChild, PostedEvent, Progress, RunHost, TaskState,
};
use wasmtime::Result;
use wasmtime::component::Resource;
use wasmtime_wasi::WasiView;
use wasmtime_wasi::p2::{DynPollable, Pollable};

use crate::error::format;
use crate::guest::call_error::{RunEnded, host_fault};
use crate::guest::state::Guest;
use crate::link::bindings::wasmill::task::types::{
    ChildState, Dependency, Outcome, RunContext, SaveError, SubmitError,
};
use crate::link::bindings::wasmill::task::{host, stop, types};
use crate::observe::instance_status::HostCall;

/// Bytes kept of a progress note.
const NOTE_BYTES_MAX: usize = 256;

impl host::Host for Guest {
    fn context(&mut self) -> Result<RunContext> {
        Ok(RunContext {
            task: self.run.task.to_string(),
            plugin: self.run.plugin.to_string(),
            attempt: self.run.attempt,
            max_attempts: self.run.attempts_max,
        })
    }

    async fn dependencies(&mut self) -> Result<Vec<Dependency>> {
        if !self.run.pass_results {
            return Ok(Vec::new());
        }
        self.status().begin_call(HostCall::Dependencies);
        let results = self.run.host.dependency_results().await.map_err(RunEnded)?;
        Ok(results.into_iter().map(Dependency::from).collect())
    }

    async fn next_event(&mut self) -> Result<Option<types::Event>> {
        self.status().begin_call(HostCall::NextEvent);
        let event = self.run.host.next_event().await.map_err(|reason| RunEnded(host_fault(reason)))?;
        Ok(event.map(|PostedEvent { name, payload, .. }| types::Event {
            name: name.map(|name| name.to_string()),
            payload,
        }))
    }

    async fn submit_children(
        &mut self,
        children: Vec<types::NewChild>,
    ) -> Result<Result<Vec<String>, SubmitError>> {
        let children = children.into_iter().map(|child| redacted(self, child)).collect();
        self.status().begin_call(HostCall::SubmitChildren);
        let submitted = self.run.host.submit_children(children).await;
        Ok(submitted.map(|ids| ids.iter().map(ToString::to_string).collect()).map_err(SubmitError::from))
    }

    async fn children(&mut self, start: u32) -> Result<Vec<types::Child>> {
        self.status().begin_call(HostCall::Children);
        let children = self.run.host.children(start).await.map_err(|reason| RunEnded(host_fault(reason)))?;
        Ok(children.into_iter().map(types::Child::from).collect())
    }

    fn progress(&mut self, fraction: f64, note: String) -> Result<()> {
        let fraction = if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) };
        // Before it is cut, or the rest of a secret could stay.
        let note = self.redact(note);
        self.run.host.progress(Progress { fraction, note: format::truncate(note, NOTE_BYTES_MAX) });
        Ok(())
    }

    async fn save(&mut self, state: Vec<u8>) -> Result<Result<(), SaveError>> {
        let bytes_max = self.plugin.config.limits.checkpoint_bytes;
        let state = self.redact_bytes(state);
        if state.len() as u64 > bytes_max {
            return Ok(Err(SaveError::TooLarge(bytes_max)));
        }
        self.status().begin_call(HostCall::Save);
        Ok(self.run.host.save(state).await.map_err(SaveError::Unavailable))
    }

    async fn restore(&mut self) -> Result<Option<Vec<u8>>> {
        self.status().begin_call(HostCall::Restore);
        self.run.host.restore().await.map_err(|reason| RunEnded(host_fault(reason)).into())
    }

    fn stop_requested(&mut self) -> Result<bool> {
        Ok(self.run.host.is_asked_to_stop())
    }

    async fn sleep(&mut self, time: types::Duration) -> Result<bool> {
        let time = Duration::from_nanos(time);
        self.status().begin_call_for(HostCall::Sleep, time);
        // Returns at once if a stop was requested before; an error means that the time has elapsed.
        Ok(tokio::time::timeout(time, self.run.host.asked_to_stop()).await.is_ok())
    }
}

impl stop::Host for Guest {
    fn subscribe(&mut self) -> Result<Resource<DynPollable>> {
        let request = StopRequest(Arc::clone(&self.run.host));
        let table = self.ctx().table;
        let request = table.push(request)?;
        wasmtime_wasi::p2::subscribe(table, request)
    }
}

impl types::Host for Guest {}

/// The request to stop that a guest can wait for.
struct StopRequest(Arc<dyn RunHost>);

#[wasmtime_wasi::async_trait]
impl Pollable for StopRequest {
    async fn ready(&mut self) {
        self.0.asked_to_stop().await;
    }
}

/// Removes revealed secrets from a child, which outlives the guest.
fn redacted(guest: &Guest, child: types::NewChild) -> NewChild {
    let types::NewChild { name, plugin, input, options } = child;
    let text = |text: String| guest.redact(text);
    NewChild { name: text(name), plugin, input: input.map(text), options: options.map(text) }
}

impl From<ChildrenError> for SubmitError {
    fn from(error: ChildrenError) -> Self {
        match error {
            ChildrenError::Refused(why) => Self::Refused(why),
            ChildrenError::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

impl From<Child> for types::Child {
    fn from(Child { name, id, outcome, text }: Child) -> Self {
        let state = match outcome {
            None => ChildState::Unfinished,
            Some(TaskState::Completed) => ChildState::Completed(text),
            Some(TaskState::Failed) => ChildState::Failed(text),
            Some(_) => ChildState::Cancelled,
        };
        Self { name, id: id.to_string(), state }
    }
}

impl From<DependencyResult> for Dependency {
    fn from(DependencyResult { id, outcome, result }: DependencyResult) -> Self {
        let outcome = match (outcome, result) {
            (TaskState::Completed, Some(result)) => Outcome::Completed(result.text),
            (TaskState::Failed, _) => Outcome::Failed,
            _ => Outcome::Cancelled,
        };
        Self { id: id.to_string(), outcome }
    }
}
