//! Session tickets (RFC 5077, RFC 8446 section 4.6.1) under keys of our own or of `tls-ticket-keys`
//! (manual 5.1), which several processes may share.
//!
//! A ticket is `name (16) | salt (16) | AES-256-GCM(time | limit | session)`; the limit is
//! the end of the client's certificate. The key of each is derived by
//! HKDF from the ring's secret, its salt, and the *scope*: what clients must prove to get in. So a
//! session of a place that asks for no certificate cannot be resumed where one is required, however
//! keys are shared (CVE-2025-23419).

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf;
use rustls::server::ProducesTickets;

use super::files::Watched;
use super::handshake;

/// What a session was admitted by; sessions are resumed in their own scope alone.
pub(super) type Scope = [u8; 32];

/// Keys of a file that count: the last so many (manual 5.1, "tls-ticket-keys").
const KEYS_COUNT: usize = 3;

/// How long a key of our own encrypts; it decrypts as long again.
const OWN_KEY_LIFE: Duration = Duration::from_secs(12 * 3600);

/// Clocks of machines that share keys may differ by so much.
const SKEW: Duration = Duration::from_secs(60);

/// Largest session that is put into a ticket: one with a long client chain is not worth carrying.
const SESSION_LEN_MAX: usize = 16 * 1024;

const NAME_LEN: usize = 16;
const SALT_LEN: usize = 16;

struct Key {
    name: [u8; NAME_LEN],
    secret: hkdf::Prk,
}

impl Key {
    fn new(name: [u8; NAME_LEN], secret: &[u8]) -> Self {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"tidegate session tickets 2");
        Self {
            name,
            secret: salt.extract(secret),
        }
    }

    /// A fresh one; `None` where the system gives no random bytes.
    fn random() -> Option<Self> {
        let mut bytes = [0; NAME_LEN + 32];
        aws_lc_rs::rand::fill(&mut bytes).ok()?;
        let (name, secret) = bytes.split_first_chunk::<NAME_LEN>()?;
        Some(Self::new(*name, secret))
    }

    fn cipher(&self, salt: &[u8], scope: &Scope) -> Option<LessSafeKey> {
        let info = [salt, scope];
        let derived = self.secret.expand(&info, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(derived)))
    }
}

/// Keys, the oldest first.
struct Ring {
    keys: Vec<Key>,
    /// Which one encrypts.
    current: usize,
    made: SystemTime,
}

/// The keys of one `bind`, exchanged while connections come in.
pub(super) struct TicketKeys {
    ring: ArcSwap<Ring>,
    lifetime: Duration,
    from_file: bool,
}

impl std::fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TicketKeys(…)")
    }
}

impl TicketKeys {
    /// Whether they are of our own making, and of that lifetime.
    pub(super) fn are_own_for(&self, lifetime: Duration) -> bool {
        !self.from_file && self.lifetime == lifetime
    }

    /// Keys of a file, or our own.
    pub(super) fn load(
        file: Option<&Path>,
        lifetime: Duration,
        watched: &mut Watched,
    ) -> Result<Self, String> {
        let keys = match file {
            Some(file) => from_file(file, watched)?,
            None => {
                let key = Key::random().ok_or("no random bytes for keys of session tickets")?;
                vec![key]
            }
        };
        Ok(Self {
            ring: ArcSwap::from_pointee(ring(keys, SystemTime::now())),
            lifetime,
            from_file: file.is_some(),
        })
    }

    /// Reads the file again; the old keys stay where it cannot be used.
    pub(super) fn reload(&self, file: &Path, watched: &mut Watched) -> Result<(), String> {
        let keys = from_file(file, watched).map_err(|why| format!("{why}; the old keys stay"))?;
        self.ring.store(Arc::new(ring(keys, SystemTime::now())));
        Ok(())
    }

    /// Makes a new key of our own when the last one is old. Called now and then.
    pub(super) fn rotate(&self, now: SystemTime) {
        let old = self.ring.load();
        let due = now
            .duration_since(old.made)
            .is_ok_and(|age| age >= OWN_KEY_LIFE);
        if self.from_file || !due {
            return;
        }
        // Without random bytes the old key goes on: the next call tries again.
        if let (Some(new), Some(last)) = (Key::random(), old.keys.last()) {
            let last = Key {
                name: last.name,
                secret: last.secret.clone(),
            };
            let keys = vec![last, new];
            let current = keys.len() - 1;
            self.ring.store(Arc::new(Ring {
                keys,
                current,
                made: now,
            }));
        }
    }
}

/// The penultimate key of a file encrypts: the last may not have reached the other machines yet.
fn ring(keys: Vec<Key>, made: SystemTime) -> Ring {
    let current = keys.len().saturating_sub(2);
    Ring {
        keys,
        current,
        made,
    }
}

fn from_file(file: &Path, watched: &mut Watched) -> Result<Vec<Key>, String> {
    let shown = file.display();
    let text = watched.read(file)?;
    let text = String::from_utf8(text).map_err(|_| format!("'{shown}' is not text"))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut keys = Vec::new();
    let mut length = None;
    for (index, line) in lines.enumerate() {
        let wrong = |what: &str| format!("ticket keys '{shown}', key {}: {what}", index + 1);
        let bytes = base64_of(line).ok_or_else(|| wrong("it is not base64"))?;
        if ![48, 80].contains(&bytes.len()) {
            return Err(wrong("expected 48 or 80 bytes"));
        }
        if *length.get_or_insert(bytes.len()) != bytes.len() {
            return Err(wrong("keys of 48 and of 80 bytes cannot be mixed"));
        }
        let (name, secret) = bytes
            .split_first_chunk::<NAME_LEN>()
            .ok_or_else(|| wrong("it is too short"))?;
        keys.push(Key::new(*name, secret));
    }
    if keys.len() < KEYS_COUNT {
        return Err(format!(
            "ticket keys '{shown}': at least {KEYS_COUNT} keys are needed, one a line, and there \
             are {}",
            keys.len()
        ));
    }
    Ok(keys.split_off(keys.len() - KEYS_COUNT))
}

/// Base64 (RFC 4648 section 4) by the PEM reader, which knows it.
fn base64_of(line: &str) -> Option<Vec<u8>> {
    let alphabet = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    if !line.chars().all(alphabet) {
        return None;
    }
    let pem = format!("-----BEGIN CERTIFICATE-----\n{line}\n-----END CERTIFICATE-----\n");
    let der: rustls_pki_types::CertificateDer<'static> =
        rustls_pki_types::pem::PemObject::from_pem_slice(pem.as_bytes()).ok()?;
    Some(der.to_vec())
}

/// Makes and reads the tickets of one scope.
#[derive(Debug)]
pub(super) struct Ticketer {
    pub(super) keys: Arc<TicketKeys>,
    pub(super) scope: Scope,
}

impl Ticketer {
    fn seal(&self, session: &[u8], now: SystemTime) -> Option<Vec<u8>> {
        if session.len() > SESSION_LEN_MAX {
            return None;
        }
        let ring = self.keys.ring.load();
        let key = ring.keys.get(ring.current)?;
        let mut salt = [0; SALT_LEN];
        aws_lc_rs::rand::fill(&mut salt).ok()?;
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
        let mut sealed = [&seconds.to_be_bytes()[..], &handshake::limited(session)].concat();
        // Each key seals one ticket, so its nonce may be fixed.
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let cipher = key.cipher(&salt, &self.scope)?;
        cipher
            .seal_in_place_append_tag(nonce, Aad::from(key.name), &mut sealed)
            .ok()?;
        Some([&key.name[..], &salt, &sealed].concat())
    }

    fn open(&self, ticket: &[u8], now: SystemTime) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME_LEN>()?;
        let (salt, sealed) = rest.split_first_chunk::<SALT_LEN>()?;
        let ring = self.keys.ring.load();
        let key = ring.keys.iter().find(|key| key.name == *name)?;
        let cipher = key.cipher(salt, &self.scope)?;
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let mut sealed = sealed.to_vec();
        let plain = cipher
            .open_in_place(nonce, Aad::from(*name), &mut sealed)
            .ok()?;
        let (seconds, session) = plain.split_first_chunk::<8>()?;
        let made = Duration::from_secs(u64::from_be_bytes(*seconds));
        let at = now;
        let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let alive = made <= now + SKEW && now <= made + self.keys.lifetime;
        let session = Some(session).filter(|_| alive)?;
        handshake::within_limit(session, at).map(<[u8]>::to_vec)
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        /// Seven days, the most RFC 8446 allows.
        const LIFETIME_MAX: u64 = 604_800;
        let seconds = self.keys.lifetime.as_secs().min(LIFETIME_MAX);
        u32::try_from(seconds).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, SystemTime::now())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.open(cipher, SystemTime::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(300);

    fn ticketer(keys: &Arc<TicketKeys>, scope: u8) -> Ticketer {
        Ticketer {
            keys: keys.clone(),
            scope: [scope; 32],
        }
    }

    fn keys_of(text: &str) -> Result<Arc<TicketKeys>, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("keys");
        std::fs::write(&file, text).expect("writable");
        TicketKeys::load(Some(&file), LIFETIME, &mut Watched::default()).map(Arc::new)
    }

    /// A key line of 48 bytes that begins like no other.
    fn line(letter: char) -> String {
        format!("{}\n", letter.to_string().repeat(64))
    }

    #[test]
    fn a_ticket_opens_in_its_scope_while_it_lives_and_is_whole() {
        let keys = Arc::new(
            TicketKeys::load(None, LIFETIME, &mut Watched::default()).expect("random bytes"),
        );
        let now = SystemTime::now();
        let ours = ticketer(&keys, 1);
        let ticket = ours.seal(b"session", now).expect("a ticket");
        assert_eq!(ours.open(&ticket, now).as_deref(), Some(&b"session"[..]));
        assert!(
            ours.open(&ticket, now + LIFETIME - Duration::from_secs(1))
                .is_some()
        );
        assert!(ours.open(&ticket, now + LIFETIME + SKEW).is_none());
        assert!(ours.open(&ticket, now - SKEW * 2).is_none());
        assert!(ticketer(&keys, 2).open(&ticket, now).is_none());
        for at in 0..ticket.len() {
            let mut forged = ticket.clone();
            forged[at] ^= 1;
            assert!(ours.open(&forged, now).is_none(), "byte {at}");
            assert!(ours.open(&ticket[..at], now).is_none(), "cut at {at}");
        }
        // An own key is followed by a new one, and opens what it sealed once more.
        keys.rotate(now + OWN_KEY_LIFE);
        assert!(ours.open(&ticket, now).is_some());
        keys.rotate(now + OWN_KEY_LIFE * 2);
        assert!(ours.open(&ticket, now).is_none());
    }

    #[test]
    fn machines_whose_keys_overlap_understand_each_other() {
        let [a, b, c, d] = ['A', 'B', 'C', 'D'].map(line);
        let now = SystemTime::now();
        let old = keys_of(&format!("{a}{b}{c}")).expect("three keys");
        let new = keys_of(&format!("{a}{b}{c}\n{d}")).expect("four keys");
        // The old one seals with B, the new one with C: both know both.
        for (from, to) in [(&old, &new), (&new, &old)] {
            let ticket = ticketer(from, 1).seal(b"s", now).expect("a ticket");
            assert!(ticketer(to, 1).open(&ticket, now).is_some());
        }
        let other = keys_of(&format!("{d}{d}{d}")).expect("three keys");
        let ticket = ticketer(&other, 1).seal(b"s", now).expect("a ticket");
        assert!(ticketer(&old, 1).open(&ticket, now).is_none());
    }

    #[test]
    fn new_keys_are_taken_over_and_bad_ones_leave_the_old_in_force() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("keys");
        let [a, b, c, d, e] = ['A', 'B', 'C', 'D', 'E'].map(line);
        let write = |text: String| std::fs::write(&file, text).expect("writable");
        write(format!("{a}{b}{c}"));
        let mut watched = Watched::default();
        let keys = TicketKeys::load(Some(&file), LIFETIME, &mut watched).map(Arc::new);
        let keys = keys.expect("three keys");
        let ours = ticketer(&keys, 1);
        let now = SystemTime::now();
        let ticket = ours.seal(b"s", now).expect("a ticket");
        write("half".into());
        let error = keys.reload(&file, &mut watched).expect_err("no key");
        assert!(error.contains("the old keys stay"), "{error}");
        assert!(ours.open(&ticket, now).is_some());
        // B has sealed it, and is among the last three as long as only one is appended.
        for (text, opens) in [
            (format!("{a}{b}{c}{d}"), true),
            (format!("{a}{b}{c}{d}{e}"), false),
        ] {
            write(text);
            keys.reload(&file, &mut watched).expect("keys");
            assert_eq!(ours.open(&ticket, now).is_some(), opens);
        }
    }

    #[test]
    fn a_file_of_keys_is_whole_or_refused() {
        let good = line('A').repeat(3);
        for (text, expected) in [
            (line('A').repeat(2), "at least 3 keys"),
            (format!("{good}!"), "key 4: it is not base64"),
            (format!("{good}AAAA"), "key 4: expected 48 or 80 bytes"),
            (
                format!("{good}{}", "A".repeat(107) + "="),
                "cannot be mixed",
            ),
        ] {
            let error = keys_of(&text).expect_err(expected);
            assert!(error.contains(expected), "{error}");
        }
    }
}
