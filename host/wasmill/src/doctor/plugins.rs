//! The plugins folder: whether it can be read and watched, and written if uploads are allowed.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

use wasmill_runtime::PluginTrust;

use crate::doctor::data::{may_chown, network_name};
use crate::doctor::report::Check;
use crate::settings::Settings;

/// Returns the checks; one of them writes an unnamed file.
pub(super) fn checks(settings: &Settings, may_write: bool) -> Vec<Check> {
    const NAME: &str = "plugins";
    let folder = &settings.plugins;
    let shown = std::path::absolute(folder).unwrap_or_else(|_| folder.clone()).display().to_string();
    let files = match files(folder) {
        Ok(files) => files,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let found = format!("{shown} does not exist; only built-in plugins are served");
            return vec![Check::ok(NAME, found)];
        }
        Err(error) => {
            return vec![Check::fail(
                NAME,
                format!("{shown} is not readable: {error}"),
                "serve does not start",
                if may_chown(&error, folder) {
                    format!("chmod a+rX {shown}, or use another folder with --plugins")
                } else {
                    "use another folder with --plugins".to_owned()
                },
            )];
        }
    };
    let unreadable: Vec<_> =
        files.iter().filter_map(|(name, read)| Some((name, read.as_ref().err()?))).collect();
    let mut checks = vec![match unreadable.first() {
        Some((name, error)) => Check::warn(
            NAME,
            format!(
                "{} of {} in {shown} are not readable, such as {name}: {error}",
                unreadable.len(),
                files.len()
            ),
            "these plugins are not served",
            format!("chmod a+r {shown}/*.wasm"),
        ),
        None => Check::ok(NAME, format!("{} in {shown} are readable", files.len())),
    }];
    checks.push(watched(settings));
    checks.push(trusted(settings, files.iter().map(|(name, _)| name.as_str())));
    if settings.allow_upload
        && may_write
        && let Err(error) = tempfile::tempfile_in(folder)
    {
        checks.push(Check::fail(
            "uploads",
            format!("{shown} is not writable: {error}"),
            "PUT and DELETE of plugins answer 503",
            if may_chown(&error, folder) {
                format!("chown $(id -u) {shown}, or omit --allow-upload")
            } else {
                "use another folder with --plugins, or omit --allow-upload".to_owned()
            },
        ));
    }
    checks
}

/// Tries to open every `*.wasm`.
fn files(folder: &Path) -> io::Result<Vec<(String, io::Result<File>)>> {
    let mut files = Vec::new();
    for entry in folder.read_dir()? {
        let path = entry?.path();
        // Opening a named pipe would block.
        if path.extension().is_some_and(|extension| extension == "wasm")
            && !path.metadata().is_ok_and(|m| !m.is_file())
        {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.push((name, File::open(path)));
        }
    }
    Ok(files)
}

/// Says which plugins of the folder a server would not trust.
fn trusted<'a>(settings: &Settings, names: impl Iterator<Item = &'a str>) -> Check {
    const NAME: &str = "plugin trust";
    let trust = match settings.trust() {
        Ok(trust) => trust,
        Err(error) => {
            return Check::fail(NAME, error.to_string(), "serve does not start", "correct --plugin-keys");
        }
    };
    let (what, fix) = match &trust {
        PluginTrust::Any => return Check::ok(NAME, "every file of the plugins folder may be a plugin"),
        PluginTrust::Listed(_) => ("listed in trusted.toml", "wasmill plugin trust FILE".to_owned()),
        PluginTrust::Signed(signed) => (
            "signed",
            format!("minisign -S -m FILE, with one of the {} keys of --plugin-keys", signed.keys.count()),
        ),
    };
    let (mut count, mut refused) = (0, Vec::new());
    for name in names {
        count += 1;
        refused.extend(trust.check(&settings.plugins.join(name)).err());
    }
    match refused.first() {
        None => Check::ok(NAME, format!("{count} of {count} plugins are {what}")),
        Some(first) => Check::warn(
            NAME,
            format!("{} of {count} plugins are not trusted, such as: {first}", refused.len()),
            "these plugins are rejected",
            fix,
        ),
    }
}

fn watched(settings: &Settings) -> Check {
    const NAME: &str = "watching";
    const COST: &str = "changes are noticed after 2 s instead of at once";
    if let Some(interval) = settings.watch_poll {
        return Check::ok(NAME, format!("polled every {}", humantime::format_duration(interval)));
    }
    if let Some(name) = network_name(&settings.plugins) {
        return Check::warn(
            NAME,
            format!("the file system is {name}, which does not report changes made elsewhere"),
            COST,
            "--watch-poll 1s",
        );
    }
    let watched = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
        .and_then(|inotify| inotify::add_watch(inotify, &settings.plugins, WatchFlags::CREATE).map(drop));
    match watched {
        Ok(()) => Check::ok(NAME, "file events report changes"),
        Err(Errno::MFILE) => Check::warn(
            NAME,
            "this user has reached the limit of inotify instances",
            COST,
            "sysctl -w fs.inotify.max_user_instances=1024",
        ),
        Err(Errno::NOSPC) => Check::warn(
            NAME,
            "this user has reached the limit of inotify watches",
            COST,
            "sysctl -w fs.inotify.max_user_watches=1048576",
        ),
        Err(error) => {
            Check::warn(NAME, format!("file events are not available: {error}"), COST, "--watch-poll 1s")
        }
    }
}
