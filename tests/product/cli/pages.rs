//! What the pages of the dashboard show beside their buttons: commands that exist, and requests that are documented.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::json;
use wasmill_tests::{Server, binary};

/// Returns the text of HTML.
fn text(html: &str) -> String {
    html.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

/// Returns what stands between each pair of these.
fn between<'a>(page: &'a str, before: &'a str, after: char) -> impl Iterator<Item = String> + 'a {
    page.split(before).skip(1).filter_map(move |rest| rest.split(after).next()).map(text)
}

/// Returns true if a route of the document has this path, segment by segment.
fn is_documented(routes: &[(String, String)], method: &str, path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    routes.iter().any(|(known, template)| {
        known.eq_ignore_ascii_case(method)
            && template.split('/').count() == path.split('/').count()
            && template
                .split('/')
                .zip(path.split('/'))
                .all(|(known, given)| known == given || known.starts_with('{'))
    })
}

/// Returns every page that shows commands, for a task that has completed and one with a webhook.
fn pages(done: &str, webhook: &str) -> Vec<String> {
    let task = format!("/ui/task/{done}");
    let filter = "state=completed&tag=it%27s+%3Cb%3E%26&plugin=noop&unique_key=a+b&q=01a2&created_after=2026-11-23T00:00:00Z";
    let all = |action: &str, filter: &str| format!("/ui/act?action={action}&select=all&{filter}");
    vec![
        "/ui/tasks".to_owned(),
        format!(
            "/ui/tasks?{filter}&group=g&schedule=nightly&cause=exit-3&id_end=abcd&created_before=2026-11-24T00:00:00Z"
        ),
        task.clone(),
        format!("{task}/result"),
        format!("{task}/input"),
        format!("{task}/record"),
        format!("/ui/task/{webhook}/webhook"),
        "/ui/plugins".to_owned(),
        "/ui/schedules".to_owned(),
        "/ui/schedule?name=nightly".to_owned(),
        "/ui/submit?plugin=noop".to_owned(),
        "/ui/live".to_owned(),
        "/ui/hosts".to_owned(),
        "/ui/doctor".to_owned(),
        all("retry", filter),
        all("delete", filter),
        all("cancel", "state=waiting&tag=x"),
        all("retry", ""),
        format!("/ui/act?action=retry&id={done}&id={webhook}"),
        format!("/ui/act?action=cancel&id={done}&id={webhook}"),
        format!("/ui/act?action=delete&id={done}&id={webhook}"),
        "/ui/act?action=delete-plugin&name=noop".to_owned(),
        "/ui/act?action=delete-schedule&name=nightly".to_owned(),
    ]
}

#[tokio::test]
async fn every_page_shows_a_command_that_exists_and_a_request_that_is_documented() {
    let server = Server::start(&["--allow-upload"]);
    let client = server.client();
    let document = client.document().await.expect("a document");
    let routes: Vec<_> =
        document.operations().map(|(method, path, _)| (method.to_owned(), path.to_owned())).collect();
    let done = client.submit(&json!({"plugin": "noop", "tags": ["it's <b>&"], "unique_key": "a b"})).await;
    client.until(&done, "completed").await;
    let webhook = client.submit(&json!({"plugin": "noop", "webhook": {"url": "http://127.0.0.1:1/"}})).await;
    client.until(&webhook, "completed").await;
    client.put_schedule("nightly", &json!({"cron": "0 3 * * *", "task": {"plugin": "noop"}})).await;
    let pages = pages(&done, &webhook);
    let pages_client = server.client().undocumented();
    let (mut commands, mut requests) = (BTreeSet::new(), BTreeSet::new());
    for path in &pages {
        let page = pages_client.get(path).await;
        assert!(page.status.is_success(), "{path}: {}", page.text);
        let paths: Vec<_> = between(&page.text, "data-curl=\"", '"').collect();
        let methods = between(&page.text, "data-method=\"", '"');
        requests.extend(methods.zip(paths.iter().cloned()));
        assert!(!paths.is_empty(), "{path} shows no request");
        commands.extend(between(&page.text, "<code>wasmill ", '<').map(|rest| format!("wasmill {rest}")));
    }
    assert!(commands.len() >= 18, "{commands:?}");
    for (method, path) in &requests {
        assert!(is_documented(&routes, method, path), "{method} {path}");
    }
    let folder = binary().expect("the binary");
    let folder = folder.parent().expect("a folder");
    for command in &commands {
        // Options are read before `--help` is answered, and nothing is done.
        let line = format!("PATH='{}':$PATH; {} --help", folder.display(), command.replace("NAME", "name"));
        let output = Command::new("sh").args(["-c", &line]).output().expect("a shell");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {error}");
    }
}
