//! `wasi:sockets/tcp` and the creation of sockets: wasmtime's, with what the policy and the limits add.

use std::net::SocketAddr;
use std::sync::Arc;

use wasmtime::Result;
use wasmtime::component::{Linker, Resource, ResourceType};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress};
use wasmtime_wasi::p2::bindings::sockets::{tcp, tcp_create_socket};
use wasmtime_wasi::p2::pipe::{ClosedInputStream, ClosedOutputStream};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, Network, TcpSocket, UdpSocket};
use wasmtime_wasi::sockets::WasiSocketsView;

use crate::guest::state::Guest;
use crate::link::sockets::call::{Answer, Store, answer};
use crate::observe::instance_status::HostCall;
use crate::tcp::guest_tcp::{GuestTcp, SocketError};
use crate::tcp::streams::{TcpInput, TcpOutput};

/// The interfaces in wasmtime's version; the linker matches any compatible version to them.
const TCP: &str = "wasi:sockets/tcp@0.2.12";
const TCP_CREATE: &str = "wasi:sockets/tcp-create-socket@0.2.12";
const UDP_CREATE: &str = "wasi:sockets/udp-create-socket@0.2.12";
/// Bytes of each buffer of the kernel that a guest may ask for.
const BUFFER_BYTES_MAX: u64 = 1 << 20;

type Socket = Resource<TcpSocket>;
type Streams = (Resource<DynInputStream>, Resource<DynOutputStream>);

pub(super) fn add(linker: &mut Linker<Guest>) -> Result<()> {
    let mut create = linker.instance(TCP_CREATE)?;
    create.func_wrap_async("create-tcp-socket", |store: Store<'_>, (family,): (IpAddressFamily,)| {
        Box::new(create_socket(store, family))
    })?;
    let mut udp = linker.instance(UDP_CREATE)?;
    udp.func_wrap("create-udp-socket", |store: Store<'_>, (_,): (IpAddressFamily,)| {
        refuse::<Resource<UdpSocket>>(&store, "use UDP")
    })?;
    let mut tcp = linker.instance(TCP)?;
    tcp.resource("tcp-socket", ResourceType::host::<TcpSocket>(), close)?;
    tcp.func_wrap("[method]tcp-socket.start-connect", start_connect)?;
    tcp.func_wrap("[method]tcp-socket.finish-connect", finish_connect)?;
    type BindTo = (Socket, Resource<Network>, IpSocketAddress);
    tcp.func_wrap("[method]tcp-socket.start-bind", |store: Store<'_>, _: BindTo| {
        refuse::<()>(&store, "bind a socket")
    })?;
    tcp.func_wrap("[method]tcp-socket.start-listen", |store: Store<'_>, _: (Socket,)| {
        refuse::<()>(&store, "listen on a socket")
    })?;
    tcp.func_wrap(
        "[method]tcp-socket.set-receive-buffer-size",
        |mut store: Store<'_>, (socket, bytes): (Socket, u64)| {
            let bytes = bytes.min(BUFFER_BYTES_MAX);
            answer(tcp::HostTcpSocket::set_receive_buffer_size(
                &mut store.data_mut().sockets(),
                socket,
                bytes,
            ))
        },
    )?;
    tcp.func_wrap(
        "[method]tcp-socket.set-send-buffer-size",
        |mut store: Store<'_>, (socket, bytes): (Socket, u64)| {
            let bytes = bytes.min(BUFFER_BYTES_MAX);
            answer(tcp::HostTcpSocket::set_send_buffer_size(&mut store.data_mut().sockets(), socket, bytes))
        },
    )
}

/// Returns the TCP of a guest. Without a rule, sockets are refused.
fn tcp_of(guest: &Guest) -> Option<&Arc<GuestTcp>> {
    if guest.tcp.is_none() {
        guest.plugin.denial_log.log_no_tcp();
    }
    guest.tcp.as_ref()
}

fn refuse<T>(store: &Store<'_>, what: &str) -> Answer<T> {
    store.data().plugin.denial_log.log_socket(what);
    Ok((Err(ErrorCode::AccessDenied),))
}

async fn create_socket(mut store: Store<'_>, family: IpAddressFamily) -> Answer<Socket> {
    let Some(tcp) = tcp_of(store.data()).cloned() else { return Ok((Err(ErrorCode::AccessDenied),)) };
    store.data().status().begin_call(HostCall::Sockets);
    let permit = match tcp.reserve().await {
        Ok(permit) => permit,
        Err(SocketError::TooMany | SocketError::Busy) => return Ok((Err(ErrorCode::NewSocketLimit),)),
    };
    let created = tcp_create_socket::Host::create_tcp_socket(&mut store.data_mut().sockets(), family);
    if let Ok(socket) = &created {
        tcp.opened(socket.rep(), permit);
    }
    answer(created)
}

fn start_connect(
    mut store: Store<'_>,
    (socket, network, remote): (Socket, Resource<Network>, IpSocketAddress),
) -> Answer<()> {
    let guest = store.data_mut();
    let Some(tcp) = tcp_of(guest).cloned() else { return Ok((Err(ErrorCode::AccessDenied),)) };
    let address = SocketAddr::from(remote);
    let Some(to) = tcp.destination(address) else {
        tcp.log_denied(address);
        return Ok((Err(ErrorCode::AccessDenied),));
    };
    let handle = socket.rep();
    let started = tcp::HostTcpSocket::start_connect(&mut guest.sockets(), socket, network, remote);
    if started.is_ok() {
        tcp.connecting(handle, to);
    }
    answer(started)
}

fn finish_connect(mut store: Store<'_>, (socket,): (Socket,)) -> Answer<Streams> {
    let guest = store.data_mut();
    let handle = socket.rep();
    let (input, output) = match tcp::HostTcpSocket::finish_connect(&mut guest.sockets(), socket) {
        Ok(streams) => streams,
        Err(error) => return answer(Err(error)),
    };
    let Some(meter) = guest.tcp.as_ref().and_then(|tcp| tcp.connected(handle)) else {
        wasmtime::bail!("the host lost track of a socket that it opened");
    };
    // The streams stay in their places, since they are children of the socket.
    let table = guest.ctx().table;
    let place: &mut DynInputStream = table.get_mut(&input)?;
    let stream = std::mem::replace(place, Box::new(ClosedInputStream));
    *place = Box::new(TcpInput { stream, meter: meter.clone() });
    let place: &mut DynOutputStream = table.get_mut(&output)?;
    let stream = std::mem::replace(place, Box::new(ClosedOutputStream));
    *place = Box::new(TcpOutput { stream, meter });
    Ok((Ok((input, output)),))
}

fn close(mut store: Store<'_>, handle: u32) -> Result<()> {
    let guest = store.data_mut();
    tcp::HostTcpSocket::drop(&mut guest.sockets(), Resource::new_own(handle))?;
    if let Some(tcp) = &guest.tcp {
        tcp.closed(handle);
    }
    Ok(())
}
