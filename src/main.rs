//! The program: arguments in, exit status out. Everything else is in [`arioso::app`].

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(arioso::app::run(std::env::args_os()))
}
