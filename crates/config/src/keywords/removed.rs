//! Keywords HAProxy has removed: those that do here what they did (see `legacy`), and what to write
//! instead of the others. Also those it never recommends.

use super::{ALL, BACK, BACK_ONLY, FRONT, PROXIES, ProxyKeyword, legacy, removed, translated};

const ONE_PROCESS: &str = "nothing: there is one process";
const TRANSPARENT: &str = "'server' with the address 0.0.0.0";
const REPLACE: &str = "'http-request replace-header' or 'http-request replace-pathq'";
const REPLACE_RESPONSE: &str = "'http-response replace-header'";

pub(crate) const KEYWORDS: &[ProxyKeyword] = &[
    removed("appsession", BACK, "'cookie' or 'stick' rules"),
    translated("bind-process", ALL, ONE_PROCESS, legacy::nothing),
    translated("block", PROXIES, "'http-request deny'", legacy::block),
    translated(
        "clitimeout",
        FRONT,
        "'timeout client'",
        legacy::timeout_client,
    ),
    translated(
        "contimeout",
        BACK,
        "'timeout connect'",
        legacy::timeout_connect,
    ),
    translated(
        "dispatch",
        BACK_ONLY,
        "'server' with the same address",
        legacy::dispatch,
    ),
    removed("grace", ALL, "'hard-stop-after' in 'global'"),
    translated(
        "monitor-net",
        FRONT,
        "'http-request return status 200 if { src … }'",
        legacy::monitor_net,
    ),
    translated(
        "option forceclose",
        ALL,
        "'option httpclose'",
        legacy::close,
    ),
    translated(
        "option http-tunnel",
        ALL,
        "nothing: upgraded connections are tunnels by themselves",
        legacy::nothing,
    ),
    translated(
        "option http-use-htx",
        ALL,
        "nothing: it is the only way",
        legacy::nothing,
    ),
    removed("option http_proxy", PROXIES, "'server' lines"),
    translated(
        "option independant-streams",
        ALL,
        "'option independent-streams'",
        legacy::independent,
    ),
    translated(
        "option tcpsplice",
        ALL,
        "'option splice-auto'",
        legacy::splice,
    ),
    translated(
        "option transparent",
        BACK_ONLY,
        TRANSPARENT,
        legacy::transparent,
    ),
    translated("redisp", BACK, "'option redispatch'", legacy::redispatch),
    translated(
        "redispatch",
        BACK,
        "'option redispatch'",
        legacy::redispatch,
    ),
    translated(
        "reqadd",
        PROXIES,
        "'http-request add-header'",
        legacy::add_request,
    ),
    removed("reqallow", PROXIES, "'http-request allow if { … }'"),
    translated(
        "reqdel",
        PROXIES,
        "'http-request del-header'",
        legacy::delete_request,
    ),
    removed("reqdeny", PROXIES, "'http-request deny if { … }'"),
    removed("reqiallow", PROXIES, "'http-request allow if { … }'"),
    translated(
        "reqidel",
        PROXIES,
        "'http-request del-header'",
        legacy::delete_request,
    ),
    removed("reqideny", PROXIES, "'http-request deny if { … }'"),
    removed(
        "reqipass",
        PROXIES,
        "an ACL in the condition of the other rules",
    ),
    translated(
        "reqirep",
        PROXIES,
        REPLACE,
        legacy::replace_request_any_case,
    ),
    removed("reqisetbe", PROXIES, "'use_backend'"),
    removed("reqitarpit", PROXIES, "'http-request tarpit if { … }'"),
    removed(
        "reqpass",
        PROXIES,
        "an ACL in the condition of the other rules",
    ),
    translated("reqrep", PROXIES, REPLACE, legacy::replace_request),
    removed("reqsetbe", PROXIES, "'use_backend'"),
    removed("reqtarpit", PROXIES, "'http-request tarpit if { … }'"),
    translated(
        "rspadd",
        PROXIES,
        "'http-response add-header'",
        legacy::add_response,
    ),
    translated(
        "rspdel",
        PROXIES,
        "'http-response del-header'",
        legacy::delete_response,
    ),
    removed("rspdeny", PROXIES, "'http-response deny if { … }'"),
    translated(
        "rspidel",
        PROXIES,
        "'http-response del-header'",
        legacy::delete_response,
    ),
    removed("rspideny", PROXIES, "'http-response deny if { … }'"),
    translated(
        "rspirep",
        PROXIES,
        REPLACE_RESPONSE,
        legacy::replace_response_any_case,
    ),
    translated(
        "rsprep",
        PROXIES,
        REPLACE_RESPONSE,
        legacy::replace_response,
    ),
    translated(
        "srvtimeout",
        BACK,
        "'timeout server'",
        legacy::timeout_server,
    ),
    translated("transparent", BACK_ONLY, TRANSPARENT, legacy::transparent),
];
