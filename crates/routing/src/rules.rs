//! What rules do to requests and responses.
