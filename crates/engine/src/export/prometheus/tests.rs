//! The text must parse by the format's own rules, and say what HAProxy's exporter says.

use std::collections::{BTreeMap, BTreeSet};

use super::super::sample;
use super::*;

fn render(snapshot: Snapshot) -> String {
    asked(snapshot, "")
}

fn asked(snapshot: Snapshot, query: &str) -> String {
    let query = Query::new(query).expect("a query");
    Metrics::new(snapshot, query).whole()
}

/// A sample: its name, its labels, its value.
type Sample = (String, BTreeMap<String, String>, f64);

/// A parser of the format that forgives nothing: each family once, HELP then TYPE then samples of that
/// family only, legal names, legal escapes, no sample twice.
fn parse(text: &str) -> Result<BTreeMap<String, (String, Vec<Sample>)>, String> {
    let mut families: BTreeMap<String, (String, Vec<Sample>)> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut helped = String::new();
    let mut current = String::new();
    if !text.ends_with('\n') {
        return Err("no line feed at the end".into());
    }
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or("no help")?;
            if help.is_empty() || families.contains_key(name) {
                return Err(format!("{name} without help or twice"));
            }
            helped = name.into();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or("no type")?;
            if name != helped || !["gauge", "counter", "histogram"].contains(&kind) {
                return Err(format!("bad type line: {line}"));
            }
            current = name.into();
            families.insert(current.clone(), (kind.into(), Vec::new()));
        } else {
            let sample = parse_sample(line)?;
            let (kind, samples) = families.get_mut(&current).ok_or("sample before its type")?;
            let suffix = sample
                .0
                .strip_prefix(&current)
                .ok_or("sample of another family")?;
            let legal = match kind.as_str() {
                "histogram" => ["_bucket", "_sum", "_count"].contains(&suffix),
                _ => suffix.is_empty(),
            };
            if !legal || !seen.insert((sample.0.clone(), sample.1.clone())) {
                return Err(format!("misplaced or twice: {line}"));
            }
            samples.push(sample);
        }
    }
    Ok(families)
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn parse_sample(line: &str) -> Result<Sample, String> {
    let bad = || format!("bad sample: {line}");
    let end = line.find(['{', ' ']).ok_or_else(bad)?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"").ok_or_else(bad)?;
            let (value, after) = parse_value(after).ok_or_else(bad)?;
            if !is_name(label) || labels.insert(label.into(), value).is_some() {
                return Err(bad());
            }
            if let Some(after) = after.strip_prefix('}') {
                rest = after;
                break;
            }
            rest = after.strip_prefix(',').ok_or_else(bad)?;
        }
    }
    let value = rest.strip_prefix(' ').ok_or_else(bad)?;
    if !is_name(name) || value.is_empty() || value.contains(' ') {
        return Err(bad());
    }
    let value: f64 = value.parse().map_err(|_| bad())?;
    Ok((name.into(), labels, value))
}

/// The text up to the closing quote, unescaped, and what follows it.
fn parse_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                _ => return None,
            }),
            c => value.push(c),
        }
    }
    None
}

#[test]
fn the_text_parses_by_its_own_rules() {
    for snapshot in [sample::small(), sample::fleet()] {
        let families = parse(&render(snapshot.clone())).unwrap();
        assert!(families.len() > 100, "{}", families.len());
        for (name, (kind, samples)) in &families {
            assert!(!samples.is_empty(), "{name}");
            // "Never" is -1, as with HAProxy.
            let least = if name.contains("last_session") {
                -1.0
            } else {
                0.0
            };
            assert!(samples.iter().all(|sample| sample.2 >= least), "{name}");
            let counts = kind == "counter";
            assert_eq!(counts, name.ends_with("_total"), "{name} is a {kind}");
        }
    }
}

#[test]
fn the_strict_parser_is_strict() {
    let cases = [
        "a 1",
        "# TYPE a gauge\na 1\n",
        "# HELP a x\n# TYPE a gauge\nb 1\n",
        "# HELP a x\n# TYPE a gauge\na 1\na 1\n",
        "# HELP a x\n# TYPE a gauge\na{b=\"\\x\"} 1\n",
        "# HELP a x\n# TYPE a gauge\na{b=\"c} 1\n",
        "# HELP a x\n# TYPE a gauge\na{b=\"c\"}\n",
        "# HELP a x\n# TYPE a gauge\na{0=\"c\"} 1\n",
    ];
    for text in cases {
        assert!(parse(text).is_err(), "{text}");
    }
}

#[test]
fn every_name_is_there_once() {
    let mut names = BTreeSet::new();
    for family in families::all() {
        assert!(
            is_name(family.name) && names.insert(family.name),
            "{}",
            family.name
        );
        let ours = family.name.starts_with("tidegate_");
        assert!(
            ours || family.name.starts_with("haproxy_"),
            "{}",
            family.name
        );
        assert!(!family.help.contains(['\n', '\\']), "{}", family.name);
    }
}

/// Lines HAProxy 2.6.12 printed for the state in `sample::small`.
#[test]
fn samples_are_haproxys() {
    let text = render(sample::small());
    let expected = [
        "haproxy_process_nbproc 1",
        "haproxy_frontend_current_sessions{proxy=\"fe\"} 1",
        "haproxy_frontend_status{proxy=\"fe\",state=\"DOWN\"} 0",
        "haproxy_frontend_status{proxy=\"fe\",state=\"UP\"} 1",
        "haproxy_frontend_http_responses_total{proxy=\"fe\",code=\"1xx\"} 0",
        "haproxy_frontend_http_responses_total{proxy=\"fe\",code=\"4xx\"} 1",
        "haproxy_backend_sessions_total{proxy=\"be\"} 6",
        "haproxy_backend_status{proxy=\"be\",state=\"UP\"} 1",
        "haproxy_backend_active_servers{proxy=\"be\"} 2",
        "haproxy_backend_backup_servers{proxy=\"be\"} 1",
        "haproxy_backend_agg_server_status{proxy=\"b2\",state=\"MAINT\"} 1",
        "haproxy_backend_agg_check_status{proxy=\"be\",state=\"L7OK\"} 3",
        "haproxy_backend_connect_time_average_seconds{proxy=\"be\"} 0.001000",
        "haproxy_server_limit_sessions{proxy=\"be\",server=\"s2\"} 100",
        "haproxy_server_status{proxy=\"be\",server=\"s1\",state=\"UP\"} 1",
        "haproxy_server_status{proxy=\"b2\",server=\"dis\",state=\"MAINT\"} 1",
        "haproxy_server_check_status{proxy=\"be\",server=\"s1\",state=\"L7OK\"} 1",
        "haproxy_server_check_code{proxy=\"be\",server=\"s1\"} 200",
    ];
    let lines: BTreeSet<&str> = text.lines().collect();
    for line in expected {
        assert!(lines.contains(line), "{line}");
    }
    assert!(!text.contains("http_responses_total{proxy=\"tcpfe\""));
    assert!(!text.contains("haproxy_server_limit_sessions{proxy=\"be\",server=\"s1\"}"));
    assert!(
        !text.contains("tidegate_discovery"),
        "no discovery, no metric of it"
    );
}

#[test]
fn our_own_metrics_are_there() {
    let text = render(sample::fleet());
    let expected = [
        "tidegate_lifecycle_state{state=\"Starting\"} 0",
        "tidegate_lifecycle_state{state=\"Routing\"} 1",
        "tidegate_discovery_age_seconds 12",
        "tidegate_discovery_nodes 7",
        "tidegate_discovery_from_state_file 0",
        "tidegate_discovery_failures_total{cause=\"timeout\"} 3",
        "tidegate_discovery_skipped_entries_total 2",
        "tidegate_discovery_apply_seconds 0.001250",
        "tidegate_process_current_tunnels 12202",
        "tidegate_server_current_tunnels{proxy=\"ws_backend\",server=\"node-1\"} 3000",
        "tidegate_backend_response_time_seconds_bucket{proxy=\"ws_backend\",le=\"0.005000\"} 901165",
        "tidegate_backend_response_time_seconds_bucket{proxy=\"ws_backend\",le=\"1\"} 1802331",
        "tidegate_backend_response_time_seconds_bucket{proxy=\"ws_backend\",le=\"+Inf\"} 1802331",
        "tidegate_backend_response_time_seconds_sum{proxy=\"ws_backend\"} 7209.324000",
        "tidegate_backend_response_time_seconds_count{proxy=\"ws_backend\"} 1802331",
        "tidegate_log_lines_lost_total 0",
        "tidegate_reloads_total 3",
        "tidegate_reload_failures_total 1",
    ];
    let lines: BTreeSet<&str> = text.lines().collect();
    for line in expected {
        assert!(lines.contains(line), "{line}");
    }
}

#[test]
fn hostile_names_stay_in_their_label() {
    let mut snapshot = sample::hostile();
    // Names are unique in a running engine.
    snapshot.frontends.truncate(1);
    snapshot.backends.truncate(1);
    snapshot.backends[0].servers.truncate(1);
    let families = parse(&render(snapshot.clone())).unwrap();
    let (_, samples) = &families["haproxy_server_weight"];
    assert_eq!(samples.len(), 1);
    assert_eq!(
        samples[0].1["server"],
        *snapshot.backends[0].servers[0].name
    );
}

#[test]
fn seconds_are_written_as_prometheus_reads_them() {
    let cases = [
        (Duration::ZERO, "0"),
        (Duration::from_secs(61), "61"),
        (Duration::from_millis(1), "0.001000"),
        (Duration::from_micros(2_500_001), "2.500001"),
    ];
    for (duration, expected) in cases {
        assert_eq!(Value::from(duration).to_string(), expected);
    }
}

#[test]
fn a_query_chooses_what_is_about_what() {
    let names = |query: &str| -> Vec<String> {
        let text = asked(sample::fleet(), query);
        let lines = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        lines
            .filter_map(|line| line.split(' ').next().map(str::to_owned))
            .collect()
    };
    let all = names("");
    assert_eq!(names("scope=*"), all);
    let servers = names("scope=server");
    assert!(!servers.is_empty() && servers.iter().all(|name| name.contains("_server_")));
    let both = names("scope=frontend&scope=global");
    assert!(both.len() < all.len() && both.iter().any(|name| name.starts_with("haproxy_process_")));
    assert!(both.iter().any(|name| name == "tidegate_lifecycle_state"));
    assert_eq!(names("scope=server&scope="), Vec::<String>::new());
    assert_eq!(
        names("metrics=haproxy_server_status"),
        ["haproxy_server_status"]
    );
    assert_eq!(names("metrics=-haproxy_server_status").len(), all.len() - 1);
    assert_eq!(Query::new("scope=foo"), None);
    let maint = |query: &str| {
        let text = asked(sample::fleet(), query);
        text.contains("server=\"node-7\"")
    };
    assert!(maint("scope=server") && !maint("scope=server&no-maint"));
}

/// A fleet is written in steps: each family has one head, and every server once.
#[test]
fn a_large_fleet_has_every_server_once() {
    let mut snapshot = sample::small();
    let server = snapshot.backends[0].servers[0].clone();
    snapshot.backends[0].servers = (0..1000)
        .map(|number| ServerStats {
            name: format!("n{number}").into(),
            ..server.clone()
        })
        .collect();
    let families = parse(&render(snapshot)).expect("the text is right");
    let (_, samples) = &families["haproxy_server_weight"];
    let of_first = samples
        .iter()
        .filter(|(_, labels, _)| labels["proxy"] == "be");
    assert_eq!(of_first.count(), 1000);
}
