//! A plugin that does with its secrets what its input says: sends them, writes them, looks for them. For tests of the
//! host.

use std::collections::BTreeMap;
use std::io::Write;

use bindings::exports::wasmill::task::job::Guest;
use bindings::wasmill::task::host;
use bindings::wasmill::task::types::{Failure, FailureKind};
use serde::{Deserialize, Serialize};
use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, Method, OutgoingBody, OutgoingRequest, Scheme};
use wasip2::io::streams::StreamError;

mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit",
        inline: "
            package tests:secretive;

            world guest {
                include wasmill:task/imports@0.2.0;
                export wasmill:task/job@0.2.0;
            }
        ",
        world: "tests:secretive/guest",
        with: { "wasi:io/poll@0.2.0": wasip2::io::poll },
        generate_all,
    });
}

/// The action, by the field `do`. In its texts, `${NAME}` is the value of a variable, as the guest sees it.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
enum Deed {
    /// Sends requests one after the other, and follows redirects with the same headers.
    Send {
        requests: Vec<Request>,
        /// Texts to look for in the memory, spelled backwards.
        #[serde(default)]
        backwards: Vec<String>,
    },
    /// Leaves a text everywhere: both logs, byte by byte and at once, a progress note, a checkpoint; and fails with it, or
    /// returns it.
    Spill { text: String, fails: bool },
    /// Returns a text.
    Echo { text: String },
}

#[derive(Deserialize)]
struct Request {
    scheme: String,
    authority: String,
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
}

/// What became of the requests.
#[derive(Serialize)]
struct Sent {
    /// For each request its status, or why there is none.
    outcomes: Vec<String>,
    /// How often each text was found in the memory.
    found: Vec<usize>,
    variables: BTreeMap<String, String>,
}

struct Secretive;

impl Guest for Secretive {
    fn run(input: String) -> Result<String, Failure> {
        let deed = serde_json::from_str(&input).map_err(|error| failure(error.to_string()))?;
        match deed {
            Deed::Send { requests, backwards } => Ok(send_all(&requests, &backwards)),
            Deed::Spill { text, fails } => {
                let text = expanded(&text);
                spill(&text);
                if fails { Err(failure(text)) } else { Ok(text) }
            }
            Deed::Echo { text } => Ok(expanded(&text)),
        }
    }
}

bindings::export!(Secretive with_types_in bindings);

fn failure(message: String) -> Failure {
    Failure { kind: FailureKind::Other, message, retry: None }
}

fn expanded(text: &str) -> String {
    std::env::vars()
        .fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${{{name}}}"), &value))
}

fn spill(text: &str) {
    let (mut stdout, mut stderr) = (std::io::stdout(), std::io::stderr());
    for byte in text.as_bytes() {
        stdout.write_all(&[*byte]).and_then(|()| stdout.flush()).expect("stdout takes everything");
        stderr.write_all(&[*byte]).expect("stderr takes everything");
    }
    println!("\nout: {text}");
    eprintln!("\nerr: {text}");
    print!("end: {text}");
    host::progress(0.5, text);
    host::save(text.as_bytes()).expect("it is small");
}

fn send_all(requests: &[Request], backwards: &[String]) -> String {
    let outcomes = requests.iter().map(|request| send(request).unwrap_or_else(|why| why)).collect();
    let found = backwards.iter().map(|text| count_in_memory(text.as_bytes())).collect();
    let sent = Sent { outcomes, found, variables: std::env::vars().collect() };
    serde_json::to_string(&sent).expect("text is JSON")
}

fn send(request: &Request) -> Result<String, String> {
    let headers: Vec<_> =
        request.headers.iter().map(|(name, value)| (expanded(name), expanded(value).into_bytes())).collect();
    let (mut scheme, mut authority) = (request.scheme.clone(), request.authority.clone());
    let mut path = expanded(&request.path);
    let mut outcome = String::new();
    for _ in 0..2 {
        let (status, location) = send_once(&scheme, &authority, &path, &headers, &expanded(&request.body))?;
        outcome.push_str(&format!("{}{status}", if outcome.is_empty() { "" } else { " then " }));
        let Some(location) = location else { break };
        let (to_scheme, rest) = location.split_once("://").ok_or("no URL")?;
        let (to_authority, to_path) = rest.split_once('/').ok_or("no path")?;
        (scheme, authority, path) = (to_scheme.to_owned(), to_authority.to_owned(), format!("/{to_path}"));
    }
    Ok(outcome)
}

fn send_once(
    scheme: &str,
    authority: &str,
    path: &str,
    headers: &[(String, Vec<u8>)],
    body: &str,
) -> Result<(u16, Option<String>), String> {
    let headers = Fields::from_list(headers).map_err(|error| format!("headers: {error:?}"))?;
    let request = OutgoingRequest::new(headers);
    let refused = |()| "refused".to_owned();
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    request.set_method(&Method::Post).map_err(refused)?;
    request.set_scheme(Some(&scheme)).map_err(refused)?;
    request.set_authority(Some(authority)).map_err(refused)?;
    request.set_path_with_query(Some(path)).map_err(refused)?;
    let outgoing = request.body().map_err(refused)?;
    let coming = outgoing_handler::handle(request, None).map_err(|error| format!("{error:?}"))?;
    if !body.is_empty() {
        let stream = outgoing.write().map_err(refused)?;
        stream.blocking_write_and_flush(body.as_bytes()).map_err(|error| format!("{error:?}"))?;
    }
    OutgoingBody::finish(outgoing, None).map_err(|error| format!("{error:?}"))?;
    coming.subscribe().block();
    let response = coming.get().expect("it was waited for").expect("it is taken once");
    let response = response.map_err(|error| format!("{error:?}"))?;
    let location =
        response.headers().get("location").first().map(|value| String::from_utf8_lossy(value).into_owned());
    let incoming = response.consume().expect("it is taken once");
    let stream = incoming.stream().expect("it is taken once");
    loop {
        match stream.blocking_read(1 << 16) {
            Ok(_) => {}
            Err(StreamError::Closed) => return Ok((response.status(), location)),
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Counts a text that is given backwards in the whole memory of this instance.
fn count_in_memory(backwards: &[u8]) -> usize {
    let bytes = std::arch::wasm32::memory_size(0) << 16;
    let at = |address: usize| {
        // SAFETY: every address below the size of the memory can be read.
        unsafe { std::ptr::read_volatile(address as *const u8) }
    };
    // From 1: no pointer of Rust is null.
    (1..bytes - backwards.len())
        .filter(|start| backwards.iter().rev().enumerate().all(|(offset, byte)| at(start + offset) == *byte))
        .count()
}
