//! The reach of a key in a keys file: three lists, and which scopes go with them.

use std::fmt::Display;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use wasmill_model::{Group, KeySpace, PluginPattern, Reach, Tag};

use crate::scope::{Scope, Scopes};

/// Bytes of a hash that name a space of keys.
const SPACE_BYTES: usize = 16;

/// Reads the reach of a key.
///
/// # Errors
///
/// Fails if a name is invalid, a list is empty or too long, or a scope makes no sense within this reach.
pub(crate) fn read(
    plugins: Option<&[String]>,
    groups: Option<&[String]>,
    tags: Option<&[String]>,
    scopes: Scopes,
) -> Result<Reach, String> {
    let plugins = list::<PluginPattern>("plugins", plugins)?;
    let groups = list::<Group>("groups", groups)?;
    let tags = list::<Tag>("tags", tags)?;
    let reach = Reach::new(plugins, groups, tags).map_err(|error| error.to_string())?;
    match refusal(scopes, &reach) {
        Some(why) => Err(why.to_owned()),
        None => Ok(reach),
    }
}

/// Reads one list. An empty one would cover everything, where nothing may have been meant.
fn list<T: FromStr<Err: Display>>(what: &str, texts: Option<&[String]>) -> Result<Vec<T>, String> {
    match texts {
        None => Ok(Vec::new()),
        Some([]) => Err(format!("its {what} are empty; leave them out to cover all")),
        Some(texts) => {
            let parse = |text: &String| text.parse().map_err(|error| format!("its {what}: {error}"));
            texts.iter().map(parse).collect()
        }
    }
}

/// Returns why these scopes make no sense within this reach.
fn refusal(scopes: Scopes, reach: &Reach) -> Option<&'static str> {
    let has = |scope| scopes.iter().any(|given| given == scope);
    if !reach.is_bounded() {
        None
    } else if has(Scope::Admin) {
        Some("the scope admin reaches everything, so the key can have no plugins, groups and tags")
    } else if has(Scope::Metrics) {
        Some(
            "the metrics count all tasks, so a key with the scope metrics can have no plugins, groups and tags",
        )
    } else if has(Scope::Plugins) && reach.divides_plugins() {
        Some(
            "a plugin is changed for all its tasks, so a key with the scope plugins can have no groups and tags",
        )
    } else {
        None
    }
}

/// Returns the space of a reach, which other keys have if theirs is the same.
pub(crate) fn space(reach: &Reach) -> KeySpace {
    if !reach.is_bounded() {
        return KeySpace::default();
    }
    let mut hash = Sha256::new();
    let lists = [
        reach.plugins().iter().map(PluginPattern::as_str).collect::<Vec<_>>(),
        reach.groups().iter().map(Group::as_str).collect(),
        reach.tags().iter().map(Tag::as_str).collect(),
    ];
    // No name has a control character.
    for list in lists {
        list.into_iter().for_each(|name| hash.update(format!("{name}\0")));
        hash.update([1]);
    }
    KeySpace::new(&HEXLOWER.encode(&hash.finalize()[..SPACE_BYTES]))
}

/// Returns the lines of a file that say it.
pub(crate) fn lines(reach: &Reach) -> String {
    let plugins = line("plugins", reach.plugins().iter().map(PluginPattern::as_str));
    let groups = line("groups", reach.groups().iter().map(Group::as_str));
    let tags = line("tags", reach.tags().iter().map(Tag::as_str));
    plugins + &groups + &tags
}

fn line<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> String {
    let quoted = |name: &str| format!("\"{}\"", name.replace('\\', r"\\").replace('"', "\\\""));
    let names: Vec<_> = names.map(quoted).collect();
    if names.is_empty() { String::new() } else { format!("{what} = [{}]\n", names.join(", ")) }
}
