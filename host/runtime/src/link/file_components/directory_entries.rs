//! The entries of a folder, which a component reads one by one.

use rustix::fs::FileType;
use wasmtime::Result;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::FsResult;
use wasmtime_wasi::p2::bindings::filesystem::types::{
    DescriptorType, DirectoryEntry, DirectoryEntryStream, ErrorCode, HostDirectoryEntryStream,
};

use super::{FileCalls, refused};
use crate::files::listing::{Entry, Listing};

impl HostDirectoryEntryStream for FileCalls<'_> {
    async fn read_directory_entry(
        &mut self,
        listing: Resource<DirectoryEntryStream>,
    ) -> FsResult<Option<DirectoryEntry>> {
        let listing = Resource::<Listing>::new_borrow(listing.rep());
        loop {
            while let Some(entry) = self.table().get_mut(&listing)?.take() {
                if entry.name != b"." && entry.name != b".." {
                    return directory_entry(entry).map(Some);
                }
            }
            let reader = self.table().get(&listing)?.reader();
            let (executor, _) = self.start_call();
            let more = executor.run_blocking(reader).await.map_err(refused)?;
            if more.is_empty() {
                return Ok(None);
            }
            self.table().get_mut(&listing)?.put(more);
        }
    }

    fn drop(&mut self, listing: Resource<DirectoryEntryStream>) -> Result<()> {
        self.table().delete(Resource::<Listing>::new_own(listing.rep()))?;
        Ok(())
    }
}

fn directory_entry(entry: Entry) -> FsResult<DirectoryEntry> {
    let type_ = match entry.kind {
        FileType::RegularFile => DescriptorType::RegularFile,
        FileType::Directory => DescriptorType::Directory,
        FileType::Symlink => DescriptorType::SymbolicLink,
        FileType::BlockDevice => DescriptorType::BlockDevice,
        FileType::CharacterDevice => DescriptorType::CharacterDevice,
        FileType::Fifo | FileType::Socket | FileType::Unknown => DescriptorType::Unknown,
    };
    let name = String::from_utf8(entry.name).map_err(|_| ErrorCode::IllegalByteSequence)?;
    Ok(DirectoryEntry { type_, name })
}
