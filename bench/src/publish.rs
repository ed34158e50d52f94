//! Where results are kept: a folder of the day, and the page of the documentation that shows them.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::options::Options;
use crate::report::plot;
use crate::results::Results;

/// The page, and the marks in it between which the tables stand.
const PAGE: &str = "docs/performance.md";
const BEGIN: &str = "<!-- tables: written by ./run bench --publish -->";
const END: &str = "<!-- end of tables -->";

/// Writes what was asked for.
pub(crate) fn write(
    options: &Options,
    results: &Results,
    about: &[String],
    tables: &str,
) -> Result<()> {
    let Some(out) = &options.out else {
        return Ok(());
    };
    let about_text: String = about.iter().map(|line| format!("- {line}\n")).collect();
    fs::create_dir_all(out)?;
    fs::write(out.join("table.md"), format!("{about_text}\n{tables}"))?;
    let lines = serde_json::to_string_pretty(&lines(results, about))?;
    fs::write(out.join("lines.json"), lines + "\n")?;
    fs::write(out.join("ratios.svg"), plot::plot(results, options))?;
    if !options.publish {
        return Ok(());
    }
    let page = fs::read_to_string(PAGE).with_context(|| format!("read {PAGE}"))?;
    let link = Path::new("..").join(out);
    let inner = format!(
        "{about_text}\n![Processor time beside HAProxy]({picture})\n\n{tables}",
        picture = link.join("ratios.svg").display()
    );
    let page =
        replace(&page, inner.trim_end()).with_context(|| format!("{PAGE} lost its marks"))?;
    fs::write(PAGE, page)?;
    Ok(())
}

/// The page with that between its marks.
fn replace(page: &str, inner: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{inner}\n\n{END}{after}"))
}

/// Every figure, for programs.
fn lines(results: &Results, about: &[String]) -> Value {
    let lines: Vec<Value> = results
        .all()
        .into_iter()
        .map(|(of, median)| {
            json!({"workload": of.workload, "proxy": of.proxy, "figure": of.figure, "median": median})
        })
        .collect();
    json!({"about": about, "lines": lines})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_around_the_tables_stays() {
        let page = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let expected = format!("before\n{BEGIN}\n\nnew\n\n{END}\nafter\n");
        assert_eq!(replace(&page, "new"), Some(expected));
        assert_eq!(replace("no marks", "new"), None);
    }
}
