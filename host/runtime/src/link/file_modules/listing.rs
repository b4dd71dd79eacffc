//! The function that lists a folder.

use std::hash::{DefaultHasher, Hash, Hasher};

use rustix::fs::FileType;
use wasmtime::{Caller, Result};
use wasmtime_wasi::p1::types::Filetype;

use crate::files::listing::{self, Entry};
use crate::files::open::OpenFile;
use crate::guest::state::Guest;
use crate::link::file_modules::call::{Call, INVALID, SUCCESS, TOO_MANY_OPEN};

const BAD_DESCRIPTOR: i32 = 8;
const ILLEGAL_BYTES: i32 = 25;
const IO: i32 = 29;

/// Bytes of directory entries that the host holds at once.
const ENTRIES_BYTES_MAX: usize = 32 << 10;

/// Reads directory entries from a cookie, instead of all of them each time. The cookie is the position reported by
/// the kernel, so removing entries hides no others.
pub(super) async fn fd_readdir(
    caller: Caller<'_, Guest>,
    fd: i32,
    to: i32,
    bytes: i32,
    cookie: i64,
    used: i32,
) -> Result<i32> {
    let mut call = Call::start_call(caller)?;
    let executor = call.executor.clone();
    let Some(folder) = call.file(fd).and_then(OpenFile::folder_file).cloned() else {
        return Ok(BAD_DESCRIPTOR);
    };
    let Ok(permit) = call.guest().files.permit() else { return Ok(TOO_MANY_OPEN) };
    let room = bytes.cast_unsigned() as usize;
    let (mut filled, mut position) = (0, cookie.cast_unsigned());
    // A buffer that is not full means the end of the folder.
    while filled < room {
        let (folder, permit, piece) =
            (folder.clone(), permit.clone(), (room - filled).min(ENTRIES_BYTES_MAX));
        let reading = executor.run_blocking(move || {
            let _permit = permit;
            let own = rustix::fs::fstat(&*folder)?;
            listing::read_from(&folder, position, piece).map(|entries| (entries, (own.st_dev, own.st_ino)))
        });
        let (entries, identity) = match reading.await {
            Ok(read) => read,
            Err(rustix::io::Errno::INVAL) => return Ok(INVALID),
            Err(_) => return Ok(IO),
        };
        let Some(last) = entries.last() else { break };
        position = last.next;
        let Some(text) = written(&entries, identity, room - filled) else { return Ok(ILLEGAL_BYTES) };
        let at = (to.cast_unsigned() as usize).saturating_add(filled);
        call.put(at, &text)?;
        filled += text.len();
    }
    let length = u32::try_from(filled).unwrap_or(u32::MAX).to_le_bytes();
    call.put(used.cast_unsigned() as usize, &length)?;
    Ok(SUCCESS)
}

/// Encodes entries as preview 1 does, truncated to the available space; `None` if a name is not UTF-8.
fn written(entries: &[Entry], folder: (u64, u64), room: usize) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    for Entry { next, inode, kind, name } in entries {
        if text.len() >= room {
            break;
        }
        std::str::from_utf8(name).ok()?;
        // The guest must not see the inode of the parent folder.
        let inode = if name == b".." { folder.1 } else { *inode };
        text.extend(next.to_le_bytes());
        text.extend(inode_seen(folder.0, inode).to_le_bytes());
        text.extend(u32::try_from(name.len()).ok()?.to_le_bytes());
        text.extend([filetype(*kind) as u8, 0, 0, 0]);
        text.extend(name);
    }
    text.truncate(room);
    Some(text)
}

/// Returns the number that wasmtime-wasi reports instead of an inode.
fn inode_seen(device: u64, inode: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (device, inode).hash(&mut hasher);
    hasher.finish()
}

fn filetype(kind: FileType) -> Filetype {
    match kind {
        FileType::RegularFile => Filetype::RegularFile,
        FileType::Directory => Filetype::Directory,
        FileType::Symlink => Filetype::SymbolicLink,
        FileType::BlockDevice => Filetype::BlockDevice,
        FileType::CharacterDevice => Filetype::CharacterDevice,
        FileType::Fifo | FileType::Socket | FileType::Unknown => Filetype::Unknown,
    }
}
