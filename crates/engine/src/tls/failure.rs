//! Why a handshake with a client failed, as HAProxy's log and `fc_err` name it (manual 7.3.3, 8.2.5).

use std::io::{Error, ErrorKind};

use routing::sample::ConnectionError;
use rustls::CertificateError;

/// The name of a failure.
pub(crate) fn of(error: &Error) -> ConnectionError {
    let inner = error
        .get_ref()
        .and_then(|it| it.downcast_ref::<rustls::Error>());
    match (error.kind(), inner) {
        (_, Some(rustls::Error::InvalidCertificate(wrong))) => of_certificate(wrong),
        (_, Some(_)) => ConnectionError::Handshake,
        // Nothing but an end: a probe, or a browser that changed its mind.
        (ErrorKind::UnexpectedEof, None) => ConnectionError::HandshakeEmpty,
        _ => ConnectionError::HandshakeAbort,
    }
}

fn of_certificate(wrong: &CertificateError) -> ConnectionError {
    match wrong {
        CertificateError::UnknownRevocationStatus
        | CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => ConnectionError::ClientChain,
        _ => ConnectionError::ClientCertificate,
    }
}
