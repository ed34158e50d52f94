//! Instructions a step, counted by valgrind, against the figures that are stored.
//!
//! All steps run in one process under callgrind, each [`measured`] twice: so often, and twice as often. The
//! difference is what the repetitions cost and nothing else. Long ones are done once, and what their first
//! time costs is counted. Callgrind counts only inside of that function, and writes what it counted whenever
//! it is left.
//!
//! Time is not looked at, so it does not matter what else the machine does. What does matter: the compiler
//! (fixed by rust-toolchain.toml), the profile `count`, the processor's features as valgrind shows them, a
//! little the C library's allocator. The tolerance is for what remains, the seeds of hash maps above all.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::{HotPath, Step};

/// Percent by which a step may differ from its figure, to either side.
pub const TOLERANCE_PERCENT: f64 = 3.0;

/// What accepts new figures.
const ACCEPT: &str = "./run count --accept";

const HEADING: &str = "\
# Instructions a step of the data path takes, on x86-64 with AVX2. Made by `./run count --accept`; `./run test`
# fails where a step takes 3 % more, or 3 % less: then the better figure is to be stored.
";

/// Instructions a step, by the name of the hot path.
pub type Figures = BTreeMap<String, u64>;

/// Does a step so many times. The only place where instructions are counted, so it must stay a function of
/// its own, by this name.
#[inline(never)]
pub fn measured(step: &mut dyn FnMut(), times: u64) {
    for _ in 0..times {
        step();
    }
}

/// What the process under callgrind does: every hot path, with what the first time costs left out unless it
/// is done but once.
pub fn repeat_all<'p>(paths: impl Iterator<Item = &'p HotPath>) {
    for path in paths {
        let mut step: Step = (path.prepare)();
        if path.times == 1 {
            measured(&mut step, 1);
            continue;
        }
        for _ in 0..path.times {
            step();
        }
        measured(&mut step, path.times);
        measured(&mut step, 2 * path.times);
    }
}

/// Counts these hot paths: runs this program again under valgrind, with `arguments` that lead to
/// [`repeat_all`] of the same ones.
pub fn count(paths: &[&HotPath], arguments: &[String]) -> Result<Figures> {
    let folder = tempfile::tempdir().context("making a folder for what is counted")?;
    let program = std::env::current_exe().context("finding this program")?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .args([
            "--toggle-collect=hotpaths::figures::measured",
            "--dump-after=hotpaths::figures::measured",
        ])
        .arg(format!(
            "--callgrind-out-file={}/part",
            folder.path().display()
        ))
        .arg(program)
        .args(arguments)
        // Neither the size of the environment nor what it tunes may be seen.
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .stdin(Stdio::null())
        .output()
        .context("running valgrind")?;
    ensure!(
        output.status.success(),
        "valgrind failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut figures = Figures::new();
    let mut parts = 1..;
    let mut next = || total(folder.path(), parts.next().unwrap_or(usize::MAX));
    for path in paths {
        let once = next()?;
        let figure = match path.times {
            1 => once,
            times => next()?.saturating_sub(once).div_ceil(times),
        };
        figures.insert(path.name.to_owned(), figure);
    }
    Ok(figures)
}

/// Instructions of one call of [`measured`]: the parts are numbered in the order of the calls.
fn total(folder: &Path, part: usize) -> Result<u64> {
    let file = folder.join(format!("part.{part}"));
    let text = fs::read_to_string(&file)
        .with_context(|| format!("reading {}: was the function found?", file.display()))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let total = total.context("callgrind tells no totals")?;
    total.trim().parse().context("reading a total")
}

/// Reads stored figures: a name and a number a line.
pub fn read(text: &str) -> Result<Figures> {
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    let entry = |line: &str| {
        let (name, figure) = line.split_once(' ').context("a name, then a figure")?;
        let figure = figure
            .trim()
            .parse()
            .with_context(|| format!("the figure of {name}"))?;
        Ok((name.to_owned(), figure))
    };
    lines.map(entry).collect()
}

/// Writes figures in the order of `paths`.
pub fn write<'p>(figures: &Figures, paths: impl Iterator<Item = &'p HotPath>) -> String {
    let mut out = HEADING.to_owned();
    for path in paths {
        if let Some(figure) = figures.get(path.name) {
            writeln!(out, "{:<32}{figure:>10}", path.name)
                .expect("a String takes all that is written");
        }
    }
    out
}

/// Fails where a figure is not what is stored, and says all that are not.
pub fn compare(stored: &Figures, counted: &Figures) -> Result<()> {
    let wrong: Vec<String> = counted
        .iter()
        .filter_map(|(name, &is)| verdict(name, stored.get(name).copied(), is))
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    bail!(
        "instructions a step are not what bench/hotpaths/figures.txt says:\n{}\nTo store the new figures: {ACCEPT}",
        wrong.join("\n")
    )
}

/// Beginnings of the names of what is loaded in two sizes, the second four times the first.
const FEW: &str = "load-250-";
const MANY: &str = "load-1000-";

/// How many times as much the larger of two may take: four, and something for maps and lists that grow.
const GROWTH_MAX: u64 = 5;

/// Fails where loading four times as much takes much more than four times as long, by what was counted:
/// this holds also where new figures are stored.
pub fn growth(counted: &Figures) -> Result<()> {
    let steep = counted.iter().filter_map(|(name, few)| {
        let what = name.strip_prefix(FEW)?;
        let many = counted.get(&format!("{MANY}{what}"))?;
        let is_steep = *many > GROWTH_MAX * few;
        is_steep.then(|| format!("  250 {what} take {few}, 1000 take {many}"))
    });
    let steep: Vec<String> = steep.collect();
    ensure!(
        steep.is_empty(),
        "loading takes longer out of proportion:\n{}",
        steep.join("\n")
    );
    Ok(())
}

fn verdict(name: &str, stored: Option<u64>, is: u64) -> Option<String> {
    let Some(was) = stored else {
        return Some(format!("  {name}: {is}, none is stored"));
    };
    let percent = (is as f64 / was.max(1) as f64 - 1.0) * 100.0;
    let advice = match percent {
        p if p > TOLERANCE_PERCENT => "it has become dearer",
        p if p < -TOLERANCE_PERCENT => "it has become cheaper: store the better figure",
        _ => return None,
    };
    Some(format!("  {name}: {was} → {is}, {percent:+.1} %, {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(entries: &[(&str, u64)]) -> Figures {
        entries
            .iter()
            .map(|(name, figure)| ((*name).to_owned(), *figure))
            .collect()
    }

    #[test]
    fn what_differs_by_more_than_the_tolerance_is_told_in_both_directions() {
        let stored = figures(&[("same", 1000), ("dearer", 1000), ("cheaper", 1000)]);
        let counted = figures(&[
            ("same", 1029),
            ("dearer", 1031),
            ("cheaper", 969),
            ("new", 5),
        ]);
        let told = compare(&stored, &counted).unwrap_err().to_string();
        let told: Vec<&str> = told.lines().skip(1).collect();
        assert_eq!(
            told,
            [
                "  cheaper: 1000 → 969, -3.1 %, it has become cheaper: store the better figure",
                "  dearer: 1000 → 1031, +3.1 %, it has become dearer",
                "  new: 5, none is stored",
                "To store the new figures: ./run count --accept",
            ]
        );
    }

    #[test]
    fn what_is_written_is_read_again() {
        let all: Figures = crate::all()
            .map(|path| (path.name.to_owned(), path.times))
            .collect();
        let text = write(&all, crate::all());
        assert_eq!(read(&text).unwrap(), all);
        assert_eq!(
            text.lines().filter(|line| !line.starts_with('#')).count(),
            crate::all().count()
        );
    }

    /// The stored figures are of what is there, and every step can be done.
    #[test]
    fn every_hot_path_runs_and_has_a_figure() {
        let stored = read(include_str!("../figures.txt")).unwrap();
        let names: Vec<String> = crate::all().map(|path| path.name.to_owned()).collect();
        for path in crate::all() {
            assert!(
                stored.contains_key(path.name),
                "{} has no figure: {ACCEPT}",
                path.name
            );
            (path.prepare)()();
        }
        for name in stored.keys() {
            assert!(
                names.contains(name),
                "{name} is no hot path any more: {ACCEPT}"
            );
        }
    }

    #[test]
    fn loading_that_grows_faster_than_what_is_loaded_is_told() {
        let even = [("load-250-acls", 10), ("load-1000-acls", 50), ("other", 1)];
        assert!(growth(&figures(&even)).is_ok());
        assert!(
            growth(&figures(&even[..1])).is_ok(),
            "the other was not counted"
        );
        let steep = [("load-250-acls", 10), ("load-1000-acls", 51)];
        let told = growth(&figures(&steep)).unwrap_err().to_string();
        assert!(
            told.ends_with("\n  250 acls take 10, 1000 take 51"),
            "{told}"
        );
    }

    /// [`growth`] finds its pairs by name.
    #[test]
    fn what_is_loaded_is_loaded_in_two_sizes() {
        let names: Vec<&str> = crate::all().map(|path| path.name).collect();
        let few = names.iter().filter_map(|name| name.strip_prefix(FEW));
        let many = names.iter().filter_map(|name| name.strip_prefix(MANY));
        let (few, many): (Vec<&str>, Vec<&str>) = (few.collect(), many.collect());
        assert_eq!(few, ["backends", "acls", "followers", "users"]);
        assert_eq!(few, many);
    }
}
