//! One call of a file function: the guest, its memory, and the executor of the plugin.

use rustix::io::Errno;
use wasmtime::{AsContextMut, Caller, Extern, Memory, Result};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p1::wasi_snapshot_preview1::WasiSnapshotPreview1;
use wiggle::GuestMemory;

use crate::files::PATHS_BYTES_MAX;
use crate::files::open::OpenFile;
use crate::folders::executor::FileExecutor;
use crate::folders::scratch::change::NameChange;
use crate::guest::state::Guest;
use crate::observe::instance_status::HostCall;

// Error codes of preview 1.
pub(super) const SUCCESS: i32 = 0;
pub(super) const INVALID: i32 = 28;
pub(super) const TOO_MANY_OPEN: i32 = 33;
pub(super) const NO_SPACE: i32 = 51;
pub(super) const NOT_PERMITTED: i32 = 63;
const NO_FOLDER: i32 = 54;
const OTHER_DISK: i32 = 75;

/// The flag of a descriptor that writes to the end of its file.
pub(super) const APPEND: i32 = 1;

/// Bytes of an I/O vector.
const VECTOR_BYTES: usize = 8;

/// Where a path lies in the guest's memory, and its length.
type Text = (i32, i32);

/// A call that changes names.
#[derive(Clone, Copy)]
pub(super) enum PathChange {
    /// Creates a name, with this many bytes.
    Create {
        fd: i32,
        path: Text,
        bytes: i32,
    },
    Remove {
        fd: i32,
        path: Text,
    },
    Link {
        fd: i32,
        path: Text,
        new: i32,
    },
    Rename {
        fd: i32,
        new: i32,
        new_path: Text,
    },
}

/// The context of a call.
pub(super) struct Call<'a> {
    memory: Memory,
    caller: Caller<'a, Guest>,
    pub(super) executor: FileExecutor,
}

impl<'a> Call<'a> {
    pub(super) fn start_call(mut caller: Caller<'a, Guest>) -> Result<Self> {
        let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
            wasmtime::bail!("the module exports no memory");
        };
        let guest = caller.data_mut();
        guest.status().begin_call(HostCall::Preview1);
        guest.note_folders();
        let executor = guest.plugin.folders.executor().clone();
        Ok(Self { memory, caller, executor })
    }

    pub(super) fn guest(&mut self) -> &mut Guest {
        self.caller.data_mut()
    }

    pub(super) fn file(&mut self, number: i32) -> Option<&OpenFile> {
        self.caller.data().files.get(number.cast_unsigned())
    }

    pub(super) fn folder(&mut self, number: i32) -> usize {
        self.file(number).map_or(0, |file| file.folder)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.memory.data(&self.caller)
    }

    pub(super) fn parts(&mut self) -> (&mut WasiP1Ctx, GuestMemory<'_>) {
        self.parts_for(usize::MAX)
    }

    /// Returns the context for a call with paths.
    pub(super) fn parts_for_paths(&mut self) -> (&mut WasiP1Ctx, GuestMemory<'_>) {
        self.parts_for(PATHS_BYTES_MAX)
    }

    /// Returns the context for a call that copies at most `bytes_max` of the guest's memory.
    pub(super) fn parts_for(&mut self, bytes_max: usize) -> (&mut WasiP1Ctx, GuestMemory<'_>) {
        let fuel = self.caller.as_context_mut().hostcall_fuel().min(bytes_max);
        let (bytes, guest) = self.memory.data_and_store_mut(&mut self.caller);
        let context = guest.preview1_unnoted();
        context.set_hostcall_fuel(fuel);
        (context, GuestMemory::Unshared(bytes))
    }

    /// Returns text from the guest's memory.
    pub(super) fn text(&self, at: i32, bytes: i32) -> Option<&str> {
        let text = self.bytes().get(at.cast_unsigned() as usize..)?.get(..bytes.cast_unsigned() as usize)?;
        if text.len() > PATHS_BYTES_MAX {
            // The call itself then fails.
            return None;
        }
        std::str::from_utf8(text).ok()
    }

    /// Writes to the guest's memory.
    pub(super) fn put(&mut self, at: usize, bytes: &[u8]) -> Result<()> {
        let memory = self.memory.data_mut(&mut self.caller);
        let Some(place) = memory.get_mut(at..).and_then(|rest| rest.get_mut(..bytes.len())) else {
            wasmtime::bail!("a call of WASI preview 1 passed a pointer outside of the memory");
        };
        place.copy_from_slice(bytes);
        Ok(())
    }

    pub(super) fn word(&self, at: usize) -> Option<u32> {
        let word = self.bytes().get(at..)?.first_chunk()?;
        Some(u32::from_le_bytes(*word))
    }

    /// Returns the bytes of the next write: those of the first vector that is not empty.
    pub(super) fn bytes_to_write(&self, vectors: i32, count: i32) -> u64 {
        let first = vectors.cast_unsigned() as usize;
        let lengths = (0..count.cast_unsigned() as usize).map_while(|index| {
            self.word(first.checked_add(index.checked_mul(VECTOR_BYTES)?)?.checked_add(4)?)
        });
        lengths.into_iter().find(|length| *length > 0).unwrap_or_default().into()
    }

    /// Announces a change of names in a scratch folder, with its paths in the guest's memory; returns the error with which
    /// it is refused.
    pub(super) fn change(&mut self, change: PathChange) -> std::result::Result<NameChange, i32> {
        let files = &self.caller.data().files;
        let number = i32::cast_unsigned;
        let text = |(at, bytes)| self.text(at, bytes);
        // A path that is no text fails in the call itself.
        let changed = match change {
            PathChange::Create { fd, path, bytes } => {
                text(path).map(|path| files.creating(number(fd), path, bytes.cast_unsigned().into()))
            }
            PathChange::Remove { fd, path } => text(path).map(|path| Ok(files.removing(number(fd), path))),
            PathChange::Link { fd, path, new } => {
                text(path).map(|path| files.linking(number(fd), path, number(new)))
            }
            PathChange::Rename { fd, new, new_path } => {
                text(new_path).map(|path| files.renaming(number(fd), number(new), path))
            }
        };
        changed.unwrap_or_else(|| Ok(NameChange::default())).map_err(|errno| match errno {
            Errno::NOTDIR => NO_FOLDER,
            Errno::XDEV => OTHER_DISK,
            _ => NO_SPACE,
        })
    }

    /// Logs an operation that was denied because the folder is read-only.
    pub(super) fn note_denied(&mut self, number: i32, errno: i32) -> i32 {
        if errno == NOT_PERMITTED {
            self.guest().log_denied_write(number.cast_unsigned());
        }
        errno
    }

    pub(super) fn make(&mut self, number: i32) -> bool {
        let folder = self.folder(number);
        self.guest().files.disk.create(folder).is_ok()
    }

    pub(super) fn count_created(&mut self, errno: i32) {
        if errno == SUCCESS {
            self.guest().files.disk.created();
        }
    }
}
