//! A plugin that floods one import of the host: calls it far more often, and with far more data, than any plugin
//! needs, and keeps whatever it returns. Its input is the name of the import, such as `"wasi:io/poll#poll"`.

use bindings::exports::wasmill::task::job::{Failure, Guest};
use bindings::wasmill::task::types::NewChild;
use bindings::wasmill::task::{host, stop};
use wasip2::cli::{
    environment, exit, stderr, stdin, stdout, terminal_stderr, terminal_stdin, terminal_stdout,
};
use wasip2::clocks::{monotonic_clock, wall_clock};
use wasip2::filesystem::preopens;
use wasip2::filesystem::types::{Advice, Descriptor, DescriptorFlags, NewTimestamp, OpenFlags, PathFlags};
use wasip2::http::outgoing_handler;
use wasip2::http::types as http;
use wasip2::http::types::{Fields, IncomingResponse, Method, OutgoingRequest, OutgoingResponse, Scheme};
use wasip2::io::poll;
use wasip2::io::streams::{InputStream, OutputStream};
use wasip2::random::{insecure, insecure_seed, random};
use wasip2::sockets::network::IpAddressFamily;
use wasip2::sockets::{instance_network, ip_name_lookup, tcp_create_socket, udp_create_socket};

mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit",
        inline: "
            package tests:flood;

            world guest {
                include wasmill:task/imports@0.2.0;
                export wasmill:task/job@0.2.0;
            }
        ",
        world: "tests:flood/guest",
        with: { "wasi:io/poll@0.2.0": wasip2::io::poll },
        generate_all,
    });
}

/// Calls of an import; more than the limit of handles.
const CALLS: usize = 2_000;
/// Bytes passed in one call; less than what ends the guest at once.
const LARGE: usize = 3 << 20;

struct Flood;

impl Guest for Flood {
    fn run(input: String) -> Result<String, Failure> {
        let (import, url) = input.trim_matches('"').split_once(' ').unwrap_or((input.trim_matches('"'), ""));
        let (interface, function) = import.split_once('#').unwrap_or((import, ""));
        let is_known = match interface {
            "wasi:cli/environment"
            | "wasi:cli/exit"
            | "wasi:cli/stdin"
            | "wasi:cli/stdout"
            | "wasi:cli/stderr"
            | "wasi:cli/terminal-stdin"
            | "wasi:cli/terminal-stdout"
            | "wasi:cli/terminal-stderr" => cli(function),
            "wasi:clocks/monotonic-clock" | "wasi:clocks/wall-clock" => clocks(interface, function),
            "wasi:random/random" | "wasi:random/insecure" | "wasi:random/insecure-seed" => {
                randomness(function)
            }
            "wasi:io/error" | "wasi:io/poll" | "wasi:io/streams" => io(function),
            "wasi:filesystem/types" | "wasi:filesystem/preopens" => filesystem(function),
            "wasi:http/types" | "wasi:http/outgoing-handler" => web(function, url),
            "wasmill:task/host" => task(function),
            "wasmill:task/stop" => function == "subscribe" && often(stop::subscribe),
            _ if interface.starts_with("wasi:sockets/") => sockets(),
            _ => false,
        };
        let said = if is_known { "flooded" } else { "unknown" };
        Ok(format!("{said} {import}"))
    }
}

bindings::export!(Flood with_types_in bindings);

/// Calls often, and keeps the results.
fn often<T>(mut call: impl FnMut() -> T) -> bool {
    for _ in 0..CALLS {
        std::mem::forget(call());
    }
    true
}

/// Calls often; the results are large guest-side values, which are freed.
fn often_freed<T>(mut call: impl FnMut() -> T) -> bool {
    for _ in 0..CALLS {
        drop(call());
    }
    true
}

fn large() -> String {
    "x".repeat(LARGE)
}

fn cli(function: &str) -> bool {
    match function {
        "get-environment" => often_freed(environment::get_environment),
        "get-arguments" => often_freed(environment::get_arguments),
        "initial-cwd" => often_freed(environment::initial_cwd),
        "exit" => {
            exit::exit(Err(()));
            true
        }
        "exit-with-code" => {
            exit::exit_with_code(7);
            true
        }
        "get-stdin" => often(stdin::get_stdin),
        "get-stdout" => often(stdout::get_stdout),
        "get-stderr" => often(stderr::get_stderr),
        "get-terminal-stdin" => often(terminal_stdin::get_terminal_stdin),
        "get-terminal-stdout" => often(terminal_stdout::get_terminal_stdout),
        "get-terminal-stderr" => often(terminal_stderr::get_terminal_stderr),
        _ => false,
    }
}

fn clocks(interface: &str, function: &str) -> bool {
    match (interface, function) {
        ("wasi:clocks/monotonic-clock", "now") => often(monotonic_clock::now),
        ("wasi:clocks/monotonic-clock", "resolution") => often(monotonic_clock::resolution),
        (_, "subscribe-instant") => often(|| monotonic_clock::subscribe_instant(u64::MAX)),
        (_, "subscribe-duration") => often(|| monotonic_clock::subscribe_duration(u64::MAX)),
        (_, "now") => often(wall_clock::now),
        (_, "resolution") => often(wall_clock::resolution),
        _ => false,
    }
}

fn randomness(function: &str) -> bool {
    match function {
        "get-random-bytes" => (0..5).for_each(|_| drop(random::get_random_bytes(5 << 20))),
        "get-insecure-random-bytes" => {
            (0..5).for_each(|_| drop(insecure::get_insecure_random_bytes(5 << 20)))
        }
        "get-random-u64" => return often(random::get_random_u64),
        "get-insecure-random-u64" => return often(insecure::get_insecure_random_u64),
        "insecure-seed" => return often(insecure_seed::insecure_seed),
        _ => return false,
    }
    true
}

fn io(function: &str) -> bool {
    let timer = monotonic_clock::subscribe_duration(0);
    match function {
        // An error only comes from a failed stream: to a read-only or a deleted file.
        "error.to-debug-string" => often(|| {
            if let Some(file) = files().first() {
                drop(file.read_via_stream(u64::MAX).map(|stream| stream.blocking_read(u64::MAX)));
            }
        }),
        "pollable.ready" => often(|| timer.ready()),
        "pollable.block" => often(|| timer.block()),
        "poll" => {
            often_freed(|| poll::poll(&vec![&timer; 900])) && !poll::poll(&vec![&timer; LARGE / 8]).is_empty()
        }
        _ => match function.split_once('.') {
            Some(("input-stream", function)) => input(function),
            Some(("output-stream", function)) => output(function),
            _ => false,
        },
    }
}

/// Returns input streams of files, one for each possible handle.
fn inputs() -> Vec<InputStream> {
    let files = files();
    (0..450).flat_map(|_| files.iter().filter_map(|file| file.read_via_stream(0).ok())).take(900).collect()
}

/// Returns output streams: of new files, and of stdout.
fn outputs() -> Vec<OutputStream> {
    let files: Vec<_> = (0..300).filter_map(|number| file(&format!("out-{number}"))).collect();
    let streams = files.iter().filter_map(|file| file.write_via_stream(0).ok()).chain([stdout::get_stdout()]);
    streams.collect()
}

fn input(function: &str) -> bool {
    for stream in inputs() {
        match function {
            "read" => drop(stream.read(u64::MAX)),
            "blocking-read" => drop(stream.blocking_read(u64::MAX)),
            "skip" => drop(stream.skip(u64::MAX)),
            "blocking-skip" => drop(stream.blocking_skip(u64::MAX)),
            "subscribe" => std::mem::forget(stream.subscribe()),
            _ => return false,
        }
        std::mem::forget(stream);
    }
    true
}

fn output(function: &str) -> bool {
    let large = vec![b'x'; 1 << 20];
    let source = inputs().into_iter().next();
    for stream in outputs() {
        let may_write = usize::try_from(stream.check_write().unwrap_or(0)).unwrap_or(0);
        let some = &large[..may_write.min(large.len())];
        match function {
            "check-write" => drop(stream.check_write()),
            "write" => drop(stream.write(some)),
            "blocking-write-and-flush" => drop(stream.blocking_write_and_flush(&large[..4_096])),
            "flush" => drop(stream.flush()),
            "blocking-flush" => drop(stream.blocking_flush()),
            "subscribe" => std::mem::forget(stream.subscribe()),
            "write-zeroes" => drop(stream.write_zeroes(may_write as u64)),
            "blocking-write-zeroes-and-flush" => drop(stream.blocking_write_zeroes_and_flush(4_096)),
            "splice" => drop(source.as_ref().map(|source| stream.splice(source, u64::MAX))),
            "blocking-splice" => drop(source.as_ref().map(|source| stream.blocking_splice(source, u64::MAX))),
            _ => return false,
        }
        std::mem::forget(stream);
    }
    true
}

fn root() -> Option<Descriptor> {
    preopens::get_directories().into_iter().next().map(|(folder, _)| folder)
}

/// Opens a file in the first granted folder, and creates it if necessary.
fn file(name: &str) -> Option<Descriptor> {
    let flags = DescriptorFlags::READ | DescriptorFlags::WRITE;
    root()?.open_at(PathFlags::empty(), name, OpenFlags::CREATE, flags).ok()
}

fn files() -> Vec<Descriptor> {
    ["large", "small"].into_iter().filter_map(file).collect()
}

fn filesystem(function: &str) -> bool {
    let (Some(folder), Some(file)) = (root(), file("large")) else { return false };
    let long = large();
    let none = PathFlags::empty();
    let now = NewTimestamp::Now;
    let function = function.strip_prefix("descriptor.").unwrap_or(function);
    match function {
        "get-directories" => often(preopens::get_directories),
        "read-via-stream" => often(|| file.read_via_stream(0)),
        "write-via-stream" => often(|| file.write_via_stream(0)),
        "append-via-stream" => often(|| file.append_via_stream()),
        "advise" => often(|| file.advise(0, u64::MAX, Advice::WillNeed)),
        "sync-data" => often(|| file.sync_data()),
        "sync" => often(|| file.sync()),
        "get-flags" => often(|| file.get_flags()),
        "get-type" => often(|| file.get_type()),
        "set-size" => often(|| file.set_size(1 << 20)),
        "set-times" => often(|| file.set_times(now, now)),
        "read" => (0..20).all(|_| file.read(u64::MAX, 0).is_ok() || true),
        "write" => (0..20).all(|_| file.write(long.as_bytes(), 0).is_ok() || true),
        "read-directory" => often(|| folder.read_directory()),
        "directory-entry-stream.read-directory-entry" => {
            let entries = folder.read_directory().ok();
            often(|| entries.as_ref().map(|entries| entries.read_directory_entry()))
        }
        "create-directory-at" => (0..20).all(|_| folder.create_directory_at(&long).is_err()),
        "stat" => often(|| file.stat()),
        "stat-at" => (0..20).all(|_| folder.stat_at(none, &long).is_err()),
        "set-times-at" => (0..20).all(|_| folder.set_times_at(none, &long, now, now).is_err()),
        "link-at" => (0..20).all(|_| folder.link_at(none, &long, &folder, &long).is_err()),
        "open-at" => {
            let open = |path: &str| folder.open_at(none, path, OpenFlags::empty(), DescriptorFlags::READ);
            (0..20).all(|_| open(&long).is_err())
                && (0..100).all(|_| open("large").map(std::mem::forget).is_ok())
        }
        "readlink-at" => (0..20).all(|_| folder.readlink_at(&long).is_err()),
        "remove-directory-at" => (0..20).all(|_| folder.remove_directory_at(&long).is_err()),
        "rename-at" => (0..20).all(|_| folder.rename_at(&long, &folder, &long).is_err()),
        "symlink-at" => (0..20).all(|_| folder.symlink_at(&long, &long).is_err()),
        "unlink-file-at" => (0..20).all(|_| folder.unlink_file_at(&long).is_err()),
        "is-same-object" => often(|| file.is_same_object(&folder)),
        "metadata-hash" => often(|| file.metadata_hash()),
        "metadata-hash-at" => (0..20).all(|_| folder.metadata_hash_at(none, &long).is_err()),
        "filesystem-error-code" => {
            let stream = folder.read_via_stream(0).ok();
            drop(stream.map(|stream| stream.blocking_read(1)));
            let _ = wasip2::filesystem::types::filesystem_error_code;
            true
        }
        _ => false,
    }
}

/// Sockets are not available: neither kind can be created, and no name is resolved.
fn sockets() -> bool {
    let network = instance_network::instance_network();
    let long = large();
    let denied = tcp_create_socket::create_tcp_socket(IpAddressFamily::Ipv4).is_err()
        && udp_create_socket::create_udp_socket(IpAddressFamily::Ipv6).is_err()
        && (0..20).all(|_| ip_name_lookup::resolve_addresses(&network, &long).is_err());
    denied && often(instance_network::instance_network)
}

/// Creates header fields close to their size limit.
fn fields() -> Fields {
    let fields = Fields::new();
    let value = vec![b'x'; 4_000];
    for number in 0..14 {
        fields.append(&format!("x-{number}"), &value).expect("there is room");
    }
    fields
}

fn request(url: &str) -> OutgoingRequest {
    let request = OutgoingRequest::new(Fields::new());
    let _ = request.set_scheme(Some(&Scheme::Http));
    let _ = request.set_authority(Some(url));
    let _ = request.set_path_with_query(Some("/"));
    request
}

/// Writes to a request body until no more is accepted.
fn fill(request: &OutgoingRequest) {
    let Ok(body) = request.body() else { return };
    let Ok(stream) = body.write() else { return };
    let large = vec![b'x'; 1 << 20];
    while let Ok(may_write @ 1..) = stream.check_write() {
        let some = usize::try_from(may_write).unwrap_or(0).min(large.len());
        if stream.write(&large[..some]).is_err() {
            break;
        }
    }
    std::mem::forget((body, stream));
}

/// Sends a request and waits for the response head.
fn answer(url: &str) -> Option<IncomingResponse> {
    let coming = outgoing_handler::handle(request(url), None).ok()?;
    coming.subscribe().block();
    coming.get()?.ok()?.ok()
}

fn web(function: &str, url: &str) -> bool {
    match function.split_once('.') {
        None => match function {
            "[constructor]fields" => often(Fields::new),
            "[constructor]outgoing-request" => often(|| OutgoingRequest::new(fields())),
            "[constructor]request-options" => often(http::RequestOptions::new),
            "[constructor]outgoing-response" => often(|| OutgoingResponse::new(fields())),
            "handle" => often(|| {
                let request = request(url);
                fill(&request);
                outgoing_handler::handle(request, None)
            }),
            // It takes a stream error, and there is none here.
            "http-error-code" => true,
            _ => false,
        },
        Some(("fields", function)) => of_fields(function),
        Some(("outgoing-request", function)) => of_request(function, url),
        Some(("request-options", _)) => {
            let options = http::RequestOptions::new();
            often(|| {
                let _ = options.set_connect_timeout(Some(u64::MAX));
                let _ = options.set_first_byte_timeout(Some(u64::MAX));
                let _ = options.set_between_bytes_timeout(Some(u64::MAX));
                let _ = (options.connect_timeout(), options.first_byte_timeout());
                options.between_bytes_timeout()
            })
        }
        Some(("outgoing-response", function)) => {
            let response = OutgoingResponse::new(fields());
            match function {
                "status-code" => often(|| response.status_code()),
                "set-status-code" => often(|| response.set_status_code(200)),
                "headers" => often(|| response.headers()),
                "body" => often(|| {
                    let response = OutgoingResponse::new(Fields::new());
                    let body = response.body().expect("it is taken once");
                    let stream = body.write().expect("it is taken once");
                    let large = vec![b'x'; 64 << 10];
                    while matches!(stream.check_write(), Ok(1..)) && stream.write(&large).is_ok() {}
                    (response, body, stream)
                }),
                _ => false,
            }
        }
        Some(("outgoing-body", _)) => often(|| {
            let request = request(url);
            fill(&request);
            request
        }),
        Some(("incoming-response", "status")) => answer(url).is_none_or(|answer| often(|| answer.status())),
        Some(("incoming-response", "headers")) => answer(url).is_none_or(|answer| often(|| answer.headers())),
        Some(("incoming-response", "consume")) => {
            often_a_while(|| answer(url).map(|answer| (answer.consume(), answer)))
        }
        Some(("incoming-body", "stream")) => often_a_while(|| {
            let body = answer(url)?.consume().ok()?;
            let stream = body.stream().ok()?;
            Some((stream.blocking_read(1), stream, body))
        }),
        Some(("incoming-body", "finish") | ("future-trailers", "subscribe" | "get")) => often_a_while(|| {
            let trailers = http::IncomingBody::finish(answer(url)?.consume().ok()?);
            trailers.subscribe().block();
            Some((trailers.get(), trailers))
        }),
        Some(("future-incoming-response", "subscribe" | "get")) => often_a_while(|| {
            let coming = outgoing_handler::handle(request(url), None).ok()?;
            coming.subscribe().block();
            Some((coming.get(), coming))
        }),
        // A guest that serves no requests has neither an incoming request nor an outparam.
        Some(("incoming-request" | "response-outparam", _)) => true,
        Some(_) => false,
    }
}

/// Calls often enough for connections to add up, and keeps the results.
fn often_a_while<T>(mut call: impl FnMut() -> T) -> bool {
    for _ in 0..100 {
        std::mem::forget(call());
    }
    true
}

fn of_fields(function: &str) -> bool {
    let full = fields();
    let (name, value) = ("n".repeat(LARGE), vec![b'x'; LARGE]);
    let list = vec![("x-a".to_owned(), vec![b'x'; 60_000])];
    match function {
        "from-list" => often(|| Fields::from_list(&list)),
        "get" => often_freed(|| full.get("x-1")) && (0..20).all(|_| full.get(&name).is_empty()),
        "has" => (0..20).all(|_| !full.has(&name)),
        "set" => {
            often(|| {
                let fields = Fields::new();
                (fields.set("x-a", &[vec![b'x'; 60_000]]), fields)
            }) && full.set("x-a", &[value.clone()]).is_err()
        }
        "delete" => (0..20).all(|_| full.delete(&name).is_err()),
        "append" => often(fields),
        "entries" => often_freed(|| full.entries()),
        "clone" => often(|| {
            let copy = full.clone();
            (copy.delete("x-1"), copy)
        }),
        _ => false,
    }
}

fn of_request(function: &str, url: &str) -> bool {
    let one = OutgoingRequest::new(fields());
    let long = large();
    let path = format!("/{}", "x".repeat(65_000));
    // A hundred of these would be 300 MiB, if the host kept them.
    let each = |set: &dyn Fn(&OutgoingRequest) -> Result<(), ()>| {
        often_a_while(|| {
            let request = OutgoingRequest::new(Fields::new());
            (set(&request), request)
        })
    };
    match function {
        "body" => often(|| {
            let request = request(url);
            fill(&request);
            request
        }),
        "method" => often_freed(|| one.method()),
        "set-method" => each(&|request| request.set_method(&Method::Other(long.clone()))),
        "path-with-query" => {
            one.set_path_with_query(Some(&path)).is_ok() && often_freed(|| one.path_with_query())
        }
        "set-path-with-query" => each(&|request| request.set_path_with_query(Some(&path))),
        "scheme" => often_freed(|| one.scheme()),
        "set-scheme" => each(&|request| request.set_scheme(Some(&Scheme::Other(long.clone())))),
        "authority" => often_freed(|| one.authority()),
        "set-authority" => each(&|request| request.set_authority(Some(&long))),
        "headers" => often(|| one.headers()),
        _ => false,
    }
}

fn task(function: &str) -> bool {
    match function {
        "dependencies" => often_freed(host::dependencies),
        "next-event" => often_freed(host::next_event),
        "submit-children" => {
            let child = |number: usize| NewChild {
                name: number.to_string(),
                plugin: "noop".to_owned(),
                input: Some(format!("\"{}\"", "x".repeat(1_000))),
                options: None,
            };
            let children: Vec<_> = (0..1_000).map(child).collect();
            (0..5).for_each(|_| drop(host::submit_children(&children)));
            let long = NewChild { input: Some(large()), ..child(0) };
            (0..5).for_each(|_| drop(host::submit_children(std::slice::from_ref(&long))));
            true
        }
        "children" => often_freed(|| host::children(0)),
        "context" => often_freed(host::context),
        "progress" => {
            let long = large();
            (0..20).for_each(|_| host::progress(0.5, &long));
            true
        }
        "save" => {
            let state = vec![b'x'; 1 << 20];
            (0..5).for_each(|_| drop(host::save(&state)));
            true
        }
        "restore" => (0..100).all(|_| {
            drop(host::restore());
            true
        }),
        "stop-requested" => often(host::stop_requested),
        "sleep" => often(|| host::sleep(0)),
        _ => false,
    }
}
