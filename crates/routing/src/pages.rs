//! The pages shown for answers of our own.
