//! What a task was given, has saved or returned, as something to read: JSON, text, a picture, a page, or bytes.
//!
//! Nothing of it becomes markup of this page. Pictures and pages come from `ui/raw`, whose answers are sandboxed by
//! their policy.

use maud::{Markup, html};
use serde_json::value::RawValue;

use super::tree::tree;
use crate::part::magic::{Format, format_of};
use crate::part::text::block;
use crate::part::{hex, unit};

/// Text above this size is shown in part, unless the reader asks for more, which has a bound of its own.
pub(super) const TEXT_MAX: usize = 64 << 10;
const TEXT_MAX_ASKED: usize = 1 << 20;
/// JSON above this size is shown as text.
const JSON_MAX: usize = 1 << 20;
/// Largest picture that is shown.
const PICTURE_MAX: usize = 8 << 20;

/// Bytes of a guest or a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The media type that the manifest declares for them.
    pub media: Option<String>,
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self { bytes: text.into_bytes(), media: None }
    }
}

/// What bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A JSON document.
    Json,
    /// A picture in SVG.
    Svg,
    /// A picture of this format, which is not made of text.
    Picture(Format),
    /// A page in HTML, which is shown as one only if the reader asks for it.
    Html,
    /// Any other text.
    Text,
    /// Anything else, with its format if it is known.
    Bytes(Option<Format>),
}

impl Kind {
    /// Returns the media type with which a browser may show it, in a sandbox; `None` if it may only store it.
    pub fn media(self) -> Option<&'static str> {
        match self {
            Self::Json => Some("application/json"),
            Self::Svg => Some("image/svg+xml"),
            Self::Html => Some("text/html; charset=utf-8"),
            Self::Text => Some("text/plain; charset=utf-8"),
            Self::Picture(format) => format.picture,
            Self::Bytes(_) => None,
        }
    }

    /// Returns the extension of a file with it.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Svg => "svg",
            Self::Html => "html",
            Self::Text => "txt",
            Self::Picture(format) | Self::Bytes(Some(format)) => format.extension,
            Self::Bytes(None) => "bin",
        }
    }

    /// Returns the views that it has, the one that is shown unasked first.
    fn views(self) -> &'static [View] {
        match self {
            Self::Json => &[View::Json, View::Text, View::Hex],
            Self::Svg => &[View::Picture, View::Text, View::Hex],
            Self::Picture(_) => &[View::Picture, View::Hex],
            Self::Html => &[View::Text, View::Page, View::Hex],
            Self::Text => &[View::Text, View::Hex],
            Self::Bytes(_) => &[View::Hex],
        }
    }
}

/// One way to show bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is named by what it shows")]
pub enum View {
    Json,
    Text,
    Picture,
    Page,
    Hex,
}

impl View {
    /// Names of all, as they stand in URLs.
    pub const NAMES: &str = "json, text, picture, page or hex";

    /// Returns the view of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Json, Self::Text, Self::Picture, Self::Page, Self::Hex]
            .into_iter()
            .find(|view| view.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
            Self::Picture => "picture",
            Self::Page => "page",
            Self::Hex => "hex",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Json => "Show as JSON",
            Self::Text => "Show as text",
            Self::Picture => "Show as picture",
            Self::Page => "Show as page",
            Self::Hex => "Show bytes",
        }
    }
}

/// What the reader asks for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// How to show it; `None` for what fits it best. What does not fit it counts as `None`.
    pub view: Option<View>,
    /// The first byte to show, of bytes.
    pub from: usize,
}

/// Judges bytes by their beginning, and by the media type that a manifest declares.
pub fn kind_of(content: &Content) -> Kind {
    let Content { bytes, media } = content;
    if let Some(format) = format_of(bytes) {
        return if format.picture.is_some() { Kind::Picture(format) } else { Kind::Bytes(Some(format)) };
    }
    match (std::str::from_utf8(bytes), media.as_deref()) {
        (Ok(text), _) if text.contains('\0') => Kind::Bytes(None),
        (Ok(_), Some("text/html")) => Kind::Html,
        (Ok(_), Some(media)) if media.starts_with("text/") => Kind::Text,
        (Ok(text), _) => kind_of_text(text),
        (Err(_), _) => Kind::Bytes(None),
    }
}

fn kind_of_text(text: &str) -> Kind {
    let start = text.trim_start();
    let begins = |with: &str| start.get(..with.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(with));
    let head = &start[..start.floor_char_boundary(1_024)];
    if begins("<svg") || (begins("<?xml") && head.contains("<svg")) {
        return Kind::Svg;
    }
    if begins("<!doctype html") || begins("<html") {
        return Kind::Html;
    }
    let is_json = text.len() <= JSON_MAX && serde_json::from_str::<&RawValue>(text).is_ok();
    if is_json { Kind::Json } else { Kind::Text }
}

/// Shows bytes, with links to the other views of them. `raw` has them as they are, and `what` says what they are.
pub(super) fn shown(content: &Content, raw: &str, wanted: Wanted, what: &str) -> Markup {
    let kind = kind_of(content);
    let views = kind.views();
    let asked = wanted.view.filter(|view| views.contains(view));
    let view = asked.unwrap_or(views[0]);
    html! {
        @if views.len() > 1 {
            nav.buttons.views aria-label={ "Views of the " (what) } {
                @for other in views { a.button.small href={ "?as=" (other.name()) } aria-current=[(*other == view).then_some("true")] { (other.label()) } }
            }
        }
        @if kind == Kind::Html && view != View::Page { p.note { "As a page it can run no script, send nothing and load nothing." } }
        @if let Kind::Bytes(Some(format)) = kind { p.note { "It begins like a " (format.name) "." } }
        (viewed(content, kind, view, raw, wanted, what))
    }
}

fn viewed(content: &Content, kind: Kind, view: View, raw: &str, wanted: Wanted, what: &str) -> Markup {
    let bytes = content.bytes.as_slice();
    match (view, std::str::from_utf8(bytes)) {
        (View::Json, Ok(text)) => tree(text).unwrap_or_else(|| plain(text, wanted)),
        (View::Text, Ok(text)) => plain(text, wanted),
        // As a picture an SVG runs no script and loads nothing.
        (View::Picture, _) if bytes.len() <= PICTURE_MAX => html! {
            img.result src=(raw) alt={ "The " (what) ", a picture that the guest made" };
        },
        (View::Picture, _) => {
            html! { p.empty { "A picture above " (unit::bytes(PICTURE_MAX as u64)) " is not shown; download it." } }
        }
        (View::Page, Ok(_)) if kind == Kind::Html => html! {
            iframe.result src=(raw) sandbox="" referrerpolicy="no-referrer" title={ "The " (what) " as a page, which can run no script" } {}
        },
        _ => hex::dump(bytes, wanted.from, "as=hex"),
    }
}

/// Shows a text: its beginning, and more of it if the reader asks for the text.
fn plain(text: &str, wanted: Wanted) -> Markup {
    let most = if wanted.view == Some(View::Text) { TEXT_MAX_ASKED } else { TEXT_MAX };
    let end = text.floor_char_boundary(most);
    html! {
        pre.value tabindex="0" { (block(&text[..end])) }
        @if end < text.len() {
            p.note {
                "The first " (unit::bytes(end as u64)) " are shown; the download has all."
                @if most < TEXT_MAX_ASKED { " " a href="?as=text" { "Show up to " (unit::bytes(TEXT_MAX_ASKED as u64)) } }
            }
        }
    }
}
