//! Reads the lines of the audit, oldest first.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::path::Path;

use super::file::{KEPT, older};
use super::line::AuditLine;

/// Tells of each line of the file and of the older ones beside it. What is no line, such as half of one, is left out.
///
/// # Errors
///
/// Fails if a file exists and cannot be read, or if there is none.
pub fn read_audit(path: &Path, mut each: impl FnMut(AuditLine)) -> io::Result<()> {
    let older = (1..=KEPT).rev().map(|number| older(path, number));
    for (is_last, path) in older.map(|path| (false, path)).chain([(true, path.to_owned())]) {
        let file = match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound && !is_last => continue,
            file => file?,
        };
        for line in BufReader::new(file).split(b'\n') {
            if let Ok(line) = serde_json::from_slice(&line?) {
                each(line);
            }
        }
    }
    Ok(())
}
