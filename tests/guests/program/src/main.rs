//! A plain program that does what its arguments say. The tests of the host run it as a plugin.

mod net;

use std::io::{self, Read, Write};

use wasip2::http::outgoing_handler;
use wasip2::http::types::{ErrorCode, Fields, OutgoingRequest, RequestOptions, Scheme};
use wasip2::io::streams::StreamError;

fn main() -> Result<(), String> {
    let arguments: Vec<_> = std::env::args().collect();
    let words: Vec<_> = arguments.iter().skip(1).map(String::as_str).collect();
    match words[..] {
        ["args", ..] => println!("{arguments:?}"),
        ["cat"] => copy_stdin(),
        ["env"] => std::env::vars().for_each(|(name, value)| println!("{name}={value}")),
        ["exit", code] => exit(code),
        ["exit-with", code] => wasip2::cli::exit::exit_with_code(number(code)),
        ["print-and-exit-with", text, code] => {
            println!("{text}");
            wasip2::cli::exit::exit_with_code(number(code));
        }
        ["fail"] => return Err("no luck".to_owned()),
        ["panic"] => panic!("this program panics on purpose"),
        ["spin"] => spin(),
        ["write", bytes] => write_out(number(bytes)),
        ["write-bad-text"] => io::stdout().write_all(&[b'a', 0xff, b'b']).expect("stdout takes it"),
        ["close-stdout"] => close_stdout(),
        ["hog"] => hog(),
        ["read", path] => print!("{}", describe(std::fs::read_to_string(path))),
        ["put", path, text] => {
            print!("{}", describe(std::fs::write(path, text).map(|()| "written".to_owned())))
        }
        ["remove", path] => print!("{}", describe(std::fs::remove_file(path).map(|()| "removed".to_owned()))),
        ["move", path, to] => print!("{}", describe(std::fs::rename(path, to).map(|()| "moved".to_owned()))),
        ["hard-link", path, to] => {
            print!("{}", describe(std::fs::hard_link(path, to).map(|()| "linked".to_owned())))
        }
        ["temporary", path, text, ms] => temporary(path, text, number(ms)),
        ["files", ref calls @ ..] => file_calls(calls),
        ["link", path, target] => print!("{}", describe(link(path, target))),
        ["read-for-ever", path] => loop {
            std::hint::black_box(std::fs::read(path).expect("it can be read"));
        },
        ["append-for-ever", path] => append_forever(path),
        ["ledger", path, kind, id, ms] => record_run(path, kind, id, number(ms)),
        ["get", url] => print!("{}", get(url).unwrap_or_else(|error| format!("{error:?}"))),
        ["connect", address] => {
            print!("{}", describe(std::net::TcpStream::connect(address).map(|_| "connected".to_owned())))
        }
        ["net", ref rest @ ..] => net::run(rest),
        _ => println!("nothing to do"),
    }
    Ok(())
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number in range"))
}

fn describe(outcome: io::Result<String>) -> String {
    outcome.unwrap_or_else(|error| format!("{:?}: {error}", error.kind()))
}

fn copy_stdin() {
    let mut text = Vec::new();
    io::stdin().read_to_end(&mut text).expect("stdin can be read");
    io::stdout().write_all(&text).expect("stdout takes it");
}

fn exit(code: &str) {
    println!("before");
    eprintln!("first line\nlast line");
    std::process::exit(number(code));
}

fn spin() {
    let mut rounds = 0_u64;
    loop {
        rounds = std::hint::black_box(rounds.wrapping_add(1));
    }
}

fn write_out(bytes: usize) {
    io::stdout().write_all("x".repeat(bytes).as_bytes()).expect("stdout takes it");
}

/// Closes stdout, then continues for a while.
fn close_stdout() {
    let stdout = wasip2::cli::stdout::get_stdout();
    stdout.blocking_write_and_flush(b"before").expect("stdout takes it");
    drop(stdout);
    eprintln!("after");
}

fn hog() {
    let mut hoard = Vec::new();
    loop {
        hoard.push(vec![1_u8; 1 << 20]);
        std::hint::black_box(&hoard);
    }
}

/// Writes one byte per call, with a short pause in between.
fn append_forever(path: &str) {
    let mut file =
        std::fs::OpenOptions::new().create(true).append(true).open(path).expect("it can be opened");
    loop {
        file.write_all(b"x").expect("it can be written to");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// Records when it starts and ends; in between it sleeps or spins.
fn record_run(path: &str, kind: &str, id: &str, ms: u64) {
    let note = |what| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let line = format!("{what} {id} {:.3} 0\n", now.as_secs_f64());
        let mut file =
            std::fs::OpenOptions::new().create(true).append(true).open(path).expect("it can be opened");
        file.write_all(line.as_bytes()).expect("it can be written to");
    };
    note("b");
    if kind == "spin" {
        spin();
    }
    std::thread::sleep(std::time::Duration::from_millis(ms));
    note("e");
}

/// Writes a file, waits, and reads it back.
fn temporary(path: &str, text: &str, ms: u64) {
    std::fs::write(path, text).expect("it can be written");
    eprintln!("written");
    std::thread::sleep(std::time::Duration::from_millis(ms));
    print!("{}", describe(std::fs::read_to_string(path)));
}

/// Makes calls on files, such as `write a 0 100`, and prints `ok` or `no` for each.
fn file_calls(calls: &[&str]) {
    let mut held = std::collections::BTreeMap::new();
    for call in calls {
        let words: Vec<_> = call.split(' ').collect();
        let done = match words[..] {
            ["create", path] => std::fs::File::create(path).map(drop),
            ["write", path, offset, bytes] => write_at(path, number(offset), number(bytes)),
            ["append", path, bytes] => append(path, number(bytes)),
            ["size", path, bytes] => std::fs::OpenOptions::new()
                .write(true)
                .open(path)
                .and_then(|file| file.set_len(number(bytes))),
            ["hold", path] => std::fs::File::open(path).map(|file| drop(held.insert(path, file))),
            ["let-go", path] => {
                held.remove(path);
                Ok(())
            }
            ["remove", path] => std::fs::remove_file(path),
            ["rename", path, to] => std::fs::rename(path, to),
            ["hard-link", path, to] => std::fs::hard_link(path, to),
            ["link", path, target] => link(path, target).map(drop),
            ["folder", path] => std::fs::create_dir(path),
            ["remove-folder", path] => std::fs::remove_dir(path),
            _ => panic!("unknown call {call}"),
        };
        println!("{}", if done.is_ok() { "ok" } else { "no" });
    }
}

fn write_at(path: &str, offset: u64, bytes: usize) -> io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).open(path)?;
    io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
    file.write_all(&vec![b'x'; bytes])
}

fn append(path: &str, bytes: usize) -> io::Result<()> {
    std::fs::OpenOptions::new().append(true).open(path)?.write_all(&vec![b'x'; bytes])
}

/// Creates a symbolic link, which must not lead out of its folder.
fn link(path: &str, target: &str) -> io::Result<String> {
    #[allow(deprecated, reason = "std has no other way on this target")]
    std::fs::soft_link(target, path).map(|()| "linked".to_owned())
}

/// Fetches a URL and returns its status and body.
fn get(url: &str) -> Result<String, ErrorCode> {
    let (scheme, rest) = url.split_once("://").expect("the URL has a scheme");
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let request = OutgoingRequest::new(Fields::new());
    let scheme = if scheme == "https" { Scheme::Https } else { Scheme::Http };
    request.set_scheme(Some(&scheme)).expect("the scheme is one");
    request.set_authority(Some(authority)).expect("the authority is one");
    request.set_path_with_query(Some(if path.is_empty() { "/" } else { path })).expect("the path is one");

    let coming = outgoing_handler::handle(request, Some(RequestOptions::new()))?;
    coming.subscribe().block();
    let response = coming.get().expect("it is here").expect("it is taken once")?;
    let body = response.consume().expect("it is taken once");
    let stream = body.stream().expect("it is taken once");
    let mut text = Vec::new();
    loop {
        match stream.blocking_read(64 << 10) {
            Ok(more) => text.extend(more),
            Err(StreamError::Closed) => break,
            Err(error) => return Err(ErrorCode::InternalError(Some(error.to_string()))),
        }
    }
    Ok(format!("{} {}", response.status(), String::from_utf8_lossy(&text)))
}
