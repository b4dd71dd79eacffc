//! The form that does something, after it was said what.

use maud::{Markup, html};

/// A hidden field.
pub fn hidden(name: &str, value: &str) -> Markup {
    html! { input type="hidden" name=(name) value=(value); }
}

/// A form with one button that acts at once: for what can be undone.
pub fn button(root: &str, fields: &[(&str, &str)], label: &str, class: &str) -> Markup {
    html! {
        form.inline method="post" action={ (root) "ui/do" } {
            @for (name, value) in fields { (hidden(name, value)) }
            button class=(class) type="submit" { (label) }
        }
    }
}

/// A link to the page that asks before it acts; script opens it as a dialog.
pub fn ask(href: &str, label: &str, class: &str) -> Markup {
    html! { a class={ "button " (class) } href=(href) data-dialog="" { (label) } }
}
