//! What is written to HAProxy, on its socket and into its file: words that cannot be misread.
//!
//! Names and addresses of nodes come from outside. They have been through [`crate::discovery`], whose
//! types hold nothing but letters, digits and `._:-`; nothing else of a node gets here. Parameters come
//! from the operator, and are escaped all the same.

use std::collections::HashSet;
use std::net::SocketAddr;

use crate::discovery::address::Host;
use crate::discovery::{Node, NodeAddress};

/// Numeric ids of the servers we add: how they are known again, in HAProxy and in its file. Whoever
/// gives ids by hand begins at 1.
const IDS: std::ops::Range<u32> = 1_000_000_000..2_000_000_000;

/// Whether a server of that number is one we added.
pub(super) fn is_ours(id: u64) -> bool {
    u32::try_from(id).is_ok_and(|id| IDS.contains(&id))
}

/// The number for a server of that name: always the same one, so that it keeps its place in consistent
/// hashing and in stick tables, on this machine and on others; the next one where it is taken.
pub(super) fn id_for(name: &str, taken: &HashSet<u32>) -> u32 {
    // FNV-1a: all it has to do is to spread names, the same way in every version.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let span = IDS.end - IDS.start;
    let first = (hash % u64::from(span)) as u32;
    let mut ids = (0..span).map(|step| IDS.start + (first + step) % span);
    let free = ids.find(|id| !taken.contains(id));
    free.expect("fewer servers than numbers")
}

/// Whether a name may stand in a command and in the file, as HAProxy has it.
pub(super) fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    !name.is_empty() && name.bytes().all(allowed)
}

/// A word of a command line (management.txt 9.3): whatever could end it or the command is escaped.
/// `None`: no escape makes a word of it.
pub(super) fn for_socket(word: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:/@%+,=()-[]".contains(c);
    let mut escaped = String::new();
    for c in word.chars() {
        match c {
            c if plain(c) => escaped.push(c),
            c if c.is_control() => return None,
            c => escaped.extend(['\\', c]),
        }
    }
    (!escaped.is_empty()).then_some(escaped)
}

/// A word of a line of the file (manual 2.2).
pub(super) fn for_file(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/@%+,=()-[]".contains(&byte);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.to_owned(),
        // Between strong quotes nothing means anything but the quote itself.
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// Parameters that HAProxy 2.6 takes from a file only, or that would undo what we do, and how many
/// words follow them.
const NOT_AT_RUN_TIME: [(&str, usize); 16] = [
    ("cookie", 1),
    ("disabled", 0),
    ("enabled", 0),
    ("id", 1),
    ("init-addr", 1),
    ("init-state", 1),
    ("max-reuse", 1),
    ("non-stick", 0),
    ("redir", 1),
    ("resolve-net", 1),
    ("resolve-opts", 1),
    ("resolve-prefer", 1),
    ("resolvers", 1),
    ("stick", 0),
    ("tcp-ut", 1),
    ("track", 1),
];

/// Parameters that a later one with `no-` in front takes back (manual 5.2), which HAProxy 2.6 does not take
/// at run time in all cases.
const SWITCHES: [&str; 9] = [
    "agent-check",
    "backup",
    "check",
    "check-ssl",
    "send-proxy",
    "send-proxy-v2",
    "send-proxy-v2-ssl",
    "send-proxy-v2-ssl-cn",
    "ssl",
];

/// What a server of a node is given beside name, address and number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parameters {
    words: Vec<String>,
    /// Those of the words that are not the file's, as they stand in it.
    in_file: String,
    /// Those of `default-server` that HAProxy does not take at run time.
    pub(super) left_out: Vec<String>,
}

impl Parameters {
    /// Of the backend's `default-server`, which HAProxy ignores for servers that are added while it runs,
    /// and of what is given beside it.
    pub(super) fn new(default_server: &[String], beside: &[String]) -> Self {
        let in_file = beside.iter().map(|word| format!("{} ", for_file(word)));
        let mut parameters = Self {
            in_file: in_file.collect(),
            ..Self::default()
        };
        let mut words = default_server.iter().chain(beside);
        // What is said, and whether it is a switch.
        let mut said: Vec<(&String, bool)> = Vec::new();
        while let Some(word) = words.next() {
            // The last word on a switch counts, as in the file. One that is off is not said at all.
            let plain = word.strip_prefix("no-").unwrap_or(word);
            let is_switch = SWITCHES.contains(&plain);
            if is_switch {
                said.retain(|(earlier, is_switch)| !(*is_switch && *earlier == plain));
            }
            match NOT_AT_RUN_TIME.iter().find(|(name, _)| name == word) {
                Some((_, follow)) => {
                    parameters.left_out.push(word.clone());
                    words.by_ref().take(*follow).for_each(drop);
                }
                None if is_switch && word != plain => {}
                None => said.push((word, is_switch)),
            }
        }
        parameters.words = said.into_iter().map(|(word, _)| word.clone()).collect();
        parameters
    }

    /// Whether an agent is asked about every server.
    pub(super) fn agent(&self) -> bool {
        self.has("agent-check")
    }

    fn has(&self, word: &str) -> bool {
        self.words.iter().any(|it| it == word)
    }

    /// Whether every server speaks TLS.
    pub(super) fn tls(&self) -> bool {
        self.has("ssl")
    }

    /// All of it for a node, as words for the socket.
    fn for_socket(&self, node: &NodeAddress) -> Option<Vec<String>> {
        let own = self.own(node);
        self.words
            .iter()
            .chain(&own)
            .map(|it| for_socket(it))
            .collect()
    }

    /// What `default-server` does not say: checks always, TLS where the node wants it and nobody else
    /// does. Then its certificate must be valid and for its host, unless `verify` says otherwise.
    fn own(&self, node: &NodeAddress) -> Vec<String> {
        let mut words: Vec<&str> = Vec::new();
        if !self.has("check") {
            words.push("check");
        }
        let host = node.host().to_text();
        let named = format!("str({host})");
        if node.wants_tls() && !self.tls() {
            words.extend(["ssl", "check-ssl"]);
            if !self.has("verify") {
                words.extend(["verify", "required"]);
            }
            let verified = !self.words.windows(2).any(|it| it == ["verify", "none"]);
            if verified && !self.has("ca-file") {
                words.extend(["ca-file", "@system-ca"]);
            }
            if verified && !self.has("verifyhost") {
                words.extend(["verifyhost", &host]);
            }
            // RFC 6066 section 3: names only.
            if matches!(node.host(), Host::Name(_)) && !self.has("sni") {
                words.extend(["sni", &named, "check-sni", &host]);
            }
        }
        words.into_iter().map(str::to_owned).collect()
    }

    /// `add server`, and what must follow once it has been answered well.
    pub(super) fn add(
        &self,
        target: &Target,
        node: &Node,
        at: SocketAddr,
        id: u32,
    ) -> Option<String> {
        let words = self.for_socket(&node.address)?.join(" ");
        Some(format!("add server {target} {at} id {id} {words}"))
    }

    /// The line of a server in the file, where `default-server` holds.
    pub(super) fn line(&self, name: &str, node: &Node, at: SocketAddr, id: u32) -> Option<String> {
        if !is_name(name) {
            return None;
        }
        let words = self.own(&node.address).join(" ");
        let line = format!("server {name} {at} id {id} {}{words}", self.in_file);
        Some(line.trim_end().to_owned())
    }
}

/// `backend/server`, both of them names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target(String);

impl Target {
    pub(super) fn new(backend: &str, server: &str) -> Option<Self> {
        (is_name(backend) && is_name(server)).then(|| Self(format!("{backend}/{server}")))
    }

    /// Lets checks decide whether it gets anything, beginning with none: HAProxy believes a server that
    /// leaves maintenance to be up. In `drain` it gets nothing while that is set right.
    pub(super) fn begin(&self) -> String {
        format!(
            "set server {self} state drain;enable health {self};set server {self} health down;\
             set server {self} state ready"
        )
    }

    /// The same for a slot of a `server-template`, whose checks and weight are the file's.
    pub(super) fn begin_slot(&self) -> String {
        format!(
            "set server {self} state drain;set server {self} health down;\
             set server {self} state ready"
        )
    }

    /// Puts another node in a slot.
    pub(super) fn move_to(&self, at: SocketAddr) -> String {
        format!("set server {self} addr {} port {}", at.ip(), at.port())
    }

    /// Takes it out of traffic, before it is deleted or given to another node.
    pub(super) fn free(&self) -> String {
        format!("set server {self} state maint")
    }

    /// Agents of servers that are added are off until then (management.txt 9.3, "add server").
    pub(super) fn ask_agent(&self) -> String {
        format!("enable agent {self}")
    }

    /// An agent must not ask about a server that is deleted.
    pub(super) fn leave_agent(&self) -> String {
        format!("disable agent {self}")
    }

    pub(super) fn delete(&self) -> String {
        format!("del server {self}")
    }

    pub(super) fn state(&self, state: &'static str) -> String {
        format!("set server {self} state {state}")
    }

    pub(super) fn shut_down(&self) -> String {
        format!("shutdown sessions server {self}")
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::tests::nodes;

    /// What is given beside `default-server` stands behind a bar.
    fn parameters(text: &str) -> Parameters {
        let (default_server, beside) = text.split_once('|').unwrap_or((text, ""));
        let words =
            |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
        Parameters::new(&words(default_server), &words(beside))
    }

    #[track_caller]
    fn check(default_server: &str, node: &str, socket: &str, file: &str) {
        let parameters = parameters(default_server);
        let node = &nodes(&format!("n={node}"))[0];
        let at = "10.0.0.5:81".parse().unwrap();
        let target = Target::new("b", "n").unwrap();
        let added = parameters.add(&target, node, at, 7).unwrap();
        assert_eq!(added, format!("add server b/n 10.0.0.5:81 id 7 {socket}"));
        let line = parameters.line("n", node, at, 7).unwrap();
        assert_eq!(line, format!("server n 10.0.0.5:81 id 7 {file}").trim_end());
    }

    #[test]
    fn what_a_server_is_given() {
        check("", "10.0.0.5:81", "check", "check");
        check("inter 2s check fall 2", "h:81", "inter 2s check fall 2", "");
        let file_only = "resolvers r init-addr none weight 5 cookie x disabled";
        check(file_only, "h", "weight 5 check", "check");
        let tls = "check ssl check-ssl verify required ca-file @system-ca verifyhost h sni str(h) \
                   check-sni h";
        check("", "https://h", tls, tls);
        let by_number =
            "check ssl check-ssl verify required ca-file @system-ca verifyhost 10.0.0.5";
        check("", "https://10.0.0.5", by_number, by_number);
        check(
            "ssl verify none",
            "https://h",
            "ssl verify none check",
            "check",
        );
        let rest = "check ssl check-ssl sni str(h) check-sni h";
        check(
            "verify none",
            "https://h",
            &format!("verify none {rest}"),
            rest,
        );
        let beside = "inter 2s | verify none cookie c;'";
        let (socket, file) = ("inter 2s verify none", r"verify none cookie 'c;'\'''");
        let (socket, file) = (format!("{socket} {rest}"), format!("{file} {rest}"));
        check(beside, "https://h", &socket, &file);
        check(
            "ssl inter 2s | no-ssl check no-check",
            "h",
            "inter 2s check",
            "no-ssl check no-check check",
        );
        check("no-ssl ssl", "h", "ssl check", "check");
        check("source a;b", "h", "source a\\;b check", "check");
        assert_eq!(
            parameters("resolvers r stick").left_out,
            ["resolvers", "stick"]
        );
    }

    #[test]
    fn nothing_ends_a_word_or_a_command() {
        for (word, expected) in [
            ("str(host)", Some("str(host)")),
            ("a b;c", Some("a\\ b\\;c")),
            ("a\\\"'#<", Some("a\\\\\\\"\\'\\#\\<")),
            ("a\nb", None),
            ("", None),
        ] {
            assert_eq!(for_socket(word).as_deref(), expected, "{word:?}");
        }
        for name in ["", "a/b", "a b", "a;b", "a\n", "é"] {
            assert_eq!(Target::new("b", name), None, "{name:?}");
            assert_eq!(Target::new(name, "s"), None, "{name:?}");
            assert_eq!(
                parameters("").line(name, &nodes("n=h")[0], "1.2.3.4:5".parse().unwrap(), 1),
                None
            );
        }
    }

    #[test]
    fn numbers_are_those_of_names() {
        let mut taken = HashSet::new();
        let first = id_for("node1", &taken);
        assert_eq!(first, 1_753_658_644);
        taken.insert(first);
        assert_eq!(id_for("node1", &taken), first + 1);
        assert_ne!(id_for("node2", &taken), first);
        assert!(is_ours(first.into()) && !is_ours(1) && !is_ours(2_000_000_000));
        assert!(!is_ours(u64::MAX));
    }
}
