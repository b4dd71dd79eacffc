//! The `wasmill` binary. Its code is a library, which Cargo compiles beside the crates that it uses: a binary waits for
//! all of them.

fn main() -> std::process::ExitCode {
    wasmill::main()
}
