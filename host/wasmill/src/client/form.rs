//! A request body with files, which are read while they are sent: a form of the type `multipart/form-data` (RFC 7578).

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use anyhow::Result;
use hyper::body::{Body, Bytes, Frame, SizeHint};
use wasmill_model::{ContentId, FileName};
use wasmill_runtime::open_file;

use crate::exit::read_error;

/// How many bytes of a file are sent at once.
const FRAME_BYTES: u64 = 64 << 10;

/// A form that is sent once.
#[derive(Debug)]
pub(crate) struct Form {
    boundary: String,
    pieces: VecDeque<Piece>,
    /// How many bytes are left.
    bytes: u64,
}

#[derive(Debug)]
enum Piece {
    Text(Bytes),
    /// A file, of which so many bytes are left.
    File(File, u64),
}

impl Form {
    /// Starts a form with a field of JSON.
    pub(crate) fn new(name: &str, json: &[u8]) -> Self {
        // A random id, which no file contains.
        let boundary = ContentId::random().to_string();
        let mut form = Self { boundary, pieces: VecDeque::new(), bytes: 0 };
        let head = format!(
            "--{}\r\nContent-Disposition: form-data; name=\"{name}\"\r\nContent-Type: application/json\r\n\r\n",
            form.boundary
        );
        form.add([head.as_bytes(), json].concat());
        form
    }

    /// Adds a file under this name.
    ///
    /// # Errors
    ///
    /// Fails if it is no regular file that can be read.
    pub(crate) fn add_file(&mut self, field: &str, name: &FileName, path: &Path) -> Result<()> {
        let failed = |error: io::Error| read_error(path.display(), &error);
        let file = open_file(path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        // A name has no \ of its own.
        let name = name.as_str().replace('"', "\\\"");
        self.add(format!(
            "\r\n--{}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n",
            self.boundary
        ));
        self.bytes += bytes;
        self.pieces.push_back(Piece::File(file, bytes));
        Ok(())
    }

    /// Ends the form.
    pub(crate) fn end(mut self) -> Self {
        self.add(format!("\r\n--{}--\r\n", self.boundary));
        self
    }

    /// Returns its size in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns its content type.
    pub(crate) fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    fn add(&mut self, text: impl Into<Bytes>) {
        let text = text.into();
        self.bytes += text.len() as u64;
        self.pieces.push_back(Piece::Text(text));
    }
}

impl Body for Form {
    type Data = Bytes;
    type Error = io::Error;

    /// Reads a file where it is: the program does nothing else meanwhile.
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let frame = loop {
            let read = match self.pieces.front_mut() {
                None => return Poll::Ready(None),
                Some(Piece::Text(text)) => Ok(std::mem::take(text)),
                Some(Piece::File(file, left)) => next(file, left),
            };
            match read {
                Err(error) => return Poll::Ready(Some(Err(error))),
                Ok(bytes) if bytes.is_empty() => drop(self.pieces.pop_front()),
                Ok(bytes) => break bytes,
            }
        };
        self.bytes -= frame.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes)
    }
}

/// Reads the next bytes of a file, none after its end.
fn next(file: &mut File, left: &mut u64) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    file.take(FRAME_BYTES.min(*left)).read_to_end(&mut bytes)?;
    if bytes.is_empty() && *left > 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a file became shorter while it was sent"));
    }
    *left -= bytes.len() as u64;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::client::block_on;

    #[test]
    fn a_form_has_the_announced_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large");
        let content = vec![b'x'; 3 * FRAME_BYTES as usize + 1];
        std::fs::write(&path, &content).unwrap();
        std::fs::write(folder.path().join("empty"), "").unwrap();
        let mut form = Form::new("task", b"{}");
        form.add_file("files", &"a\"b/c".parse().unwrap(), &path).unwrap();
        form.add_file("files", &"d".parse().unwrap(), &folder.path().join("empty")).unwrap();
        assert!(form.add_file("files", &"e".parse().unwrap(), folder.path()).is_err(), "a folder");
        let form = form.end();
        let (bytes, boundary) = (form.bytes(), form.boundary.clone());
        let sent = block_on(async { Ok(form.collect().await?.to_bytes()) }).unwrap();
        assert_eq!(sent.len() as u64, bytes);
        let text = String::from_utf8(sent.to_vec()).unwrap();
        let parts: Vec<_> = text.split(&format!("--{boundary}")).collect();
        assert_eq!(parts.len(), 5, "{text}");
        assert!(parts[1].ends_with("\r\n\r\n{}\r\n"));
        assert!(parts[2].contains("filename=\"a\\\"b/c\"") && parts[2].ends_with("x\r\n"));
        assert!(parts[3].ends_with("filename=\"d\"\r\nContent-Type: application/octet-stream\r\n\r\n\r\n"));
        assert_eq!((parts[0], parts[4]), ("", "--\r\n"));
    }

    #[test]
    fn a_file_that_becomes_shorter_ends_the_request() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "12345").unwrap();
        let mut form = Form::new("task", b"{}");
        form.add_file("files", &"a".parse().unwrap(), file.path()).unwrap();
        std::fs::write(file.path(), "1").unwrap();
        let sent = block_on(async { Ok(form.end().collect().await?.to_bytes()) });
        assert!(sent.unwrap_err().to_string().contains("became shorter"));
    }
}
