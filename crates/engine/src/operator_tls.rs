//! The part of the [`Handle`] about TLS files that operators ask and change by hand (Runtime API,
//! `show ssl …`, `set ssl …`).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::command::Refused;
use crate::handle::Handle;
use crate::tls::edits::{self, FileKind, Staple};

/// What a client may ask for at a `bind` line, and which certificate it is shown.
#[derive(Debug, Clone)]
pub struct ServerName {
    /// Its frontend.
    pub frontend: Arc<str>,
    /// Its place: file and line.
    pub line: u32,
    /// A name, a wildcard, or `*`.
    pub name: String,
    /// Names that the wildcard does not match.
    pub denied: Vec<String>,
    /// `rsa`, `ecdsa` or another kind of key.
    pub kind: &'static str,
    /// The certificate's file.
    pub file: PathBuf,
    /// The certificate, in DER.
    pub der: Arc<Vec<u8>>,
}

impl Handle {
    /// Certificates in use, by their files.
    pub fn certificates(&self) -> Vec<PathBuf> {
        let site = self.shared().site.load();
        let mut files = site.common.store.files();
        files.extend(site.shelf.store.files());
        files.sort();
        files.dedup();
        files
    }

    /// Whether a `bind` line or a server shows the certificate of a file.
    pub fn is_certificate_used(&self, file: &Path) -> bool {
        let site = self.shared().site.load();
        let mut binds = site.frontends.iter().flat_map(|it| it.tls.iter().flatten());
        if binds.any(|tls| tls.files().iter().any(|it| it == file)) {
            return true;
        }
        let shows = |server: &crate::server::ServerState| {
            let tls = server.conf.tls.as_ref();
            tls.is_some_and(|tls| tls.crt.as_deref() == Some(file))
        };
        let mut backends = site.backends.iter();
        backends.any(|it| it.servers().iter().any(|server| shows(server)))
    }

    /// A certificate in use with its chain, in DER.
    pub fn certificate(&self, file: &Path) -> Option<Vec<Vec<u8>>> {
        let site = self.shared().site.load();
        // What was given by hand is in force, or nobody uses it.
        edits::chain(file)
            .or_else(|| site.common.store.chain(file))
            .or_else(|| site.shelf.store.chain(file))
    }

    /// Where the OCSP response to staple with a certificate in use is, and what it must be about.
    pub fn staple(&self, file: &Path) -> Option<Staple> {
        let chain = self.certificate(file)?;
        edits::staple(self.shared(), file, &chain)
    }

    /// Whether an OCSP response is about what a [`Staple`] names. The error says why it is none.
    pub fn is_response_about(response: &[u8], id: &[u8]) -> Result<bool, String> {
        edits::is_response_about(response, id)
    }

    /// A TLS file as it is now: given by hand, else on disk.
    pub fn tls_file(&self, file: &Path) -> Option<Vec<u8>> {
        edits::read(file)
    }

    /// Whether a TLS file was given by hand.
    pub fn is_given(&self, file: &Path) -> bool {
        edits::is_given(file)
    }

    /// Puts files in place of those on disk, takes those away that come without content, and has all
    /// that use them read again. Nothing changes when what `checked` names cannot be used then.
    pub fn give_tls_files(
        &self,
        files: Vec<(PathBuf, Option<Vec<u8>>)>,
        checked: Option<(FileKind, &Path)>,
    ) -> Result<(), Refused> {
        edits::give(self.shared(), files, checked).map_err(Refused::Invalid)
    }

    /// Names of all `bind` lines, or those of one frontend.
    pub fn server_names(&self, frontend: Option<&str>) -> Option<Vec<ServerName>> {
        let site = self.shared().site.load();
        let mut names = Vec::new();
        let mut found = frontend.is_none();
        for it in &site.frontends {
            if frontend.is_some_and(|wanted| *wanted != **it.name()) {
                continue;
            }
            found = true;
            for (bind, tls) in it.conf().binds.iter().zip(&it.tls) {
                let Some(tls) = tls else { continue };
                tls.each_name(|name, denied, kind, file, der| {
                    names.push(ServerName {
                        frontend: it.name().clone(),
                        line: bind.span.line,
                        name: name.to_owned(),
                        denied: denied.to_vec(),
                        kind,
                        file: file.to_owned(),
                        der: der.clone(),
                    });
                });
            }
        }
        found.then_some(names)
    }
}
