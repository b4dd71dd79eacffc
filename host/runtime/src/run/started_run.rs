//! One run: polls the guest, measures what it uses, and ends it when it exceeds its CPU time or is evicted.
//!
//! Called by the runtime. What the guest does when it is polled is `instance`'s.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, ready};

use wasmill_model::{Failure, Pinned, RunHost, RunRequest, RunStep};

use crate::engine::ticker::{TICK, Ticker};
use crate::link::plugin::Plugin;
use crate::memory::MemoryReservation;
use crate::observe::cpu::CpuMeter;
use crate::plugin::context::PluginContext;
use crate::run::instance;
use crate::run::instances::InstanceGuard;
use crate::run::outcome;

/// A run with its plugin and its reservation.
pub(crate) struct StartedRun {
    pub(crate) _guard: InstanceGuard,
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) reservation: Arc<MemoryReservation>,
}

/// Records the usage of one run into its meter, whenever the run waits and when it ends in any way.
struct UsageRecorder {
    cpu: CpuMeter,
    plugin: Arc<PluginContext>,
    reservation: Arc<MemoryReservation>,
    host: Arc<dyn RunHost>,
}

impl UsageRecorder {
    /// Returns the failure if the run has been evicted.
    fn evicted(&self) -> Option<Failure> {
        let evicted = self.reservation.eviction()?;
        Some(outcome::evicted(&self.plugin, &*self.host, &self.reservation, evicted))
    }

    /// Writes the usage so far into the meter of the run.
    fn write(&self) {
        if let Some(meter) = self.host.meter() {
            meter.set_cpu(self.cpu.used());
            meter.set_memory_bytes(self.reservation.used());
        }
    }
}

impl Drop for UsageRecorder {
    fn drop(&mut self) {
        self.plugin.estimate.record_run(&self.reservation);
        self.write();
    }
}

impl StartedRun {
    /// Runs the guest to its end, and measures each of its polls.
    pub(crate) async fn run(self, ticker: &Ticker, run: RunRequest) -> Result<RunStep, Failure> {
        // Dropped last, so that a listed run always has a guest.
        let StartedRun { plugin, reservation, _guard } = self;
        let PluginContext { name, digest, config, samples, .. } = &*plugin.context;
        run.host.pin(&Pinned { digest: Arc::clone(digest), log_bytes: config.limits.log_bytes });
        let cpu_max = config.limits.cpu;
        // Created before the guest, so that it is dropped after it.
        let mut usage = UsageRecorder {
            cpu: CpuMeter::default(),
            plugin: Arc::clone(&plugin.context),
            reservation: Arc::clone(&reservation),
            host: Arc::clone(&run.host),
        };
        let mut guest = pin!(instance::run(&plugin, run, reservation));
        let mut pause = None;
        // Each poll is announced to the ticker, so that it ticks while a guest computes and only then.
        poll_fn(|context| {
            let _poll = ticker.enter();
            // Checked before the guest continues: a single instruction can touch all the memory that it was
            // granted.
            if let Some(failure) = usage.evicted() {
                return Poll::Ready(Err(failure));
            }
            while usage.reservation.must_pause() {
                ready!(
                    pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(TICK))).as_mut().poll(context)
                );
                pause = None;
            }
            let used = usage.cpu.used();
            usage.reservation.status().set_on_thread();
            let polled = usage.cpu.measure(|| guest.as_mut().poll(context));
            usage.reservation.status().set_off_thread(usage.cpu.used());
            if samples.is_on() {
                let stack = usage.reservation.status().take_stack();
                samples.record(name, digest, stack, usage.cpu.used().saturating_sub(used));
            }
            if polled.is_ready() {
                return polled;
            }
            usage.write();
            // A computing guest yields on each tick, so its CPU limit is checked here.
            if let Some(limit) = cpu_max
                && usage.cpu.used() > limit
            {
                return Poll::Ready(Err(outcome::cpu_limit_exceeded(usage.cpu.used(), limit)));
            }
            usage.reservation.set_waker(context.waker());
            usage.evicted().map_or(Poll::Pending, |failure| Poll::Ready(Err(failure)))
        })
        .await
    }
}
