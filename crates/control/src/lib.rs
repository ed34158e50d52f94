//! The fleet: what should be, what is, the next step; sees the engine only as a Handle.
//!
//! A list comes in by [`discovery`], [`admit`] decides what of it is believed, [`plan`] what to do
//! about it, a [`driver`] does it; [`reconcile`] turns the circle and [`lifecycle`] tells where the
//! program stands. Pure are `admit`, `plan`, `node`, `lifecycle` and `schedule`.

mod admit;
mod discovery;
mod driver;
mod environment;
pub mod lifecycle;
mod node;
mod plan;
mod registry;
mod schedule;
mod setup;
mod state_file;

pub use environment::{ApiKey, Environment};
pub use registry::Registry;
pub use setup::SetupError;
