//! What needs a person, first on the first page; nothing if all is well.

use maud::{Markup, html};

use crate::part::text::visible;
use crate::part::time::{Show, time};
use crate::record::Attention;

/// Shows the items.
pub(super) fn section(attention: &Attention) -> Markup {
    html! {
        div id="attention" data-live {
            @if !attention.items.is_empty() {
                section.attention aria-labelledby="attention-title" {
                    h2 id="attention-title" { "Needs you" }
                    ul {
                        @for item in &attention.items {
                            li class=(if item.level == "error" { "bad" } else { "warn" }) {
                                p {
                                    b { (visible(&item.level)) } " " (visible(&item.detail))
                                    @if let Some(since) = &item.since { " " span.note { "since " (time(since, Show::Age)) } }
                                }
                                p.note {
                                    (visible(&item.action))
                                    @if let Some(href) = item.link.as_deref().and_then(page) { " " a href=(href) { "see" span.sr { " " (visible(item.subject.as_deref().unwrap_or(&item.code))) } } }
                                }
                            }
                        }
                    }
                    @if attention.left_out > 0 { p.note { "and " (attention.left_out) " more" } }
                }
            }
        }
    }
}

/// Returns the page that shows what this path of the interface answers.
fn page(path: &str) -> Option<String> {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let mut parts = path.trim_start_matches('/').split('/');
    Some(match (parts.next()?, parts.next()) {
        ("task", None) => query.map_or_else(|| "tasks".to_owned(), |query| format!("tasks?{query}")),
        ("task", Some(id)) if id.chars().all(|char| char.is_ascii_hexdigit() || char == '-') => {
            format!("task/{id}")
        }
        ("plugins", Some(name)) if is_name(name) => format!("plugins#p-{name}"),
        ("plugins", None) => "plugins".to_owned(),
        ("schedules", Some(name)) if is_name(name) => format!("schedules#s-{name}"),
        ("schedules", None) => "schedules".to_owned(),
        ("hosts", None) => "hosts".to_owned(),
        ("doctor", None) => "doctor".to_owned(),
        _ => return None,
    })
}

fn is_name(name: &str) -> bool {
    name.chars().all(|char| char.is_ascii_alphanumeric() || "._-".contains(char))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::AttentionItem;

    #[test]
    fn links_lead_to_pages_and_nowhere_else() {
        assert_eq!(
            page("/task?state=failed&plugin=fetch").as_deref(),
            Some("tasks?state=failed&plugin=fetch")
        );
        assert_eq!(page("/plugins/fetch").as_deref(), Some("plugins#p-fetch"));
        assert_eq!(page("/schedules/nightly").as_deref(), Some("schedules#s-nightly"));
        for path in ["", "https://evil.example/", "//evil.example", "/metrics", "/task/<x>", "javascript:x"] {
            assert_eq!(page(path), None, "{path}");
        }
    }

    #[test]
    fn nothing_is_shown_if_all_is_well_and_text_of_strangers_is_text() {
        assert_eq!(section(&Attention::default()).into_string(), "<div id=\"attention\" data-live></div>");
        let text = || "<script>alert(1)</script>\u{202e}".to_owned();
        let item = AttentionItem {
            detail: text(),
            action: text(),
            level: text(),
            subject: Some(text()),
            link: Some("/plugins".into()),
            since: Some(text()),
            ..AttentionItem::default()
        };
        let shown = section(&Attention { items: vec![item], left_out: 2 }).into_string();
        assert!(!shown.contains("<script>") && shown.contains("and 2 more"));
    }
}
