//! Keys, ciphers and signed tokens (manual 7.3.1).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::{PublicKey as Key, RSAPublicKey};
use x509_parser::x509::SubjectPublicKeyInfo;

use super::Build::With;
use super::hashing::{DigestAlgorithm, algorithm};
use super::json::{JsonQuery, query};
use super::{Row, row};
use crate::diagnostics::Diagnostic;
use crate::expr::Kind::{Bin, Int, Str};
use crate::expr::arguments::Arguments;
use crate::expr::{Context, Converter, TextOperand, VarName};
use crate::source::Span;

/// What is made of bytes with a key.
#[derive(Debug, Clone)]
pub enum Crypto {
    /// `hmac(digest,key)`; the key in Base64.
    Hmac(DigestAlgorithm, TextOperand),
    /// `aes_gcm_enc` and its like.
    Cipher(Box<Cipher>),
    /// `jwt_header_query`: `None`: all of it.
    JwtHeader(Option<JsonQuery>),
    /// `jwt_payload_query`.
    JwtPayload(Option<JsonQuery>),
    /// `jwt_verify(alg,key)`, `jwt_verify_cert(alg,cert)`.
    JwtVerify(TextOperand, JwtKey),
}

/// A cipher with its key; texts are in Base64.
#[derive(Debug, Clone)]
pub struct Cipher {
    /// GCM, else CBC.
    pub gcm: bool,
    /// Encrypts, else decrypts.
    pub encrypt: bool,
    /// 128, 192 or 256 bits of key.
    pub bits: u16,
    /// What makes it another one for each message.
    pub nonce: TextOperand,
    /// The key.
    pub key: TextOperand,
    /// Where the tag is put, or what it must be; of GCM alone.
    pub tag: Option<TextOperand>,
    /// What is signed beside the message.
    pub aad: Option<TextOperand>,
}

/// What a token is verified with.
#[derive(Debug, Clone)]
pub struct JwtKey {
    /// As written: the secret, where the algorithm wants one.
    pub text: TextOperand,
    /// The key in the file of that name, where there is one.
    pub public: Option<PublicKey>,
}

/// A public key.
#[derive(Debug, Clone)]
pub struct PublicKey {
    /// What signs with it.
    pub family: KeyFamily,
    /// SubjectPublicKeyInfo or RSAPublicKey, in DER.
    pub der: Arc<[u8]>,
}

/// What signs with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFamily {
    /// `RS…` and `PS…`.
    Rsa,
    /// `ES…`.
    Ec,
}

pub(super) static ROWS: &[Row] = &[
    row("hmac", Bin, Bin, With(hmac)),
    row(
        "aes_gcm_enc",
        Bin,
        Bin,
        With(|it, _| cipher(it, true, true)),
    ),
    row(
        "aes_gcm_dec",
        Bin,
        Bin,
        With(|it, _| cipher(it, true, false)),
    ),
    row(
        "aes_cbc_enc",
        Bin,
        Bin,
        With(|it, _| cipher(it, false, true)),
    ),
    row(
        "aes_cbc_dec",
        Bin,
        Bin,
        With(|it, _| cipher(it, false, false)),
    ),
    row(
        "jwt_header_query",
        Str,
        Str,
        With(|it, _| Ok(Converter::Crypto(Crypto::JwtHeader(optional_query(it)?)))),
    ),
    row(
        "jwt_payload_query",
        Str,
        Str,
        With(|it, _| Ok(Converter::Crypto(Crypto::JwtPayload(optional_query(it)?)))),
    ),
    row(
        "jwt_verify",
        Str,
        Int,
        With(|it, context| verify(it, false, context)),
    ),
    row(
        "jwt_verify_cert",
        Str,
        Int,
        With(|it, context| verify(it, true, context)),
    ),
];

/// A text in Base64, or the variable that has it.
fn base64(arguments: &mut Arguments, what: &str) -> Result<TextOperand, Diagnostic> {
    let (text, span) = arguments.text(what)?;
    checked(text, span)
}

fn checked(text: &str, span: Span) -> Result<TextOperand, Diagnostic> {
    let operand = TextOperand::read(text, span);
    if let TextOperand::Text(text) = &operand
        && STANDARD.decode(&**text).is_err()
    {
        // What is secret is not repeated.
        return Err(
            Diagnostic::alert(span, "this is neither Base64 nor a variable")
                .label("expected Base64, or a variable such as 'txn.key'"),
        );
    }
    Ok(operand)
}

fn hmac(arguments: &mut Arguments, _: &Context<'_>) -> Result<Converter, Diagnostic> {
    let digest = algorithm(arguments)?;
    let key = base64(arguments, "a key in Base64")?;
    Ok(Converter::Crypto(Crypto::Hmac(digest, key)))
}

fn cipher(arguments: &mut Arguments, gcm: bool, encrypt: bool) -> Result<Converter, Diagnostic> {
    let (text, span) = arguments.text("the bits of a key")?;
    let bits = match text {
        "128" => 128,
        "192" => 192,
        "256" => 256,
        _ => {
            return Err(Diagnostic::alert(span, format!("no key has '{text}' bits"))
                .label("expected 128, 192 or 256"));
        }
    };
    let nonce = base64(arguments, "a nonce in Base64")?;
    let key = base64(arguments, "a key in Base64")?;
    let tag = match (gcm, encrypt) {
        (false, _) => None,
        (true, false) => Some(base64(arguments, "a tag in Base64")?),
        (true, true) => {
            let (text, span) = arguments.text("a variable for the tag")?;
            Some(TextOperand::Variable(VarName::parse(text, span)?))
        }
    };
    let aad = arguments
        .optional()
        .map(|(text, span)| checked(text, span))
        .transpose()?;
    Ok(Converter::Crypto(Crypto::Cipher(Box::new(Cipher {
        gcm,
        encrypt,
        bits,
        nonce,
        key,
        tag,
        aad,
    }))))
}

fn optional_query(arguments: &mut Arguments) -> Result<Option<JsonQuery>, Diagnostic> {
    match arguments.is_empty() {
        true => Ok(None),
        false => query(arguments).map(Some),
    }
}

/// The algorithms of RFC 7518 §3.1.
const ALGORITHMS: [&str; 13] = [
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256",
    "PS384", "PS512", "none",
];

fn verify(
    arguments: &mut Arguments,
    certificate: bool,
    context: &Context<'_>,
) -> Result<Converter, Diagnostic> {
    let (text, span) = arguments.text("an algorithm")?;
    let algorithm = TextOperand::read(text, span);
    if let TextOperand::Text(name) = &algorithm {
        if !ALGORITHMS.contains(&&**name) {
            return Err(
                Diagnostic::alert(span, format!("'{name}' is no algorithm of tokens"))
                    .label(format!("expected one of {}", ALGORITHMS.join(", "))),
            );
        }
        if &**name == "none" {
            let message = "'none' is right of every token without a signature, whoever made it";
            let advice = Diagnostic::advice(span, message).label("nothing is verified");
            context.notices.borrow_mut().push(advice);
        }
    }
    let (text, span) = arguments.text("a key")?;
    let text = TextOperand::read(text, span);
    let public = match &text {
        TextOperand::Text(empty) if empty.is_empty() => {
            return Err(Diagnostic::alert(span, "an empty key proves nothing")
                .label("expected a secret or the path of a public key"));
        }
        TextOperand::Text(path) => public_key(path, span, &algorithm, certificate, context)?,
        TextOperand::Variable(_) => None,
    };
    let key = JwtKey { text, public };
    Ok(Converter::Crypto(Crypto::JwtVerify(algorithm, key)))
}

/// What a key must be for an algorithm that is written down; `None`: it needs none.
fn family_of(algorithm: &str) -> Option<KeyFamily> {
    match &algorithm[..2] {
        "RS" | "PS" => Some(KeyFamily::Rsa),
        "ES" => Some(KeyFamily::Ec),
        _ => None,
    }
}

/// The key in a file. Where the algorithm is told at run time the text may be a secret, so that a file
/// may be missing.
fn public_key(
    path: &str,
    span: Span,
    algorithm: &TextOperand,
    certificate: bool,
    context: &Context<'_>,
) -> Result<Option<PublicKey>, Diagnostic> {
    let read = context.surroundings.read(path);
    let wanted = match algorithm {
        TextOperand::Variable(_) => None,
        TextOperand::Text(name) => match family_of(name) {
            Some(family) => Some((family, name)),
            None => return not_a_file(path, span, read.ok()).map(|()| None),
        },
    };
    let text = match read {
        Ok(text) => text,
        Err(_) if wanted.is_none() => return Ok(None),
        Err(reason) => {
            let message = format!("the key in '{path}' cannot be read");
            return Err(Diagnostic::alert(span, message).label(reason));
        }
    };
    let Some((label, der)) = pem(&text) else {
        return Err(
            Diagnostic::alert(span, format!("there is no public key in '{path}'"))
                .label("expected PEM: 'PUBLIC KEY', 'RSA PUBLIC KEY' or 'CERTIFICATE'"),
        );
    };
    if (label == CERTIFICATE) != certificate {
        let (found, instead) = match label == CERTIFICATE {
            true => ("a certificate", "jwt_verify_cert"),
            false => ("a key", "jwt_verify"),
        };
        return Err(
            Diagnostic::alert(span, format!("there is {found} in this file"))
                .help(format!("write '{instead}'")),
        );
    }
    let key = known(label, &der)
        .map_err(|reason| Diagnostic::alert(span, format!("the key in '{path}' {reason}")))?;
    match wanted {
        Some((family, name)) if family != key.family => Err(Diagnostic::alert(
            span,
            format!("the key in '{path}' cannot sign with '{name}'"),
        )
        .label("'RS…' and 'PS…' want an RSA key, 'ES…' one of an elliptic curve")),
        _ => Ok(Some(key)),
    }
}

/// With a secret the text itself is the key: the path of a public key, which others may know, is
/// surely not meant.
fn not_a_file(path: &str, span: Span, text: Option<String>) -> Result<(), Diagnostic> {
    match text.as_deref().and_then(pem) {
        None => Ok(()),
        Some(_) => Err(Diagnostic::alert(
            span,
            "with this algorithm the key is a secret, not a file",
        )
        .label(format!("the letters '{path}' would be the secret"))),
    }
}

const CERTIFICATE: &str = "CERTIFICATE";

/// The first public key or certificate of a PEM text (RFC 7468), with what it is.
fn pem(text: &str) -> Option<(&'static str, Vec<u8>)> {
    let labels = ["PUBLIC KEY", "RSA PUBLIC KEY", CERTIFICATE];
    let found = labels.into_iter().filter_map(|label| {
        let begin = format!("-----BEGIN {label}-----");
        let start = text.find(&begin)?;
        Some((start, start + begin.len(), label))
    });
    let (_, start, label) = found.min()?;
    let rest = &text[start..];
    let body = &rest[..rest.find("-----END ")?];
    let digits: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    Some((label, STANDARD.decode(digits).ok()?))
}

/// RFC 7518 §3.3: shorter keys must not be used.
const RSA_BITS_MIN: usize = 2048;

/// The key in there, or why it is of no use.
fn known(label: &str, der: &[u8]) -> Result<PublicKey, String> {
    const BROKEN: &str = "is broken";
    let certificate;
    let mut der = der;
    if label == CERTIFICATE {
        (_, certificate) = X509Certificate::from_der(der).map_err(|_| BROKEN)?;
        der = certificate.tbs_certificate.subject_pki.raw;
    }
    let bits = match label {
        "RSA PUBLIC KEY" => {
            let (_, key) = RSAPublicKey::from_der(der).map_err(|_| BROKEN)?;
            Some(key.key_size())
        }
        _ => {
            let (_, info) = SubjectPublicKeyInfo::from_der(der).map_err(|_| BROKEN)?;
            match info.parsed() {
                Ok(Key::RSA(key)) => Some(key.key_size()),
                Ok(Key::EC(_)) => None,
                _ => return Err("signs with nothing that tokens know".to_owned()),
            }
        }
    };
    match bits {
        Some(bits) if bits < RSA_BITS_MIN => Err(format!(
            "has {bits} bits: an RSA key of less than {RSA_BITS_MIN} verifies no token"
        )),
        _ => Ok(PublicKey {
            family: match bits {
                Some(_) => KeyFamily::Rsa,
                None => KeyFamily::Ec,
            },
            der: der.into(),
        }),
    }
}
