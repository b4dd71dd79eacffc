//! Checks who may use the API, which keys end soon, and that nobody else can read their files. It never shows a key.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use wasmill_access::Keys;
use wasmill_model::{Clock, SystemClock, TimeDelta};

use super::report::Check;
use crate::serve::access::{key_files, needs_keys};
use crate::settings::{AuthMode, Settings};

/// Keys that end within this time are named.
const SOON: TimeDelta = TimeDelta::days(14);

const NAME: &str = "access";
const PEOPLE: &str = "people";

pub(super) fn checks(settings: &Settings) -> Vec<Check> {
    if settings.auth == AuthMode::None {
        return vec![match settings.listen.is_local() {
            true => Check::ok(NAME, "open to everyone on this machine"),
            false => Check::warn(
                NAME,
                format!("open to everyone who reaches {}", settings.listen),
                "they may do everything",
                "make keys with wasmill key create, and leave out --auth none",
            ),
        }];
    }
    let read = key_files(settings).and_then(|files| Ok((files.read()?, files)));
    let (keys, files) = match read {
        Ok(read) => read,
        Err(error) => {
            let fix = "correct the file or the variable that it names";
            return vec![Check::fail(NAME, error.to_string(), "serve does not start", fix)];
        }
    };
    let mut checks = vec![match needs_keys(settings) {
        Some(why) if keys.is_empty() => {
            let fix = "wasmill key create NAME --scope admin, or --auth none";
            Check::fail(NAME, why, "serve does not start", fix)
        }
        _ if keys.is_empty() => Check::ok(NAME, "open to everyone on this machine until there is a key"),
        _ => {
            let names: Vec<_> = keys.list().into_iter().map(|key| key.name.as_str()).collect();
            Check::ok(NAME, format!("every request needs a key; there are {}", names.join(", ")))
        }
    }];
    checks.extend(ending(&keys));
    checks.extend(spoofable(settings, &keys));
    let secret = settings.openid.openid_client_secret_file.as_deref();
    checks.extend(secret.and_then(|path| readable("client secret", path)));
    checks.extend(
        [Some(files.own()), files.given()]
            .into_iter()
            .flatten()
            .filter_map(|path| readable("keys file", path)),
    );
    checks
}

/// Says who may claim to be anyone, if headers of a proxy name the users, and whether the entries about people count.
fn spoofable(settings: &Settings, keys: &Keys) -> Vec<Check> {
    let people = keys.people().len();
    let mut checks: Vec<_> = signs_in(settings, people).into_iter().collect();
    let Some(header) = &settings.proxy_user_header else {
        if !checks.is_empty() {
            return checks;
        }
        let unused = Check::warn(
            PEOPLE,
            format!(
                "the keys files say what {people} people may do, and neither proxy nor issuer names anyone"
            ),
            "nobody signs in as one of them",
            "--proxy-user-header HEADER and --trust-proxy ADDRESS, or --openid-issuer URL",
        );
        return if people > 0 { vec![unused] } else { Vec::new() };
    };
    if people == 0 {
        let fix = "add a [[person]] to the keys file";
        checks.push(Check::warn(PEOPLE, "no keys file is about people", "nobody signs in by a proxy", fix));
    }
    for network in &settings.trust_proxy {
        let (who, fix) = if network.is_loopback() {
            (
                "every program on this machine",
                "run nothing else here, or let the proxy connect from a machine of its own",
            )
        } else if !network.is_one_address() {
            ("every machine of the network", "name the addresses of the proxies alone in --trust-proxy")
        } else {
            continue;
        };
        let found = format!("{who} that connects from {network} may send {header} and is then whom it names");
        checks.push(Check::warn(PEOPLE, found, "they have the rights of every [[person]]", fix));
    }
    if checks.is_empty() {
        checks.push(Check::ok(PEOPLE, format!("{people} entries are about people whom a proxy signs in")));
    }
    checks
}

/// Says at which issuer people sign in, and what it has to allow.
fn signs_in(settings: &Settings, people: usize) -> Option<Check> {
    let issuer = settings.openid.openid_issuer.as_deref()?;
    let redirect = settings.openid.redirect_uri();
    let found =
        format!("{people} entries are about people who sign in at {issuer}, which has to allow {redirect}");
    Some(match people {
        0 => Check::warn(
            PEOPLE,
            format!("people sign in at {issuer}, and no keys file is about people"),
            "nobody may do anything who has signed in there",
            "add a [[person]] to the keys file",
        ),
        _ => Check::ok(PEOPLE, found),
    })
}

/// Names the keys that have ended, or will soon.
fn ending(keys: &Keys) -> Option<Check> {
    let soon = SystemClock.now() + SOON;
    let ending = keys.list().into_iter().filter_map(|key| {
        let expires = key.expires.filter(|expires| *expires <= soon)?;
        Some(format!("{} ({}) at {}", key.name, key.id, expires.format("%Y-%m-%d %H:%M")))
    });
    let ending: Vec<_> = ending.collect();
    (!ending.is_empty()).then(|| {
        Check::warn(
            "keys",
            format!("these have ended, or end within 14 days: {}", ending.join(", ")),
            "their requests are then refused",
            "wasmill key rotate NAME",
        )
    })
}

/// Warns of a file that others may read: a file of keys may name secrets, and hashes of weak ones can be guessed.
pub(super) fn readable(name: &'static str, path: &Path) -> Option<Check> {
    let mode = path.metadata().ok()?.mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        Check::warn(
            name,
            format!("{} has the mode {mode:03o}", path.display()),
            "other users of this machine may read or change it",
            format!("chmod 600 {}", path.display()),
        )
    })
}
