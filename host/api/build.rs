//! Takes the API viewer of `GET /docs` from the archive in the crate `utoipa-swagger-ui-vendored`, as gzip files.
//!
//! Cargo checks that crate against `Cargo.lock`, so nothing of it is committed here, and nothing is downloaded later.

use std::path::Path;
use std::{env, fs};

use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED as ARCHIVE;

/// Files of the archive.
const FILES: [&str; 3] = ["dist/swagger-ui-bundle.js", "dist/swagger-ui.css", "LICENSE"];
/// The compression method of all of them: deflate, as in gzip.
const DEFLATE: usize = 8;
/// A gzip header without name and time (RFC 1952).
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, DEFLATE as u8, 0, 0, 0, 0, 0, 2, 255];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let folder = env::var("OUT_DIR").expect("cargo sets it");
    for file in FILES {
        let name = file.rsplit('/').next().unwrap_or(file);
        fs::write(Path::new(&folder).join(format!("{name}.gz")), gzip(file)).expect("the folder is writable");
    }
}

/// Returns a file of the archive. Its compressed bytes stay as they are: a zip entry and a gzip file differ in what is
/// around them only.
fn gzip(file: &str) -> Vec<u8> {
    // The last record has the place of the directory; PKWARE APPNOTE.TXT 4.3.16.
    let end = ARCHIVE.windows(4).rposition(|bytes| bytes == b"PK\x05\x06").expect("the archive has an end");
    let mut entry = &ARCHIVE[number(&ARCHIVE[end..], 16, 4)..];
    loop {
        assert!(entry.starts_with(b"PK\x01\x02"), "the archive has no {file}");
        let (name, extra, comment) = (number(entry, 28, 2), number(entry, 30, 2), number(entry, 32, 2));
        if entry[46..46 + name].ends_with(format!("swagger-ui-5.32.6/{file}").as_bytes()) {
            break;
        }
        entry = &entry[46 + name + extra + comment..];
    }
    assert_eq!(number(entry, 10, 2), DEFLATE, "{file} is compressed in another way");
    let local = &ARCHIVE[number(entry, 42, 4)..];
    let data = &local[30 + number(local, 26, 2) + number(local, 28, 2)..][..number(entry, 20, 4)];
    let (checksum, length) = (&entry[16..20], &entry[24..28]);
    [&GZIP_HEADER, data, checksum, length].concat()
}

/// Reads a little-endian number of this many bytes.
fn number(bytes: &[u8], at: usize, length: usize) -> usize {
    bytes[at..at + length].iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
}
