//! Counts the instructions of hot paths and compares them with what is stored: `./run count`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use hotpaths::{HotPath, figures};
use lexopt::prelude::*;

const HELP: &str = "\
Usage: ./run count [--accept] [--only NAME,…]

  Counts, with valgrind, how many instructions each hot path takes, prints them, and fails where one differs from
  bench/hotpaths/figures.txt by more than the tolerance, or where loading four times as much takes much more than
  four times as many. Ends with 3 where nothing is counted: the figures are of x86-64 with AVX2.

  --accept   store what was counted
  --only     hot paths whose name begins so
";

/// Ends so where this processor cannot be compared: neither right nor wrong. `run` knows it, too.
const LEFT_OUT: u8 = 3;

#[derive(Default)]
struct Options {
    only: Vec<String>,
    accept: bool,
    repeat: bool,
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let Some(options) = options()? else {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    };
    let wanted = |path: &&HotPath| {
        let is_named = |prefix: &String| path.name.starts_with(prefix.as_str());
        options.only.is_empty() || options.only.iter().any(is_named)
    };
    let paths: Vec<&HotPath> = hotpaths::all().filter(wanted).collect();
    if options.repeat {
        figures::repeat_all(paths.into_iter());
        return Ok(ExitCode::SUCCESS);
    }
    ensure!(!paths.is_empty(), "no hot path has such a name");
    if !can_compare() {
        println!("left out: the figures are of x86-64 with AVX2, which this processor is not");
        return Ok(ExitCode::from(LEFT_OUT));
    }
    let mut arguments = vec!["--repeat".to_owned()];
    if !options.only.is_empty() {
        arguments.extend(["--only".to_owned(), options.only.join(",")]);
    }
    let counted = figures::count(&paths, &arguments)?;
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("figures.txt");
    let text =
        std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
    let mut stored = figures::read(&text).with_context(|| format!("reading {}", file.display()))?;
    for path in &paths {
        println!("{:<32}{:>10}", path.name, counted[path.name]);
    }
    figures::growth(&counted)?;
    if !options.accept {
        figures::compare(&stored, &counted)?;
        return Ok(ExitCode::SUCCESS);
    }
    stored.extend(counted);
    std::fs::write(&file, figures::write(&stored, hotpaths::all()))
        .with_context(|| format!("writing {}", file.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Searches and copies of memory choose among instructions by what the processor can do.
fn can_compare() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// None: help was asked for.
fn options() -> Result<Option<Options>> {
    let mut options = Options::default();
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("accept") => options.accept = true,
            // What runs under valgrind.
            Long("repeat") => options.repeat = true,
            Long("only") => {
                let names = parser.value()?.string()?;
                options.only.extend(names.split(',').map(str::to_owned));
            }
            Short('h') | Long("help") => return Ok(None),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(Some(options))
}
