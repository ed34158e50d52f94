//! OCSP responses that are stapled, shown and changed by hand (management.txt 9.3, `show|set ssl
//! ocsp-response`).
//!
//! One that says "revoked" is shown and not stapled: a client that is sent nothing asks by itself.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::Handle;
use engine::export::described::ocsp;

use super::answer::{Answer, Call};
use super::table::{Row, changes, shows};

pub(super) const ROWS: &[Row] = &[
    shows(
        "show ssl ocsp-response",
        "[[text|base64] <id|path>]",
        "display the IDs of the OCSP responses used in memory, or the details of a single OCSP response",
        show,
    ),
    changes(
        "set ssl ocsp-response",
        "<resp|payload>",
        "update a certificate's OCSP Response from a base64-encode DER",
        set,
    )
    .telling(0),
];

/// A response that is there.
struct Response {
    certificate: PathBuf,
    file: PathBuf,
    /// The CertID, in DER.
    id: Vec<u8>,
    der: Vec<u8>,
}

impl Response {
    fn key(&self) -> String {
        self.id.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The response of a certificate's file.
fn of(handle: &Handle, certificate: &Path) -> Option<Response> {
    let staple = handle.staple(certificate)?;
    let der = handle.tls_file(&staple.file).filter(|it| !it.is_empty())?;
    Some(Response {
        certificate: certificate.to_owned(),
        file: staple.file,
        id: staple.id,
        der,
    })
}

fn all(handle: &Handle) -> impl Iterator<Item = Response> + use<'_> {
    let files = handle.certificates().into_iter();
    files.filter_map(|file| of(handle, &file))
}

/// The line of `show ssl cert` about it.
pub(super) fn key_line(handle: &Handle, certificate: &Path) -> String {
    of(handle, certificate)
        .map(|response| format!("OCSP Response Key: {}\n", response.key()))
        .unwrap_or_default()
}

/// A response in words; an empty text where it is none.
pub(super) fn in_words(der: &[u8]) -> String {
    ocsp::response(der).unwrap_or_default()
}

/// The bytes of a response in base64, whatever spaces and ends of lines are in it.
pub(super) fn decoded(text: &str) -> Option<Vec<u8>> {
    let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let der = STANDARD.decode(digits).ok()?;
    ocsp::response(&der).map(|_| der)
}

fn show(call: &mut Call<'_>) -> Answer {
    let (format, wanted) = match call.args {
        [] => return Answer::Text(listed(call.handle)),
        [wanted] => ("text", wanted),
        [format, wanted, ..] => (format.as_str(), wanted),
    };
    if !matches!(format, "text" | "base64") {
        return Answer::error("'show ssl ocsp-response' expects 'text' or 'base64' before the id");
    }
    let is_meant = |it: &Response| it.key().eq_ignore_ascii_case(wanted);
    let by_path = of(call.handle, Path::new(wanted));
    let Some(found) = by_path.or_else(|| all(call.handle).find(is_meant)) else {
        return Answer::error("Certificate ID or path does not match any certificate.");
    };
    Answer::Text(match format {
        "base64" => STANDARD.encode(&found.der) + "\n",
        _ => in_words(&found.der),
    })
}

fn listed(handle: &Handle) -> String {
    let mut text = "# Certificate IDs\n".to_owned();
    for response in all(handle) {
        text += &format!(
            "Certificate ID key : {}\nCertificate path : {}\n",
            response.key(),
            response.certificate.display()
        );
        if let Some(id) = ocsp::certificate_id(&response.id) {
            text += &format!(
                " Certificate ID:\n   Issuer Name Hash: {}\n   Issuer Key Hash: {}\n   Serial Number: {}\n",
                id.name_hash, id.key_hash, id.serial
            );
        }
    }
    text
}

fn set(call: &mut Call<'_>) -> Answer {
    let given = call.payload.or(call.args.first().map(String::as_str));
    let Some(text) = given else {
        return Answer::error("'set ssl ocsp-response' expects response in base64 encoding.");
    };
    let Some(der) = decoded(text) else {
        return Answer::error("'set ssl ocsp-response' received invalid base64 encoded response.");
    };
    let mut files: Vec<PathBuf> = all(call.handle)
        .filter(|it| Handle::is_response_about(&der, &it.id) == Ok(true))
        .map(|it| it.file)
        .collect();
    files.sort();
    files.dedup();
    if files.is_empty() {
        return Answer::error(
            "Failed to update OCSP response: OCSP single response: Certificate ID does not match any certificate or issuer.",
        );
    }
    let files = files.into_iter().map(|file| (file, Some(der.clone())));
    match call.handle.give_tls_files(files.collect(), None) {
        Ok(()) => Answer::notice("OCSP Response updated!"),
        Err(refused) => Answer::refused(&refused),
    }
}
