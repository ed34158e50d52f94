//! Names HAProxy knows and we do not evaluate yet.

use crate::diagnostics::Diagnostic;
use crate::keywords::Status;
use crate::nearest::did_you_mean;
use crate::source::Span;

/// Fetches of HAProxy 2.6 to 3.x that are not implemented here (manual 7.3.2 to 7.3.7).
const FETCHES: &str = "
    51d.all bc_err bc_err_name bc_err_str  bs.debug_str bs.id bs.rst_code cpu_calls
    cpu_ns_avg cpu_ns_tot cpu_usage_grp cpu_usage_proc cpu_usage_thr distcc_body distcc_param
     dump_all_vars fc_saved_syn fcgi.docroot fcgi.index  fs.debug_str fs.id
    fs.rst_code internal.htx.data internal.htx.free internal.htx.free_data internal.htx.has_eom
    internal.htx.nbblks internal.htx.size internal.htx.used internal.htx_blk.data
    internal.htx_blk.hdrname internal.htx_blk.hdrval internal.htx_blk.size
    internal.htx_blk.start_line internal.htx_blk.type internal.strm.is_htx lat_ns_avg lat_ns_tot
    req.bytes_out res.bytes_in spoe.engine-id
    ssl_bc_client_early_traffic_secret ssl_bc_client_handshake_traffic_secret ssl_bc_client_random
    ssl_bc_client_traffic_secret_0 ssl_bc_early_exporter_secret ssl_bc_err
    ssl_bc_err_str ssl_bc_exporter_secret ssl_bc_server_handshake_traffic_secret
    ssl_bc_server_random ssl_bc_server_traffic_secret_0 ssl_bc_session_id ssl_bc_session_key
    ssl_bc_sni ssl_bc_unique_id
    ssl_fc_cipherlist_bin ssl_fc_cipherlist_hex ssl_fc_cipherlist_str ssl_fc_cipherlist_xxh
    ssl_fc_client_early_traffic_secret ssl_fc_client_handshake_traffic_secret ssl_fc_client_random
    ssl_fc_client_traffic_secret_0 ssl_fc_crtname ssl_fc_early_exporter_secret
    ssl_fc_ecformats_bin ssl_fc_eclist_bin ssl_fc_err_str ssl_fc_exporter_secret ssl_fc_extlist_bin
    ssl_fc_protocol_hello_id ssl_fc_server_handshake_traffic_secret ssl_fc_server_random
    ssl_fc_server_traffic_secret_0 ssl_fc_session_id ssl_fc_session_key ssl_fc_sigalgs_bin
    ssl_fc_supported_versions_bin ssl_fc_unique_id term_events
";

/// Converters of HAProxy 2.6 to 3.x that are not implemented here (manual 7.3.1).
const CONVERTERS: &str = "
    51d.single da-csv-conv eth.data eth.dst eth.hdr eth.proto eth.src eth.vlan ip.data ip.df
    ip.dst ip.fp ip.hdr ip.proto ip.src ip.tos ip.ttl ip.ver jwt_decrypt_cert jwt_decrypt_jwk
    jwt_decrypt_secret tcp.dst tcp.flags tcp.options.mss tcp.options.sack tcp.options.tsopt
    tcp.options.tsval tcp.options.wscale tcp.options.wsopt tcp.options_list tcp.seq tcp.src
    tcp.win
";

/// Names that will not be had: which, why, and what to do instead.
const REFUSED: &[(&str, &str, &str)] = &[
    (
        "51d.all 51d.single da-csv-conv",
        "it needs a commercial device database",
        "match the User-Agent header with an ACL or a map",
    ),
    (
        "eth.data eth.dst eth.hdr eth.proto eth.src eth.vlan fc_saved_syn ip.data ip.df ip.dst ip.fp
         ip.hdr ip.proto ip.src ip.tos ip.ttl ip.ver tcp.dst tcp.flags tcp.options.mss
         tcp.options.sack tcp.options.tsopt tcp.options.tsval tcp.options.wscale tcp.options.wsopt
         tcp.options_list tcp.seq tcp.src tcp.win",
        "packets are the kernel's: none is kept",
        "tell clients apart by 'src', 'ssl_fc_sni' or a header",
    ),
    (
        "fcgi.docroot fcgi.index",
        "servers are spoken to in HTTP/1.1, not in FastCGI",
        "put a web server that speaks it before the application",
    ),
    (
        "internal.htx.data internal.htx.free internal.htx.free_data internal.htx.has_eom
         internal.htx.nbblks internal.htx.size internal.htx.used internal.htx_blk.data
         internal.htx_blk.hdrname internal.htx_blk.hdrval internal.htx_blk.size
         internal.htx_blk.start_line internal.htx_blk.type internal.strm.is_htx bs.debug_str
         fs.debug_str cpu_calls cpu_ns_avg cpu_ns_tot cpu_usage_grp cpu_usage_proc cpu_usage_thr
         lat_ns_avg lat_ns_tot",
        "it looks into HAProxy's own inside",
        "leave it out",
    ),
    (
        "ssl_bc_client_early_traffic_secret ssl_bc_client_handshake_traffic_secret
         ssl_bc_client_random ssl_bc_client_traffic_secret_0 ssl_bc_early_exporter_secret
         ssl_bc_exporter_secret ssl_bc_server_handshake_traffic_secret ssl_bc_server_random
         ssl_bc_server_traffic_secret_0 ssl_bc_session_key ssl_fc_client_early_traffic_secret
         ssl_fc_client_handshake_traffic_secret ssl_fc_client_random
         ssl_fc_client_traffic_secret_0 ssl_fc_early_exporter_secret ssl_fc_exporter_secret
         ssl_fc_server_handshake_traffic_secret ssl_fc_server_random
         ssl_fc_server_traffic_secret_0 ssl_fc_session_key",
        "keys of TLS sessions are given to nobody, so that no log can open what was recorded",
        "leave it out",
    ),
    (
        "ssl_fc_cipherlist_bin ssl_fc_cipherlist_hex ssl_fc_cipherlist_str ssl_fc_cipherlist_xxh
         ssl_fc_ecformats_bin ssl_fc_eclist_bin ssl_fc_extlist_bin ssl_fc_protocol_hello_id
         ssl_fc_sigalgs_bin ssl_fc_supported_versions_bin",
        "the first message of TLS is not kept once it is understood",
        "look at 'req.ssl_cipherlist', 'req.ssl_sigalgs' and their like in 'tcp-request content'",
    ),
    (
        "ssl_fc_session_id ssl_bc_session_id ssl_fc_unique_id ssl_bc_unique_id",
        "sessions of TLS are resumed by tickets, and have no number of their own",
        "tell connections apart by 'src' and 'src_port', or requests by 'unique-id'",
    ),
    (
        "bs.id fs.id bs.rst_code fs.rst_code",
        "connections are HTTP/1, which has no streams to number or to reset",
        "tell requests apart by 'unique-id'",
    ),
    (
        "distcc_body distcc_param",
        "distcc is not understood",
        "tell its clients apart by 'src' or 'dst_port'",
    ),
    (
        "term_events dump_all_vars",
        "it looks into HAProxy's own inside",
        "use '%ts' in the log line, or 'var(…)' of the names that matter",
    ),
    (
        "bc_err bc_err_name bc_err_str",
        "what went wrong with a server is told of the whole session",
        "use 'txn.sess_term_state' or '%ts' in the log line, and 'txn.conn_retries'",
    ),
    (
        "req.bytes_out res.bytes_in",
        "bytes are counted at the client's side, and servers' books are made from that",
        "use 'req.bytes_in' and 'res.bytes_out'",
    ),
    (
        "jwt_decrypt_cert jwt_decrypt_jwk jwt_decrypt_secret",
        "encrypted tokens are not opened: their contents would stand in rules and logs",
        "have tokens signed ('jwt_verify'), or let the service open them that they are meant for",
    ),
    (
        "spoe.engine-id",
        "no agent is asked about requests",
        "leave it out",
    ),
];

/// Why that name will not be had.
fn refusal(name: &str) -> Option<&'static (&'static str, &'static str, &'static str)> {
    let names = |(names, ..): &&(&str, &str, &str)| names.split_whitespace().any(|it| it == name);
    REFUSED.iter().find(names)
}

/// What becomes of a name that is in no table of ours.
pub(super) fn status(name: &str) -> Status<()> {
    match refusal(name) {
        Some((_, why, instead)) => Status::Refused(why, instead),
        None => Status::NotYet,
    }
}

/// What a name is used as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Fetch,
    Converter,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Converter => "converter",
        }
    }

    fn known(self, name: &str) -> bool {
        match self {
            Self::Fetch => FETCHES.split_whitespace().any(|known| known == name),
            Self::Converter => CONVERTERS.split_whitespace().any(|known| known == name),
        }
    }
}

/// Names HAProxy has and no table of ours, for the reference.
pub(super) fn missing(role: Role) -> impl Iterator<Item = String> {
    let list = match role {
        Role::Fetch => FETCHES,
        Role::Converter => CONVERTERS,
    };
    list.split_whitespace().map(str::to_owned)
}

/// Why a name that is in no table of ours cannot be used.
pub(super) fn refuse(
    role: Role,
    name: &str,
    span: Span,
    implemented: impl Iterator<Item = &'static str>,
) -> Diagnostic {
    if role.known(name)
        && let Some((_, why, instead)) = refusal(name)
    {
        let message = format!("{} '{name}' is refused: {why}", role.word());
        return Diagnostic::alert(span, message).help(*instead);
    }
    if role.known(name) {
        let message = format!("{} '{name}' is not implemented yet", role.word());
        return Diagnostic::alert(span, message).label("HAProxy knows it, tidegate does not yet");
    }
    let problem = Diagnostic::alert(span, format!("unknown {} '{name}'", role.word()));
    match did_you_mean(name, implemented) {
        Some(help) => problem.help(help),
        None => problem,
    }
}
