//! `wasi:filesystem` for components: wasmtime's implementation, with limits on open files and writes, on the
//! executor of the plugin.
//!
//! Linked by `wasi_overrides`. Only regular files and folders are opened, so no call waits for the other end of a
//! pipe; and no link that could lead out of its folder is created, renamed or hard-linked.

mod directory_entries;

use rustix::io::Errno;
use wasmtime::Result;
use wasmtime::component::{HasData, Linker, Resource};
use wasmtime_wasi::filesystem::{Descriptor, WasiFilesystemCtxView, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::filesystem::types::{
    Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntryStream, ErrorCode, Filesize,
    HostDescriptor, MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
};
use wasmtime_wasi::p2::bindings::filesystem::{preopens, types};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, FsError, FsResult};
use wasmtime_wasi::{ResourceTable, WasiView};

use crate::files::listing::Listing;
use crate::files::scratch_stream::ScratchOutput;
use crate::files::streams::{FileInput, FileOutput};
use crate::files::{self, PATHS_BYTES_MAX};
use crate::folders::executor::FileExecutor;
use crate::folders::scratch::change::NameChange;
use crate::guest::state::Guest;
use crate::observe::instance_status::HostCall;

/// Replaces the functions that were linked before.
pub(crate) fn add(linker: &mut Linker<Guest>) -> Result<()> {
    types::add_to_linker::<Guest, Files>(linker, |guest| FileCalls(guest))?;
    preopens::add_to_linker::<Guest, Files>(linker, |guest| FileCalls(guest))
}

struct Files;

impl HasData for Files {
    type Data<'a> = FileCalls<'a>;
}

/// The file functions of one guest.
struct FileCalls<'a>(&'a mut Guest);

type Open = Resource<Descriptor>;

impl FileCalls<'_> {
    /// Records a call, and returns what it runs with.
    fn start_call(&mut self) -> (FileExecutor, WasiFilesystemCtxView<'_>) {
        self.0.status().begin_call(HostCall::Files);
        (self.0.plugin.folders.executor().clone(), self.0.filesystem())
    }

    fn table(&mut self) -> &mut ResourceTable {
        self.0.ctx().table
    }

    /// Logs an operation that was denied because the folder is read-only.
    fn note_denied<T>(&self, number: u32, done: FsResult<T>) -> FsResult<T> {
        let is_denied = |error: &FsError| matches!(error.downcast_ref(), Some(ErrorCode::NotPermitted));
        if done.as_ref().is_err_and(is_denied) {
            self.0.log_denied_write(number);
        }
        done
    }

    /// Counts what an operation has created, and logs a denial.
    fn count_created(&self, number: u32, done: FsResult<()>) -> FsResult<()> {
        if done.is_ok() {
            self.0.files.disk.created();
        }
        self.note_denied(number, done)
    }

    /// Refuses to rename or hard-link a link that leads up, because it could lead out of the granted folder from
    /// elsewhere.
    async fn check_link_source(&mut self, folder: &Open, path: &str) -> FsResult<()> {
        let path = files::trim_trailing_slashes(path).to_owned();
        let (executor, mut files) = self.start_call();
        let target = executor.run(HostDescriptor::readlink_at(&mut files, borrowed(folder), path)).await;
        let leads_up = match &target {
            Ok(target) => files::leads_up(target),
            // The target is absolute, or not UTF-8.
            Err(error) => {
                matches!(error.downcast_ref(), Some(ErrorCode::NotPermitted | ErrorCode::IllegalByteSequence))
            }
        };
        if leads_up { Err(ErrorCode::NotPermitted.into()) } else { Ok(()) }
    }

    /// Returns the index of the granted folder that a file lies in.
    fn folder(&self, number: u32) -> usize {
        self.0.files.get(number).map_or(0, |file| file.folder)
    }
}

fn borrowed(file: &Open) -> Open {
    Resource::new_borrow(file.rep())
}

fn refused(errno: Errno) -> FsError {
    // WASI has no code for too many open files.
    if errno == Errno::MFILE { ErrorCode::Quota.into() } else { std::io::Error::from(errno).into() }
}

/// Returns true if a guest may open a file of this type.
fn is_plain(kind: DescriptorType) -> bool {
    matches!(kind, DescriptorType::RegularFile | DescriptorType::Directory | DescriptorType::SymbolicLink)
}

impl preopens::Host for FileCalls<'_> {
    fn get_directories(&mut self) -> Result<Vec<(Open, String)>> {
        let folders = preopens::Host::get_directories(&mut self.0.filesystem())?;
        for (folder, (open, _)) in folders.iter().enumerate() {
            let descriptor = self.table().get(open)?.clone();
            self.0.files.opened(open.rep(), folder, descriptor, false, None)?;
        }
        Ok(folders)
    }
}

impl types::Host for FileCalls<'_> {
    fn convert_error_code(&mut self, error: FsError) -> Result<ErrorCode> {
        error.downcast()
    }

    fn filesystem_error_code(&mut self, error: Resource<wasmtime::Error>) -> Result<Option<ErrorCode>> {
        types::Host::filesystem_error_code(&mut self.0.filesystem(), error)
    }
}

/// Delegates calls to wasmtime's implementation, on the executor of the plugin. The paths named after the type are
/// bounded; denials of the functions under `logged` are logged.
macro_rules! delegate {
    ({$($name:ident($file:ident: Open $(, $more:ident: $kind:ty)*) -> $answer:ty $(, $path:ident)?;)*}
        logged {$($change:ident($folder:ident: Open $(, $with:ident: $of:ty)*) $(, $at:ident)?;)*}) => {
        $(async fn $name(&mut self, $file: Open $(, $more: $kind)*) -> $answer {
            $(check_paths(&[&$path])?;)?
            let (executor, mut files) = self.start_call();
            executor.run(HostDescriptor::$name(&mut files, $file $(, $more)*)).await
        })*
        $(async fn $change(&mut self, $folder: Open $(, $with: $of)*) -> FsResult<()> {
            $(check_paths(&[&$at])?;)?
            let number = $folder.rep();
            let (executor, mut files) = self.start_call();
            let done = executor.run(HostDescriptor::$change(&mut files, $folder $(, $with)*)).await;
            self.note_denied(number, done)
        })*
    };
}

impl HostDescriptor for FileCalls<'_> {
    delegate! {
        {
            advise(file: Open, offset: Filesize, bytes: Filesize, advice: Advice) -> FsResult<()>;
            get_flags(file: Open) -> FsResult<DescriptorFlags>;
            get_type(file: Open) -> FsResult<DescriptorType>;
            is_same_object(one: Open, other: Open) -> Result<bool>;
            metadata_hash(file: Open) -> FsResult<MetadataHashValue>;
            metadata_hash_at(folder: Open, flags: PathFlags, path: String) -> FsResult<MetadataHashValue>, path;
            read(file: Open, bytes: Filesize, offset: Filesize) -> FsResult<(Vec<u8>, bool)>;
            readlink_at(folder: Open, path: String) -> FsResult<String>, path;
            stat(file: Open) -> FsResult<DescriptorStat>;
            stat_at(folder: Open, flags: PathFlags, path: String) -> FsResult<DescriptorStat>, path;
            sync(file: Open) -> FsResult<()>;
            sync_data(file: Open) -> FsResult<()>;
        } logged {
            set_times(file: Open, accessed: NewTimestamp, modified: NewTimestamp);
            set_times_at(
                folder: Open, flags: PathFlags, path: String, accessed: NewTimestamp, modified: NewTimestamp
            ), path;
        }
    }

    async fn remove_directory_at(&mut self, folder: Open, path: String) -> FsResult<()> {
        check_paths(&[&path])?;
        let number = folder.rep();
        let change = self.0.files.removing(number, &path);
        let (executor, mut files) = self.start_call();
        let done = executor.run(HostDescriptor::remove_directory_at(&mut files, folder, path)).await;
        change.finish(done.is_ok());
        self.note_denied(number, done)
    }

    async fn unlink_file_at(&mut self, folder: Open, path: String) -> FsResult<()> {
        check_paths(&[&path])?;
        let number = folder.rep();
        let change = self.0.files.removing(number, &path);
        let (executor, mut files) = self.start_call();
        let done = executor.run(HostDescriptor::unlink_file_at(&mut files, folder, path)).await;
        change.finish(done.is_ok());
        self.note_denied(number, done)
    }

    async fn set_size(&mut self, file: Open, size: Filesize) -> FsResult<()> {
        if let Some(open) = self.0.files.get(file.rep()) {
            self.0.files.set_size(open, size)?;
        }
        let number = file.rep();
        let (executor, mut files) = self.start_call();
        let done = executor.run(HostDescriptor::set_size(&mut files, file, size)).await;
        self.0.files.sync(number);
        self.note_denied(number, done)
    }

    async fn write(&mut self, file: Open, bytes: Vec<u8>, offset: Filesize) -> FsResult<Filesize> {
        if let Some(open) = self.0.files.get(file.rep()) {
            self.0.files.write(open, Some(offset), bytes.len() as u64)?;
        }
        let number = file.rep();
        let (executor, mut files) = self.start_call();
        let done = executor.run(HostDescriptor::write(&mut files, file, bytes, offset)).await;
        self.0.files.sync(number);
        done
    }

    async fn read_directory(&mut self, folder: Open) -> FsResult<Resource<DirectoryEntryStream>> {
        let Descriptor::Dir(opened) = self.table().get(&folder)? else {
            return Err(ErrorCode::NotDirectory.into());
        };
        let handle = opened.dir.clone();
        let permit = self.0.files.permit().map_err(refused)?;
        let (executor, _) = self.start_call();
        let listing = executor.run_blocking(move || Listing::open(&handle, permit)).await.map_err(refused)?;
        let listing = self.table().push(listing)?;
        // The type only names the handle, and both of its ends are here and in `directory_entries`.
        Ok(Resource::new_own(listing.rep()))
    }

    async fn create_directory_at(&mut self, folder: Open, path: String) -> FsResult<()> {
        check_paths(&[&path])?;
        let number = folder.rep();
        let change = self.0.files.creating(number, &path, 0).map_err(refused)?;
        self.0.files.disk.create(self.folder(number))?;
        let (executor, mut files) = self.start_call();
        let done = executor.run(HostDescriptor::create_directory_at(&mut files, folder, path)).await;
        change.finish(done.is_ok());
        self.count_created(number, done)
    }

    async fn link_at(
        &mut self,
        folder: Open,
        flags: PathFlags,
        path: String,
        new_folder: Open,
        new_path: String,
    ) -> FsResult<()> {
        check_paths(&[&path, &new_path])?;
        self.check_link_source(&folder, &path).await?;
        let number = new_folder.rep();
        let change = self.0.files.linking(folder.rep(), &path, number).map_err(refused)?;
        self.0.files.disk.create(self.folder(number))?;
        let (executor, mut files) = self.start_call();
        let done = executor
            .run(HostDescriptor::link_at(&mut files, folder, flags, path, new_folder, new_path))
            .await;
        change.finish(done.is_ok());
        self.count_created(number, done)
    }

    async fn open_at(
        &mut self,
        folder: Open,
        path_flags: PathFlags,
        path: String,
        open_flags: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Open> {
        check_paths(&[&path])?;
        let number = folder.rep();
        let granted = self.folder(number);
        let found = self.stat_at(borrowed(&folder), path_flags, path.clone()).await;
        if found.as_ref().is_ok_and(|stat| !is_plain(stat.type_)) {
            return Err(ErrorCode::Unsupported.into());
        }
        let is_new = found.is_err() && open_flags.contains(OpenFlags::CREATE);
        let mut change = NameChange::default();
        if is_new {
            change = self.0.files.creating(number, &path, 0).map_err(refused)?;
            self.0.files.disk.create(granted)?;
        }
        let permit = self.0.files.permit().map_err(refused)?;
        let (executor, mut files) = self.start_call();
        let call = HostDescriptor::open_at(&mut files, folder, path_flags, path, open_flags, flags);
        let done = executor.run(call).await;
        let open = self.note_denied(number, done)?;
        if is_new {
            self.0.files.disk.created();
        }
        // The open file counts instead.
        drop(change);
        let descriptor = self.table().get(&open)?.clone();
        self.0.files.opened(open.rep(), granted, descriptor, false, Some(permit)).map_err(refused)?;
        Ok(open)
    }

    fn drop(&mut self, file: Open) -> Result<()> {
        self.0.files.remove(file.rep());
        HostDescriptor::drop(&mut self.0.filesystem(), file)
    }

    async fn rename_at(
        &mut self,
        folder: Open,
        path: String,
        new_folder: Open,
        new_path: String,
    ) -> FsResult<()> {
        check_paths(&[&path, &new_path])?;
        self.check_link_source(&folder, &path).await?;
        let number = new_folder.rep();
        let change = self.0.files.renaming(folder.rep(), number, &new_path).map_err(refused)?;
        let (executor, mut files) = self.start_call();
        let done =
            executor.run(HostDescriptor::rename_at(&mut files, folder, path, new_folder, new_path)).await;
        change.finish(done.is_ok());
        self.note_denied(number, done)
    }

    async fn symlink_at(&mut self, folder: Open, target: String, path: String) -> FsResult<()> {
        check_paths(&[&target, &path])?;
        if files::leads_up(&target) {
            return Err(ErrorCode::NotPermitted.into());
        }
        let number = folder.rep();
        let change = self.0.files.creating(number, &path, target.len() as u64).map_err(refused)?;
        self.0.files.disk.create(self.folder(number))?;
        let (executor, mut files) = self.start_call();
        let done = executor.run(HostDescriptor::symlink_at(&mut files, folder, target, path)).await;
        change.finish(done.is_ok());
        self.count_created(number, done)
    }

    fn read_via_stream(&mut self, file: Open, offset: Filesize) -> FsResult<Resource<DynInputStream>> {
        let open = self.0.files.get(file.rep()).cloned();
        let stream = HostDescriptor::read_via_stream(&mut self.0.filesystem(), file, offset)?;
        let plugin = self.0.plugin.clone();
        let table = self.table();
        let input = FileInput { stream: table.delete(stream)?, plugin, _file: open };
        Ok(table.push::<DynInputStream>(Box::new(input))?)
    }

    fn write_via_stream(&mut self, file: Open, offset: Filesize) -> FsResult<Resource<DynOutputStream>> {
        let number = file.rep();
        let stream = HostDescriptor::write_via_stream(&mut self.0.filesystem(), file, offset);
        let stream = self.note_denied(number, stream)?;
        self.counted(number, stream, Some(offset))
    }

    fn append_via_stream(&mut self, file: Open) -> FsResult<Resource<DynOutputStream>> {
        let number = file.rep();
        let stream = HostDescriptor::append_via_stream(&mut self.0.filesystem(), file);
        let stream = self.note_denied(number, stream)?;
        self.counted(number, stream, None)
    }
}

/// Rejects paths longer than any file system accepts, before they are copied and parsed.
fn check_paths(paths: &[&str]) -> FsResult<()> {
    let bytes: usize = paths.iter().map(|path| path.len()).sum();
    if bytes > PATHS_BYTES_MAX { Err(ErrorCode::NameTooLong.into()) } else { Ok(()) }
}

impl FileCalls<'_> {
    /// Wraps an output stream so that its writes are counted.
    fn counted(
        &mut self,
        number: u32,
        stream: Resource<DynOutputStream>,
        position: Option<u64>,
    ) -> FsResult<Resource<DynOutputStream>> {
        let file = self.0.files.get(number).cloned().ok_or(ErrorCode::BadDescriptor)?;
        let (plugin, disk) = (self.0.plugin.clone(), self.0.files.disk.clone());
        let table = self.table();
        let stream = table.delete(stream)?;
        let output: DynOutputStream = match file.inode.clone() {
            Some(inode) => Box::new(ScratchOutput::new(inode, file, disk, position)),
            None => Box::new(FileOutput { stream, plugin, file, disk, position }),
        };
        Ok(table.push(output)?)
    }
}
