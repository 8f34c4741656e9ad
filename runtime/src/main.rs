//! The worker runtime as a server: `sekisho-runtime --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    sekisho_runtime::launcher::run_if_asked();
    sekisho_runtime::serve::main()
}
