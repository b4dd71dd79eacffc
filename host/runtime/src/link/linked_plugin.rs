//! A compiled plugin, linked and ready to be instantiated.
//!
//! Created by the loader from an [`Artifact`]; instantiated by `instance`.

use std::sync::OnceLock;

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentNamedList, HasSelf, Lift, Linker, Lower};
use wasmtime::{Engine, ExternType, InstancePre, Module};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi::{I32Exit, p1, p2};

use crate::engine::engines::Engines;
use crate::engine::profile::Profile;
use crate::error::format;
use crate::guest::state::Guest;
use crate::link::bindings::plugin::PluginPre;
use crate::link::bindings::suspendable::SuspendablePluginPre;
use crate::link::bindings::wasmill::task::types::{Failure, Step};
use crate::link::bindings::wasmill::task::{host, stop, types};
use crate::link::entry_points::{JOB, MAIN, RESUMABLE_JOB, START};
use crate::link::{file_modules, proposals, wasi_overrides};
use crate::plugin::kind::PluginKind;

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
        host::add_to_linker::<_, HasSelf<_>>(&mut component, |guest| guest)?;
        stop::add_to_linker::<_, HasSelf<_>>(&mut component, |guest| guest)?;
        types::add_to_linker::<_, HasSelf<_>>(&mut component, |guest| guest)?;
        wasi_overrides::add(&mut component)?;
        proposals::add(&mut component)?;

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

/// Checks the type of the function with which a component starts. The generated code only looks it up: a wrong type
/// would be found by the first task.
fn check_function<Params, Results>(
    component: &Component,
    interface: &str,
    function: &str,
) -> Result<(), String>
where
    Params: ComponentNamedList + Lower,
    Results: ComponentNamedList + Lift,
{
    let instance = component.get_export_index(None, interface);
    let ty = component.component_type();
    match instance.and_then(|instance| component.get_export(Some(&instance), function)) {
        Some((ComponentItem::ComponentFunc(found), _))
            if found.typecheck::<Params, Results>(&ty.instance_type()).is_ok() =>
        {
            Ok(())
        }
        _ => Err(format!("the function `{function}` that it exports is not that of {interface}")),
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
        let file = component.component();
        let code = match kind {
            PluginKind::Command => {
                check_function::<(), (Result<(), ()>,)>(file, MAIN, "run")?;
                CommandPre::new(component).map(LinkedPlugin::Command)
            }
            PluginKind::Suspendable => {
                type Resume<'a> = (&'a str, Option<&'a [u8]>);
                check_function::<Resume<'_>, (Result<Step, Failure>,)>(file, RESUMABLE_JOB, "resume")?;
                SuspendablePluginPre::new(component).map(LinkedPlugin::Suspendable)
            }
            PluginKind::Task | PluginKind::Module => {
                check_function::<(&str,), (Result<String, Failure>,)>(file, JOB, "run")?;
                PluginPre::new(component).map(LinkedPlugin::Task)
            }
        };
        code.map_err(|error| format::bounded(format_args!("it cannot be linked: {error:#}")))
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
