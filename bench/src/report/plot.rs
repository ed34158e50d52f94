//! The ratios as a picture: shorter is cheaper. One line is HAProxy; marks are what ours must reach.

use std::fmt::Write as _;

use crate::goals::Goal;
use crate::options::Options;
use crate::results::{FLOOR, Of, REFERENCE, Results};
use crate::workload::WORKLOADS;

/// Width of a bar whose ratio is 1, and what else the plot is measured by.
const UNIT_WIDTH: f64 = 300.0;
const LABEL_WIDTH: f64 = 190.0;
const BAR_HEIGHT: f64 = 15.0;
const GAP: f64 = 10.0;
const TOP: f64 = 76.0;

/// Longer bars are cut: who costs twice as much needs no exact length.
const RATIO_MAX: f64 = 2.0;

/// Colours of ours, of the floor, and of the others in turn.
const OURS: &str = "#0a7f8c";
const FLOOR_COLOUR: &str = "#c9d1d9";
const OTHERS: [&str; 3] = ["#8594a3", "#b58a3c", "#7d6ba8"];
const HAPROXY_COLOUR: &str = "#c0392b";
const MUST_COLOUR: &str = "#111111";

/// The picture, as SVG.
pub(crate) fn plot(results: &Results, options: &Options) -> String {
    let mut others = OTHERS.iter().cycle();
    let proxies: Vec<(&str, &str)> = options
        .peers
        .iter()
        .map(|peer| peer.name.as_str())
        .filter(|name| *name != REFERENCE)
        .map(|name| match name {
            "tidegate" => (name, OURS),
            FLOOR => (name, FLOOR_COLOUR),
            _ => (name, others.next().copied().unwrap_or(FLOOR_COLOUR)),
        })
        .collect();
    // What is written stands above bars and lines.
    let (mut bars, mut words, mut y) = (String::new(), String::new(), TOP);
    for workload in WORKLOADS
        .iter()
        .filter(|workload| workload.work.has_units())
    {
        let ratios: Vec<(&str, &str, f64)> = proxies
            .iter()
            .filter_map(|(proxy, colour)| {
                let of = |proxy| Of {
                    workload: workload.name,
                    proxy,
                    figure: "cost",
                };
                let ratio = results.ratio(of(proxy), of(REFERENCE))?;
                Some((*proxy, *colour, ratio.median))
            })
            .collect();
        if ratios.is_empty() {
            continue;
        }
        let top = y;
        for (proxy, colour, ratio) in &ratios {
            bar(&mut bars, y, colour, *ratio);
            number(&mut words, y, proxy, *ratio);
            y += BAR_HEIGHT;
        }
        let middle = (top + y) / 2.0 + 4.0;
        let _ = writeln!(
            words,
            "<text x=\"{x}\" y=\"{middle:.1}\" text-anchor=\"end\" font-weight=\"bold\">{}</text>",
            workload.name,
            x = LABEL_WIDTH - 10.0,
        );
        if let Some(goal) = Goal::of_cost(workload.name) {
            let x = LABEL_WIDTH + goal.must * UNIT_WIDTH;
            let _ = writeln!(
                bars,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"{MUST_COLOUR}\" \
                 stroke-width=\"2\" stroke-dasharray=\"4 2\"/>",
                top - 3.0,
                y + 1.0,
            );
        }
        y += GAP;
    }
    frame(&(bars + &words), y, &proxies)
}

fn bar(bars: &mut String, y: f64, colour: &str, ratio: f64) {
    let width = ratio.min(RATIO_MAX) * UNIT_WIDTH;
    let _ = writeln!(
        bars,
        "<rect x=\"{LABEL_WIDTH}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{h}\" fill=\"{colour}\"/>",
        h = BAR_HEIGHT - 2.0,
    );
}

/// The ratio behind its bar, with a white edge where it crosses a line.
fn number(words: &mut String, y: f64, proxy: &str, ratio: f64) {
    let cut = if ratio > RATIO_MAX { " →" } else { "" };
    let weight = if proxy == "tidegate" {
        "bold"
    } else {
        "normal"
    };
    let _ = writeln!(
        words,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"10\" font-weight=\"{weight}\" stroke=\"#fff\" \
         stroke-width=\"3\" paint-order=\"stroke\">{ratio:.2}{cut}</text>",
        x = LABEL_WIDTH + ratio.min(RATIO_MAX) * UNIT_WIDTH + 6.0,
        y = y + BAR_HEIGHT - 4.5,
    );
}

/// Title, legend, axis and the lines behind the bars.
fn frame(bars: &str, bottom: f64, proxies: &[(&str, &str)]) -> String {
    let mut legend = String::new();
    let mut x = LABEL_WIDTH;
    for (proxy, colour) in proxies {
        let _ = write!(
            legend,
            "<rect x=\"{x:.0}\" y=\"32\" width=\"11\" height=\"11\" fill=\"{colour}\"/>\
             <text x=\"{:.0}\" y=\"42\">{proxy}</text>",
            x + 16.0
        );
        x += 36.0 + 7.0 * proxy.len() as f64;
    }
    let _ = write!(
        legend,
        "<line x1=\"{x:.0}\" x2=\"{x:.0}\" y1=\"31\" y2=\"45\" stroke=\"{MUST_COLOUR}\" stroke-width=\"2\" \
         stroke-dasharray=\"4 2\"/><text x=\"{:.0}\" y=\"42\">what tidegate must reach</text>",
        x + 8.0
    );
    let mut axis = String::new();
    for tick in [0.0, 0.5, 1.0, 1.5, 2.0] {
        let x = LABEL_WIDTH + tick * UNIT_WIDTH;
        let (colour, label) = match tick == 1.0 {
            true => (HAPROXY_COLOUR, "HAProxy = 1".to_owned()),
            false => ("#e3e7eb", format!("{tick}")),
        };
        let _ = write!(
            axis,
            "<line x1=\"{x}\" x2=\"{x}\" y1=\"{:.0}\" y2=\"{bottom:.0}\" stroke=\"{colour}\"/>\
             <text x=\"{x}\" y=\"{:.0}\" text-anchor=\"middle\" fill=\"#555\">{label}</text>",
            TOP - 8.0,
            TOP - 12.0,
        );
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         font-family=\"sans-serif\" font-size=\"12\"><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{LABEL_WIDTH}\" y=\"20\" font-size=\"15\" font-weight=\"bold\">Processor time per unit of work, \
         ratio to HAProxy in the same round: shorter is cheaper</text>\n{legend}\n{axis}\n{bars}</svg>\n",
        width = LABEL_WIDTH + UNIT_WIDTH * RATIO_MAX + 110.0,
        height = bottom + 12.0,
    )
}
