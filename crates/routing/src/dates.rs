//! Dates as log lines and headers write them.
