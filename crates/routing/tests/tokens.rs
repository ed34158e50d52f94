//! Tokens that are signed here, and what `jwt_verify` says of them (RFC 7515, 7518); ciphers there and back.

#![allow(clippy::unwrap_used, reason = "a test's own keys")]

use std::cell::{Cell, RefCell};
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, RsaEncoding, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use config::Surroundings;
use config::expr::{Context, Stage, VarName, format};
use config::lexer::Word;
use config::source::Span;
use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};
use routing::content::Content;
use routing::format::NoVariables;
use routing::process::{Asked, Process};
use routing::sample::{ConnectionFacts, Facts, Memory, Value};
use routing::variables::{Held, Store};

/// Keys, and the files they are in: `NAME.pem`, and `NAME.crt` for a certificate.
struct Lab {
    keys: Vec<(&'static str, KeyPair)>,
}

impl Surroundings for Lab {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn read(&self, path: &str) -> Result<String, String> {
        let (name, kind) = path.split_once('.').ok_or("no such file")?;
        let key = self.key(name).ok_or("no such file")?;
        match kind {
            "pem" => Ok(key.public_key_pem()),
            _ => {
                let made = CertificateParams::new(vec!["a.test".to_owned()]);
                Ok(made.unwrap().self_signed(key).unwrap().pem())
            }
        }
    }
}

impl Lab {
    fn new() -> Self {
        let made: [(&str, &'static SignatureAlgorithm); 5] = [
            ("rsa", &rcgen::PKCS_RSA_SHA256),
            ("other", &rcgen::PKCS_RSA_SHA256),
            ("p256", &rcgen::PKCS_ECDSA_P256_SHA256),
            ("p384", &rcgen::PKCS_ECDSA_P384_SHA384),
            ("p521", &rcgen::PKCS_ECDSA_P521_SHA512),
        ];
        let keys = made.map(|(name, kind)| (name, KeyPair::generate_for(kind).unwrap()));
        Self { keys: keys.into() }
    }

    fn key(&self, name: &str) -> Option<&KeyPair> {
        Some(&self.keys.iter().find(|(known, _)| *known == name)?.1)
    }

    fn token(&self, algorithm: &str, key: &str) -> String {
        let header = URL_SAFE_NO_PAD.encode(format!("{{\"alg\":\"{algorithm}\"}}"));
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode("{\"sub\":\"x\"}"));
        let signature = self.signature(algorithm, key, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn signature(&self, algorithm: &str, key: &str, signed: &[u8]) -> Vec<u8> {
        let encoding: &'static dyn RsaEncoding = match algorithm {
            "RS256" => &signature::RSA_PKCS1_SHA256,
            "RS384" => &signature::RSA_PKCS1_SHA384,
            "RS512" => &signature::RSA_PKCS1_SHA512,
            "PS256" => &signature::RSA_PSS_SHA256,
            "PS384" => &signature::RSA_PSS_SHA384,
            "PS512" => &signature::RSA_PSS_SHA512,
            "ES256" => {
                return self.on_curve(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, key, signed);
            }
            "ES384" => {
                return self.on_curve(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, key, signed);
            }
            "ES512" => {
                return self.on_curve(&signature::ECDSA_P521_SHA512_FIXED_SIGNING, key, signed);
            }
            "HS256" => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
                return hmac::sign(&key, signed).as_ref().to_vec();
            }
            _ => return Vec::new(),
        };
        let key = RsaKeyPair::from_pkcs8(&self.key(key).unwrap().serialize_der()).unwrap();
        let mut made = vec![0; key.public_modulus_len()];
        key.sign(encoding, &SystemRandom::new(), signed, &mut made)
            .unwrap();
        made
    }

    fn on_curve(&self, kind: &'static EcdsaSigningAlgorithm, key: &str, signed: &[u8]) -> Vec<u8> {
        let der = self.key(key).unwrap().serialize_der();
        let key = EcdsaKeyPair::from_pkcs8(kind, &der).unwrap();
        key.sign(&SystemRandom::new(), signed)
            .unwrap()
            .as_ref()
            .to_vec()
    }

    /// What a format says, with these variables; a refusal's message.
    fn say(&self, text: &str, variables: &[(&str, &str)]) -> String {
        let memory = Kept::default();
        for (name, value) in variables {
            let value = Value::Str(value.as_bytes().to_vec().into());
            memory.set_variable(&VarName::parse(name, Span::default()).unwrap(), Some(value));
        }
        self.say_with(text, &memory)
    }

    fn say_with(&self, text: &str, memory: &Kept) -> String {
        let word = Word {
            text: text.to_owned(),
            span: Span::default(),
            quoted: true,
        };
        let context = Context {
            surroundings: self,
            stage: Stage::Request,
            notices: &RefCell::default(),
            references: &RefCell::default(),
            userlists: &RefCell::default(),
            acls: &RefCell::default(),
            tables: &RefCell::default(),
            lists: &RefCell::default(),
            asked: &Cell::default(),
        };
        let format = match format::parse(&word, &context) {
            Ok(format) => format,
            Err(refused) => return refused.message,
        };
        let facts = Facts {
            request: None,
            response: None,
            content: Content::default(),
            connection: &ConnectionFacts::default(),
            memory,
            frontend: "fe",
            backend: None,
            server_tls: None,
            process: &Empty,
            now: Duration::from_secs(1_795_337_577),
            random: 7,
            logins: None,
        };
        let mut out = Vec::new();
        routing::format::render(&format, &facts, &NoVariables, &mut out);
        String::from_utf8(out).unwrap()
    }
}

struct Empty;

impl Process for Empty {
    fn tell(&self, _: Asked<'_>) -> Option<Value<'static>> {
        None
    }
}

/// Remembers variables.
#[derive(Default)]
struct Kept(RefCell<Store>);

impl Memory for Kept {
    fn variable(&self, name: &VarName) -> Held {
        self.0.borrow().get(name)
    }

    fn set_variable(&self, name: &VarName, value: Option<Value<'static>>) -> bool {
        self.0.borrow_mut().set(name, value);
        true
    }
}

const PUBLIC: [(&str, &str); 9] = [
    ("RS256", "rsa"),
    ("RS384", "rsa"),
    ("RS512", "rsa"),
    ("PS256", "rsa"),
    ("PS384", "rsa"),
    ("PS512", "rsa"),
    ("ES256", "p256"),
    ("ES384", "p384"),
    ("ES512", "p521"),
];

#[test]
fn each_algorithm_believes_its_own_key_and_signature_alone() {
    let lab = Lab::new();
    for (algorithm, key) in PUBLIC {
        let token = lab.token(algorithm, key);
        let check = |token: &str, written: &str, file: &str, expected: &str| {
            let one = format!("%[str({token}),jwt_verify({written},{file}.pem)]");
            assert_eq!(lab.say(&one, &[]), expected, "{written} {file}");
            let one = format!("%[str({token}),jwt_verify_cert({written},{file}.crt)]");
            assert_eq!(
                lab.say(&one, &[]),
                expected,
                "{written} {file}, certificate"
            );
            let told = format!("%[str({token}),jwt_verify(txn.alg,{file}.pem)]");
            assert_eq!(
                lab.say(&told, &[("txn.alg", written)]),
                expected,
                "{written} {file}, told"
            );
        };
        check(&token, algorithm, key, "1");
        let (signed, _) = token.rsplit_once('.').unwrap();
        let mut signature = lab.signature(algorithm, key, signed.as_bytes());
        signature[7] ^= 1;
        let broken = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(&signature));
        check(&broken, algorithm, key, "0");
        check(&format!("{signed}."), algorithm, key, "-3");
        check(signed, algorithm, key, "-3");
        // Another key, another curve, another digest.
        for (other, file) in PUBLIC {
            let same_family = (other.as_bytes()[0] == b'E') == (algorithm.as_bytes()[0] == b'E');
            if other != algorithm && same_family {
                check(&token, other, file, "0");
            }
        }
    }
    let token = lab.token("RS256", "other");
    let verified = format!("%[str({token}),jwt_verify(RS256,rsa.pem)]");
    assert_eq!(lab.say(&verified, &[]), "0");
}

#[test]
fn a_token_does_not_choose_how_it_is_believed() {
    let lab = Lab::new();
    let unsigned = lab.token("none", "");
    for key in ["rsa.pem", "secret"] {
        let told = format!("%[str({unsigned}),jwt_verify(txn.alg,{key})]");
        assert_eq!(lab.say(&told, &[("txn.alg", "none")]), "0", "{key}");
    }
    // The path of a public key is no secret, and neither is what is in the file.
    let public = lab.key("rsa").unwrap().public_key_pem();
    for secret in ["rsa.pem", &public] {
        let token = lab.token("HS256", secret);
        let told = format!("%[str({token}),jwt_verify(txn.alg,rsa.pem)]");
        assert_eq!(lab.say(&told, &[("txn.alg", "HS256")]), "0");
    }
    let token = lab.token("HS256", "secret");
    let told = format!("%[str({token}),jwt_verify(txn.alg,secret)]");
    assert_eq!(lab.say(&told, &[("txn.alg", "HS256")]), "1");
    // A key that is empty is none.
    let token = lab.token("HS256", "");
    let told = format!("<%[str({token}),jwt_verify(HS256,txn.key)]>");
    assert_eq!(lab.say(&told, &[("txn.key", "")]), "<>");
    assert_eq!(lab.say(&told, &[]), "<-5>");
}

#[test]
fn keys_that_do_not_fit_are_refused() {
    let lab = Lab::new();
    let check = |converter: &str, expected: &str| {
        let said = lab.say(&format!("%[str(a.b.c),{converter}]"), &[]);
        assert_eq!(said, expected, "{converter}");
    };
    check(
        "jwt_verify(ES256,rsa.pem)",
        "the key in 'rsa.pem' cannot sign with 'ES256'",
    );
    check(
        "jwt_verify(PS256,p256.pem)",
        "the key in 'p256.pem' cannot sign with 'PS256'",
    );
    check(
        "jwt_verify(RS256,rsa.crt)",
        "there is a certificate in this file",
    );
    check(
        "jwt_verify_cert(RS256,rsa.pem)",
        "there is a key in this file",
    );
    check(
        "jwt_verify(HS256,rsa.pem)",
        "with this algorithm the key is a secret, not a file",
    );
    check(
        "jwt_verify(RS256,gone.pem)",
        "the key in 'gone.pem' cannot be read",
    );
}

#[test]
fn what_was_enciphered_comes_back_and_a_wrong_tag_gives_nothing() {
    let lab = Lab::new();
    let nonce = STANDARD.encode([3; 12]);
    let vector = STANDARD.encode([4; 16]);
    for bits in [128_u16, 192, 256] {
        let key = STANDARD.encode(vec![9; usize::from(bits / 8)]);
        let cbc = format!(
            "%[str(hello),aes_cbc_enc({bits},{vector},{key}),aes_cbc_dec({bits},{vector},{key})]"
        );
        assert_eq!(lab.say(&cbc, &[]), "hello", "{bits}");
        let memory = Kept::default();
        let sealed = format!("%[str(hello),aes_gcm_enc({bits},{nonce},{key},txn.tag),base64]");
        let sealed = lab.say_with(&sealed, &memory);
        assert_ne!(sealed, "");
        let open = format!("<%[str({sealed}),b64dec,aes_gcm_dec({bits},{nonce},{key},txn.tag)]>");
        assert_eq!(lab.say_with(&open, &memory), "<hello>", "{bits}");
        let wrong = STANDARD.encode([0; 16]);
        assert_eq!(lab.say(&open, &[("txn.tag", &wrong)]), "<>", "{bits}");
        assert_eq!(lab.say(&open, &[("txn.tag", "")]), "<>", "{bits}");
    }
}
