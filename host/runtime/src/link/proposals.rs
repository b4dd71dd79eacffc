//! Interfaces of WASI proposals that need nothing but what a run has: `wasi:config` and `wasi:logging`.
//!
//! Their versions are drafts, which are compatible with themselves only, so each name is linked as it is written.

use std::fmt::Write;

use wasmill_model::LogStream;
use wasmtime::component::{ComponentType, Lift, Linker, Lower};
use wasmtime::{Result, StoreContextMut};

use crate::guest::state::Guest;

/// The interface of variables.
pub(crate) const CONFIG: &str = "wasi:config/store@0.2.0-rc.1";
/// The interface of log lines, without its version.
pub(crate) const LOGGING: &str = "wasi:logging/logging";
const LOGGING_DRAFT: &str = "wasi:logging/logging@0.1.0-draft";

/// How much a line of the log matters.
#[derive(Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "guests construct it")]
enum Level {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
    #[component(name = "critical")]
    Critical,
}

/// Why a variable cannot be read, which never happens: they are in memory.
#[derive(ComponentType, Lower)]
#[component(variant)]
#[expect(dead_code, reason = "the type of the interface")]
enum ConfigError {
    #[component(name = "upstream")]
    Upstream(String),
    #[component(name = "io")]
    Io(String),
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

/// Links the interfaces.
pub(crate) fn add(linker: &mut Linker<Guest>) -> Result<()> {
    for name in [LOGGING, LOGGING_DRAFT] {
        linker.instance(name)?.func_wrap("log", log)?;
    }
    let mut config = linker.instance(CONFIG)?;
    config.func_wrap("get", |store: StoreContextMut<'_, Guest>, (key,): (String,)| {
        let variables = store.data().variables();
        let value = variables.iter().find(|(name, _)| *name == key).map(|(_, value)| value.to_owned());
        Ok((Ok::<_, ConfigError>(value),))
    })?;
    config.func_wrap("get-all", |store: StoreContextMut<'_, Guest>, (): ()| {
        let variables = store.data().variables();
        let all: Vec<_> = variables.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok((Ok::<_, ConfigError>(all),))
    })
}

/// Writes a line to the log of the run, as if to stderr.
#[expect(clippy::needless_pass_by_value, reason = "the signature is wasmtime's")]
fn log(store: StoreContextMut<'_, Guest>, (level, context, message): (Level, String, String)) -> Result<()> {
    let mut line = level.name().to_owned();
    if !context.is_empty() {
        write!(line, " {context}")?;
    }
    writeln!(line, ": {}", message.trim_end_matches('\n'))?;
    store.data().log(LogStream::Stderr, line.as_bytes());
    Ok(())
}
