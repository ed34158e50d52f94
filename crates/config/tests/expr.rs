//! What the parsers of expressions accept, refuse and warn of. The verdicts (accepted, warned of,
//! refused) are HAProxy 2.6's own unless a case says otherwise; the wording is ours.

use std::cell::{Cell, RefCell};

use config::Surroundings;
use config::diagnostics::{Diagnostic, Severity};
use config::expr::acl::{self, AclTable};
use config::expr::{Context, Referred, Stage, condition, format, sample};
use config::lexer::Word;
use config::source::{SourceId, Span};
use proptest::prelude::*;

struct World;

impl Surroundings for World {
    fn variable(&self, name: &str) -> Option<String> {
        (name == "HOME").then(|| "/root".to_owned())
    }

    fn read(&self, path: &str) -> Result<String, String> {
        match path {
            "paths.lst" => Ok("# comment\n/a\n\n \t/b\r\n #not a comment\n".to_owned()),
            "nets.lst" => Ok("10.0.0.0/8\nfd00::/8\n".to_owned()),
            "bad-nets.lst" => Ok("10.0.0.0/8\nexample.com\n".to_owned()),
            "short.pem" => Ok(short_key()),
            _ => Err("no such file".to_owned()),
        }
    }
}

/// An RSA key (PKCS#1) of 1024 bits.
fn short_key() -> String {
    use base64::Engine as _;
    let mut der = vec![0x30, 0x81, 0x89, 0x02, 0x81, 0x81, 0x00];
    der.extend([0xff; 128]);
    der.extend([0x02, 0x03, 0x01, 0x00, 0x01]);
    let digits = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN RSA PUBLIC KEY-----\n{digits}\n-----END RSA PUBLIC KEY-----\n")
}

/// Cuts a line at spaces; `~` stands for a space inside a word, and nothing else is special.
fn words(line: &str) -> Vec<Word> {
    let mut at = 0;
    let mut words = Vec::new();
    for piece in line.split(' ') {
        let span = Span {
            source: SourceId(0),
            line: 1,
            start: at as u32,
            end: (at + piece.len()) as u32,
        };
        at += piece.len() + 1;
        if !piece.is_empty() {
            words.push(Word {
                text: piece.replace('~', " "),
                span,
                quoted: false,
            });
        }
    }
    words
}

/// What is said of a line: problems as `place: message | label | help`, one a line.
fn say(
    line: &str,
    stage: Stage,
    parse: impl Fn(&[Word], &Context<'_>) -> Result<(), Diagnostic>,
) -> String {
    let notices = RefCell::new(Vec::new());
    let references = RefCell::new(Vec::new());
    let context = Context {
        surroundings: &World,
        stage,
        notices: &notices,
        references: &references,
        userlists: &RefCell::default(),
        acls: &RefCell::default(),
        tables: &RefCell::default(),
        lists: &RefCell::default(),
        asked: &Cell::default(),
    };
    let result = parse(&words(line), &context);
    let mut problems = notices.into_inner();
    problems.extend(result.err());
    let worded = problems.iter().map(|problem| word_it(problem, line));
    worded.collect::<Vec<_>>().join("\n")
}

fn word_it(problem: &Diagnostic, line: &str) -> String {
    let sign = match problem.severity {
        Severity::Alert => "!",
        _ => "~",
    };
    let range = problem
        .span
        .map(|span| span.start as usize..span.end as usize);
    let place = range.and_then(|range| line.get(range)).unwrap_or("");
    let mut text = format!("{sign} {place}: {}", problem.message);
    for more in [&problem.label, &problem.help].into_iter().flatten() {
        text.push_str(" | ");
        text.push_str(more);
    }
    text
}

#[track_caller]
fn check(found: String, line: &str, expected: &str) {
    assert_eq!(found, expected, "\n{line}");
}

fn say_acl(line: &str) -> String {
    say(line, Stage::Declaration, |words, context| {
        acl::declare(words, &mut AclTable::default(), context)
    })
}

#[test]
fn acls_that_are_fine() {
    let lines = [
        "x path_beg /api /static",
        "x hdr(host) -i example.com www.example.com",
        "x hdr(Upgrade) -i WebSocket",
        "x hdr_beg(host) -i www.",
        "x hdr(a,-10) a",
        "x hdr() a",
        "x path -m beg -i -m end /b",
        "x path,lower -m beg /a",
        "x path_beg,lower /a",
        "x path,, /a",
        "x path,lower, /a",
        "x path_beg -m end /a",
        "x path -f paths.lst",
        "x path -i -f paths.lst /c",
        "x path -m reg -i ^/a(b|c)$",
        "x src 10.0.0.0/8 10.1/16 127.0.0.1 fd00::/8 ::1 192.168.0.0/255.255.0.0",
        "x src -f nets.lst -n",
        "x src -m found",
        "x src -m found ignored",
        "x src -m str 10.0.0.1",
        "x src_port 1024:65535 :80 90:",
        "x src_port gt 1024 lt 10",
        "x src_port -- -5",
        "x req.hdr(x) -m len gt 5",
        "x req.hdr_cnt(x) ge 2",
        "x path,length 5",
        "x ssl_fc",
        "x ssl_fc 1",
        "x ssl_fc -m int 1",
        "x method GET POST",
        "x method -m beg -i g",
        "x bin(00ff) -m bin 00ff",
        "x nbsrv(be) lt 2",
        "x rand(100) lt 5",
        "x date(-5,ms) gt 5",
        "x env(HOME) /root",
        "x src,ipmask(24,64) 1.2.3.0",
        "x src,ipmask(255.255.255.0) 1.2.3.0",
        "x urlp(a,;,i) a",
        "x ssl_fc_sni_end .example.com",
        "x req.cook(SID) -m found",
        "x hdr(x) -- -i",
        "x hdr(x) -u 5 a",
        "x.y:z-1_2 path /a",
    ];
    for line in lines {
        check(say_acl(line), line, "");
    }
}

#[test]
fn acls_that_are_refused() {
    let cases = [
        ("", "! : an 'acl' line needs a name and a criterion"),
        (
            "x",
            "! x: ACL 'x' tests nothing | expected a criterion after the name | for example 'acl x path_beg /api'",
        ),
        (
            "or path /a",
            "! or: an ACL called 'or' could never be used: the word joins tests of a condition",
        ),
        (
            "a$b path /a",
            "! a$b: character '$' is not allowed in the ACL name 'a$b' | expected letters, digits, '-', '_', '.' and ':'",
        ),
        (
            "x pth /a",
            "! pth: unknown fetch 'pth' | did you mean 'path'?",
        ),
        (
            "x pathq_beg /a",
            "! pathq_beg: unknown fetch 'pathq_beg' | write 'pathq -m beg'",
        ),
        (
            "x bs.id gt 10",
            "! bs.id: fetch 'bs.id' is refused: connections are HTTP/1, which has no streams to number or to reset | tell requests apart by 'unique-id'",
        ),
        (
            "x distcc_param(a) 1",
            "! distcc_param: fetch 'distcc_param' is refused: distcc is not understood | tell its clients apart by 'src' or 'dst_port'",
        ),
        (
            "x path,map(/etc/m) a",
            "! /etc/m: pattern file '/etc/m' cannot be read | no such file",
        ),
        (
            "x path,lwer a",
            "! lwer: unknown converter 'lwer' | did you mean 'lower'?",
        ),
        (
            "x path;lower a",
            "! ;: only a comma and a converter may follow here | expected ','",
        ),
        (
            "x ,path a",
            "! ,: a sample fetch is missing here | expected a fetch such as 'src', 'path' or 'hdr(name)'",
        ),
        (
            "x path(a) a",
            "! a: 'path' takes no argument | this one is too many",
        ),
        (
            "x hdr(a,1,2) a",
            "! 2: 'hdr' takes no more than 2 arguments | this one is too many",
        ),
        (
            "x hdr(a,b) a",
            "! b: 'b' is not a whole number | expected an occurrence",
        ),
        (
            "x hdr(a a",
            "! (a: the arguments of 'hdr' are not closed | expected ')' | spaces, quotes and '#' end or change a word: quote the whole word",
        ),
        (
            "x path,field(0,/) a",
            "! field: index 0 does not exist | 1 is the first, -1 the last",
        ),
        (
            "x path,field(1) a",
            "! field: 'field' needs an argument: delimiters | expected 'field(delimiters)'",
        ),
        (
            "x src_port 5abc",
            "! 5abc: '5abc' is not a whole number | expected a number or a range such as '1024:65535'",
        ),
        (
            "x src_port 5:1",
            "! 5:1: the range '5:1' ends before it begins | write '1:5'",
        ),
        (
            "x src_port -5",
            "! -5: '-5' is not a flag of ACLs | expected '-i', '-m', '-f', '-M', '-n', '-u' or '--' | write '--' before a pattern that begins with a dash",
        ),
        (
            // HAProxy takes the word and does something unspecified
            "x src_port ne 5",
            "! ne: ACLs have no operator 'ne' | negate the test: '!{ … eq N }'",
        ),
        (
            "x path -m bge /a",
            "! bge: unknown matching method 'bge' | expected one of found, bool, int, ip, bin, len, str, sub, reg, beg, end, dir, dom | did you mean 'beg'?",
        ),
        (
            "x path -f paths.lst -m beg",
            "! -m: '-m' must stand before '-f': it decides how the file is read",
        ),
        (
            "x path -f nowhere.lst",
            "! nowhere.lst: pattern file 'nowhere.lst' cannot be read | no such file",
        ),
        (
            // HAProxy asks DNS
            "x src localhost",
            "! localhost: 'localhost' is not an IP address or network | a host name? | names are not resolved here: what a rule lets in must not depend on who answers DNS; write its addresses",
        ),
        (
            "x src -f bad-nets.lst",
            "! bad-nets.lst: 'example.com' is not an IP address or network | a host name? | names are not resolved here: what a rule lets in must not depend on who answers DNS; write its addresses",
        ),
        (
            "x src 10.0.0.0/33",
            "! 10.0.0.0/33: '10.0.0.0/33' has an invalid mask | expected 0 to 32, or 255.255.255.0",
        ),
        (
            "x src fd00::/129",
            "! fd00::/129: 'fd00::/129' has an invalid mask | expected 0 to 128",
        ),
        (
            "x bin(00ff) 00ff",
            "! bin(00ff): 'bin(00ff)' gives bytes, which can be compared in many ways | expected '-m METHOD' after this | for example '-m bin 00ff', or convert it first: ',hex'",
        ),
        (
            "x path -m reg ^(a",
            "! ^(a: '^(a' cannot be used as a regex | unclosed group",
        ),
        (
            // PCRE, which HAProxy uses, can do this; an engine that answers in linear time cannot
            "x path -m reg (?=a)b",
            "! (?=a)b: '(?=a)b' cannot be used as a regex | look-around is not supported | write two tests instead: '{ path -m reg A } !{ path -m reg B }'",
        ),
        (
            r"x path -m reg (a)\1",
            r"! (a)\1: '(a)\1' cannot be used as a regex | back-references are not supported",
        ),
        (
            "x ssl_fc,ipmask(8) 1.2.3.4",
            "! ipmask: 'ipmask' cannot be applied to a boolean | expected an address before it",
        ),
        (
            "x bool(yes)",
            "! yes: 'yes' is not a boolean | expected 'true', 'false', '1' or '0'",
        ),
    ];
    for (line, expected) in cases {
        check(say_acl(line), line, expected);
    }
}

#[test]
fn acls_that_are_warned_of() {
    let cases = [
        (
            "x path",
            "~ path: 'path' is compared with nothing, so it never matches | expected patterns after this | to test whether it exists, add '-m found'",
        ),
        (
            "x hdr_beg (host) www.",
            "~ (host): '(host)' is taken as a pattern here | arguments follow without a space: 'hdr_beg(host)'; or write '--' before the pattern",
        ),
        (
            "x ssl_fc -m ip 10.0.0.1",
            "~ ssl_fc: 'ssl_fc' can never be compared with '-m ip'",
        ),
    ];
    for (line, expected) in cases {
        check(say_acl(line), line, expected);
    }
}

fn say_condition(line: &str, stage: Stage) -> String {
    say(line, stage, |words, context| {
        let mut acls = AclTable::default();
        let declared = self::words("is_websocket hdr(Upgrade) -i websocket");
        acl::declare(&declared, &mut acls, context).expect("the line is right");
        condition::parse(words, &acls, context).map(|_| ())
    })
}

#[test]
fn conditions() {
    let cases = [
        ("if is_websocket", ""),
        ("unless is_websocket METH_GET", ""),
        ("if METH_GET or METH_POST || TRUE !FALSE", ""),
        ("if !{ path /a } { src 10.0.0.1 } or ! LOCALHOST", ""),
        ("if !!TRUE", ""),
        ("if TRUE or", "~ if: nothing is tested behind the last 'or'"),
        ("if", "~ if: nothing is tested behind 'if'"),
        ("if or TRUE", "~ or: nothing is tested before this 'or'"),
        (
            "if is_websockt",
            "! is_websockt: no ACL is called 'is_websockt' | did you mean 'is_websocket'?",
        ),
        (
            "if TRUE and TRUE",
            "! and: no ACL is called 'and' | tests that must all hold follow one another: 'if a b'",
        ),
        (
            "if nope",
            "! nope: no ACL is called 'nope' | declare it: 'acl nope …'",
        ),
        (
            "if { path /a",
            "! {: this brace is never closed | expected a '}' as a word of its own",
        ),
        (
            "if { path /a}",
            "! /a}: this brace does not close the test | expected a space before '}'",
        ),
        (
            "if {path /a }",
            "! {path: no ACL is called '{path' | write a space after '{'",
        ),
        (
            "if { }",
            "! {: there is nothing between these braces | expected a criterion such as 'path_beg /api'",
        ),
        (
            "if { status 200 }",
            "~ {: 'status' never matches here: there is no response yet",
        ),
    ];
    for (line, expected) in cases {
        check(say_condition(line, Stage::Request), line, expected);
    }
    let line = "if { path /a }";
    let expected = "~ {: 'path' never matches here: the request's headers are not kept that long";
    check(say_condition(line, Stage::Response), line, expected);
}

#[test]
fn every_predefined_acl_is_understood() {
    let names = "FALSE HTTP HTTP_1.0 HTTP_1.1 HTTP_2.0 HTTP_3.0 HTTP_CONTENT HTTP_URL_ABS \
        HTTP_URL_SLASH HTTP_URL_STAR LOCALHOST METH_CONNECT METH_DELETE METH_GET METH_HEAD \
        METH_OPTIONS METH_POST METH_PUT METH_TRACE RDP_COOKIE REQ_CONTENT TRUE WAIT_END";
    for name in names.split_whitespace() {
        let said = say_condition(&format!("if {name}"), Stage::Request);
        assert!(said.is_empty(), "{said}");
    }
}

fn say_format(line: &str, stage: Stage) -> String {
    say(line, stage, |words, context| {
        format::parse(&words[0], context).map(|_| ())
    })
}

#[test]
fn formats() {
    let cases = [
        ("%ci", ""),
        ("%[src]", ""),
        ("100%%~a", ""),
        ("%{+Q}o~%t~%s~%{-Q}r", ""),
        ("%{+Q,+E}[src]a]", ""),
        ("%(name)[src]", ""),
        ("%-ci", ""),
        ("%[path,regsub('(a|b)',c)]", ""),
        (r"%[req.hdr(x),field(1,\,)]", ""),
        (
            "%cip",
            "! %cip: unknown variable '%cip' | did you mean '%ci'? For a percent sign itself write '%%'",
        ),
        (
            "100%",
            "! %: a percent sign without a variable | expected a variable such as '%ci', or '%[sample]' | for a percent sign itself write '%%'",
        ),
        (
            "100%~a",
            "! %: a percent sign without a variable | expected a variable such as '%ci', or '%[sample]' | for a percent sign itself write '%%'",
        ),
        (
            "%[src",
            "! %[src: this sample is not closed | expected a ']' | spaces end a word: quote the whole string",
        ),
        (
            "%[]",
            "! ]: a sample fetch is missing here | expected a fetch such as 'src', 'path' or 'hdr(name)'",
        ),
        (
            "%[src,]",
            "! ]: a converter is missing here | expected a converter such as 'lower' | no spaces around the commas",
        ),
        ("%[foo]", "! foo: unknown fetch 'foo'"),
        (
            "%[res.hdr(x)]",
            "! res.hdr(x): 'res.hdr(x)' has no value here | there is no response yet",
        ),
        (
            "%{+Q",
            "! %{: the flags of this item are not closed | expected a '}'",
        ),
        (
            "%{Q}[src]",
            "~ Q: the flag 'Q' has no sign and does nothing | expected flags such as '+Q', '-Q', '+X' or '+E'",
        ),
        (
            "%[var(tnx.x)]",
            "! tnx.x: invalid variable name 'tnx.x': there is no scope 'tnx' | did you mean 'txn'?",
        ),
    ];
    for (line, expected) in cases {
        check(say_format(line, Stage::Request), line, expected);
    }
    let line = "%[req.hdr(a)]";
    let expected = "! req.hdr(a): 'req.hdr(a)' has no value here | the request's headers are not kept that long";
    check(say_format(line, Stage::Log), line, expected);
}

#[test]
fn built_in_log_lines_are_formats() {
    for text in [format::HTTPLOG, format::HTTPLOG_CLF, format::TCPLOG] {
        let said = say("", Stage::Request, |_, context| {
            format::builtin(text, context).map(|_| ())
        });
        assert_eq!(said, "");
    }
}

#[test]
fn a_later_line_of_the_same_name_counts_too() {
    let said = say("", Stage::Request, |_, context| {
        let mut acls = AclTable::default();
        acl::declare(&words("x path /a"), &mut acls, context)?;
        acl::declare(&words("x path /b"), &mut acls, context)?;
        assert_eq!(acls.find("x").map(|acl| acl.entries.len()), Some(2));
        Ok(())
    });
    assert_eq!(said, "");
}

#[test]
fn backends_that_samples_name_are_reported() {
    let (notices, references) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
    let context = Context {
        surroundings: &World,
        stage: Stage::Request,
        notices: &notices,
        references: &references,
        userlists: &RefCell::default(),
        acls: &RefCell::default(),
        tables: &RefCell::default(),
        lists: &RefCell::default(),
        asked: &Cell::default(),
    };
    format::parse(&words("%[nbsrv(api)]")[0], &context).expect("the format is right");
    let references = references.into_inner();
    let named: Vec<_> = references.iter().map(|it| it.named.clone()).collect();
    assert_eq!(named, [Referred::Backend("api".into())]);
}

proptest! {
    // a failing case belongs into a test by name, not into a file beside it
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_word_makes_a_parser_panic(
        text in "\\PC{0,60}",
        sign in "[\\[\\](){}%,+Q!\"'\\\\a-z0-9._/-]{0,60}",
    ) {
        for text in [text, sign.clone(), format!("%[{sign}"), format!("path,{sign}")] {
            let line = text.replace(' ', "~");
            say_acl(&format!("x {line}"));
            say_acl(&format!("x {line} {line}"));
            say_condition(&format!("if {{ {line} }} or {line}"), Stage::Request);
            if line.is_empty() {
                continue;
            }
            say_format(&line, Stage::Log);
            say_format(&line, Stage::Request);
            say(&line, Stage::Request, |words, context| {
                sample::parse(&words[0], context).map(|_| ())
            });
        }
    }
}

#[test]
fn tokens_that_prove_nothing_are_spoken_of() {
    let cases = [
        ("x hdr(a),jwt_verify(HS256,secret) 1", ""),
        ("x hdr(a),jwt_verify(txn.alg,txn.key) -m int 1", ""),
        (
            "x hdr(a),jwt_verify(none,x) 1",
            "'none' is right of every token without a signature",
        ),
        (
            "x hdr(a),jwt_verify(HS256,\"\") 1",
            "an empty key proves nothing",
        ),
        (
            "x hdr(a),jwt_verify(HS256,secret) -m bool",
            "broken tokens pass here",
        ),
        (
            "x hdr(a),jwt_verify(HS256,secret) -m found",
            "broken tokens pass here",
        ),
        (
            "x hdr(a),jwt_verify(HS256,secret),bool",
            "broken tokens pass here",
        ),
        (
            "x hdr(a),jwt_verify(HS256,short.pem) 1",
            "with this algorithm the key is a secret, not a file",
        ),
        (
            "x hdr(a),jwt_verify(RS256,short.pem) 1",
            "the key in 'short.pem' has 1024 bits",
        ),
        (
            "x hdr(a),jwt_verify(txn.alg,short.pem) 1",
            "the key in 'short.pem' has 1024 bits",
        ),
    ];
    for (line, expected) in cases {
        let said = say_acl(line);
        assert!(said.contains(expected), "{line}\n{said}");
        assert_eq!(said.is_empty(), expected.is_empty(), "{line}\n{said}");
    }
}
