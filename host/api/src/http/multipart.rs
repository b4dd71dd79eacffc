//! Reads `multipart/form-data` (RFC 7578), which a form with files sends, as its bytes arrive.
//!
//! It does no I/O: `form_stream` gives it the bytes of a body that may be larger than memory, and the dashboard those of a
//! whole body.

use bytes::{Buf, Bytes};

/// Parts of a form that is read at once; further ones are refused.
const PARTS_MAX: usize = 16;

/// The maximum size of the headers of a part: names of files have up to 512 bytes.
pub(crate) const HEAD_BYTES_MAX: usize = 2 << 10;

/// The parser of one form.
#[derive(Debug)]
pub(crate) struct Multipart {
    /// What ends a part, with the line break before it.
    delimiter: Vec<u8>,
    /// What has arrived and was not returned.
    buffer: Bytes,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first part.
    Start,
    /// Behind a delimiter: a part or the end follows.
    Delimited,
    Body,
    End,
}

/// What a form consists of, in order: parts, each followed by its bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Part(PartHead),
    /// The next bytes of the part.
    Bytes(Bytes),
    /// There are no more parts.
    End,
}

/// What the headers of a part say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartHead {
    pub(crate) name: String,
    pub(crate) file_name: Option<String>,
}

/// A body is no form: it is cut or has another format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Multipart {
    /// Starts a form with this boundary.
    pub(crate) fn new(boundary: &str) -> Self {
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        Self { delimiter, buffer: Bytes::new(), state: State::Start }
    }

    /// Adds the next bytes of the body. They are copied if some are left.
    pub(crate) fn feed(&mut self, bytes: Bytes) {
        if self.state == State::End {
            // What follows the end is ignored.
        } else if self.buffer.is_empty() {
            self.buffer = bytes;
        } else {
            self.buffer = Bytes::from([&self.buffer[..], &bytes[..]].concat());
        }
    }

    /// Returns what comes next; `None` if more bytes are needed.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if this is no form.
    pub(crate) fn next(&mut self) -> Result<Option<Event>, Malformed> {
        loop {
            match self.state {
                State::Start => {
                    // The first delimiter has no line before it.
                    let first = &self.delimiter[2..];
                    let length = first.len().min(self.buffer.len());
                    if self.buffer[..length] != first[..length] {
                        return Err(Malformed);
                    }
                    if length < first.len() {
                        return Ok(None);
                    }
                    self.skip(length);
                }
                State::Delimited => return self.head(),
                State::Body => match find(&self.buffer, &self.delimiter) {
                    Some(0) => self.skip(self.delimiter.len()),
                    Some(end) => return Ok(Some(Event::Bytes(self.buffer.split_to(end)))),
                    None => {
                        // The end of what has arrived may be the start of a delimiter.
                        let end = (self.buffer.len() + 1).saturating_sub(self.delimiter.len());
                        return Ok((end > 0).then(|| Event::Bytes(self.buffer.split_to(end))));
                    }
                },
                State::End => return Ok(Some(Event::End)),
            }
        }
    }

    /// Skips a delimiter.
    fn skip(&mut self, length: usize) {
        self.buffer.advance(length);
        self.state = State::Delimited;
    }

    /// Reads what follows a delimiter.
    fn head(&mut self) -> Result<Option<Event>, Malformed> {
        if self.buffer.starts_with(b"--") {
            self.buffer.clear();
            self.state = State::End;
            return Ok(Some(Event::End));
        }
        if self.buffer.len() >= 2 && !self.buffer.starts_with(b"\r\n") {
            return Err(Malformed);
        }
        let Some(end) = find(&self.buffer, b"\r\n\r\n") else {
            return if self.buffer.len() > HEAD_BYTES_MAX { Err(Malformed) } else { Ok(None) };
        };
        // Without a header, the line break of the delimiter is found.
        let head = self.buffer.split_to(end + 4);
        let head = head.get(2..end).filter(|head| head.len() <= HEAD_BYTES_MAX).ok_or(Malformed)?;
        let head = std::str::from_utf8(head).ok().and_then(PartHead::read).ok_or(Malformed)?;
        self.state = State::Body;
        Ok(Some(Event::Part(head)))
    }
}

impl PartHead {
    /// Reads the headers of a part; `None` if they do not name it.
    fn read(head: &str) -> Option<Self> {
        let value = head.split("\r\n").find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim_end().eq_ignore_ascii_case("content-disposition").then_some(value)
        })?;
        let (kind, mut rest) = value.split_once(';')?;
        if !kind.trim().eq_ignore_ascii_case("form-data") {
            return None;
        }
        let (mut name, mut file_name) = (None, None);
        while !rest.trim().is_empty() {
            let (key, value) = rest.split_once('=')?;
            let (value, left) = value_of(value)?;
            match key.trim().to_ascii_lowercase().as_str() {
                "name" => name = name.or(Some(value)),
                "filename" => file_name = file_name.or(Some(value)),
                _ => {}
            }
            rest = left;
        }
        Some(Self { name: name?, file_name })
    }
}

/// Reads the value of a parameter, quoted or not, and returns what follows it.
fn value_of(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.trim_start().strip_prefix('"') else {
        let (value, rest) = text.split_once(';').unwrap_or((text, ""));
        return Some((value.trim().to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => {
                let rest = quoted[at + 1..].trim_start();
                let rest = rest.strip_prefix(';').or_else(|| rest.is_empty().then_some(rest))?;
                return Some((value, rest));
            }
            // Others are part of the value: browsers do not escape a backslash.
            '\\' if characters.peek().is_some_and(|(_, next)| matches!(next, '"' | '\\')) => {
                value.extend(characters.next().map(|(_, next)| next));
            }
            _ => value.push(character),
        }
    }
    None
}

/// One field of a form.
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) bytes: Bytes,
}

/// Reads the parts of a whole body, which share its memory; `None` if it is malformed.
pub(crate) fn read(body: &Bytes, boundary: &str) -> Option<Vec<Part>> {
    let mut form = Multipart::new(boundary);
    form.feed(body.clone());
    let mut parts: Vec<Part> = Vec::new();
    loop {
        match form.next().ok()?? {
            Event::Part(_) if parts.len() == PARTS_MAX => return None,
            Event::Part(head) => parts.push(Part { name: head.name, bytes: Bytes::new() }),
            // All bytes of a part, since its end is there.
            Event::Bytes(bytes) => parts.last_mut()?.bytes = bytes,
            Event::End => return Some(parts),
        }
    }
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut at = 0;
    while let Some(next) = text[at..].iter().position(|byte| *byte == first) {
        at += next;
        if text[at..].starts_with(wanted) {
            return Some(at);
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(body: &'static [u8]) -> Option<Vec<(String, Bytes)>> {
        let parts = read(&Bytes::from_static(body), "x")?;
        Some(parts.into_iter().map(|part| (part.name, part.bytes)).collect())
    }

    /// The name of a part, that of its file, and its bytes.
    type Whole = (String, Option<String>, Vec<u8>);

    /// Reads a form that arrives in pieces of this size.
    fn in_pieces(body: &[u8], size: usize) -> Result<Vec<Whole>, Malformed> {
        let (mut form, mut pieces, mut parts) = (Multipart::new("x"), body.chunks(size), Vec::new());
        loop {
            match form.next()? {
                None => form.feed(Bytes::copy_from_slice(pieces.next().ok_or(Malformed)?)),
                Some(Event::Part(PartHead { name, file_name })) => parts.push((name, file_name, Vec::new())),
                Some(Event::Bytes(bytes)) => parts.last_mut().expect("a part").2.extend_from_slice(&bytes),
                Some(Event::End) => return Ok(parts),
            }
        }
    }

    #[test]
    fn a_form_has_its_fields_and_its_file() {
        let body = b"--x\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nfetch\r\n--x\r\n\
            content-disposition: form-data; name=\"file\"; filename=\"a.wasm\"\r\ncontent-type: application/wasm\r\n\r\n\
            \0asm\r\n--y\r\n\r\n--x--\r\n";
        let read = parts(body).expect("a form");
        assert_eq!(read[0], ("name".to_owned(), Bytes::from_static(b"fetch")));
        assert_eq!(read[1], ("file".to_owned(), Bytes::from_static(b"\0asm\r\n--y\r\n")));
        assert_eq!(parts(b"--x--"), Some(Vec::new()));
        let whole = in_pieces(body, body.len()).expect("a form");
        assert_eq!(whole[1].1.as_deref(), Some("a.wasm"));
        for size in 1..body.len() {
            assert_eq!(in_pieces(body, size).as_ref(), Ok(&whole), "{size}");
        }
    }

    #[test]
    fn bytes_like_a_delimiter_are_none() {
        let bytes = b"\r\r\n\r\n-\r\n--\r\n--\r\n--y\r";
        let body =
            [b"--x\r\ncontent-disposition: form-data; name=a\r\n\r\n", &bytes[..], b"\r\n--x--"].concat();
        for size in 1..body.len() {
            assert_eq!(in_pieces(&body, size), Ok(vec![("a".to_owned(), None, bytes.to_vec())]), "{size}");
        }
    }

    #[test]
    fn names_are_quoted_or_not() {
        let read = |value: &str| PartHead::read(&format!("A: b\r\nContent-Disposition : {value}"));
        let head = |name: &str, file: &str| {
            Some(PartHead { name: name.to_owned(), file_name: Some(file.to_owned()) })
        };
        assert_eq!(read(r#"form-data; name="a"; filename="b/c; d.v""#), head("a", "b/c; d.v"));
        assert_eq!(read(r#"form-data; filename = "\"a\\b\c\"" ; name=x y"#), head("x y", r#""a\b\c""#));
        assert_eq!(read(r#"Form-Data;NAME=a;filename*=UTF-8''x;FILENAME="",name=b"#), None);
        assert_eq!(read(r#"form-data; name=a; filename*=UTF-8''x; filename="" ;"#), head("a", ""));
        for value in [
            "form-data",
            "form-data; filename=a",
            r#"form-data; name="a"#,
            "attachment; name=a",
            "form-data; a",
        ] {
            assert_eq!(read(value), None, "{value}");
        }
    }

    #[test]
    fn what_is_cut_or_foreign_is_no_form() {
        for body in [
            &b""[..],
            b"--y--",
            b"--x",
            b"--x\r\n",
            b"--x\r\n\r\n\r\n",
            b"--xy\r\n",
            b"--x\r\nname\r\n\r\nno end",
            b"--x\r\ncontent-disposition: form-data\r\n\r\n1\r\n--x--",
            b"--x\r\n\xff\r\n\r\n1\r\n--x--",
        ] {
            assert_eq!(parts(body), None, "{body:?}");
            assert_eq!(in_pieces(body, 1), Err(Malformed), "{body:?}");
        }
        let part = "--x\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n1\r\n";
        assert!(read(&Bytes::from(format!("{}--x--", part.repeat(PARTS_MAX + 1))), "x").is_none());
        let long = format!("--x\r\nA: {}", "b".repeat(HEAD_BYTES_MAX));
        assert_eq!(in_pieces(long.as_bytes(), 100), Err(Malformed));
    }
}
