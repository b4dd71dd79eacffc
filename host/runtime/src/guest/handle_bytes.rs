//! Estimates the memory that the host keeps behind the handles of one guest: requests, header fields, bodies,
//! connections, sockets, streams.
//!
//! Called by `guest` before a call. Each entry is estimated by the maximum it can hold.

use std::any::Any;

use hyper::HeaderMap;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, TcpSocket};
use wasmtime_wasi_http::FieldMap;
use wasmtime_wasi_http::p2::bindings::http::types::{Method, Scheme};
use wasmtime_wasi_http::p2::body::{HostFutureTrailers, HostIncomingBody};
use wasmtime_wasi_http::p2::types::{
    HostFutureIncomingResponse, HostIncomingResponse, HostOutgoingRequest, HostOutgoingResponse,
};

use crate::files::listing::Listing;
use crate::http::client::{BODY_CHUNK_BYTES, BUFFER_BYTES_MAX};

/// Bytes of the header fields of one request.
pub(crate) const FIELDS_BYTES_MAX: usize = 64 << 10;

/// Bytes of any handle, including its table entry.
const HANDLE_BYTES: usize = 256;
/// Overhead of a header field.
const FIELD_BYTES: usize = 128;
/// Bytes of an outgoing body: wasmtime buffers two chunks.
const BODY_BYTES: usize = 2 * BODY_CHUNK_BYTES;
/// Bytes of a connection: read buffer, write buffer and TLS.
const CONNECTION_BYTES: usize = 3 * BUFFER_BYTES_MAX;
/// Bytes of a TCP socket beside its streams: what the kernel keeps for it at first.
const SOCKET_BYTES: usize = 64 << 10;
/// Bytes of a file or TCP stream: wasmtime reads and writes at most this much at once.
const STREAM_BYTES: usize = 64 << 10;

/// Bytes of a directory listing: the entries that were read ahead.
const LISTING_BYTES: usize = 16 << 10;

/// Returns the estimated bytes of all entries of a table, and the number of entries.
pub(crate) fn estimate(table: &mut ResourceTable) -> (u64, usize) {
    let sizes = table.iter_mut().map(|entry| HANDLE_BYTES + bytes_beside(entry));
    let (bytes, entries) = sizes.fold((0, 0), |(bytes, entries), size| (bytes + size as u64, entries + 1));
    (bytes, entries)
}

fn bytes_beside(entry: &(dyn Any + Send)) -> usize {
    if let Some(fields) = entry.downcast_ref::<FieldMap>() {
        fields_bytes(fields)
    } else if let Some(request) = entry.downcast_ref::<HostOutgoingRequest>() {
        request_bytes(request)
    } else if let Some(response) = entry.downcast_ref::<HostFutureIncomingResponse>() {
        match response {
            HostFutureIncomingResponse::Pending(_) => CONNECTION_BYTES + BODY_BYTES,
            HostFutureIncomingResponse::Ready(Ok((response, _))) => {
                CONNECTION_BYTES + BODY_BYTES + fields_bytes(response.headers())
            }
            HostFutureIncomingResponse::Ready(Err(_)) | HostFutureIncomingResponse::Consumed => 0,
        }
    } else if let Some(response) = entry.downcast_ref::<HostIncomingResponse>() {
        fields_bytes(&response.headers)
            + if response.body.is_some() { CONNECTION_BYTES + BODY_BYTES } else { 0 }
    } else if entry.is::<HostIncomingBody>() {
        CONNECTION_BYTES + BODY_BYTES
    } else if let Some(trailers) = entry.downcast_ref::<HostFutureTrailers>() {
        match trailers {
            HostFutureTrailers::Waiting(_) => CONNECTION_BYTES + BODY_BYTES,
            HostFutureTrailers::Done(Ok(Some(fields))) => fields_bytes(fields),
            HostFutureTrailers::Done(_) | HostFutureTrailers::Consumed => 0,
        }
    } else if let Some(response) = entry.downcast_ref::<HostOutgoingResponse>() {
        fields_bytes(&response.headers) + if response.body.is_some() { BODY_BYTES } else { 0 }
    } else if entry.is::<TcpSocket>() {
        SOCKET_BYTES
    } else if entry.is::<Listing>() {
        LISTING_BYTES
    } else if entry.is::<DynInputStream>() || entry.is::<DynOutputStream>() {
        STREAM_BYTES
    } else {
        0
    }
}

fn request_bytes(request: &HostOutgoingRequest) -> usize {
    let HostOutgoingRequest { method, scheme, authority, path_with_query, headers, body } = request;
    let method = if let Method::Other(method) = method { method.capacity() } else { 0 };
    let scheme = if let Some(Scheme::Other(scheme)) = scheme { scheme.capacity() } else { 0 };
    let texts = [authority, path_with_query].into_iter().flatten().map(String::capacity);
    let body = if body.is_some() { BODY_BYTES } else { 0 };
    method + scheme + texts.sum::<usize>() + fields_bytes(headers) + body
}

fn fields_bytes(fields: &HeaderMap) -> usize {
    fields.iter().map(|(name, value)| FIELD_BYTES + name.as_str().len() + value.len()).sum()
}

#[cfg(test)]
mod tests {
    use wasmtime_wasi_http::p2::body::{HostOutgoingBody, StreamContext};

    use super::*;

    fn fields(bytes: usize) -> FieldMap {
        let mut fields = FieldMap::new_mutable(FIELDS_BYTES_MAX);
        let (name, value) = ("x-a".parse().unwrap(), vec![b'a'; bytes].try_into().unwrap());
        fields.append_raw(name, value).unwrap();
        fields
    }

    #[test]
    fn everything_that_a_request_keeps_is_counted() {
        let mut table = ResourceTable::new();
        assert_eq!(estimate(&mut table), (0, 0));
        let (_host, body) = HostOutgoingBody::new(StreamContext::Request, None, 1, BODY_CHUNK_BYTES);
        let text = || "x".repeat(1_000);
        let request = HostOutgoingRequest {
            method: Method::Other(text()),
            scheme: Some(Scheme::Other(text())),
            authority: Some(text()),
            path_with_query: Some(text()),
            headers: fields(1_000),
            body: Some(body),
        };
        let request = table.push(request).unwrap();
        let (counted, entries) = estimate(&mut table);
        assert!(counted >= 5_000 + BODY_BYTES as u64 && entries == 1, "{counted}");
        table.delete(request).unwrap();
        assert_eq!(estimate(&mut table), (0, 0));
    }

    #[test]
    fn every_handle_counts() {
        let mut table = ResourceTable::new();
        table.push(fields(10_000)).unwrap();
        table.push("anything").unwrap();
        let (counted, entries) = estimate(&mut table);
        assert!(counted >= 10_000 + 2 * HANDLE_BYTES as u64 && entries == 2, "{counted}");
    }
}
