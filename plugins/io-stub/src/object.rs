//! Reads a flat JSON object of numbers (RFC 8259), member by member.
//!
//! For `settings`, which knows the names. Errors have the line and the column, both from 1, counted in bytes.

use super::alloc::borrow::Cow;
use super::alloc::string::String;
use super::decimal;

/// Reads the members of one object in turn: [`key`](Self::key), then [`number`](Self::number), until there is no key;
/// then [`end`](Self::end).
pub struct Reader<'a> {
    text: &'a str,
    /// How many bytes are read.
    at: usize,
    /// Whether a member was read, so that a comma separates the next.
    is_separated: bool,
}

/// A number of JSON, as it is written.
#[derive(Clone, Copy)]
pub struct Number<'a>(&'a str);

impl<'a> Reader<'a> {
    /// Starts with the brace.
    ///
    /// # Errors
    ///
    /// Fails if the text does not start with one.
    pub fn start(text: &'a str) -> Result<Self, String> {
        let mut reader = Self { text, at: 0, is_separated: false };
        if reader.takes(b'{') { Ok(reader) } else { Err(reader.wrong(&["expected `{`"])) }
    }

    /// Returns the next key, and reads the colon; `None` at the end of the object.
    ///
    /// # Errors
    ///
    /// Says what is there instead.
    pub fn key(&mut self) -> Result<Option<Cow<'a, str>>, String> {
        self.skip_space();
        if self.takes(b'}') {
            return Ok(None);
        }
        if self.is_separated {
            if !self.takes(b',') {
                return Err(self.unexpected("expected `,` or `}`"));
            }
            self.skip_space();
            if self.next() == Some(b'}') {
                return Err(self.wrong(&["trailing comma"]));
            }
        }
        self.is_separated = true;
        if !self.takes(b'"') {
            return Err(self.unexpected("key must be a string"));
        }
        let key = self.rest_of_string()?;
        self.skip_space();
        if self.takes(b':') { Ok(Some(key)) } else { Err(self.unexpected("expected `:`")) }
    }

    /// Returns the number that is the value of this key.
    ///
    /// # Errors
    ///
    /// Says what is there instead.
    pub fn number(&mut self, key: &str) -> Result<Number<'a>, String> {
        self.skip_space();
        let found = match self.next() {
            Some(b'"') => "string",
            Some(b't' | b'f') => "boolean",
            Some(b'n') => "null",
            Some(b'[') => "array",
            Some(b'{') => "object",
            Some(b'-' | b'0'..=b'9') => return self.digits(),
            _ => return Err(self.unexpected("expected a number")),
        };
        Err(self.wrong(&["invalid type: ", found, ", expected a number for `", key, "`"]))
    }

    /// Checks that nothing follows the object.
    ///
    /// # Errors
    ///
    /// Fails if something does.
    pub fn end(&mut self) -> Result<(), String> {
        self.skip_space();
        if self.next().is_none() { Ok(()) } else { Err(self.wrong(&["trailing characters"])) }
    }

    /// Returns an error with the place that was reached.
    pub fn wrong(&self, said: &[&str]) -> String {
        let before = self.text.get(..self.at).unwrap_or_default().as_bytes();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        [&*said.concat(), " at line ", &decimal(line as u64), " column ", &decimal(column as u64)].concat()
    }

    fn unexpected(&self, said: &str) -> String {
        if self.next().is_none() { self.wrong(&["the object has no end"]) } else { self.wrong(&[said]) }
    }

    fn digits(&mut self) -> Result<Number<'a>, String> {
        let start = self.at;
        self.takes(b'-');
        let is_zero = self.next() == Some(b'0');
        let mut is_number = match self.skip_digits() {
            0 => false,
            count => count == 1 || !is_zero,
        };
        if self.takes(b'.') {
            is_number &= self.skip_digits() > 0;
        }
        if self.takes(b'e') || self.takes(b'E') {
            let _ = self.takes(b'+') || self.takes(b'-');
            is_number &= self.skip_digits() > 0;
        }
        if is_number { Ok(Number(self.since(start))) } else { Err(self.wrong(&["invalid number"])) }
    }

    fn skip_digits(&mut self) -> usize {
        let start = self.at;
        while self.next().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    /// Reads a string behind its first quote. Escapes are decoded only if they are ASCII: no name has others.
    fn rest_of_string(&mut self) -> Result<Cow<'a, str>, String> {
        let mut decoded = String::new();
        let mut start = self.at;
        loop {
            match self.next() {
                None => return Err(self.unexpected("")),
                Some(b'"') => {
                    let tail = self.since(start);
                    self.at += 1;
                    return Ok(if decoded.is_empty() {
                        Cow::Borrowed(tail)
                    } else {
                        Cow::Owned(decoded + tail)
                    });
                }
                Some(b'\\') => {
                    decoded.push_str(self.since(start));
                    start = self.at;
                    self.at += 1;
                    if let Some(ascii) = self.escape()? {
                        decoded.push(ascii);
                        start = self.at;
                    }
                }
                Some(0..=0x1f) => return Err(self.wrong(&["control character in a string"])),
                Some(_) => self.at += 1,
            }
        }
    }

    /// Reads an escape behind its backslash; returns it if it is ASCII.
    fn escape(&mut self) -> Result<Option<char>, String> {
        let Some(byte) = self.next() else { return Err(self.unexpected("")) };
        self.at += 1;
        Ok(Some(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let mut code = 0;
                for _ in 0..4 {
                    let Some(digit) = self.next().and_then(|byte| char::from(byte).to_digit(16)) else {
                        return Err(self.wrong(&["invalid escape"]));
                    };
                    code = code * 16 + digit;
                    self.at += 1;
                }
                return Ok(char::from_u32(code).filter(char::is_ascii));
            }
            _ => {
                self.at -= 1;
                return Err(self.wrong(&["invalid escape"]));
            }
        }))
    }

    /// Returns the text from here to the place that was reached; both are at the start of a character.
    fn since(&self, start: usize) -> &'a str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn skip_space(&mut self) {
        while matches!(self.next(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn takes(&mut self, byte: u8) -> bool {
        let is_next = self.next() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn next(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// More digits than a `f64` tells apart.
const DIGITS_MAX: u32 = 18;

impl<'a> Number<'a> {
    /// Returns it as it is written.
    pub fn text(&self) -> &'a str {
        self.0
    }

    /// Returns its value if it is a whole number from 0, without a fraction or an exponent.
    pub fn whole(&self) -> Option<u64> {
        self.0.bytes().try_fold(0_u64, |number, byte| {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
            number.checked_mul(10)?.checked_add(digit)
        })
    }

    /// Returns the nearest `f64`, or a neighbour of it if there are more than 15 digits or a large exponent. The parser
    /// of the standard library is exact, and three times as large as this module.
    pub fn approximate(&self) -> f64 {
        let (mantissa, exponent) = self.0.split_once(['e', 'E']).unwrap_or((self.0, "0"));
        let mut scale = exponent.trim_start_matches(['-', '+']).bytes().fold(0_i32, |scale, byte| {
            // Beyond any digits of an input, whose size is limited.
            scale.saturating_mul(10).saturating_add(i32::from(byte - b'0')).min(1 << 28)
        });
        if exponent.starts_with('-') {
            scale = -scale;
        }
        let (mut digits, mut count, mut is_fraction) = (0_u64, 0, false);
        for byte in mantissa.bytes() {
            match byte {
                b'.' => is_fraction = true,
                b'0'..=b'9' if count < DIGITS_MAX => {
                    digits = digits * 10 + u64::from(byte - b'0');
                    count += u32::from(digits > 0);
                    scale -= i32::from(is_fraction);
                }
                b'0'..=b'9' => scale += i32::from(!is_fraction),
                _ => {}
            }
        }
        let magnitude = scaled(digits as f64, scale);
        if mantissa.starts_with('-') { -magnitude } else { magnitude }
    }
}

/// Returns `number` times ten to the power of `scale`.
fn scaled(number: f64, scale: i32) -> f64 {
    // Beyond these there is only zero and infinity.
    let mut left = scale.clamp(-400, 400);
    let mut scaled = number;
    while left != 0 {
        // Powers up to the 22nd are exact.
        let step = left.clamp(-22, 22);
        let power = (0..step.abs()).fold(1.0, |power: f64, _| power * 10.0);
        scaled = if step < 0 { scaled / power } else { scaled * power };
        left -= step;
    }
    scaled
}
