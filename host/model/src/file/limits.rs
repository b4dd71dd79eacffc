//! How many files a task may have in each direction, and how large.

use crate::{FileName, shown_size};

/// The limits of the files of a task, for those that come with it and for those that its run leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLimits {
    /// Maximum bytes of one file.
    pub bytes_max: u64,
    /// Maximum bytes of all files.
    pub total_bytes_max: u64,
    /// Maximum number of files.
    pub count_max: u32,
}

/// What is left of the limits.
#[derive(Clone, Copy, Debug)]
pub struct FileBudget {
    limits: FileLimits,
    bytes: u64,
    count: u32,
}

/// A file goes beyond a limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileRefusal {
    /// It is too large.
    #[error("the file '{name}' is larger than the setting file_max, {}", shown_size(*.bytes_max))]
    TooLarge {
        /// Its name.
        name: FileName,
        /// Maximum bytes of one file.
        bytes_max: u64,
    },
    /// With it, all together are too large.
    #[error("with the file '{name}', all files of the task are larger than the setting files_max, {}",
        shown_size(*.total_bytes_max))]
    AllTooLarge {
        /// Its name.
        name: FileName,
        /// Maximum bytes of all files.
        total_bytes_max: u64,
    },
    /// There are as many as there may be.
    #[error("the task has more files than the setting files_per_task, {count_max}")]
    TooMany {
        /// Maximum number of files.
        count_max: u32,
    },
}

impl Default for FileLimits {
    fn default() -> Self {
        Self { bytes_max: 64 << 20, total_bytes_max: 256 << 20, count_max: 256 }
    }
}

impl FileBudget {
    /// Starts with all of it.
    pub fn new(limits: FileLimits) -> Self {
        Self { limits, bytes: 0, count: 0 }
    }

    /// Counts one more file.
    ///
    /// # Errors
    ///
    /// [`FileRefusal::TooMany`] if there are as many as there may be.
    pub fn add(&mut self) -> Result<(), FileRefusal> {
        let count_max = self.limits.count_max;
        if self.count >= count_max {
            return Err(FileRefusal::TooMany { count_max });
        }
        self.count += 1;
        Ok(())
    }

    /// Counts more bytes of a file that has `so_far` already.
    ///
    /// # Errors
    ///
    /// [`FileRefusal::TooLarge`] or [`FileRefusal::AllTooLarge`]; nothing is counted then.
    pub fn grow(&mut self, name: &FileName, so_far: u64, bytes: u64) -> Result<(), FileRefusal> {
        let FileLimits { bytes_max, total_bytes_max, .. } = self.limits;
        if so_far.saturating_add(bytes) > bytes_max {
            return Err(FileRefusal::TooLarge { name: name.clone(), bytes_max });
        }
        if self.bytes.saturating_add(bytes) > total_bytes_max {
            return Err(FileRefusal::AllTooLarge { name: name.clone(), total_bytes_max });
        }
        self.bytes += bytes;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_holds_to_the_byte() {
        let mut budget = FileBudget::new(FileLimits { bytes_max: 10, total_bytes_max: 15, count_max: 2 });
        let (a, b): (FileName, FileName) = ("a".parse().unwrap(), "b".parse().unwrap());
        assert_eq!(budget.add(), Ok(()));
        assert_eq!(budget.grow(&a, 0, 11), Err(FileRefusal::TooLarge { name: a.clone(), bytes_max: 10 }));
        assert_eq!((budget.grow(&a, 0, 6), budget.grow(&a, 6, 4)), (Ok(()), Ok(())));
        assert_eq!(budget.grow(&a, 10, 1), Err(FileRefusal::TooLarge { name: a, bytes_max: 10 }));
        assert_eq!(budget.add(), Ok(()));
        assert_eq!(
            budget.grow(&b, 0, 6),
            Err(FileRefusal::AllTooLarge { name: b.clone(), total_bytes_max: 15 })
        );
        assert_eq!(budget.grow(&b, 0, 5), Ok(()));
        let full = budget.add().unwrap_err();
        assert_eq!(full, FileRefusal::TooMany { count_max: 2 });
        assert_eq!(full.to_string(), "the task has more files than the setting files_per_task, 2");
    }
}
