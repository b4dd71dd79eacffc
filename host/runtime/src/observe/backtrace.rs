//! Formats the stack of a guest that trapped, innermost function first.
//!
//! Called by `outcome`. Names come from the name section of the file and are demangled for Rust and C++. Code
//! offsets are left out: they are useless without the exact file.

use std::fmt::{self, Write};

use cpp_demangle::{DemangleOptions, Symbol};
use wasmtime::{FrameInfo, WasmBacktrace};

/// Functions shown; consecutive frames of the same function count once.
const FUNCTIONS_MAX: usize = 24;
/// Bytes shown of a name; those of generic code can be huge.
const NAME_BYTES_MAX: usize = 160;
/// The longest mangled name that is demangled; the cost grows with its length.
const MANGLED_BYTES_MAX: usize = 4 << 10;

/// Formats a backtrace, one line per function.
pub(crate) struct Backtrace<'a>(pub(crate) &'a WasmBacktrace);

impl fmt::Display for Backtrace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_functions(f, self.0.frames().iter().map(Function::of))
    }
}

/// A function on the stack.
#[derive(PartialEq, Eq)]
struct Function<'a> {
    name: Option<&'a str>,
    index: u32,
}

impl<'a> Function<'a> {
    fn of(frame: &'a FrameInfo) -> Self {
        Self { name: frame.func_name(), index: frame.func_index() }
    }
}

impl fmt::Display for Function<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => f.write_str(&demangled(name, NAME_BYTES_MAX)),
            None => write!(f, "function {} (no name in the file)", self.index),
        }
    }
}

fn write_functions<'a>(
    f: &mut fmt::Formatter<'_>,
    functions: impl Iterator<Item = Function<'a>>,
) -> fmt::Result {
    let mut functions = functions.peekable();
    let mut shown = 0;
    while let Some(function) = functions.next() {
        if shown == FUNCTIONS_MAX {
            return write!(f, "\n  and {} more", 1 + functions.count());
        }
        let mut times = 1;
        while functions.next_if_eq(&function).is_some() {
            times += 1;
        }
        let times = if times > 1 { format!(" ({times} times)") } else { String::new() };
        write!(f, "\n  {shown:>2}: {function}{times}")?;
        shown += 1;
    }
    Ok(())
}

/// Demangles a name, without the hash of Rust, truncated to `bytes_max`.
///
/// Only names with the prefix of a mangling scheme are demangled: a function `i` would become the type `int`.
pub(crate) fn demangled(name: &str, bytes_max: usize) -> String {
    let mut short = BoundedName { name: String::new(), bytes_max };
    // An error only means that the name was truncated: a few mangled bytes can expand to gigabytes.
    let is_long = name.len() > MANGLED_BYTES_MAX;
    let may_be_rust = !is_long && (name.starts_with("_R") || name.starts_with("_ZN"));
    let may_be_cpp = !is_long && name.starts_with("_Z");
    let _ = if may_be_rust && let Ok(rust) = rustc_demangle::try_demangle(name) {
        write!(short, "{rust:#}")
    } else if may_be_cpp && let Ok(cpp) = Symbol::new(name) {
        cpp.structured_demangle(&mut short, &DemangleOptions::new())
    } else {
        short.write_str(name)
    };
    short.name
}

/// A name on one line, bounded in length.
struct BoundedName {
    name: String,
    bytes_max: usize,
}

impl Write for BoundedName {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = self.bytes_max.saturating_sub(self.name.len());
        let kept = &more[..more.floor_char_boundary(room)];
        self.name.extend(kept.chars().filter(|letter| !letter.is_control()));
        if kept.len() < more.len() {
            self.name.push('…');
            return Err(fmt::Error);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Written(Vec<(Option<&'static str>, u32)>);

    impl fmt::Display for Written {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write_functions(f, self.0.iter().map(|&(name, index)| Function { name, index }))
        }
    }

    #[test]
    fn mangled_names_are_demangled() {
        for (mangled, name) in [
            ("_ZN9misbehave16fall_into_a_trap17h0123456789abcdefE", "misbehave::fall_into_a_trap"),
            ("_RNvCskwGfYPst2Cb_3foo16example_function", "foo::example_function"),
            ("_ZN3geo5Shape4areaEid", "geo::Shape::area(int, double)"),
            (
                "_ZNSt6vectorIiSaIiEE9push_backERKi",
                "std::vector<int, std::allocator<int> >::push_back(int const&)",
            ),
            ("main.main", "main.main"),
            ("_start", "_start"),
            ("two\nlines", "twolines"),
            // A C++ demangler takes each of these for a type, or Rust mangling without its prefix.
            ("i", "i"),
            ("f", "f"),
            ("Pc", "Pc"),
            ("St", "St"),
            ("ZN3geo5ShapeE", "ZN3geo5ShapeE"),
            ("RNvCskwGfYPst2Cb_3foo16example_function", "RNvCskwGfYPst2Cb_3foo16example_function"),
            ("_Render", "_Render"),
        ] {
            assert_eq!(demangled(mangled, NAME_BYTES_MAX), name);
        }
    }

    #[test]
    fn an_unnamed_function_is_shown_by_its_index() {
        assert_eq!(Written(vec![(None, 7)]).to_string(), "\n   0: function 7 (no name in the file)");
    }

    #[test]
    fn a_deep_stack_is_abbreviated() {
        let recursion = vec![(Some("recurse"), 3); 5_000];
        let mut frames = vec![(Some("trap"), 1)];
        frames.extend(recursion);
        frames.push((Some("main"), 2));
        assert_eq!(Written(frames).to_string(), "\n   0: trap\n   1: recurse (5000 times)\n   2: main");
        let pingpong = (0..1_000).map(|n| (Some(["ping", "pong"][n % 2]), 0)).collect();
        let text = Written(pingpong).to_string();
        assert!(text.ends_with("\n  23: pong\n  and 976 more"), "{text}");
    }

    /// Returns a name of 600 bytes that expands to terabytes: each part refers to the previous one twice.
    fn bomb() -> String {
        let earlier = |place: u32| {
            let digits = [place / 36, place % 36].map(|digit| char::from_digit(digit, 36).unwrap());
            let number = String::from_iter(digits).to_ascii_uppercase();
            format!("S{}_", number.strip_prefix('0').unwrap_or(&number))
        };
        (0..40).fold("_Z1fSt4pairIiiE".to_owned(), |name, part| {
            let twice = earlier(2 * part).repeat(2);
            format!("{name}St4pairI{twice}E")
        })
    }

    #[test]
    fn a_name_that_expands_exponentially_is_truncated_early() {
        let name = demangled(&bomb(), NAME_BYTES_MAX);
        assert!(name.starts_with("f(std::pair<int, int>, std::pair<std::pair<int, int>, "), "{name}");
        assert_eq!(name.chars().last(), Some('…'));
    }

    #[test]
    fn a_long_name_is_truncated() {
        let long = "ä".repeat(5_000);
        assert!(demangled(&long, NAME_BYTES_MAX).len() <= NAME_BYTES_MAX + '…'.len_utf8());
        let nested = format!("_ZN{}E", "1b".repeat(500));
        assert!(demangled(&nested, NAME_BYTES_MAX).len() <= NAME_BYTES_MAX + '…'.len_utf8());
    }
}
