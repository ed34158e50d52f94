//! Why a handshake with a client failed, as HAProxy's log and `fc_err` name it (manual 7.3.3, 8.2.5).

use std::io::{Error, ErrorKind};

use routing::sample::ConnectionError;

/// The name of a failure.
pub(super) fn of(error: &Error, depth: u8) -> ConnectionError {
    let inner = error
        .get_ref()
        .and_then(|it| it.downcast_ref::<rustls::Error>());
    match (error.kind(), inner) {
        (_, Some(rustls::Error::InvalidCertificate(_))) => match depth {
            0 => ConnectionError::ClientCertificate,
            _ => ConnectionError::ClientChain,
        },
        (_, Some(_)) => ConnectionError::Handshake,
        // Nothing but an end: a probe, or a browser that changed its mind.
        (ErrorKind::UnexpectedEof, None) => ConnectionError::HandshakeEmpty,
        _ => ConnectionError::HandshakeAbort,
    }
}
