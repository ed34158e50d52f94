//! Names to what is known of them (manual 7.3.1).

use crate::expr::Converter;

use super::Build::Plain;
use super::{Row, row};
use crate::expr::Kind::{Bin, Bool, Int, Str};

/// What is asked of the section or server that a sample names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateConverter {
    /// `nbsrv`: of a backend.
    UsableServers,
    /// `srv_is_up`: of `backend/server`, or of a server of the backend in use.
    ServerIsUp,
    /// `srv_queue`: the same.
    ServerQueue,
    /// `fe_exists`.
    FrontendExists,
}

pub(super) static ROWS: &[Row] = &[
    row(
        "nbsrv",
        Str,
        Int,
        Plain(Converter::State(StateConverter::UsableServers)),
    ),
    row(
        "srv_is_up",
        Str,
        Bool,
        Plain(Converter::State(StateConverter::ServerIsUp)),
    ),
    row(
        "srv_queue",
        Str,
        Int,
        Plain(Converter::State(StateConverter::ServerQueue)),
    ),
    row(
        "fe_exists",
        Str,
        Bool,
        Plain(Converter::State(StateConverter::FrontendExists)),
    ),
    row("x509_v_err_str", Int, Str, Plain(Converter::VerifyError)),
    row("htonl", Int, Bin, Plain(Converter::NetworkOrder)),
];
