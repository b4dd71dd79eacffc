//! Puts the files that came with a task into the scratch folder of its run, before the guest exists.
//!
//! Called by `instance`.

use std::fs::{File, OpenOptions, create_dir};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::{fstat, stat};
use wasmill_model::{Cause, Failure, FileBudget, FileLimits, FileName, RunRequest, TaskFile};

use crate::error::format;
use crate::folders::executor::block;
use crate::folders::scratch::folder::RunScratch;
use crate::guest::call_error::host_fault;

/// Writes the files of the task and of its dependencies, part by part.
///
/// # Errors
///
/// Fails if the plugin has no scratch folder, or if they do not fit into it.
pub(crate) async fn place(
    run: &RunRequest,
    scratch: Option<&RunScratch>,
    limits: FileLimits,
) -> Result<(), Failure> {
    if !run.host.has_files() {
        return Ok(());
    }
    let Some(scratch) = scratch else {
        let message = "the task gets files, and its plugin has no folder for them: `scratch` under [allow] of \
                       the manifest gives each run one";
        return Err(Failure::new(Cause::InvalidInput, message));
    };
    let files = run.host.input_files().await?;
    // Those that came with the task were counted when it was submitted.
    if run.pass_files {
        check_limits(&files, limits)?;
    }
    for TaskFile { name, content, .. } in files {
        let mut placing = block(|| Placing::begin(scratch, &name, content.bytes))?;
        let mut left = content.bytes;
        for part in 0.. {
            if left == 0 {
                break;
            }
            let bytes = run.host.read_file(content.id, part).await?;
            if bytes.is_empty() || bytes.len() as u64 > left {
                return Err(host_fault(format_args!("the file '{name}' of the task is damaged")));
            }
            left -= bytes.len() as u64;
            block(|| placing.file.write_all(&bytes)).map_err(|error| failed(&name, &error))?;
        }
        placing.end()?;
    }
    Ok(())
}

/// Checks that the files of the task and of its dependencies together are within the limits of a task.
fn check_limits(files: &[TaskFile], limits: FileLimits) -> Result<(), Failure> {
    let mut budget = FileBudget::new(limits);
    for TaskFile { name, content, .. } in files {
        let counted = budget.add().and_then(|()| budget.grow(name, 0, content.bytes));
        counted.map_err(|refusal| {
            let message = format!("the files of the dependencies cannot be passed to the task: {refusal}");
            Failure::new(Cause::InvalidInput, format::truncate(message, format::MESSAGE_BYTES_MAX))
        })?;
    }
    Ok(())
}

/// A file that is being written, and the room that is reserved for it.
struct Placing<'a> {
    scratch: &'a RunScratch,
    name: &'a FileName,
    file: File,
    bytes: u64,
}

impl<'a> Placing<'a> {
    /// Creates the file, with the folders on its path.
    fn begin(scratch: &'a RunScratch, name: &'a FileName, bytes: u64) -> Result<Self, Failure> {
        let mut path = scratch.path().to_owned();
        let mut parts = name.as_str().split('/').peekable();
        while let Some(part) = parts.next() {
            path.push(part);
            if parts.peek().is_some() && !path.is_dir() {
                reserve(scratch, name, 0)?;
                let created = create_dir(&path).and_then(|()| Ok(stat(&path)?));
                scratch.usage.release(0);
                scratch.usage.sync(&created.map_err(|error| failed(name, &error))?);
            }
        }
        reserve(scratch, name, bytes)?;
        let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        Ok(Self { scratch, name, file: created.map_err(|error| failed(name, &error))?, bytes })
    }

    /// Counts the file as the kernel has it.
    fn end(self) -> Result<(), Failure> {
        self.scratch.usage.release(self.bytes);
        let placed = fstat(&self.file).map_err(|error| failed(self.name, &error.into()))?;
        self.scratch.usage.sync(&placed);
        Ok(())
    }
}

fn reserve(scratch: &RunScratch, name: &FileName, bytes: u64) -> Result<(), Failure> {
    scratch.usage.reserve(bytes).map_err(|_| {
        let rule = scratch.rule();
        let (size, files) = (format::bytes(rule.bytes_max), rule.files_max);
        let message = format!(
            "the files of the task do not fit into its scratch folder of {size} and {files} files (allow.scratch of the \
             manifest): there is no room for '{name}'"
        );
        Failure::new(Cause::DiskLimit, message)
    })
}

fn failed(name: &FileName, error: &io::Error) -> Failure {
    host_fault(format_args!("failed to put the file '{name}' into the scratch folder: {error}"))
}
