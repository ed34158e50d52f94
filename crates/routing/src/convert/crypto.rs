//! Keys, ciphers and signed tokens (RFC 7515, 7518; manual 7.3.1).

use std::borrow::Cow;

use aws_lc_rs::{aead, cipher, signature};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use config::expr::{Cipher, Crypto, DigestAlgorithm, JsonQuery, JwtKey, TextOperand};

use super::encoding::URL;
use super::hashing::hmac;
use super::{json, variable};
use crate::sample::Facts;
use crate::value::Value;

/// What is made of a value with a key.
pub(super) fn apply(
    crypto: &Crypto,
    input: Value<'_>,
    facts: &Facts<'_>,
) -> Option<Value<'static>> {
    match crypto {
        Crypto::Hmac(digest, key) => {
            let key = decoded(key, facts)?;
            Some(Value::Bin(hmac(*digest, &key, &input.into_bytes()).into()))
        }
        Crypto::Cipher(cipher) => {
            let made = crypt(cipher, input.into_bytes(), facts)?;
            Some(Value::Bin(made.into()))
        }
        Crypto::JwtHeader(query) => of_token(&input.into_text(), 0, query.as_ref()),
        Crypto::JwtPayload(query) => of_token(&input.into_text(), 1, query.as_ref()),
        Crypto::JwtVerify(algorithm, key) => {
            let verdict = verify(&input.into_text(), algorithm, key, facts)?;
            Some(Value::Int(verdict as i64))
        }
    }
}

/// What stands there in Base64.
fn decoded(operand: &TextOperand, facts: &Facts<'_>) -> Option<Vec<u8>> {
    STANDARD.decode(&*variable::text(operand, facts)?).ok()
}

/// Length of the tag of AES-GCM.
const TAG_LEN: usize = 16;

fn crypt(wanted: &Cipher, input: Cow<'_, [u8]>, facts: &Facts<'_>) -> Option<Vec<u8>> {
    let key = decoded(&wanted.key, facts)?;
    let nonce = decoded(&wanted.nonce, facts)?;
    let aad = match &wanted.aad {
        Some(aad) => decoded(aad, facts)?,
        None => Vec::new(),
    };
    if key.len() * 8 != usize::from(wanted.bits) {
        return None;
    }
    match wanted.gcm {
        true => gcm(wanted, &key, &nonce, &aad, input.into_owned(), facts),
        false => cbc(wanted.encrypt, &key, nonce, input.into_owned()),
    }
}

fn gcm(
    wanted: &Cipher,
    key: &[u8],
    nonce: &[u8],
    aad: &[u8],
    mut message: Vec<u8>,
    facts: &Facts<'_>,
) -> Option<Vec<u8>> {
    let algorithm = match wanted.bits {
        128 => &aead::AES_128_GCM,
        192 => &aead::AES_192_GCM,
        _ => &aead::AES_256_GCM,
    };
    let key = aead::LessSafeKey::new(aead::UnboundKey::new(algorithm, key).ok()?);
    let nonce = aead::Nonce::try_assume_unique_for_key(nonce).ok()?;
    let aad = aead::Aad::from(aad);
    let place = wanted.tag.as_ref()?;
    if wanted.encrypt {
        let TextOperand::Variable(name) = place else {
            return None;
        };
        let tag = key
            .seal_in_place_separate_tag(nonce, aad, &mut message)
            .ok()?;
        let tag = Value::made(STANDARD.encode(tag.as_ref()).into_bytes());
        return facts
            .memory
            .set_variable(name, Some(tag))
            .then_some(message);
    }
    let tag = decoded(place, facts)?;
    if tag.len() != TAG_LEN {
        return None;
    }
    message.extend_from_slice(&tag);
    let plain = key.open_in_place(nonce, aad, &mut message).ok()?;
    Some(plain.to_vec())
}

/// Length of the first vector of CBC; a shorter nonce is filled up with zeros, as HAProxy has it.
const VECTOR_LEN: usize = 16;

fn cbc(encrypt: bool, key: &[u8], mut nonce: Vec<u8>, mut message: Vec<u8>) -> Option<Vec<u8>> {
    let algorithm = match key.len() {
        16 => &cipher::AES_128,
        24 => &cipher::AES_192,
        _ => &cipher::AES_256,
    };
    let key = cipher::UnboundCipherKey::new(algorithm, key).ok()?;
    nonce.resize(VECTOR_LEN, 0);
    let vector: [u8; VECTOR_LEN] = nonce.try_into().ok()?;
    if encrypt {
        let key = cipher::PaddedBlockEncryptingKey::cbc_pkcs7(key).ok()?;
        let context = cipher::EncryptionContext::Iv128(vector.into());
        key.less_safe_encrypt(&mut message, context).ok()?;
        return Some(message);
    }
    let key = cipher::PaddedBlockDecryptingKey::cbc_pkcs7(key).ok()?;
    let context = cipher::DecryptionContext::Iv128(vector.into());
    let plain = key.decrypt(&mut message, context).ok()?;
    Some(plain.to_vec())
}

/// A part of a token, or something in it.
fn of_token(token: &[u8], at: usize, query: Option<&JsonQuery>) -> Option<Value<'static>> {
    let part = token.split(|byte| *byte == b'.').nth(at)?;
    let text = URL.decode(part).ok()?;
    match query {
        Some(query) => json::query(query, &text),
        None => Some(Value::made(text)),
    }
}

/// What `jwt_verify` says; numbers are the manual's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Right = 1,
    Wrong = 0,
    UnknownAlgorithm = -1,
    InvalidToken = -3,
    UnknownKey = -5,
}

impl Verdict {
    fn of(right: bool) -> Self {
        match right {
            true => Self::Right,
            false => Self::Wrong,
        }
    }
}

/// Header, payload and signature.
const PARTS: usize = 3;

/// An algorithm in a variable comes from the token as a rule, so from whoever made it: it may choose among
/// those that fit the key, and no way around it.
fn verify(
    token: &[u8],
    algorithm: &TextOperand,
    key: &JwtKey,
    facts: &Facts<'_>,
) -> Option<Verdict> {
    let is_written = matches!(algorithm, TextOperand::Text(_));
    let algorithm = variable::text(algorithm, facts)?;
    let parts: Vec<&[u8]> = token.split(|byte| *byte == b'.').take(PARTS + 1).collect();
    let [header, payload, signature] = parts[..] else {
        return Some(Verdict::InvalidToken);
    };
    let Ok(algorithm) = std::str::from_utf8(&algorithm) else {
        return Some(Verdict::UnknownAlgorithm);
    };
    let signed = &token[..header.len() + 1 + payload.len()];
    if algorithm == "none" {
        return Some(match is_written && signature.is_empty() {
            true => Verdict::Right,
            false => Verdict::Wrong,
        });
    }
    let signature = URL.decode(signature).unwrap_or_default();
    if signature.is_empty() {
        return Some(Verdict::InvalidToken);
    }
    if let Some(digest) = by_secret(algorithm) {
        return by_code(digest, key, signed, &signature, facts);
    }
    let Some(scheme) = scheme(algorithm) else {
        return Some(Verdict::UnknownAlgorithm);
    };
    let Some(public) = &key.public else {
        return Some(Verdict::UnknownKey);
    };
    let public = signature::UnparsedPublicKey::new(scheme, &public.der[..]);
    Some(Verdict::of(public.verify(signed, &signature).is_ok()))
}

/// The algorithms of RFC 7518 §3.1 that have a secret.
fn by_secret(algorithm: &str) -> Option<DigestAlgorithm> {
    Some(match algorithm {
        "HS256" => DigestAlgorithm::Sha256,
        "HS384" => DigestAlgorithm::Sha384,
        "HS512" => DigestAlgorithm::Sha512,
        _ => return None,
    })
}

/// With a secret. Where the text named a key file it is no secret: anybody may know the path. An empty one
/// is none either.
fn by_code(
    digest: DigestAlgorithm,
    key: &JwtKey,
    signed: &[u8],
    signature: &[u8],
    facts: &Facts<'_>,
) -> Option<Verdict> {
    if key.public.is_some() {
        return Some(Verdict::Wrong);
    }
    let Some(secret) = variable::text(&key.text, facts) else {
        return Some(Verdict::UnknownKey);
    };
    if secret.is_empty() {
        return None;
    }
    let code = hmac(digest, &secret, signed);
    let same = aws_lc_rs::constant_time::verify_slices_are_equal(&code, signature);
    Some(Verdict::of(same.is_ok()))
}

/// The algorithms of RFC 7518 §3.1 that have a public key.
fn scheme(algorithm: &str) -> Option<&'static dyn signature::VerificationAlgorithm> {
    Some(match algorithm {
        "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
        "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
        "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
        "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
        "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
        "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
        "ES256" => &signature::ECDSA_P256_SHA256_FIXED,
        "ES384" => &signature::ECDSA_P384_SHA384_FIXED,
        "ES512" => &signature::ECDSA_P521_SHA512_FIXED,
        _ => return None,
    })
}
