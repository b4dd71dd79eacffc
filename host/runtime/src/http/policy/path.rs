//! Compares the path of a request with the path of a rule. The path must mean the same to every server.
//!
//! Called by `policy`, inside a host call: each check is linear in the length of the path.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// How many times a path may be percent-encoded. Some servers decode twice; the third round allows for a proxy.
const ENCODINGS_MAX: usize = 3;

/// Characters that some servers treat as ASCII: compatibility forms, and best-fit mappings of old code pages.
const LOOK_ALIKES: [(char, &str); 16] = [
    ('\u{ff0e}', "."),
    ('\u{fe52}', "."),
    ('\u{2024}', "."),
    ('\u{2025}', ".."),
    ('\u{fe30}', ".."),
    ('\u{2026}', "..."),
    ('\u{fe19}', "..."),
    ('\u{ff0f}', "/"),
    ('\u{2044}', "/"),
    ('\u{2215}', "/"),
    ('\u{ff3c}', "\\"),
    ('\u{fe68}', "\\"),
    ('\u{2216}', "\\"),
    ('\u{ff1b}', ";"),
    ('\u{ff05}', "%"),
    ('\u{fe6a}', "%"),
];

/// Returns true if a prefix excludes some paths.
pub(super) fn is_restrictive(prefix: &str) -> bool {
    !matches!(prefix, "" | "/")
}

/// Returns true if a path begins with a prefix and no server can read it differently. The last segment of the
/// prefix matches as a whole: `/img` matches `/img/a` but not `/imgs`.
pub(super) fn begins_with(path: &str, prefix: &str) -> bool {
    if !is_restrictive(prefix) {
        return true;
    }
    let whole = path.strip_prefix(prefix);
    let whole = whole.is_some_and(|rest| prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/'));
    whole && is_unambiguous(path)
}

/// Returns true if no part of the path leads up or terminates it early, however often a server decodes it.
fn is_unambiguous(path: &str) -> bool {
    let mut path = Cow::Borrowed(path.as_bytes());
    for _ in 0..=ENCODINGS_MAX {
        let Some(folded) = str::from_utf8(&path).ok().map(fold) else { return false };
        if !is_plain(&folded) {
            return false;
        }
        let decoded = Cow::from(percent_decode(folded.as_bytes()));
        if *decoded == *folded.as_bytes() {
            return true;
        }
        path = Cow::Owned(decoded.into_owned());
    }
    false
}

/// Replaces look-alikes by the ASCII characters they resemble.
fn fold(path: &str) -> Cow<'_, str> {
    if path.is_ascii() {
        return Cow::Borrowed(path);
    }
    let mut folded = String::with_capacity(path.len());
    for letter in path.chars() {
        match LOOK_ALIKES.iter().find(|(alike, _)| *alike == letter) {
            Some((_, plain)) => folded.push_str(plain),
            None => folded.push(letter),
        }
    }
    Cow::Owned(folded)
}

/// Returns true if a decoded path has no dot segment, no control character, space or backslash, and no `%u`, with
/// which old servers encode UTF-16.
fn is_plain(path: &str) -> bool {
    let is_harmless = |letter: char| !letter.is_control() && letter != ' ' && letter != '\\';
    let bytes = path.as_bytes();
    path.chars().all(is_harmless)
        && !bytes.windows(2).any(|pair| pair.eq_ignore_ascii_case(b"%u"))
        && !path.split('/').any(is_dots)
}

/// Returns true if a segment consists of dots, or of dots followed by a character at which some server may cut it: the
/// start of parameters, a query or a fragment, a space, or any other character that does not occur in plain names.
fn is_dots(part: &str) -> bool {
    let rest = part.trim_start_matches('.');
    let is_name = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | '~');
    rest.len() < part.len() && !rest.starts_with(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_every_server_reads_alike_matches() {
        for path in [
            "/img",
            "/img/",
            "/img/a",
            "/img/a/b.c..d/.e",
            "/img/%C3%A4/100%25",
            "/img/a%2Fb",
            "/img/wait\u{2026}",
            "/img/a;b=c",
            "/img/..a/.well-known/..-/.~/.\u{e4}",
            "/img/a%3f/b%23c&d",
            "/img/50%",
            "/img/%zz",
        ] {
            assert!(begins_with(path, "/img"), "{path}");
        }
        assert!(begins_with("/anything/..%00", "/"), "a rule without a path takes every path");
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table of spellings")]
    fn a_path_that_some_server_reads_differently_is_refused() {
        for part in [
            "..",
            "%2e%2e",
            "%2E.",
            "%252e%252e",
            "%25252e%25252e",
            "%2525252e%2525252e",
            "..;a=b",
            "..%3ba",
            "..%5csecret",
            "a\\b",
            "%u002e%u002e",
            "%U002e",
            "%25u002e",
            "%c0%ae%c0%ae",
            "%e0%80%ae",
            "%f0%80%80%ae",
            "%ff",
            "%00",
            "..%00",
            "%2500",
            "..%09",
            "%0d%0a",
            "..%20",
            "a%20b",
            "%1f",
            "%7f",
            "%c2%85",
            "...",
            "\u{ff0e}\u{ff0e}",
            "%ef%bc%8e%ef%bc%8e",
            ".\u{2024}",
            "\u{2025}",
            "%e2%80%a5",
            "..\u{2215}secret",
            "..\u{ff0f}secret",
            "..\u{ff3c}secret",
            "\u{ff05}2e\u{ff05}2e",
            "..%3f",
            "..%3fx=1",
            "%2e%2e%3f",
            "..%23",
            "%2e%2e%23",
            "x/..%3f",
            "..%253fx",
            "..%25253f",
            "..%26",
            "..&a=b",
            "..+",
            "..:x",
            "..*",
            "..%7c",
            ".;.",
            "..%",
            "..%zz",
            "..%ef%bc%9f",
        ] {
            let path = format!("/img/{part}/secret");
            assert!(!begins_with(&path, "/img"), "{path}");
            let path = format!("/img/{part}");
            assert!(!begins_with(&path, "/img/"), "{path}");
        }
    }

    #[test]
    fn a_path_encoded_too_many_times_is_refused_quickly() {
        assert!(begins_with("/img/%252525", "/img"), "three rounds");
        assert!(!begins_with("/img/%25252525", "/img"), "four rounds");
        // Without the bound, the longest possible path took 9 s.
        let path = format!("/img/%{}", "25".repeat(32_000));
        assert!(!begins_with(&path, "/img"));
    }
}
