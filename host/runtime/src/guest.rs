//! What the host keeps for one guest, inside its wasmtime store.

use std::sync::Arc;
use std::time::Instant;

use wasmill_model::{Limits, RunRequest};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::files::open::OpenFiles;
use crate::gate::Gate;
use crate::kept::{self, FIELDS_BYTES_MAX};
use crate::limiter::Limiter;
use crate::memory::{Account, Hold};
use crate::place::{HostCall, Place};
use crate::plugin::Plugin;
use crate::plugin_config::PluginConfig;
use crate::program::{Answer, LastWords, ProgramInput};
use crate::surroundings;

/// Timers, streams and other handles that one guest may hold at once.
pub(crate) const HANDLES_MAX: usize = 1_024;

/// The handles are counted anew before a call once there was a call for each so many of them.
const HANDLES_PER_CALL: usize = 8;

/// Bytes that one call may hand to the host beyond the largest output or checkpoint, so that one that is
/// only a little too large is refused with its size.
const CALL_BYTES_SPARE: u64 = 4 << 20;

/// One guest, as the host sees it.
pub(crate) struct Guest {
    pub(crate) run: RunRequest,
    pub(crate) limiter: Limiter,
    /// What it uses of its memory limit, and what the host keeps for it.
    pub(crate) account: Arc<Account>,
    /// Bytes that one call may hand to the host.
    pub(crate) call_bytes_max: usize,
    pub(crate) plugin: Arc<Plugin>,
    /// What a program leaves behind; a task has none.
    pub(crate) program: Option<Program>,
    /// Its newest timer: the handle, and when it rings.
    pub(crate) timer: Option<(u32, Instant)>,
    /// What it has open of its folders.
    pub(crate) files: OpenFiles,
    handles: ResourceTable,
    /// What a guest gets for its handles that is over its memory limit: nothing is in it and nothing fits, so
    /// whatever it calls for ends it.
    no_handles: ResourceTable,
    /// Calls until the handles are counted again.
    uncounted_calls: usize,
    wasi: Wasi,
    /// Made when the guest first asks for something of wasi:http.
    http: Option<(Gate, WasiHttpCtx)>,
}

/// What a program leaves behind.
pub(crate) struct Program {
    pub(crate) answer: Answer,
    pub(crate) last_words: LastWords,
}

/// WASI, in the form that the guest asks for it.
enum Wasi {
    /// Made when the guest first asks for something: it costs as much as a short run.
    Later,
    Component(Box<WasiCtx>),
    Module(Box<WasiP1Ctx>),
}

impl Guest {
    /// Makes the guest of a task.
    pub(crate) fn task(plugin: &Arc<Plugin>, run: RunRequest, input_bytes: usize, hold: Arc<Hold>) -> Self {
        let account = account(plugin, input_bytes, hold);
        Self::new(plugin, run, account, Wasi::Later, None)
    }

    /// Makes the guest of a program that is a component.
    pub(crate) fn command(
        plugin: &Arc<Plugin>,
        run: RunRequest,
        input: ProgramInput,
        hold: Arc<Hold>,
    ) -> Self {
        let account = account(plugin, input.bytes(), hold);
        let (mut wasi, program) = program(plugin, &run, input, &account);
        let wasi = with_folders(wasi.build(), plugin);
        Self::new(plugin, run, account, Wasi::Component(Box::new(wasi)), Some(program))
    }

    /// Makes the guest of a program that is a core module.
    pub(crate) fn module(
        plugin: &Arc<Plugin>,
        run: RunRequest,
        input: ProgramInput,
        hold: Arc<Hold>,
    ) -> Self {
        let account = account(plugin, input.bytes(), hold);
        let (mut wasi, program) = program(plugin, &run, input, &account);
        let mut wasi = wasi.build_p1();
        let WasiCtxView { ctx, table } = wasi.ctx();
        table.set_max_capacity(HANDLES_MAX);
        *ctx.filesystem() = plugin.folders.context();
        Self::new(plugin, run, account, Wasi::Module(Box::new(wasi)), Some(program))
    }

    fn new(
        plugin: &Arc<Plugin>,
        run: RunRequest,
        account: Arc<Account>,
        wasi: Wasi,
        program: Option<Program>,
    ) -> Self {
        let (mut handles, mut no_handles) = (ResourceTable::new(), ResourceTable::new());
        handles.set_max_capacity(HANDLES_MAX);
        no_handles.set_max_capacity(0);
        let files = OpenFiles::new(plugin, &run.host);
        Self {
            run,
            limiter: Limiter::new(&account),
            call_bytes_max: call_bytes_max(&plugin.config.limits, matches!(wasi, Wasi::Module(_))),
            account,
            files,
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

    /// Returns where the guest is, for others to see.
    pub(crate) fn place(&self) -> &Place {
        self.account.hold().place()
    }

    /// Counts what the host keeps for the handles of a component. Those of a guest that has neither HTTP nor folders
    /// are timers and streams of its log, which keep nothing.
    fn count_handles(&mut self) {
        if self.http.is_none() && self.plugin.config.permissions.dirs.is_empty() {
            return;
        }
        if self.uncounted_calls > 0 {
            self.uncounted_calls -= 1;
            return;
        }
        let (bytes, entries) = kept::bytes(&mut self.handles);
        self.uncounted_calls = entries / HANDLES_PER_CALL;
        self.account.set_handles(bytes);
    }

    /// Notes the folders of a core module before its first call.
    pub(crate) fn note_folders(&mut self) {
        if let Wasi::Module(wasi) = &mut self.wasi {
            self.files.note_folders(wasi);
        }
    }

    /// Tells the operator that the guest wanted to change something in a folder that it may only read.
    pub(crate) fn log_denied_write(&self, file: u32) {
        let folder = self.files.get(file).and_then(|file| self.plugin.folders.get(file.folder));
        if let Some(folder) = folder.filter(|folder| !folder.rule.write) {
            self.plugin.denials.log_write(&self.plugin, &folder.rule);
        }
    }

    /// Returns WASI preview 1, for a call.
    ///
    /// # Panics
    ///
    /// Panics for a component, which is never linked to it.
    pub(crate) fn preview1(&mut self) -> &mut WasiP1Ctx {
        self.place().enter(HostCall::Preview1);
        self.preview1_unnoted()
    }

    /// Returns WASI preview 1, for a call that was noted.
    ///
    /// # Panics
    ///
    /// See [`Guest::preview1`].
    pub(crate) fn preview1_unnoted(&mut self) -> &mut WasiP1Ctx {
        match &mut self.wasi {
            Wasi::Module(wasi) => wasi,
            Wasi::Later | Wasi::Component(_) => panic!("only core modules are linked to preview 1"),
        }
    }
}

/// Gives WASI the folders that its plugin was granted.
fn with_folders(mut wasi: WasiCtx, plugin: &Plugin) -> WasiCtx {
    *wasi.filesystem() = plugin.folders.context();
    wasi
}

/// Opens the account of a guest.
fn account(plugin: &Plugin, input_bytes: usize, hold: Arc<Hold>) -> Arc<Account> {
    Arc::new(Account::new(plugin.config.limits.memory_bytes, input_bytes as u64, hold))
}

/// Returns the bytes that one call may hand to the host. A core module may write as much of a file at once
/// as it has memory for; a component asks how much it may write.
fn call_bytes_max(limits: &Limits, is_module: bool) -> usize {
    let largest = limits.output_bytes.max(limits.checkpoint_bytes).saturating_add(CALL_BYTES_SPARE);
    let bytes = if is_module { largest.max(limits.memory_bytes) } else { largest };
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Makes the surroundings of a program, and what it will leave behind.
fn program(
    plugin: &Arc<Plugin>,
    run: &RunRequest,
    input: ProgramInput,
    account: &Arc<Account>,
) -> (WasiCtxBuilder, Program) {
    let PluginConfig { limits, permissions, .. } = &*plugin.config;
    let program = Program { answer: Answer::new(limits.output_bytes, account), last_words: LastWords::new() };
    let Program { answer, last_words } = &program;
    (surroundings::of_program(run, input, &permissions.env, answer, last_words), program)
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        if let Wasi::Later = self.wasi {
            let env = &self.plugin.config.permissions.env;
            let wasi = surroundings::of_task(&self.run.host, env).build();
            self.wasi = Wasi::Component(Box::new(with_folders(wasi, &self.plugin)));
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
        let (gate, ctx) = self.http.get_or_insert_with(|| {
            let calls = self.account.hold().place().http();
            let mut ctx = WasiHttpCtx::new();
            ctx.set_field_size_limit(FIELDS_BYTES_MAX);
            (Gate::new(&self.plugin, calls, &self.run.host), ctx)
        });
        let table = if self.account.is_overdrawn() { &mut self.no_handles } else { &mut self.handles };
        WasiHttpCtxView { hooks: gate, table, ctx }
    }
}
