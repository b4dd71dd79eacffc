//! What a program does with sockets, by the standard library; what that lacks, by WASI itself.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::ip_name_lookup::resolve_addresses;
use wasip2::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress};
use wasip2::sockets::tcp_create_socket::create_tcp_socket;
use wasip2::sockets::udp_create_socket::create_udp_socket;

pub fn run(words: &[&str]) {
    match *words {
        ["talk", to, text] => print(talk(to, text)),
        ["hold", to] => print(hold(to)),
        ["fill", to] => print(fill(to)),
        ["many", to, count] => many(to, super::number(count)),
        ["lookup", name] => print(lookup(name)),
        ["lookups", name, count] => lookups(name, super::number(count)),
        ["lookup-and-wait", name] => wait_for_lookup(name),
        ["timeout", to, ms] => print(with_timeout(to, super::number(ms))),
        ["listen"] => print(TcpListener::bind("0.0.0.0:0").map(|_| "it listens".to_owned())),
        ["udp"] => print(UdpSocket::bind("0.0.0.0:0").map(|_| "it is bound".to_owned())),
        ["codes"] => codes(),
        ["buffers", bytes] => buffers(super::number(bytes)),
        _ => println!("nothing to do"),
    }
}

fn print(outcome: std::io::Result<String>) {
    print!("{}", super::describe(outcome));
}

/// Sends a text, then returns all that comes back.
fn talk(to: &str, text: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(to)?;
    stream.write_all(text.as_bytes())?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Waits for a byte that never comes.
fn hold(to: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(to)?;
    eprintln!("connected");
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    Ok("a byte".to_owned())
}

/// Writes until nobody reads any more, and then waits.
fn fill(to: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(to)?;
    eprintln!("connected");
    loop {
        stream.write_all(&[7; 16 << 10])?;
    }
}

/// Opens connections until one is refused, and keeps them.
fn many(to: &str, count: usize) {
    let mut open = Vec::new();
    for _ in 0..count {
        match TcpStream::connect(to) {
            Ok(stream) => open.push(stream),
            Err(error) => {
                print!("{} connections, then {error}", open.len());
                return;
            }
        }
    }
    print!("{} connections", open.len());
}

fn lookup(name: &str) -> std::io::Result<String> {
    let found = (name, 0).to_socket_addrs()?;
    Ok(found.map(|address| address.ip().to_string()).collect::<Vec<_>>().join(" "))
}

fn lookups(name: &str, count: usize) {
    let network = instance_network();
    let started: Vec<_> = (0..count).map(|_| resolve_addresses(&network, name)).collect();
    let refused: Vec<_> =
        started.iter().filter_map(|one| one.as_ref().err()).map(|error| error.name()).collect();
    print!("{} started, {refused:?}", started.len() - refused.len());
}

fn wait_for_lookup(name: &str) {
    let lookup = resolve_addresses(&instance_network(), name).expect("it may be looked up");
    eprintln!("waiting");
    lookup.subscribe().block();
    print!("{:?}", lookup.resolve_next_address());
}

/// Waits for an answer, but not for long.
fn with_timeout(to: &str, ms: u64) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(Duration::from_millis(ms)))?;
    match stream.read(&mut [0]) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Ok("it gave up".to_owned())
        }
        other => other.map(|bytes| format!("{bytes} bytes")),
    }
}

/// Prints the codes of what is refused.
fn codes() {
    let network = instance_network();
    let local = IpSocketAddress::Ipv4(Ipv4SocketAddress { port: 0, address: (0, 0, 0, 0) });
    match create_tcp_socket(IpAddressFamily::Ipv4) {
        Ok(socket) => {
            println!("bind {}", code(socket.start_bind(&network, local)));
            println!("listen {}", code(socket.start_listen()));
            let far = IpSocketAddress::Ipv4(Ipv4SocketAddress { port: 80, address: (169, 254, 169, 254) });
            println!("connect {}", code(socket.start_connect(&network, far)));
            println!("accept {}", code(socket.accept()));
        }
        Err(error) => println!("tcp {}", error.name()),
    }
    println!("udp {}", code(create_udp_socket(IpAddressFamily::Ipv6)));
    for name in ["other.example", "a b", "", "127.0.0.1"] {
        println!("name {name:?} {}", code(resolve_addresses(&network, name)));
    }
}

fn code<T>(outcome: Result<T, ErrorCode>) -> &'static str {
    outcome.map_or_else(|error| error.name(), |_| "success")
}

/// Asks for large buffers of the kernel.
fn buffers(bytes: u64) {
    let socket = create_tcp_socket(IpAddressFamily::Ipv4).expect("a socket");
    socket.set_receive_buffer_size(bytes).expect("it is a hint");
    socket.set_send_buffer_size(bytes).expect("it is a hint");
    let sizes = (socket.receive_buffer_size(), socket.send_buffer_size());
    print!("{sizes:?}");
}
