//! What a key may see and touch: the rule of tenants, in one place.
//!
//! `access` reads it from the keys file, the API applies it to requests, and the store filters by it. A backend may word
//! it in SQL, but means what [`Reach::covers`] says.

use std::fmt;
use std::str::FromStr;

use crate::task::{Group, TAGS_MAX, Tag};

/// Maximum plugins, and maximum groups, of a reach.
pub const REACH_NAMES_MAX: usize = 64;

/// Maximum tags of a reach: half of those that a task may have.
pub const REACH_TAGS_MAX: usize = TAGS_MAX / 2;

/// Maximum characters of a pattern.
const PATTERN_CHARS_MAX: usize = 64;

/// The tasks and plugins that a key may see and touch. The default covers everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    plugins: Vec<PluginPattern>,
    groups: Vec<Group>,
    tags: Vec<Tag>,
}

/// A reach that covers everything.
static EVERYTHING: Reach = Reach { plugins: Vec::new(), groups: Vec::new(), tags: Vec::new() };

impl Reach {
    /// Creates a reach: an empty list covers all.
    ///
    /// # Errors
    ///
    /// Fails if a list is too long.
    pub fn new(
        mut plugins: Vec<PluginPattern>,
        mut groups: Vec<Group>,
        mut tags: Vec<Tag>,
    ) -> Result<Self, InvalidReach> {
        plugins.sort_unstable();
        plugins.dedup();
        groups.sort_unstable();
        groups.dedup();
        tags.sort_unstable();
        tags.dedup();
        let is_short = plugins.len().max(groups.len()) <= REACH_NAMES_MAX && tags.len() <= REACH_TAGS_MAX;
        if is_short { Ok(Self { plugins, groups, tags }) } else { Err(InvalidReach) }
    }

    /// Returns the reach of those who have no limits.
    pub fn everything() -> &'static Self {
        &EVERYTHING
    }

    /// Returns true unless it covers everything.
    pub fn is_bounded(&self) -> bool {
        !(self.plugins.is_empty() && self.groups.is_empty() && self.tags.is_empty())
    }

    /// Returns true if it is bounded by more than plugins, so that tasks of one plugin may be within and outside.
    pub fn divides_plugins(&self) -> bool {
        !(self.groups.is_empty() && self.tags.is_empty())
    }

    /// Returns true if a task of this plugin and group with these tags is within.
    pub fn covers(&self, plugin: &str, group: Option<&str>, tags: &[Tag]) -> bool {
        self.covers_plugin(plugin)
            && self.covers_group(group)
            && self.tags.iter().all(|tag| tags.contains(tag))
    }

    /// Returns true if tasks of this plugin may be within.
    pub fn covers_plugin(&self, plugin: &str) -> bool {
        self.plugins.is_empty() || self.plugins.iter().any(|pattern| pattern.fits(plugin))
    }

    /// Returns true if tasks of this group may be within; `None` for those without a group.
    pub fn covers_group(&self, group: Option<&str>) -> bool {
        self.groups.is_empty() || self.groups.iter().any(|known| Some(known.as_str()) == group)
    }

    /// Returns the plugins, sorted; empty for all.
    pub fn plugins(&self) -> &[PluginPattern] {
        &self.plugins
    }

    /// Returns the groups, sorted; empty for all.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Returns the group of every task within, if there is only one.
    pub fn only_group(&self) -> Option<&Group> {
        if let [group] = &self.groups[..] { Some(group) } else { None }
    }

    /// Returns the tags that every task within has, sorted.
    pub fn tags(&self) -> &[Tag] {
        &self.tags
    }
}

/// Says what is covered, for people.
impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plugins = list("plugins", self.plugins.iter().map(PluginPattern::as_str));
        let groups = list("groups", self.groups.iter().map(Group::as_str));
        let tags = list("tags", self.tags.iter().map(Tag::as_str));
        let parts: Vec<_> = [plugins, groups, tags].into_iter().flatten().collect();
        f.write_str(if parts.is_empty() { "everything" } else { "" })?;
        f.write_str(&parts.join("; "))
    }
}

fn list<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let names: Vec<_> = names.collect();
    (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")))
}

/// A list of a reach is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a reach has at most {REACH_NAMES_MAX} plugins, {REACH_NAMES_MAX} groups and {REACH_TAGS_MAX} tags")]
pub struct InvalidReach;

/// The name of a plugin, in which each `*` stands for any characters, even none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PluginPattern(Box<str>);

impl PluginPattern {
    /// Returns the pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns true if a name fits.
    pub fn fits(&self, name: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return *self.0 == *name };
        let Some(mut left) = name.strip_prefix(first) else { return false };
        let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        // The earliest place of each part leaves most to the next ones.
        for part in middle.split('*') {
            let Some((_, behind)) = left.split_once(part) else { return false };
            left = behind;
        }
        left.ends_with(last)
    }
}

impl fmt::Display for PluginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PluginPattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let is_inner =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-*".contains(&byte);
        let is_pattern = (1..=PATTERN_CHARS_MAX).contains(&text.len())
            && text.bytes().all(is_inner)
            && !text.starts_with(['.', '_', '-']);
        if is_pattern { Ok(Self(text.into())) } else { Err(InvalidPattern(text.chars().take(40).collect())) }
    }
}

/// The text is neither the name of a plugin nor a pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no plugin: 1 to {PATTERN_CHARS_MAX} of a-z, 0-9, '.', '_', '-' and '*', starting with a letter, a digit or '*'"
)]
pub struct InvalidPattern(String);

#[cfg(test)]
mod tests {
    use super::*;

    fn all<T: FromStr<Err: fmt::Debug>>(texts: &[&str]) -> Vec<T> {
        texts.iter().map(|text| text.parse().expect("valid")).collect()
    }

    fn reach(plugins: &[&str], groups: &[&str], tags: &[&str]) -> Reach {
        Reach::new(all(plugins), all(groups), all(tags)).expect("short")
    }

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, fitting, others) in [
            ("fetch", &["fetch"][..], &["fetch-2", "a-fetch", ""][..]),
            ("img-*", &["img-", "img-resize", "img-a.b_c"], &["img", "an-img-a"]),
            ("*", &["a", "io-stub"], &[]),
            ("*-stub", &["io-stub", "-stub"], &["stub", "io-stub-2"]),
            ("a*b*c", &["abc", "axbxc", "abbcc", "abcbc"], &["acb", "ab", "bc", "abcx"]),
            ("a**a", &["aa", "aba"], &["a"]),
            ("*ab*ab*", &["abab", "xabxabx"], &["ab", "aab"]),
        ] {
            let pattern: PluginPattern = pattern.parse().expect("valid");
            assert!(fitting.iter().all(|name| pattern.fits(name)), "{pattern}");
            assert!(!others.iter().any(|name| pattern.fits(name)), "{pattern}");
        }
        for bad in ["", "-a", "A", "a b", "a?", "a/b", "[ab]", &"a".repeat(65)] {
            assert!(bad.parse::<PluginPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn one_of_the_plugins_one_of_the_groups_and_all_tags_are_asked_for() {
        let tags = |texts: &[&str]| all::<Tag>(texts);
        let bounded = reach(&["fetch", "img-*"], &["t1", "t2"], &["eu", "paid"]);
        assert!(bounded.covers("img-a", Some("t2"), &tags(&["paid", "x", "eu"])));
        assert!(!bounded.covers("io-stub", Some("t2"), &tags(&["paid", "eu"])));
        assert!(!bounded.covers("fetch", Some("t3"), &tags(&["paid", "eu"])));
        assert!(!bounded.covers("fetch", None, &tags(&["paid", "eu"])));
        assert!(!bounded.covers("fetch", Some("t1"), &tags(&["paid"])));
        assert!(bounded.is_bounded() && bounded.divides_plugins() && bounded.only_group().is_none());
        assert_eq!(bounded.to_string(), "plugins fetch, img-*; groups t1, t2; tags eu, paid");
        assert!(Reach::everything().covers("a", None, &[]) && !Reach::everything().is_bounded());
        assert_eq!(Reach::everything().to_string(), "everything");
        assert!(!reach(&["a"], &[], &[]).divides_plugins());
        assert_eq!(reach(&[], &["t1", "t1"], &[]).only_group().map(Group::as_str), Some("t1"));
    }

    #[test]
    fn a_reach_is_short() {
        let groups = |count: usize| (0..count).map(|n| format!("g{n}").parse().expect("valid")).collect();
        assert!(Reach::new(Vec::new(), groups(REACH_NAMES_MAX), Vec::new()).is_ok());
        assert_eq!(Reach::new(Vec::new(), groups(REACH_NAMES_MAX + 1), Vec::new()), Err(InvalidReach));
    }
}
