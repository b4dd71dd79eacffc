//! Gives each file that dependencies hand to a run a name beside the others.
//!
//! Called by `task_files` before the guest exists. Their bytes are not copied: the run reads those of the dependencies.

use std::collections::BTreeMap;

use wasmill_model::{
    Cause, DEPENDENCY_FILES_MAX, DependencyFiles, Failure, FileName, FilesFrom, TaskFile, TaskId,
};
use wasmill_store::HandedFiles;

/// Adds the files of the dependencies to those that came with the task.
pub(crate) fn add(
    from: FilesFrom,
    own: Vec<TaskFile>,
    handed: HandedFiles,
) -> Result<Vec<TaskFile>, Failure> {
    let handed = match handed {
        HandedFiles::Files(handed) => handed,
        HandedFiles::Gone(id) => {
            return Err(refused(format!(
                "the files of dependency {id} are not available: the task was deleted"
            )));
        }
        HandedFiles::TooMany => {
            return Err(refused(format!(
                "the dependencies have more than {DEPENDENCY_FILES_MAX} files together"
            )));
        }
    };
    merged(from, own, handed).map_err(refused)
}

fn refused(message: String) -> Failure {
    Failure::new(Cause::InvalidInput, message)
}

/// Names the files, or says which cannot be together.
fn merged(
    from: FilesFrom,
    own: Vec<TaskFile>,
    handed: Vec<DependencyFiles>,
) -> Result<Vec<TaskFile>, String> {
    let mut names = Names::default();
    for file in &own {
        names.add(&file.name, None)?;
    }
    let mut all = own;
    for (index, DependencyFiles { id, files }) in handed.into_iter().enumerate() {
        for file in files {
            let name = match from {
                FilesFrom::Dependencies => file.name,
                FilesFrom::DependencyFolders => {
                    format!("{index}/{}", file.name).parse().map_err(|error| {
                        format!(
                            "the file '{}' of dependency {id} has no name in its folder: {error}",
                            file.name
                        )
                    })?
                }
            };
            if names.add(&name, Some(id))? {
                all.push(TaskFile { name, ..file });
            }
        }
    }
    Ok(all)
}

/// The names so far, and the dependency that each comes from; `None` for the task itself.
#[derive(Default)]
struct Names(BTreeMap<String, Option<TaskId>>);

impl Names {
    /// Adds a name. Returns false for the same file once more, of a dependency that is named twice.
    fn add(&mut self, name: &FileName, from: Option<TaskId>) -> Result<bool, String> {
        let name = name.as_str();
        let folders = name.match_indices('/').map(|(end, _)| &name[..end]);
        let same = folders.chain([name]).find_map(|path| self.0.get_key_value(path));
        let beneath = format!("{name}/");
        let first_beneath = self.0.range(beneath.clone()..).next();
        let taken = same.or_else(|| first_beneath.filter(|(other, _)| other.starts_with(&beneath)));
        match taken {
            None => {
                self.0.insert(name.to_owned(), from);
                Ok(true)
            }
            Some((other, of)) if from.is_some() && other == name && *of == from => Ok(false),
            Some((other, of)) => Err(format!(
                "the file '{name}' of {} and '{other}' of {} cannot both be in the scratch folder; with \
                 \"files_from\": \"{}\" each dependency has a folder of its own",
                source(from),
                source(*of),
                FilesFrom::DependencyFolders.as_str()
            )),
        }
    }
}

fn source(of: Option<TaskId>) -> String {
    of.map_or_else(|| "the task itself".to_owned(), |id| format!("dependency {id}"))
}

#[cfg(test)]
mod tests {
    use wasmill_model::{Content, ContentId, FileDirection, MediaType};

    use super::*;

    fn file(name: &str, direction: FileDirection) -> TaskFile {
        let content = Content { id: ContentId::random(), bytes: 1, sha256: [0; 32] };
        TaskFile { direction, name: name.parse().unwrap(), media: MediaType::bytes(), content }
    }

    fn names(from: FilesFrom, own: &[&str], handed: &[(TaskId, &[&str])]) -> Result<Vec<String>, String> {
        let files = |names: &[&str], direction| names.iter().map(|name| file(name, direction)).collect();
        let handed = handed
            .iter()
            .map(|(id, names)| DependencyFiles { id: *id, files: files(names, FileDirection::Output) })
            .collect();
        let merged = merged(from, files(own, FileDirection::Input), handed)?;
        Ok(merged.iter().map(|file| file.name.to_string()).collect())
    }

    #[test]
    fn files_of_dependencies_come_after_those_of_the_task() {
        let (a, b) = (TaskId::new(), TaskId::new());
        let handed = [(a, &["out/x", "y"][..]), (b, &["z"])];
        assert_eq!(
            names(FilesFrom::Dependencies, &["in.v"], &handed),
            Ok(["in.v", "out/x", "y", "z"].map(str::to_owned).to_vec())
        );
        assert_eq!(
            names(FilesFrom::DependencyFolders, &["in.v"], &handed),
            Ok(["in.v", "0/out/x", "0/y", "1/z"].map(str::to_owned).to_vec())
        );
        // A dependency that is named twice.
        let twice = [(a, &["x"][..]), (a, &["x"])];
        assert_eq!(names(FilesFrom::Dependencies, &[], &twice), Ok(vec!["x".to_owned()]));
        assert_eq!(names(FilesFrom::DependencyFolders, &[], &twice).map(|names| names.len()), Ok(2));
    }

    #[test]
    fn names_that_cannot_be_together_are_told() {
        let (a, b) = (TaskId::new(), TaskId::new());
        for (own, handed, parts) in [
            (&["x"][..], vec![(a, &["x"][..])], ["'x' of dependency", "'x' of the task itself"]),
            (&[], vec![(a, &["x"]), (b, &["x"])], ["'x' of dependency", "dependency-folders"]),
            (&["x"], vec![(a, &["x/y/z"])], ["'x/y/z'", "'x' of the task"]),
            (&["x/y/z", "x-"], vec![(a, &["x"])], ["'x' of dep", "'x/y/z'"]),
        ] {
            let why = names(FilesFrom::Dependencies, own, &handed).unwrap_err();
            assert!(parts.iter().all(|part| why.contains(part)), "{why}");
        }
        assert!(names(FilesFrom::Dependencies, &["x-", "xy"], &[(a, &["x"])]).is_ok());
        let why = names(FilesFrom::DependencyFolders, &["0"], &[(a, &["x"])]).unwrap_err();
        assert!(why.contains("'0/x'"), "{why}");
        let deep = ["d"; 16].join("/");
        let why = names(FilesFrom::DependencyFolders, &[], &[(a, &[&deep])]).unwrap_err();
        assert!(why.contains("more than 16 parts"), "{why}");
    }
}
