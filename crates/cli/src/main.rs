//! The tidegate program: arguments, files, signals and exit codes. The only place that prints and
//! ends the process.

mod allocator;
mod demo;
mod flags;
mod generate;
mod limits;
mod probe;
mod process;
mod reference;
mod reload;
mod reloader;
mod run;
mod sources;
mod succession;
mod updater;
mod upgrade;
mod version;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_else(|| "tidegate".into());
    let mut arguments = arguments.peekable();
    let command = arguments
        .peek()
        .and_then(|first| first.to_str())
        .map(str::to_owned);
    match command.as_deref() {
        Some("demo") => demo::main(arguments.skip(1), run::serve_file),
        Some("demo-node") => demo::node_main(arguments.skip(1)),
        Some("updater") => updater::main(arguments.skip(1)),
        Some("probe") => probe::main(arguments.skip(1)),
        Some("reload") => reload::main(reload::RELOAD, arguments.skip(1)),
        Some("upgrade") => reload::main(reload::UPGRADE, arguments.skip(1)),
        Some("generate") => {
            let what = arguments.nth(1);
            let what = what.as_deref().and_then(|what| what.to_str());
            generate::main(what, arguments.next().as_deref())
        }
        _ => match flags::parse(arguments) {
            Ok(options) => run::main(&options, &program),
            Err(message) => {
                run::tell(&format!("tidegate: {message}\n"));
                ExitCode::FAILURE
            }
        },
    }
}
