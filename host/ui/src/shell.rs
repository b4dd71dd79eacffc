//! The frame of every page: head, navigation, what holds for the whole server, and the footer.

pub mod login;

use maud::{DOCTYPE, Markup, html};

use crate::assets::{self, Asset};
use crate::part::confirm::button;
use crate::part::text::{brief, visible};

/// Longest text to look for: that of a unique key.
pub const FIND_CHARS_MAX: usize = 255;

/// What the reader may do; buttons for anything else are left out.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one scope")]
#[expect(missing_docs, reason = "each is the scope of this name")]
pub struct Rights {
    pub watch: bool,
    pub read: bool,
    pub submit: bool,
    pub cancel: bool,
    pub schedule: bool,
    pub plugins: bool,
    pub admin: bool,
}

impl Rights {
    /// Everything, as on a server that asks for no key.
    pub const ALL: Self = Self {
        watch: true,
        read: true,
        submit: true,
        cancel: true,
        schedule: true,
        plugins: true,
        admin: true,
    };
}

/// What every page says of the server and its reader.
#[derive(Clone, Debug, Default)]
pub struct Site {
    /// Name of this installation, such as `production`.
    pub name: Option<String>,
    /// Colour of the name: `red`, `amber`, `green` or `blue`.
    pub colour: &'static str,
    /// Version of the server.
    pub version: &'static str,
    /// Name of the reader's key.
    pub key_name: Option<String>,
    /// Whether the reader signed in with a cookie, and can sign out.
    pub is_signed_in: bool,
    /// What the reader may do.
    pub rights: Rights,
    /// Whether plugins may be uploaded.
    pub can_upload: bool,
    /// Whether the queue is paused.
    pub is_paused: bool,
    /// Whether the server drains.
    pub is_draining: bool,
    /// Whether several hosts share the database.
    pub has_hosts: bool,
    /// Whether the reader reaches a part of the tasks only, and the pages of the whole server are not for him.
    pub is_bounded: bool,
    /// Where traces are shown, with `{trace_id}` in it.
    pub trace_url: Option<String>,
    /// What was just done, for people.
    pub flash: Option<String>,
}

/// The entries of the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the page of this name")]
pub enum Place {
    Overview,
    Tasks,
    Plugins,
    Schedules,
    Submit,
    Events,
    Hosts,
    Doctor,
    Keys,

    None,
}

/// A page without its frame.
#[derive(Clone, Debug)]
pub struct Page {
    /// Title, without the name of the program.
    pub title: String,
    /// Its entry in the navigation.
    pub place: Place,
    /// The way to the root of the server: `../` for `ui/tasks`.
    pub root: &'static str,
    /// Scripts besides the common one.
    pub scripts: &'static [Asset],
    /// Whether script fetches it again every second.
    pub is_live: bool,
    /// Its content.
    pub main: Markup,
}

impl Page {
    /// Returns what script compares with the page it shows: title, banners and content.
    pub fn fragment(&self, site: &Site) -> String {
        html! {
            title { (self.title) " · Wasmill" }
            (banners(site, self.root))
            main id="main" tabindex="-1" { (self.main) }
        }
        .into_string()
    }

    /// Returns the whole page.
    pub fn whole(&self, site: &Site) -> String {
        let root = self.root;
        let asset = |asset: &Asset| format!("{root}ui/assets/{}", asset.name);
        html! {
            (DOCTYPE)
            html lang="en" data-root=(root) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " · Wasmill" }
                    link rel="icon" href={ "data:image/svg+xml," (ICON) };
                    script src=(asset(&assets::THEME)) {}
                    link rel="stylesheet" href=(asset(&assets::STYLE));
                    script type="module" src=(asset(&assets::SCRIPT)) {}
                    @for script in self.scripts { script type="module" src=(asset(script)) {} }
                }
                body data-live-page[self.is_live] {
                    a.skip href="#main" { "Skip to content" }
                    (header(site, self.place, root))
                    (banners(site, root))
                    @if let Some(flash) = &site.flash { p.flash role="status" { (flash) } }
                    main id="main" tabindex="-1" { (self.main) }
                    (footer(site))
                    dialog id="dialog" aria-labelledby="dialog-title" {}
                    div.toast id="said" role="status" {}
                }
            }
        }
        .into_string()
    }
}

/// A mill wheel.
const ICON: &str = "%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Ccircle cx='8' cy='8' r='7' fill='%234453c4'/%3E%3Cpath d='M8 3v10M3 8h10M4.5 4.5l7 7M11.5 4.5l-7 7' stroke='white' stroke-width='1.4'/%3E%3C/svg%3E";

fn header(site: &Site, place: Place, root: &str) -> Markup {
    let entries = [
        (Place::Overview, "ui/", "Overview", "o", !site.is_bounded),
        (Place::Tasks, "ui/tasks", "Tasks", "t", true),
        (Place::Plugins, "ui/plugins", "Plugins", "p", true),
        (Place::Schedules, "ui/schedules", "Schedules", "s", true),
        (Place::Submit, "ui/submit", "Submit", "n", site.rights.submit),
        (Place::Events, "ui/live", "Live", "l", !site.is_bounded),
        (Place::Hosts, "ui/hosts", "Hosts", "h", site.has_hosts && !site.is_bounded),
        (Place::Doctor, "ui/doctor", "Doctor", "d", site.rights.admin),
        (Place::Keys, "ui/keys", "Keys", "k", site.rights.admin),
        (Place::None, "docs", "API", "a", true),
    ];
    html! {
        header.top {
            a.brand href={ (root) "ui/" } {
                svg viewBox="0 0 16 16" width="22" height="22" aria-hidden="true" focusable="false" {
                    circle cx="8" cy="8" r="7.5" {}
                    path d="M8 3v10M3 8h10M4.5 4.5l7 7M11.5 4.5l-7 7" {}
                }
                "Wasmill"
            }
            @if let Some(name) = &site.name { span class={ "environment " (site.colour) } { (brief(name, 32)) } }
            nav aria-label="Pages" {
                @for (entry, href, label, key, shown) in entries {
                    @if shown {
                        a href={ (root) (href) } data-key=(key) aria-current=[(entry == place && place != Place::None).then_some("page")] { (label) }
                    }
                }
            }
            (find_box(root))
            div.tools {
                span.live id="live-state" hidden {}
                button.quiet.script type="button" id="pause" hidden aria-pressed="false" { "Pause" }
                button.quiet.script type="button" id="theme" { "Theme" }
                button.quiet.script type="button" id="keys" { "Shortcuts" }
                (account(site, root))
            }
        }
    }
}

fn find_box(root: &str) -> Markup {
    html! {
        form.find method="get" action={ (root) "ui/find" } role="search" aria-label="Find" {
            input id="find" type="search" name="text" required maxlength=(FIND_CHARS_MAX)
                aria-label="Find a task, tag, key, plugin or schedule" placeholder="id, tag, name" autocomplete="off" spellcheck="false";
        }
    }
}

fn account(site: &Site, root: &str) -> Markup {
    let Some(name) = &site.key_name else { return html! {} };
    html! {
        span.account { "key " b { (brief(name, 40)) } }
        @if site.is_signed_in {
            form.inline method="post" action={ (root) "ui/logout" } { button.quiet type="submit" { "Sign out" } }
        }
    }
}

fn banners(site: &Site, root: &str) -> Markup {
    html! {
        div id="banners" data-live {
            @if site.is_draining {
                p.banner { b { "The server drains." } " Running tasks may end, none starts, and none is accepted. Only a restart ends a drain." }
            }
            @if site.is_paused {
                div.banner {
                    p { b { "The queue is paused." } " Tasks are accepted, and none starts." }
                    @if site.rights.admin { (button(root, &[("action", "resume")], "Resume", "primary")) }
                }
            }
        }
    }
}

fn footer(site: &Site) -> Markup {
    html! {
        footer {
            span { "Wasmill " (visible(site.version)) }
            noscript { span { "Without script: reload a page to see what has changed." } }
        }
    }
}
