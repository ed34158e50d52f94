//! How long each hot path takes: `cargo bench -p hotpaths [-- NAME…]`. To look at while working; what is kept
//! is the number of instructions, which does not depend on the machine's other work.

use std::time::{Duration, Instant};

/// How long one sample is, at least: long beside the clock's own cost.
const SAMPLE: Duration = Duration::from_millis(2);

/// Of so many samples, the fastest one and the middle one are told.
const SAMPLES: usize = 51;

fn main() {
    // Cargo passes `--bench`.
    let names: Vec<String> = std::env::args()
        .skip(1)
        .filter(|name| !name.starts_with('-'))
        .collect();
    println!("{:<32}{:>14}{:>14}", "ns a step", "fastest", "median");
    for path in hotpaths::all() {
        if !names.is_empty()
            && !names
                .iter()
                .any(|name| path.name.starts_with(name.as_str()))
        {
            continue;
        }
        let mut step = (path.prepare)();
        let mut times = 1;
        while sample(&mut step, times) < SAMPLE && times < 1 << 24 {
            times *= 2;
        }
        let mut samples: Vec<f64> = (0..SAMPLES)
            .map(|_| sample(&mut step, times).as_nanos() as f64 / times as f64)
            .collect();
        samples.sort_by(f64::total_cmp);
        println!(
            "{:<32}{:>14.1}{:>14.1}",
            path.name,
            samples[0],
            samples[SAMPLES / 2]
        );
    }
}

fn sample(step: &mut hotpaths::Step, times: u64) -> Duration {
    let start = Instant::now();
    hotpaths::figures::measured(step, times);
    start.elapsed()
}
