//! Whether a value matches a pattern.
