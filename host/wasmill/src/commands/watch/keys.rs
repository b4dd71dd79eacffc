//! Keys as they come from a terminal in raw mode.

use std::io::{Read, stdin};

use tokio::sync::mpsc;

/// Keys that may wait to be heard.
const KEYS_MAX: usize = 64;

/// A key that means something.
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

/// Starts to listen; the end of stdin closes the channel.
pub(super) fn listen() -> mpsc::Receiver<Key> {
    let (sender, keys) = mpsc::channel(KEYS_MAX);
    // Ends with the process: nothing can wake it from a read.
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

/// Reads what came at once: an escape sequence is one key, and an escape alone another.
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
                        // Some other sequence: its end is a letter or a tilde, up to which it means nothing.
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
    fn keys_are_told_apart() {
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
