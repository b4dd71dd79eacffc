//! Key presses from a terminal in raw mode.

use std::io::{Read, stdin};

use tokio::sync::mpsc;

/// Maximum keys waiting to be handled.
const KEYS_MAX: usize = 64;

/// A key with a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    First,
    Last,
    Escape,
    /// Ctrl-C.
    Interrupt,
    Letter(char),
}

/// Starts listening; the end of stdin closes the channel.
pub(super) fn listen() -> mpsc::Receiver<Key> {
    let (sender, keys) = mpsc::channel(KEYS_MAX);
    // The thread ends with the process: nothing can wake it from a read.
    std::thread::spawn(move || {
        let mut bytes = [0; 64];
        while let Ok(count @ 1..) = stdin().lock().read(&mut bytes) {
            for key in read(&bytes[..count]) {
                if sender.blocking_send(key).is_err() {
                    return;
                }
            }
        }
    });
    keys
}

/// Parses the bytes of one read: an escape sequence is one key, a lone escape another.
fn read(bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        rest = tail;
        keys.push(match first {
            0x03 => Key::Interrupt,
            0x1b => match tail {
                [b'[' | b'O', end, after @ ..] => {
                    rest = after;
                    match end {
                        b'A' => Key::Up,
                        b'B' => Key::Down,
                        b'H' => Key::First,
                        b'F' => Key::Last,
                        // Another sequence, which ends with a letter or a tilde; it is skipped.
                        b'0'..=b'9' => {
                            let end = after.iter().position(|b| b.is_ascii_alphabetic() || *b == b'~');
                            rest = end.map_or(&[], |end| &after[end + 1..]);
                            continue;
                        }
                        _ => continue,
                    }
                }
                _ => Key::Escape,
            },
            letter if letter.is_ascii_graphic() => Key::Letter(char::from(*letter)),
            _ => continue,
        });
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_distinguished() {
        for (bytes, keys) in [
            (&b"q"[..], &[Key::Letter('q')][..]),
            (b"\x1b[A\x1b[B", &[Key::Up, Key::Down]),
            (b"\x1bOA\x1b[H\x1b[F", &[Key::Up, Key::First, Key::Last]),
            (b"\x1b", &[Key::Escape]),
            (b"\x03", &[Key::Interrupt]),
            (b"\x1b[5~j", &[Key::Letter('j')]),
            (b"\x1b[1;5Cc\r\xc3\xbc", &[Key::Letter('c')]),
            (b"\x1b[12", &[]),
            (b"\x1b[", &[Key::Escape, Key::Letter('[')]),
        ] {
            assert_eq!(read(bytes), keys, "{bytes:?}");
        }
    }
}
