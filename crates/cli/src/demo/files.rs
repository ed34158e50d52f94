//! The files of a demo: a certificate made on the spot, and the configuration.

use std::fmt::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{CertificateParams, DnType, KeyPair};

use super::options::Options;

/// What the configuration is made from.
pub(super) struct Facts<'a> {
    /// The demo's own.
    pub(super) options: &'a Options,
    /// Certificate and key, one PEM file.
    pub(super) certificate: &'a Path,
    /// Where log lines go (UDP).
    pub(super) log: SocketAddr,
    /// The registry.
    pub(super) registry: SocketAddr,
    /// The registry's key.
    pub(super) key: &'a str,
    /// Ids and addresses of the nodes.
    pub(super) nodes: &'a [(String, SocketAddr)],
    /// Where the last good list of nodes is kept.
    pub(super) state_file: &'a Path,
}

/// Makes a certificate for this machine, its own authority. Returns it and the file that holds it
/// with its key.
pub(super) fn make_certificate(folder: &Path) -> Result<(rcgen::Certificate, PathBuf)> {
    let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
    let mut params = CertificateParams::new(names)?;
    params
        .distinguished_name
        .push(DnType::CommonName, "tidegate demo");
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let pem = format!("{}{}", certificate.pem(), key.serialize_pem());
    let file = folder.join("cert.pem");
    write_private(&file, &pem)?;
    Ok((certificate, file))
}

/// Writes `haproxy.cfg` and returns its path.
pub(super) fn write_config(folder: &Path, facts: &Facts<'_>) -> Result<PathBuf> {
    let file = folder.join("haproxy.cfg");
    write_private(&file, &render(facts))?;
    Ok(file)
}

/// The key of the registry and of the certificate are nobody else's business.
fn write_private(file: &Path, text: &str) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(0o600).open(file);
    opened
        .and_then(|mut opened| std::io::Write::write_all(&mut opened, text.as_bytes()))
        .with_context(|| format!("write {}", file.display()))
}

fn render(facts: &Facts<'_>) -> String {
    let Facts {
        options,
        certificate,
        log,
        registry,
        key,
        nodes,
        state_file,
    } = facts;
    let bind = |port| SocketAddr::new(options.listen, port);
    let (http, https) = (bind(options.http), bind(options.https));
    let (certificate, state_file) = (certificate.display(), state_file.display());
    let mut servers = String::new();
    for (id, address) in *nodes {
        // Writing to a String cannot fail.
        writeln!(servers, "    server {id} {address} check").ok();
    }
    format!(
        "\
# Written by `tidegate demo`. HAProxy reads it too: it skips what is for tidegate alone.
global
    log {log} local0 notice
    maxconn 2000
    setenv API_KEY {key}

defaults
    mode http
    log global
    option httplog
    option dontlognull
    timeout connect 5s
    timeout http-request 10s
    timeout client 50s
    timeout server 50s
    timeout tunnel 1h
    default-server inter 500ms fastinter 100ms fall 2 rise 2

frontend http-in
    bind {http}
    bind {https} ssl crt {certificate}
    http-request use-service prometheus-exporter if {{ path /metrics }}
    stats enable
    stats uri /stats
    stats refresh 2s
    acl is_websocket hdr(Upgrade) -i WebSocket
    use_backend ws_backend if is_websocket
    default_backend http_backend

backend ws_backend
    balance roundrobin
    option http-server-close
    option forwardfor
    option httpchk GET /health
    # no servers here: the nodes that announce themselves are found

backend http_backend
    balance roundrobin
    option forwardfor
    option httpchk GET /health
{servers}
.if feature(TIDEGATE)
discovery
    url http://{registry}
    interval 1s
    fill-backend ws_backend
    state-file {state_file}
.endif
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    struct NoSurroundings;

    impl config::Surroundings for NoSurroundings {
        fn variable(&self, _name: &str) -> Option<String> {
            None
        }

        fn read(&self, path: &str) -> Result<String, String> {
            Err(format!("{path} is not here"))
        }
    }

    #[test]
    fn the_demos_configuration_is_accepted_without_a_word() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1000));
        let text = render(&Facts {
            options: &Options::default(),
            certificate: Path::new("/tmp/cert.pem"),
            log: address,
            registry: address,
            key: "demo-key",
            nodes: &[("node1".into(), address), ("node2".into(), address)],
            state_file: Path::new("/tmp/nodes.json"),
        });
        let source = config::source::Source::new("haproxy.cfg", text);
        let outcome = config::load(&[source], &NoSurroundings);
        let said: Vec<_> = outcome.diagnostics.iter().map(|it| &it.message).collect();
        assert!(said.is_empty(), "{said:#?}");
        let config = outcome.config.unwrap();
        assert_eq!(config.backends[1].servers.len(), 2);
        assert!(config.discovery.is_some());
    }
}
