//! Whatever a client sends, every converter makes a value of it or none, and ends.
#![no_main]

use std::sync::OnceLock;
use std::time::Duration;

use config::expr::Sample;
use config::source::Source;
use libfuzzer_sys::fuzz_target;
use routing::content::Content;
use routing::process::NoProcess;
use routing::sample::{ConnectionFacts, Facts, NoMemory, eval};
use wire::head::{Method, RequestHead};

struct Empty;

impl config::Surroundings for Empty {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }
    fn read(&self, _path: &str) -> Result<String, String> {
        Err("no such file".to_owned())
    }
}

/// One chain each of those that take what clients send apart.
const CHAINS: &[&str] = &[
    "base64",
    "b64dec,hex",
    "ub64dec,ub64enc",
    "bytes(1,3)",
    "field(2,.),word(1,-)",
    "fix_tag_value(49)",
    "fix_is_valid",
    "hex2i",
    "htonl",
    "json(utf8s)",
    "json_query('$.a.b[0]')",
    "jwt_header_query('$.alg')",
    "jwt_payload_query('$.iss')",
    "jwt_verify(HS256,secret)",
    "language(de;en)",
    "ltrim(a),rtrim(b),lower,upper",
    "mqtt_field_value(connect,client_identifier)",
    "mqtt_is_valid",
    "param(a)",
    "protobuf(1.2,int32)",
    "regsub(a,b,g)",
    "rfc7239_field(for)",
    "rfc7239_is_valid",
    "ungrpc(1.2)",
    "url_dec(1),url_enc",
    "xxh64,mul(3),mod(7)",
];

fn samples() -> &'static [Sample] {
    static SAMPLES: OnceLock<Vec<Sample>> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        // A chain alone in its file: one that is not there yet leaves the others.
        let read = |chain: &&str| {
            let file = format!(
                "backend b\n mode http\n http-request deny if {{ req.hdr(a),{chain} -m found }}\n"
            );
            let config = config::load(&[Source::new("fuzzed", file)], &Empty).config?;
            let rules = config.backends.into_iter().next()?.proxy.http_request;
            let condition = rules.iter().next()?.condition.clone()?;
            let term = condition.any_of.into_iter().flatten().next()?;
            let entry = term.acl.entries.first()?;
            Some(entry.sample.clone())
        };
        let samples: Vec<Sample> = CHAINS.iter().filter_map(read).collect();
        assert!(
            samples.len() > CHAINS.len() / 2,
            "{} are left",
            samples.len()
        );
        samples
    })
}

fuzz_target!(|data: &[u8]| {
    let Some(mut head) = RequestHead::new(Method::GET, b"/") else {
        return;
    };
    head.fields.append("a", data);
    let connection = ConnectionFacts::default();
    let facts = Facts {
        request: Some(&head),
        response: None,
        content: Content::default(),
        connection: &connection,
        memory: &NoMemory,
        frontend: "fe",
        backend: None,
        server_tls: None,
        process: &NoProcess,
        now: Duration::from_secs(1_795_337_577),
        random: 7,
        logins: None,
    };
    for sample in samples() {
        let _ = eval(sample, &facts);
    }
});
