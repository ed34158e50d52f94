//! What a sample expression sees.
