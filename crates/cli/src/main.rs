//! Arguments, files, signals and exit codes: the tidegate program.

mod demo;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_ref().and_then(|word| word.to_str()) {
        Some("demo") => demo::main(arguments, |_config| ExitCode::FAILURE),
        Some("demo-node") => demo::node_main(arguments),
        _ => ExitCode::FAILURE,
    }
}
