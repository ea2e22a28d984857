//! The program: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(dotward::execute::execute(std::env::args_os()))
}
