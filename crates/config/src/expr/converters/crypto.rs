//! Keys, ciphers and signed tokens (manual 7.3.1).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

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

/// A public key, in DER.
#[derive(Debug, Clone)]
pub struct PublicKey {
    /// A certificate that has it; else the key itself.
    pub is_certificate: bool,
    /// Its bytes.
    pub der: Arc<[u8]>,
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
    let mut by_key = true;
    if let TextOperand::Text(name) = &algorithm {
        if !ALGORITHMS.contains(&&**name) {
            return Err(
                Diagnostic::alert(span, format!("'{name}' is no algorithm of tokens"))
                    .label(format!("expected one of {}", ALGORITHMS.join(", "))),
            );
        }
        by_key = !name.starts_with("HS") && &**name != "none";
    }
    let (text, span) = arguments.text("a key")?;
    let text = TextOperand::read(text, span);
    let public = match &text {
        TextOperand::Text(path) => public_key(path, span, &algorithm, by_key, context)?,
        TextOperand::Variable(_) => None,
    };
    if let Some(key) = &public
        && key.is_certificate != certificate
    {
        let (found, instead) = match key.is_certificate {
            true => ("a certificate", "jwt_verify_cert"),
            false => ("a key", "jwt_verify"),
        };
        return Err(
            Diagnostic::alert(span, format!("there is {found} in this file"))
                .help(format!("write '{instead}'")),
        );
    }
    let key = JwtKey { text, public };
    Ok(Converter::Crypto(Crypto::JwtVerify(algorithm, key)))
}

/// The key in a file. Where the algorithm is told at run time the text may be a secret, so that a file
/// may be missing.
fn public_key(
    path: &str,
    span: Span,
    algorithm: &TextOperand,
    by_key: bool,
    context: &Context<'_>,
) -> Result<Option<PublicKey>, Diagnostic> {
    if !by_key {
        return Ok(None);
    }
    let text = match context.surroundings.read(path) {
        Ok(text) => text,
        Err(_) if matches!(algorithm, TextOperand::Variable(_)) => return Ok(None),
        Err(reason) => {
            let message = format!("the key in '{path}' cannot be read");
            return Err(Diagnostic::alert(span, message).label(reason));
        }
    };
    pem(&text).map(Some).ok_or_else(|| {
        Diagnostic::alert(span, format!("there is no public key in '{path}'"))
            .label("expected PEM: 'PUBLIC KEY', 'RSA PUBLIC KEY' or 'CERTIFICATE'")
    })
}

/// The first public key or certificate of a PEM text (RFC 7468).
fn pem(text: &str) -> Option<PublicKey> {
    let labels = ["PUBLIC KEY", "RSA PUBLIC KEY", "CERTIFICATE"];
    let found = labels.iter().filter_map(|label| {
        let begin = format!("-----BEGIN {label}-----");
        let start = text.find(&begin)?;
        Some((start, start + begin.len(), *label))
    });
    let (_, start, label) = found.min()?;
    let rest = &text[start..];
    let body = &rest[..rest.find("-----END ")?];
    let digits: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    Some(PublicKey {
        is_certificate: label == "CERTIFICATE",
        der: STANDARD.decode(digits).ok()?.into(),
    })
}
