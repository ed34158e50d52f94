//! The fleet: what should be, what is, the next step; sees the engine only as a Handle.
