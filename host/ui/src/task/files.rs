//! The files of a task, with links to their bytes.

use maud::{Markup, html};

use crate::part::text::{brief, visible};
use crate::part::unit;
use crate::record::{Task, TaskFile};

/// Files that are shown.
const SHOWN_MAX: usize = 100;

/// Shows the files, if there are any.
pub(super) fn section(task: &Task, root: &str) -> Markup {
    html! {
        div id="files" data-live {
            @if !task.files.is_empty() {
                section aria-labelledby="files-title" {
                    h2 id="files-title" { "Files" }
                    table {
                        thead { tr { th { "Name" } th { "Direction" } th { "Type" } th.num { "Size" } } }
                        tbody {
                            @for file in task.files.iter().take(SHOWN_MAX) {
                                tr {
                                    td { a href=(link(task, file, root)) title=(visible(&file.name)) { (brief(&file.name, 80)) } }
                                    td { (brief(&file.direction, 10)) }
                                    td { (brief(&file.media_type, 40)) }
                                    td.num { (unit::bytes(file.bytes)) }
                                }
                            }
                        }
                    }
                    @if task.files.len() > SHOWN_MAX {
                        p.note { "and " (unit::count((task.files.len() - SHOWN_MAX) as u64)) " more" }
                    }
                }
            }
        }
    }
}

/// Returns the address of a file. The interface offers it as a download, whatever it is.
fn link(task: &Task, file: &TaskFile, root: &str) -> String {
    let mut name = String::new();
    for byte in file.name.bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' => name.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => name.push(char::from(byte)),
            byte => name.push_str(&format!("%{byte:02X}")),
        }
    }
    let direction = if file.direction == "input" { "input" } else { "output" };
    format!("{root}task/{}/files/{name}?direction={direction}", task.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_one_path_whatever_the_name() {
        let task = Task { id: "1".to_owned(), ..Task::default() };
        let link = |name: &str| {
            let file = TaskFile { name: name.to_owned(), ..TaskFile::default() };
            link(&task, &file, "../")
        };
        assert_eq!(link("out/a.json"), "../task/1/files/out/a.json?direction=output");
        assert_eq!(link("a b?#%\"'ü"), "../task/1/files/a%20b%3F%23%25%22%27%C3%BC?direction=output");
    }
}
