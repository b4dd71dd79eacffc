//! Reads files that people name.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Reads a regular file of bounded size.
pub(crate) fn read(path: &Path, bytes_max: u64) -> io::Result<String> {
    // Opening a pipe would block.
    if !path.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut text = String::new();
    File::open(path)?.take(bytes_max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > bytes_max {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is larger than {bytes_max} bytes"),
        ));
    }
    Ok(text)
}
