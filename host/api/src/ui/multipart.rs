//! Reads `multipart/form-data` (RFC 7578), which a form with a file sends.

use bytes::Bytes;

/// Parts of a form; further ones are refused.
const PARTS_MAX: usize = 16;

/// One field of a form.
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) bytes: Bytes,
}

/// Reads the parts of a body; `None` if it is malformed.
pub(crate) fn read(body: &Bytes, boundary: &str) -> Option<Vec<Part>> {
    let delimiter = format!("\r\n--{boundary}");
    // The first one has no line before it.
    let mut at = delimiter.len() - 2;
    if !body.starts_with(&delimiter.as_bytes()[2..]) {
        return None;
    }
    let mut parts = Vec::new();
    loop {
        let rest = &body[at..];
        if rest.starts_with(b"--") {
            return Some(parts);
        }
        let rest = rest.strip_prefix(b"\r\n")?;
        let head = find(rest, b"\r\n\r\n")?;
        let start = body.len() - rest.len() + head + 4;
        let end = start + find(&body[start..], delimiter.as_bytes())?;
        let name = name(std::str::from_utf8(&rest[..head]).ok()?)?;
        if parts.len() == PARTS_MAX {
            return None;
        }
        parts.push(Part { name, bytes: body.slice(start..end) });
        at = end + delimiter.len();
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

/// Returns the name of a part from its headers.
fn name(head: &str) -> Option<String> {
    let is_disposition = |line: &&str| line.to_ascii_lowercase().starts_with("content-disposition:");
    let line = head.split("\r\n").find(is_disposition)?;
    let value = line.split(';').find_map(|parameter| parameter.trim().strip_prefix("name=\""))?;
    value.strip_suffix('"').map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(body: &'static [u8]) -> Option<Vec<(String, Bytes)>> {
        let parts = read(&Bytes::from_static(body), "x")?;
        Some(parts.into_iter().map(|part| (part.name, part.bytes)).collect())
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
    }

    #[test]
    fn what_is_cut_or_foreign_is_no_form() {
        for body in [
            &b""[..],
            b"--y--",
            b"--x",
            b"--x\r\n",
            b"--x\r\n\r\n\r\n",
            b"--x\r\nname\r\n\r\nno end",
            b"--x\r\ncontent-disposition: form-data\r\n\r\n1\r\n--x--",
            b"--x\r\n\xff\r\n\r\n1\r\n--x--",
        ] {
            assert_eq!(parts(body), None, "{body:?}");
        }
        let many = "--x\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\n1\r\n".repeat(PARTS_MAX + 1);
        assert!(read(&Bytes::from(format!("{many}--x--")), "x").is_none());
    }
}
