//! The names of WASI preview 1 and preview 0, which core modules import.

/// The module of preview 1.
pub(crate) const PREVIEW1: &str = "wasi_snapshot_preview1";
/// The module of preview 0, which compilers used until 2019.
pub(crate) const PREVIEW0: &str = "wasi_unstable";
/// The one function of preview 1 that preview 0 lacks.
const ONLY_PREVIEW1: &str = "sock_accept";
/// The functions of preview 1.
pub(crate) const FUNCTIONS: [&str; 46] = [
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "proc_raise",
    "random_get",
    "sched_yield",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

/// Returns true if one of the modules has this function.
pub(crate) fn has_function(module: &str, name: &str) -> bool {
    FUNCTIONS.contains(&name) && (module == PREVIEW1 || name != ONLY_PREVIEW1)
}

/// Returns the functions of preview 0.
pub(crate) fn preview0_functions() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.into_iter().filter(|name| has_function(PREVIEW0, name))
}
