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
use wasmtime_wasi::filesystem::Descriptor;
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p1::wasi_snapshot_preview1::WasiSnapshotPreview1;
use wasmtime_wasi::{ResourceTable, WasiView};
use wiggle::GuestMemory;

use crate::files::disk::Disk;
use crate::folders::descriptors::DescriptorPermit;
use crate::plugin::context::PluginContext;

/// The number of the first folder in preview 1, after the three standard streams.
const FIRST_FOLDER: u32 = 3;

/// The open files of one guest.
pub(crate) struct OpenFiles {
    pub(crate) disk: Arc<Disk>,
    plugin: Arc<PluginContext>,
    open: BTreeMap<u32, OpenFile>,
    has_noted_folders: bool,
}

/// An open file or folder.
#[derive(Clone)]
pub(crate) struct OpenFile {
    /// The index of the granted folder that it is or lies in.
    pub(crate) folder: usize,
    pub(crate) descriptor: Descriptor,
    /// Whether writes go to the end of the file.
    pub(crate) appends: bool,
    /// `None` for a granted folder, which is open anyway.
    pub(crate) _permit: Option<Arc<DescriptorPermit>>,
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
    pub(crate) fn new(plugin: &Arc<PluginContext>, host: &Arc<dyn RunHost>) -> Self {
        let disk = Arc::new(Disk::new(plugin, host));
        Self { disk, plugin: Arc::clone(plugin), open: BTreeMap::new(), has_noted_folders: false }
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
        let is_within = self.open.len() < descriptors.one_guest_max() + self.plugin.folders.iter().len();
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
        self.disk.write(file.folder, written(&self.plugin, file, position, bytes))
    }

    /// Counts a change of a file's size.
    ///
    /// # Errors
    ///
    /// Fails with `ENOSPC` if it exceeds the limit of the run.
    pub(crate) fn set_size(&self, file: &OpenFile, size: u64) -> std::io::Result<()> {
        self.disk.write(file.folder, size.saturating_sub(file.size_before(size, &self.plugin)))
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
            self.open.insert(
                number,
                OpenFile { folder, descriptor: descriptor.clone(), appends: false, _permit: None },
            );
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
