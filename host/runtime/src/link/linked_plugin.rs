//! A compiled plugin, linked and ready to be instantiated.
//!
//! Created by the loader from an [`Artifact`]; instantiated by `instance`.

use std::sync::OnceLock;

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Engine, ExternType, InstancePre, Module};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi::{I32Exit, p1, p2};

use crate::engine::engines::Engines;
use crate::engine::profile::Profile;
use crate::format;
use crate::guest::state::Guest;
use crate::link::bindings::suspendable::SuspendablePluginPre;
use crate::link::bindings::{Plugin, PluginPre};
use crate::link::entry_points::{MAIN, START};
use crate::link::file_modules;
use crate::link::wasi_overrides;
use crate::plugin::kind::PluginKind;

const WRONG_MAIN: &str = "its `wasi:cli/run` is not that of WASI 0.2";

/// Compiled code, fresh or from the cache.
pub(crate) enum Artifact {
    /// A component.
    Component(Component),
    /// A core module.
    Module(Module),
}

/// A plugin ready to be instantiated, one variant for each kind.
pub(crate) enum LinkedPlugin {
    /// A component of the world `plugin`.
    Task(PluginPre<Guest>),
    /// A component of the world `suspendable-plugin`.
    Suspendable(SuspendablePluginPre<Guest>),
    /// A component with a main function.
    Command(CommandPre<Guest>),
    /// A core module with a main function.
    Module(InstancePre<Guest>),
}

/// The linkers of each engine.
pub(crate) struct Linkers {
    engines: Engines,
    pooled: LinkerSet,
    /// Created with its engine, on first use.
    on_demand: OnceLock<LinkerSet>,
}

/// The linkers of one engine: what guests can import.
struct LinkerSet {
    component: Linker<Guest>,
    module: wasmtime::Linker<Guest>,
}

impl LinkerSet {
    fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let mut component = Linker::new(engine);
        p2::add_to_linker_async(&mut component)?;
        wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut component)?;
        Plugin::add_to_linker::<_, HasSelf<_>>(&mut component, |guest| guest)?;
        wasi_overrides::add(&mut component)?;

        let mut module = wasmtime::Linker::new(engine);
        p1::add_to_linker_async(&mut module, Guest::preview1)?;
        // wasmtime's own rejects exit codes over 125, but programs do exit with -1 and the like.
        module.allow_shadowing(true);
        module.func_wrap("wasi_snapshot_preview1", "proc_exit", |code: i32| -> wasmtime::Result<()> {
            Err(I32Exit(code).into())
        })?;
        wasi_overrides::add_preview1(&mut module)?;
        file_modules::add(&mut module)?;
        Ok(Self { component, module })
    }
}

/// Checks the type of a core module's start function; its presence has been checked.
fn check_start(module: &Module) -> Result<(), String> {
    match module.get_export(START) {
        Some(ExternType::Func(start)) if start.params().len() == 0 && start.results().len() == 0 => Ok(()),
        _ => Err(format!("its `{START}` is not a function without parameters and results")),
    }
}

/// Returns true if a component has a main function of the right type.
fn has_main(component: &Component) -> bool {
    let (engine, ty) = (component.engine(), component.component_type());
    let run = ty.exports(engine).find_map(|(name, export)| match export.ty {
        ComponentItem::ComponentInstance(run) if name.starts_with(MAIN) => Some(run),
        _ => None,
    });
    match run.as_ref().and_then(|run| run.get_export(engine, "run")).map(|main| main.ty) {
        Some(ComponentItem::ComponentFunc(main)) => {
            main.typecheck::<(), (Result<(), ()>,)>(&ty.instance_type()).is_ok()
        }
        _ => false,
    }
}

impl Linkers {
    pub(crate) fn new(engines: &Engines) -> wasmtime::Result<Self> {
        let pooled = LinkerSet::new(engines.get(Profile::Pooled))?;
        Ok(Self { engines: engines.clone(), pooled, on_demand: OnceLock::new() })
    }

    /// Links and type-checks an artifact.
    ///
    /// # Errors
    ///
    /// Names the import that cannot be resolved, or the export with the wrong type.
    pub(crate) fn link(
        &self,
        kind: PluginKind,
        profile: Profile,
        artifact: &Artifact,
    ) -> Result<LinkedPlugin, String> {
        let linker_set = self.linker_set(profile);
        let unresolved = |error| format::bounded(format_args!("it has an unresolved import: {error:#}"));
        let component = match artifact {
            Artifact::Module(module) => {
                check_start(module)?;
                return linker_set
                    .module
                    .instantiate_pre(module)
                    .map(LinkedPlugin::Module)
                    .map_err(unresolved);
            }
            Artifact::Component(component) => {
                linker_set.component.instantiate_pre(component).map_err(unresolved)?
            }
        };
        // The generated code only looks the function up; a wrong type would be found by the first task.
        if kind == PluginKind::Command && !has_main(component.component()) {
            return Err(WRONG_MAIN.to_owned());
        }
        let (code, wrong) = match kind {
            PluginKind::Command => (CommandPre::new(component).map(LinkedPlugin::Command), WRONG_MAIN),
            PluginKind::Suspendable => (
                SuspendablePluginPre::new(component).map(LinkedPlugin::Suspendable),
                "its `resume` is not that of wasmill:task/suspendable-plugin@0.1.0",
            ),
            PluginKind::Task | PluginKind::Module => (
                PluginPre::new(component).map(LinkedPlugin::Task),
                "its `run-task` is not that of wasmill:task/plugin@0.1.0",
            ),
        };
        code.map_err(|error| format::bounded(format_args!("{wrong}: {error:#}")))
    }

    fn linker_set(&self, profile: Profile) -> &LinkerSet {
        match profile {
            Profile::Pooled => &self.pooled,
            Profile::OnDemand => self.on_demand.get_or_init(|| {
                LinkerSet::new(self.engines.get(profile))
                    .expect("functions that link for one engine link for the other")
            }),
        }
    }
}
