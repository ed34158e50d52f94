//! Why a handshake with a client failed, as HAProxy's log and `fc_err` name it (manual 7.3.3, 8.2.5).

use std::cell::Cell;
use std::io::{Error, ErrorKind};

use routing::sample::ConnectionError;

tokio::task_local! {
    /// How far above the client's certificate the one is that was refused: rustls's errors do not
    /// say.
    static DEPTH: Cell<u8>;
}

/// Shakes hands; an error comes with the depth that the verifier has noted.
pub(super) async fn noting_depth<T>(
    shaking: impl Future<Output = Result<T, Error>>,
) -> Result<T, (Error, u8)> {
    let noted = async {
        shaking
            .await
            .map_err(|error| (error, DEPTH.with(Cell::get)))
    };
    DEPTH.scope(Cell::new(0), noted).await
}

/// To be called by the verifier that refuses.
pub(super) fn note_depth(depth: u8) {
    // Outside of a handshake, in tests, nobody wants to know.
    let _ = DEPTH.try_with(|noted| noted.set(depth));
}

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
