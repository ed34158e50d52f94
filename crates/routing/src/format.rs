//! Log-format strings to bytes.
