//! A clock of the wall that is wrong for one program, by libfaketime of the system. Clocks that nobody can set are right.

use std::path::PathBuf;

use crate::skip::skip;

/// The programs of a server that start with a wrong clock.
#[derive(Debug)]
pub struct WrongClock {
    library: PathBuf,
    seconds: i64,
}

impl WrongClock {
    /// Returns a clock that is this many seconds ahead, or behind if they are negative; `None` if libfaketime is not
    /// installed.
    ///
    /// # Panics
    ///
    /// If `WASMILL_TEST_REQUIRE=all` asks for it and it is not installed.
    pub fn ahead(seconds: i64) -> Option<Self> {
        let folders = std::fs::read_dir("/usr/lib").ok().into_iter().flatten().flatten();
        let mut libraries = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
        let Some(library) = libraries.find(|library| library.exists()) else {
            skip("libfaketime is not installed: apt-get install libfaketime");
            return None;
        };
        Some(Self { library, seconds })
    }

    /// Returns the variables of the environment that set it.
    pub fn variables(&self) -> [(&'static str, String); 3] {
        [
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME", format!("{:+}s", self.seconds)),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }
}
