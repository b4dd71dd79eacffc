//! `wasmill dev`: builds a plugin and runs it, and does so again whenever a source has changed.
//!
//! The build and the run are child processes, each in a process group of its own: what they start ends with them. A
//! change during either ends it and starts over.

mod artifact;
mod child;
mod sources;
mod watcher;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result};

use self::child::ChildGroup;
use self::watcher::SourceWatcher;
use crate::cli::author::DevArgs;
use crate::exit::Exit;
use crate::output::note;
use crate::process::StopSignals;
use crate::run::block_on;
use crate::terminal::style::Style;

/// How long a guest may clean up when its run ends for a change or for Ctrl-C.
const GRACE: &str = "2s";

/// Why a child is not waited for any more.
enum Ended {
    /// It has exited.
    Exited(ExitStatus),
    /// A source has changed.
    Changed(PathBuf),
    /// A signal asks this command to stop.
    Stopped,
}

/// Watches, builds and runs until a signal.
pub(crate) fn dev(args: &DevArgs) -> Result<Exit> {
    block_on(watch(args))??;
    Ok(Exit::Done)
}

async fn watch(args: &DevArgs) -> Result<()> {
    let mut signals = StopSignals::listen()?;
    let mut watcher = SourceWatcher::start(&args.watch)?;
    loop {
        let ended = match build(args, &mut watcher, &mut signals).await? {
            Ended::Exited(status) if status.success() => match artifact::find(args.plugin.as_deref()) {
                Ok(plugin) => run(args, &plugin, &mut watcher, &mut signals).await?,
                Err(error) => {
                    say(&Style::stderr().red(format!("{error:#}")));
                    Ended::Exited(status)
                }
            },
            ended => ended,
        };
        let changed = match ended {
            Ended::Stopped => return Ok(()),
            Ended::Changed(path) => path,
            Ended::Exited(_) => {
                say(&Style::stderr().dim("waiting for a change; Ctrl-C ends"));
                tokio::select! {
                    biased;
                    () = signals.next() => return Ok(()),
                    changed = watcher.changed() => changed,
                }
            }
        };
        say(&format!("{} has changed", changed.display()));
    }
}

async fn build(args: &DevArgs, watcher: &mut SourceWatcher, signals: &mut StopSignals) -> Result<Ended> {
    say(&format!("building: {}", args.command.join(" ")));
    let (program, arguments) = args.command.split_first().context("the command line has a build command")?;
    let mut command = Command::new(program);
    command.args(arguments);
    let ended = wait(&mut command, watcher, signals)
        .await
        .with_context(|| format!("failed to start the build command '{program}'"))?;
    if let Ended::Exited(status) = &ended
        && !status.success()
    {
        say(&Style::stderr().red(format!("the build failed ({status})")));
    }
    Ok(ended)
}

async fn run(
    args: &DevArgs,
    plugin: &Path,
    watcher: &mut SourceWatcher,
    signals: &mut StopSignals,
) -> Result<Ended> {
    let mut command = Command::new(std::env::current_exe().context("failed to find this program")?);
    command.arg(if args.test { "test" } else { "run" }).arg(plugin);
    if !args.test {
        command.args(["--grace", GRACE]);
    }
    for (flag, value) in [("--input", &args.input), ("--stdin", &args.stdin)] {
        if let Some(value) = value {
            command.arg(flag).arg(value);
        }
    }
    let what = if args.test { "testing" } else { "running" };
    say(&format!("{what}: {}", plugin.display()));
    let ended = wait(&mut command, watcher, signals).await.context("failed to start this program again")?;
    if let Ended::Exited(status) = &ended {
        let style = Style::stderr();
        say(&if status.success() { style.green("done") } else { style.red(format!("it failed ({status})")) });
    }
    Ok(ended)
}

/// Starts a child and waits for its end, a change or a signal; on return nothing of it is left.
async fn wait(
    command: &mut Command,
    watcher: &mut SourceWatcher,
    signals: &mut StopSignals,
) -> Result<Ended> {
    let mut child = ChildGroup::start(command)?;
    let ended = tokio::select! {
        biased;
        status = child.exited() => return Ok(Ended::Exited(status?)),
        () = signals.next() => Ended::Stopped,
        changed = watcher.changed() => Ended::Changed(changed),
    };
    tokio::select! {
        biased;
        () = child.end() => {}
        // A second request does not want to wait: dropping the child kills it.
        () = signals.next() => return Ok(Ended::Stopped),
    }
    Ok(ended)
}

fn say(text: &str) {
    note!("{} {text}", Style::stderr().bold("wasmill:"));
}
