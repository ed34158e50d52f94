//! Whether a condition holds.
