//! The open files of one guest, by number, each with its descriptor permit and its folder.
//!
//! Held by `guest` and updated by `link::file_components` and `link::file_modules`; the number is a resource handle
//! or a file descriptor of preview 1.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use rustix::io::Errno;
use wasmill_model::RunHost;
use wasmtime::component::Resource;
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemCtx};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p1::wasi_snapshot_preview1::WasiSnapshotPreview1;
use wasmtime_wasi::{ResourceTable, WasiView};
use wiggle::GuestMemory;

use crate::files::disk::Disk;
use crate::folders::descriptors::DescriptorPermit;
use crate::folders::scratch::folder::RunScratch;
use crate::folders::scratch::usage::OpenInode;
use crate::plugin::context::PluginContext;

/// The number of the first folder in preview 1, after the three standard streams.
const FIRST_FOLDER: u32 = 3;

/// The open files of one guest.
pub(crate) struct OpenFiles {
    pub(crate) disk: Arc<Disk>,
    pub(super) scratch: Option<Arc<RunScratch>>,
    plugin: Arc<PluginContext>,
    open: BTreeMap<u32, OpenFile>,
    has_noted_folders: bool,
}

/// An open file or folder.
#[derive(Clone)]
pub(crate) struct OpenFile {
    /// The index of the granted folder that it is or lies in; the scratch folder comes after these.
    pub(crate) folder: usize,
    pub(crate) descriptor: Descriptor,
    /// Whether writes go to the end of the file.
    pub(crate) appends: bool,
    /// `None` for a granted folder, which is open anyway.
    pub(crate) _permit: Option<Arc<DescriptorPermit>>,
    /// Set in the scratch folder.
    pub(crate) inode: Option<Arc<OpenInode>>,
}

impl OpenFile {
    /// Returns how many bytes of the file lie before `position`, if its size is known without blocking.
    fn size_before(&self, position: u64, plugin: &PluginContext) -> u64 {
        match &self.descriptor {
            Descriptor::File(file) if plugin.folders.executor().is_inline() => {
                file.file.metadata().map_or(position, |metadata| metadata.len())
            }
            _ => position,
        }
    }

    pub(crate) fn folder_file(&self) -> Option<&Arc<File>> {
        match &self.descriptor {
            Descriptor::Dir(folder) => Some(&folder.dir),
            Descriptor::File(_) => None,
        }
    }
}

impl OpenFiles {
    pub(crate) fn new(
        plugin: &Arc<PluginContext>,
        host: &Arc<dyn RunHost>,
        scratch: Option<Arc<RunScratch>>,
    ) -> Self {
        let disk = Arc::new(Disk::new(plugin, host, scratch.as_ref()));
        Self { disk, scratch, plugin: Arc::clone(plugin), open: BTreeMap::new(), has_noted_folders: false }
    }

    /// Returns the file system context of the guest.
    pub(crate) fn context(&self) -> WasiFilesystemCtx {
        match &self.scratch {
            Some(scratch) => scratch.context(),
            None => self.plugin.folders.context(),
        }
    }

    /// Returns true if the guest has no folder at all.
    pub(crate) fn is_none(&self) -> bool {
        self.scratch.is_none() && self.plugin.folders.is_empty()
    }

    /// Returns true for the index of the scratch folder.
    pub(super) fn is_scratch(&self, folder: usize) -> bool {
        folder >= self.plugin.folders.len()
    }

    /// Records a file or folder that was opened, under its number.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does not know it any more.
    pub(crate) fn opened(
        &mut self,
        number: u32,
        folder: usize,
        descriptor: Descriptor,
        appends: bool,
        permit: Option<Arc<DescriptorPermit>>,
    ) -> Result<(), Errno> {
        let scratch = self.scratch.as_ref().filter(|_| self.is_scratch(folder));
        let inode = scratch.map(|scratch| {
            let file = match &descriptor {
                Descriptor::File(file) => &file.file,
                Descriptor::Dir(folder) => &folder.dir,
            };
            OpenInode::new(&scratch.usage, file).map(Arc::new)
        });
        let inode = inode.transpose()?;
        self.open.insert(number, OpenFile { folder, descriptor, appends, _permit: permit, inode });
        Ok(())
    }

    /// Counts what a call has made of a file in the scratch folder.
    pub(crate) fn sync(&self, number: u32) {
        if let Some(inode) = self.get(number).and_then(|file| file.inode.as_ref()) {
            inode.sync();
        }
    }

    pub(crate) fn get(&self, number: u32) -> Option<&OpenFile> {
        self.open.get(&number)
    }

    pub(crate) fn insert(&mut self, number: u32, file: OpenFile) {
        self.open.insert(number, file);
    }

    pub(crate) fn remove(&mut self, number: u32) -> Option<OpenFile> {
        self.open.remove(&number)
    }

    /// Takes a permit for another descriptor.
    ///
    /// # Errors
    ///
    /// Fails with `EMFILE` if this guest, or all guests together, are at their limit.
    pub(crate) fn permit(&self) -> Result<Arc<DescriptorPermit>, Errno> {
        let descriptors = &self.plugin.descriptors;
        let is_within = self.open.len() < descriptors.one_guest_max() + self.plugin.folders.len() + 1;
        match descriptors.take().filter(|_| is_within) {
            Some(permit) => Ok(Arc::new(permit)),
            None => {
                self.plugin.denial_log.log_descriptors(descriptors.one_guest_max());
                Err(Errno::MFILE)
            }
        }
    }

    /// Counts a write, at a position or at the end of the file.
    ///
    /// # Errors
    ///
    /// Fails with `ENOSPC` if it exceeds the limit of the run.
    pub(crate) fn write(&self, file: &OpenFile, position: Option<u64>, bytes: u64) -> std::io::Result<()> {
        match &file.inode {
            Some(inode) => self.disk.write_scratch(file.folder, inode, position, bytes),
            None => self.disk.write(file.folder, written(&self.plugin, file, position, bytes)),
        }
    }

    /// Counts a change of a file's size.
    ///
    /// # Errors
    ///
    /// Fails with `ENOSPC` if it exceeds the limit of the run.
    pub(crate) fn set_size(&self, file: &OpenFile, size: u64) -> std::io::Result<()> {
        let growth = match &file.inode {
            Some(inode) => inode.check_size(size).inspect_err(|_| self.disk.note_full_scratch())?,
            None => size.saturating_sub(file.size_before(size, &self.plugin)),
        };
        self.disk.write(file.folder, growth)
    }

    pub(crate) fn set_appends(&mut self, number: u32, appends: bool) {
        if let Some(file) = self.open.get_mut(&number) {
            file.appends = appends;
        }
    }

    /// Registers the folders of a core module before its first call.
    pub(crate) fn note_folders(&mut self, wasi: &mut WasiP1Ctx) {
        if std::mem::replace(&mut self.has_noted_folders, true) {
            return;
        }
        // Any call makes wasmtime-wasi assign numbers to the folders.
        let _ = wasi.fd_tell(&mut GuestMemory::Unshared(&mut []), 0.into());
        let table = wasi.ctx().table;
        let folders = table.iter_mut().filter_map(|entry| entry.downcast_ref::<Descriptor>());
        for (folder, (number, descriptor)) in (FIRST_FOLDER..).zip(folders).enumerate() {
            // It was opened just now, so the kernel knows it.
            let _ = self.opened(number, folder, descriptor.clone(), false, None);
        }
    }
}

/// Returns the bytes that a write counts for: its length, or by how much it extends the file, whichever is greater.
pub(crate) fn written(plugin: &PluginContext, file: &OpenFile, position: Option<u64>, bytes: u64) -> u64 {
    position.map_or(bytes, |position| {
        let end = position.saturating_add(bytes);
        bytes.max(end.saturating_sub(file.size_before(position, plugin)))
    })
}

/// Returns the number that the next entry of a table will get.
pub(crate) fn next_number(table: &mut ResourceTable) -> Result<u32, wasmtime_wasi::ResourceTableError> {
    let probe = table.push(())?;
    let number = probe.rep();
    table.delete(probe)?;
    Ok(number)
}

/// Returns the descriptor opened under a number of a table.
pub(crate) fn opened(table: &ResourceTable, number: u32) -> Option<Descriptor> {
    table.get(&Resource::<Descriptor>::new_borrow(number)).ok().cloned()
}
