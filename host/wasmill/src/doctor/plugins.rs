//! The plugins folder: whether it can be read and watched, and written where uploads are allowed.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

use crate::doctor::data::network_name;
use crate::doctor::report::Check;
use crate::settings::Config;

pub(super) fn checks(config: &Config) -> Vec<Check> {
    const NAME: &str = "plugins";
    let folder = &config.plugins;
    let shown = std::path::absolute(folder).unwrap_or_else(|_| folder.clone()).display().to_string();
    let files = match files(folder) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let found = format!("{shown} is not there; the plugins that are built in are served");
            return vec![Check::ok(NAME, found)];
        }
        Err(error) => {
            return vec![Check::fail(
                NAME,
                format!("{shown} cannot be read: {error}"),
                "serve does not start",
                format!("chmod a+rX {shown}, or --plugins with another folder"),
            )];
        }
    };
    let unreadable: Vec<_> =
        files.iter().filter_map(|(name, read)| Some((name, read.as_ref().err()?))).collect();
    let mut checks = vec![match unreadable.first() {
        Some((name, error)) => Check::warn(
            NAME,
            format!(
                "{} of {} in {shown} cannot be read, such as {name}: {error}",
                unreadable.len(),
                files.len()
            ),
            "these are no plugins",
            format!("chmod a+r {shown}/*.wasm"),
        ),
        None => Check::ok(NAME, format!("{} in {shown} can be read", files.len())),
    }];
    checks.push(watched(config));
    if config.allow_upload
        && let Err(error) = tempfile::tempfile_in(folder)
    {
        checks.push(Check::fail(
            "uploads",
            format!("{shown} cannot be written: {error}"),
            "PUT and DELETE of plugins answer 503",
            format!("chown $(id -u) {shown}, or leave out --allow-upload"),
        ));
    }
    checks
}

/// Tries to open every `*.wasm`.
fn files(folder: &Path) -> io::Result<Vec<(String, io::Result<File>)>> {
    let mut files = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        // A pipe would be waited for.
        if path.extension().is_some_and(|extension| extension == "wasm")
            && !path.metadata().is_ok_and(|m| !m.is_file())
        {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.push((name, File::open(path)));
        }
    }
    Ok(files)
}

fn watched(config: &Config) -> Check {
    const NAME: &str = "watching";
    const COST: &str = "a change is noticed after 2 s rather than at once";
    if let Some(interval) = config.watch_poll {
        return Check::ok(NAME, format!("looked at every {}", humantime::format_duration(interval)));
    }
    if let Some(name) = network_name(&config.plugins) {
        return Check::warn(
            NAME,
            format!("the file system is {name}, which does not tell of changes made elsewhere"),
            COST,
            "--watch-poll 1s",
        );
    }
    let watched = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
        .and_then(|inotify| inotify::add_watch(inotify, &config.plugins, WatchFlags::CREATE).map(drop));
    match watched {
        Ok(()) => Check::ok(NAME, "the system tells of changes"),
        Err(Errno::MFILE) => Check::warn(
            NAME,
            "this user has as many inotify instances as it may",
            COST,
            "sysctl -w fs.inotify.max_user_instances=1024",
        ),
        Err(Errno::NOSPC) => Check::warn(
            NAME,
            "this user watches as many files as it may",
            COST,
            "sysctl -w fs.inotify.max_user_watches=1048576",
        ),
        Err(error) => Check::warn(
            NAME,
            format!("the system does not tell of changes: {error}"),
            COST,
            "--watch-poll 1s",
        ),
    }
}
