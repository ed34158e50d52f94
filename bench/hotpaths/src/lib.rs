//! The steps of the data path that are worth watching, each in a form that can be repeated: timed by
//! `cargo bench -p hotpaths`, and counted in instructions by `./run count` (see [`figures`]).
//!
//! Nothing here knows a socket or a clock, so a step costs the same number of instructions each time. What
//! a whole connection costs, with the kernel's part, is the business of the package `bench`.

mod balancing;
mod changes;
pub mod figures;
mod frames;
mod heads;
mod lists;
mod loading;
mod logging;
mod rules;
mod scene;
mod tables;

/// One step of the data path.
pub struct HotPath {
    /// What the figures call it.
    pub name: &'static str,
    /// How often it is done to count its instructions: enough that what happens every so often (a map
    /// made anew, a buffer that grows) does not tip the figure. 1: it is long, and what its beginning costs does
    /// not matter.
    pub times: u64,
    /// Makes the step. What this costs is not counted.
    pub prepare: fn() -> Step,
}

/// A step, to be done any number of times.
pub type Step = Box<dyn FnMut()>;

/// All of them, in the order of the table of figures.
pub fn all() -> impl Iterator<Item = &'static HotPath> {
    let families = [
        heads::PATHS,
        rules::PATHS,
        changes::PATHS,
        lists::PATHS,
        balancing::PATHS,
        tables::PATHS,
        frames::PATHS,
        logging::PATHS,
        loading::PATHS,
    ];
    families.into_iter().flatten()
}

/// A table of hot paths in few lines.
pub(crate) const fn path(name: &'static str, times: u64, prepare: fn() -> Step) -> HotPath {
    HotPath {
        name,
        times,
        prepare,
    }
}
