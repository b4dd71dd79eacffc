//! The host's state of one guest, stored in its wasmtime store.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use wasmill_model::{Limits, LogStream, RunRequest};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::files::open::OpenFiles;
use crate::folders::scratch::folder::RunScratch;
use crate::guest::handle_bytes::{self, FIELDS_BYTES_MAX};
use crate::guest::program::{ProgramInput, StderrTail, StdoutBuffer};
use crate::guest::wasi_ctx::{self, Variables};
use crate::http::hooks::HttpHooks;
use crate::memory::limiter::Limiter;
use crate::memory::{Account, MemoryReservation};
use crate::observe::instance_status::{HostCall, InstanceStatus};
use crate::plugin::config::PluginConfig;
use crate::plugin::context::PluginContext;
use crate::secrets::RunSecrets;
use crate::tcp::guest_tcp::GuestTcp;

/// Handles that one guest may hold: timers, streams, files and the like.
pub(crate) const HANDLES_MAX: usize = 1_024;

/// The memory behind handles is recounted once in this many calls per handle held, so that counting stays cheap.
const HANDLES_PER_CALL: usize = 8;

/// Bytes that one call may pass beyond the largest result or checkpoint, so that a value only slightly too large is
/// refused with its size instead of a trap.
const CALL_BYTES_SPARE: u64 = 4 << 20;

/// What a run has of the host.
pub(crate) struct RunResources {
    pub(crate) reservation: Arc<MemoryReservation>,
    /// The secrets of the operator; `None` if the plugin uses none.
    pub(crate) secrets: Option<Arc<RunSecrets>>,
    /// `None` if the plugin has no scratch folder.
    pub(crate) scratch: Option<Arc<RunScratch>>,
}

/// The host's state of one guest.
pub(crate) struct Guest {
    pub(crate) run: RunRequest,
    pub(crate) limiter: Limiter,
    /// The guest's memory usage, including what the host keeps for it.
    pub(crate) account: Arc<Account>,
    /// Bytes that one call may pass to the host.
    pub(crate) call_bytes_max: usize,
    pub(crate) plugin: Arc<PluginContext>,
    /// The output of a program; `None` for tasks.
    pub(crate) program: Option<Program>,
    /// The newest timer: its handle and deadline.
    pub(crate) timer: Option<(u32, Instant)>,
    /// The files and folders it has open.
    pub(crate) files: OpenFiles,
    /// Its TCP; `None` if the manifest permits none.
    pub(crate) tcp: Option<Arc<GuestTcp>>,
    secrets: Option<Arc<RunSecrets>>,
    handles: ResourceTable,
    /// The handle table of a guest over its memory limit. It is empty and has no capacity, so the next call that
    /// needs a handle fails and ends the guest.
    no_handles: ResourceTable,
    /// Calls until the handles are counted again.
    uncounted_calls: usize,
    wasi: Wasi,
    /// Created on the first use of wasi:http.
    http: Option<(HttpHooks, WasiHttpCtx)>,
}

/// The output of a program.
pub(crate) struct Program {
    pub(crate) stdout: StdoutBuffer,
    pub(crate) stderr_tail: StderrTail,
}

/// The WASI context, in the form the guest uses.
enum Wasi {
    /// Created on first use: creating it costs as much as a short run.
    Later,
    Component(Box<WasiCtx>),
    Module(Box<WasiP1Ctx>),
}

impl Guest {
    pub(crate) fn task(
        plugin: &Arc<PluginContext>,
        run: RunRequest,
        input_bytes: usize,
        resources: RunResources,
    ) -> Self {
        let RunResources { reservation, secrets, scratch } = resources;
        let account = account(plugin, input_bytes, reservation);
        let files = OpenFiles::new(plugin, &run.host, scratch);
        Self::new(plugin, run, account, Wasi::Later, None, secrets, files)
    }

    /// Creates the guest of a program that is a component.
    pub(crate) fn command(
        plugin: &Arc<PluginContext>,
        run: RunRequest,
        input: ProgramInput,
        resources: RunResources,
    ) -> Self {
        let RunResources { reservation, secrets, scratch } = resources;
        let account = account(plugin, input.bytes(), reservation);
        let files = OpenFiles::new(plugin, &run.host, scratch);
        let (mut wasi, program) = program(plugin, &run, input, &account, secrets.as_ref());
        let mut wasi = wasi.build();
        *wasi.filesystem() = files.context();
        Self::new(plugin, run, account, Wasi::Component(Box::new(wasi)), Some(program), secrets, files)
    }

    /// Creates the guest of a program that is a core module.
    pub(crate) fn module(
        plugin: &Arc<PluginContext>,
        run: RunRequest,
        input: ProgramInput,
        resources: RunResources,
    ) -> Self {
        let RunResources { reservation, secrets, scratch } = resources;
        let account = account(plugin, input.bytes(), reservation);
        let files = OpenFiles::new(plugin, &run.host, scratch);
        let (mut wasi, program) = program(plugin, &run, input, &account, secrets.as_ref());
        let mut wasi = wasi.build_p1();
        let WasiCtxView { ctx, table } = wasi.ctx();
        table.set_max_capacity(HANDLES_MAX);
        *ctx.filesystem() = files.context();
        Self::new(plugin, run, account, Wasi::Module(Box::new(wasi)), Some(program), secrets, files)
    }

    fn new(
        plugin: &Arc<PluginContext>,
        run: RunRequest,
        account: Arc<Account>,
        wasi: Wasi,
        program: Option<Program>,
        secrets: Option<Arc<RunSecrets>>,
        files: OpenFiles,
    ) -> Self {
        let (mut handles, mut no_handles) = (ResourceTable::new(), ResourceTable::new());
        handles.set_max_capacity(HANDLES_MAX);
        no_handles.set_max_capacity(0);
        let tcp = GuestTcp::new(plugin, &run.host, account.reservation().status(), secrets.as_ref());
        let mut wasi = wasi;
        if let (Some(tcp), Wasi::Component(ctx)) = (&tcp, &mut wasi) {
            *ctx.sockets() = tcp.context();
        }
        Self {
            run,
            limiter: Limiter::new(&account),
            call_bytes_max: call_bytes_max(&plugin.config.limits, matches!(wasi, Wasi::Module(_))),
            account,
            files,
            tcp,
            secrets,
            plugin: Arc::clone(plugin),
            program,
            timer: None,
            handles,
            no_handles,
            uncounted_calls: 0,
            wasi,
            http: None,
        }
    }

    pub(crate) fn status(&self) -> &InstanceStatus {
        self.account.reservation().status()
    }

    /// Returns the variables that the manifest sets.
    pub(crate) fn variables(&self) -> Variables<'_> {
        Variables { env: &self.plugin.config.permissions.env, secrets: self.secrets.as_ref() }
    }

    /// Removes revealed secrets from a text that outlives the guest.
    pub(crate) fn redact(&self, text: String) -> String {
        match &self.secrets {
            Some(secrets) => secrets.redact(text),
            None => text,
        }
    }

    /// Removes revealed secrets from bytes that outlive the guest.
    pub(crate) fn redact_bytes(&self, bytes: Vec<u8>) -> Vec<u8> {
        let redacted = self.secrets.as_ref().and_then(|secrets| match secrets.redact_bytes(&bytes) {
            Cow::Owned(redacted) => Some(redacted),
            Cow::Borrowed(_) => None,
        });
        redacted.unwrap_or(bytes)
    }

    /// Writes bytes to the log of the run, without revealed secrets.
    pub(crate) fn log(&self, stream: LogStream, written: &[u8]) {
        let written = match &self.secrets {
            Some(secrets) => secrets.redact_log(stream, written),
            None => written.into(),
        };
        self.write_log(stream, &written);
    }

    fn write_log(&self, stream: LogStream, written: &[u8]) {
        self.run.host.log(stream, written);
        if let Some(program) = self.program.as_ref().filter(|_| stream == LogStream::Stderr) {
            program.stderr_tail.write(written);
        }
    }

    /// Ends the output of a guest that has ended: writes what is held of its logs, and removes revealed secrets from the
    /// stdout of a program.
    pub(crate) fn finish_output(&self) {
        let Some(secrets) = &self.secrets else { return };
        for stream in [LogStream::Stdout, LogStream::Stderr] {
            let held = secrets.finish_log(stream);
            if !held.is_empty() {
                self.write_log(stream, &held);
            }
        }
        if let Some(program) = &self.program {
            program.stdout.redact(secrets);
        }
    }

    /// Counts the memory behind the handles of a component. A guest without HTTP, TCP and folders has only timers and
    /// log streams, which keep nothing.
    fn count_handles(&mut self) {
        if self.http.is_none() && self.tcp.is_none() && self.files.is_none() {
            return;
        }
        if self.uncounted_calls > 0 {
            self.uncounted_calls -= 1;
            return;
        }
        let (bytes, entries) = handle_bytes::estimate(&mut self.handles);
        self.uncounted_calls = entries / HANDLES_PER_CALL;
        self.account.set_handles(bytes);
    }

    /// Registers the folders of a core module before its first call.
    pub(crate) fn note_folders(&mut self) {
        if let Wasi::Module(wasi) = &mut self.wasi {
            self.files.note_folders(wasi);
        }
    }

    /// Logs that the guest tried to write to a read-only folder.
    pub(crate) fn log_denied_write(&self, file: u32) {
        let folder = self.files.get(file).and_then(|file| self.plugin.folders.get(file.folder));
        if let Some(folder) = folder.filter(|folder| !folder.rule.write) {
            self.plugin.denial_log.log_write(&folder.rule);
        }
    }

    /// Returns the WASI preview 1 context and records the call.
    ///
    /// # Panics
    ///
    /// Panics for a component, which is never linked against it.
    pub(crate) fn preview1(&mut self) -> &mut WasiP1Ctx {
        self.status().begin_call(HostCall::Preview1);
        self.preview1_unnoted()
    }

    /// Returns the WASI preview 1 context for a call that is already recorded.
    ///
    /// # Panics
    ///
    /// See [`Guest::preview1`].
    pub(crate) fn preview1_unnoted(&mut self) -> &mut WasiP1Ctx {
        match &mut self.wasi {
            Wasi::Module(wasi) => wasi,
            Wasi::Later | Wasi::Component(_) => panic!("only core modules use preview 1"),
        }
    }
}

/// Opens the memory account of a guest.
fn account(plugin: &PluginContext, input_bytes: usize, reservation: Arc<MemoryReservation>) -> Arc<Account> {
    Arc::new(Account::new(plugin.config.limits.memory_bytes, input_bytes as u64, reservation))
}

/// Returns the bytes that one call may pass to the host. A core module can write as much of a file at once as it
/// has memory; a component asks how much it may write.
fn call_bytes_max(limits: &Limits, is_module: bool) -> usize {
    let largest = limits.result_bytes.max(limits.checkpoint_bytes).saturating_add(CALL_BYTES_SPARE);
    let bytes = if is_module { largest.max(limits.memory_bytes) } else { largest };
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Creates the WASI context of a program, and its output buffers.
fn program(
    plugin: &Arc<PluginContext>,
    run: &RunRequest,
    input: ProgramInput,
    account: &Arc<Account>,
    secrets: Option<&Arc<RunSecrets>>,
) -> (WasiCtxBuilder, Program) {
    let PluginConfig { limits, permissions, .. } = &*plugin.config;
    let program =
        Program { stdout: StdoutBuffer::new(limits.result_bytes, account), stderr_tail: StderrTail::new() };
    let Program { stdout, stderr_tail } = &program;
    let variables = Variables { env: &permissions.env, secrets };
    (wasi_ctx::for_program(run, input, &variables, stdout, stderr_tail), program)
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        if let Wasi::Later = self.wasi {
            let mut wasi = wasi_ctx::for_task(&self.run, &self.variables()).build();
            *wasi.filesystem() = self.files.context();
            if let Some(tcp) = &self.tcp {
                *wasi.sockets() = tcp.context();
            }
            self.wasi = Wasi::Component(Box::new(wasi));
        }
        self.count_handles();
        let is_overdrawn = self.account.is_overdrawn();
        match &mut self.wasi {
            Wasi::Component(ctx) => {
                let table = if is_overdrawn { &mut self.no_handles } else { &mut self.handles };
                WasiCtxView { ctx, table }
            }
            Wasi::Module(wasi) => wasi.ctx(),
            Wasi::Later => unreachable!("it was made above"),
        }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.count_handles();
        let (hooks, ctx) = self.http.get_or_insert_with(|| {
            let calls = self.account.reservation().status().http();
            let mut ctx = WasiHttpCtx::new();
            ctx.set_field_size_limit(FIELDS_BYTES_MAX);
            (HttpHooks::new(&self.plugin, calls, &self.run.host, self.secrets.as_ref()), ctx)
        });
        let table = if self.account.is_overdrawn() { &mut self.no_handles } else { &mut self.handles };
        WasiHttpCtxView { hooks, table, ctx }
    }
}
