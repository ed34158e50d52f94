//! Arguments, files, signals and exit codes: the tidegate program.
fn main() {}
