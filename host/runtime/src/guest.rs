//! What the host keeps for one guest, inside its wasmtime store.

use std::sync::Arc;

use wasmill_model::{Limits, Run, RunHost};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::guest_log::GuestLog;
use crate::limiter::Limiter;

/// Timers, streams and other handles that one guest may hold at once.
pub(crate) const HANDLES_MAX: usize = 1_024;
/// Random bytes that a guest may ask for at once.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// One guest, as the host sees it.
pub(crate) struct Guest {
    pub(crate) run: Run,
    pub(crate) limiter: Limiter,
    pub(crate) checkpoint_bytes_max: u64,
    handles: ResourceTable,
    /// Made when the guest first asks for something of WASI: it costs as much as a short run.
    wasi: Option<WasiCtx>,
}

impl Guest {
    pub(crate) fn new(run: Run, limits: &Limits) -> Self {
        let mut handles = ResourceTable::new();
        handles.set_max_capacity(HANDLES_MAX);
        Self {
            run,
            limiter: Limiter::new(limits.memory_bytes),
            checkpoint_bytes_max: limits.checkpoint_bytes,
            handles,
            wasi: None,
        }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let ctx = self.wasi.get_or_insert_with(|| surroundings(&self.run.host));
        WasiCtxView { ctx, table: &mut self.handles }
    }
}

/// Returns a world with clocks, randomness and a log, and nothing else.
fn surroundings(host: &Arc<dyn RunHost>) -> WasiCtx {
    WasiCtx::builder()
        .stdout(GuestLog::new(host))
        .stderr(GuestLog::new(host))
        .max_random_size(RANDOM_BYTES_MAX)
        .allow_tcp(false)
        .allow_udp(false)
        .allow_ip_name_lookup(false)
        .build()
}
