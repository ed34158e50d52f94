use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa,
    KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
};

use super::*;

type Issuer = CertifiedIssuer<'static, KeyPair>;

/// A serial number, and first and last year.
type Made = (u64, i32, i32);

const FRESH: Made = (7, 2001, 2090);

fn params((serial, from, until): Made) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.serial_number = Some(SerialNumber::from(serial));
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    params
}

/// An authority, signed by another one or by itself.
fn authority(name: &str, above: Option<&Issuer>, made: Made) -> Issuer {
    let mut params = params(made);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    let key = KeyPair::generate().expect("a key");
    match above {
        None => CertifiedIssuer::self_signed(params, key),
        Some(above) => CertifiedIssuer::signed_by(params, key, above),
    }
    .expect("a certificate")
}

fn leaf(signer: Option<&Issuer>, made: Made) -> CertificateDer<'static> {
    let key = KeyPair::generate().expect("a key");
    let made = match signer {
        Some(signer) => params(made).signed_by(&key, signer),
        None => params(made).self_signed(&key),
    };
    made.expect("a certificate").der().clone()
}

/// A list of what an authority has taken back, in force until that year.
fn list(issuer: &Issuer, serials: &[u64], until: i32) -> String {
    let revoked = |serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: date_time_ymd(2010, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2010, 1, 1),
        next_update: date_time_ymd(until, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let made = params.signed_by(issuer).expect("a list");
    made.pem().expect("a list")
}

/// What lets clients in whom this authority has signed.
fn auth(trusted: &Issuer, lists: &[String], crt: &[u8], ca: &[u8]) -> ClientAuth {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("writable");
        path
    };
    let policy = TlsPolicy {
        verify: ClientVerify::Required,
        ca_file: Some(write("ca.pem", &trusted.pem())),
        crl_file: (!lists.is_empty()).then(|| write("crl.pem", &lists.concat())),
        ..TlsPolicy::default()
    };
    let ignored = |codes: &[u8]| match codes {
        [u8::MAX] => IgnoredErrors::ALL,
        codes => {
            let mut ignored = IgnoredErrors::default();
            codes.iter().for_each(|code| ignored.insert(*code));
            ignored
        }
    };
    let bind = BindTls {
        crt_ignore_err: ignored(crt),
        ca_ignore_err: ignored(ca),
        ..BindTls::default()
    };
    let provider = Arc::new(ciphers::provider(&policy.choice));
    let auth = ClientAuth::load(&policy, &bind, &provider, &mut Watched::default());
    let auth = auth.expect("it loads").expect("clients are asked");
    Arc::try_unwrap(auth).expect("nobody else has it")
}

/// In 2023.
fn now() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(1_700_000_000))
}

fn lets_in(auth: &ClientAuth, leaf: &CertificateDer<'_>, above: &[CertificateDer<'_>]) -> bool {
    auth.verify_client_cert(leaf, above, now()).is_ok()
}

#[test]
fn all_that_is_wrong_is_found_and_numbered_as_openssl_does() {
    let [ours, other] = ["ours", "other"].map(|name| authority(name, None, FRESH));
    let auth = auth(&ours, &[], &[], &[]);
    let middle = authority("middle", Some(&ours), FRESH);
    let lost = authority("lost", Some(&other), FRESH);
    let [middle_der, lost_der] = [&middle, &lost].map(|it| it.der().clone());
    let late = (7, 2019, 2020);
    for (leaf, above, expected) in [
        (leaf(Some(&ours), FRESH), vec![], vec![]),
        (leaf(Some(&middle), FRESH), vec![middle_der], vec![]),
        (leaf(Some(&middle), FRESH), vec![], vec![(0, NO_ISSUER)]),
        (leaf(Some(&other), FRESH), vec![], vec![(0, NO_ISSUER)]),
        (
            leaf(Some(&lost), FRESH),
            vec![lost_der],
            vec![(1, NO_ISSUER)],
        ),
        (leaf(None, FRESH), vec![], vec![(0, SELF_SIGNED)]),
        (leaf(Some(&ours), late), vec![], vec![(0, EXPIRED)]),
        (
            leaf(Some(&other), late),
            vec![],
            vec![(0, EXPIRED), (0, NO_ISSUER)],
        ),
    ] {
        let verified = auth.verifier.verify_client_cert(&leaf, &above, now());
        let faults = match &verified {
            Ok(_) => Vec::new(),
            Err(error) => auth.faults(error, &leaf, &above, now()),
        };
        let found: Vec<_> = faults.iter().map(|it| (it.depth, it.code)).collect();
        assert_eq!(found, expected);
        assert_eq!(lets_in(&auth, &leaf, &above), expected.is_empty());
    }
}

#[test]
fn an_expired_client_does_not_bring_an_expired_authority_along() {
    let ours = authority("ours", None, FRESH);
    let old = authority("old", Some(&ours), (8, 2015, 2021));
    let good = authority("good", Some(&ours), FRESH);
    let late = (7, 2018, 2020);
    for (signer, crt, ca, expected) in [
        (&good, &[EXPIRED][..], &[][..], true),
        (&old, &[EXPIRED], &[], false),
        (&old, &[EXPIRED], &[EXPIRED], true),
        (&old, &[], &[EXPIRED], false),
    ] {
        let auth = auth(&ours, &[], crt, ca);
        let above = [signer.der().clone()];
        assert_eq!(
            lets_in(&auth, &leaf(Some(signer), late), &above),
            expected,
            "{crt:?} {ca:?}"
        );
    }
    // A list that is over today was in force when the certificate was.
    for (until, expected) in [(2022, false), (2090, true)] {
        let lists = [list(&ours, &[], until)];
        let auth = auth(&ours, &lists, &[EXPIRED], &[]);
        assert_eq!(lets_in(&auth, &leaf(Some(&ours), late), &[]), expected);
    }
}

#[test]
fn what_is_ignored_of_a_client_is_not_ignored_of_who_has_signed_it() {
    let ours = authority("ours", None, FRESH);
    let middle = authority("middle", Some(&ours), (66, 2001, 2090));
    let above = [middle.der().clone()];
    let client = leaf(Some(&middle), FRESH);
    let good = || list(&ours, &[], 2090);
    for (what, lists, crt, ca, expected) in [
        (
            "a revoked authority",
            vec![list(&ours, &[66], 2090), list(&middle, &[], 2090)],
            &[REVOKED][..],
            &[][..],
            false,
        ),
        (
            "a revoked authority, ignored",
            vec![list(&ours, &[66], 2090), list(&middle, &[], 2090)],
            &[],
            &[REVOKED],
            true,
        ),
        (
            "a revoked client",
            vec![good(), list(&middle, &[7], 2090)],
            &[REVOKED],
            &[],
            true,
        ),
        (
            "both, one ignored",
            vec![list(&ours, &[66], 2090), list(&middle, &[7], 2090)],
            &[REVOKED],
            &[],
            false,
        ),
        (
            "no list for the authority",
            vec![list(&middle, &[], 2090)],
            &[CRL_MISSING],
            &[],
            false,
        ),
        (
            "no list for the authority, ignored",
            vec![list(&middle, &[], 2090)],
            &[],
            &[CRL_MISSING],
            true,
        ),
        (
            "no list for the client",
            vec![good()],
            &[CRL_MISSING],
            &[],
            true,
        ),
        (
            "no list for the client, and a revoked authority",
            vec![list(&ours, &[66], 2090)],
            &[CRL_MISSING],
            &[CRL_MISSING],
            false,
        ),
        (
            "an old list of the authority's",
            vec![list(&ours, &[], 2020), list(&middle, &[], 2090)],
            &[CRL_EXPIRED],
            &[],
            false,
        ),
    ] {
        let auth = auth(&ours, &lists, crt, ca);
        assert_eq!(lets_in(&auth, &client, &above), expected, "{what}");
    }
}

#[derive(Debug)]
struct Counting(Arc<dyn ClientCertVerifier>, Arc<AtomicUsize>);

impl ClientCertVerifier for Counting {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.1.fetch_add(1, Relaxed);
        assert!(above.len() <= chain::ABOVE_MAX);
        self.0.verify_client_cert(leaf, above, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// The clock went back and forth between a client that had expired and an authority that was not yet
/// valid then, once for each certificate that was sent.
#[test]
fn a_hostile_chain_is_verified_three_times_at_the_most() {
    let ours = authority("ours", None, FRESH);
    let late = (7, 2018, 2020);
    let young = authority("young", Some(&ours), (8, 2021, 2022));
    let mut auth = auth(&ours, &[list(&ours, &[8], 2090)], &[u8::MAX], &[u8::MAX]);
    let count = Arc::new(AtomicUsize::new(0));
    for verifier in [&mut auth.verifier, &mut auth.plain] {
        *verifier = Arc::new(Counting(verifier.clone(), count.clone()));
    }
    let twins: Vec<_> = (0..8)
        .map(|serial| authority("young", Some(&ours), (serial, 2021, 2022)))
        .collect();
    let twins: Vec<_> = twins.iter().map(|twin| twin.der().clone()).collect();
    for (above, expected) in [
        (vec![young.der().clone()], true),
        (twins.clone(), true),
        (twins.iter().cycle().take(64).cloned().collect(), false),
        (vec![young.der().clone(); 70], false),
    ] {
        count.store(0, Relaxed);
        assert_eq!(
            lets_in(&auth, &leaf(Some(&young), late), &above),
            expected,
            "{}",
            above.len()
        );
        let turns = count.load(Relaxed);
        assert!(turns <= 3 && (turns > 0) == expected, "{turns}");
    }
}

#[test]
fn of_what_a_peer_sends_few_of_one_subject_are_looked_at_and_each_once() {
    let ours = authority("ours", None, FRESH);
    let made = |name: &str| authority(name, Some(&ours), FRESH).der().clone();
    let [a, b, c, d] = ["one", "one", "one", "other"].map(made);
    let sent = [a.clone(), a.clone(), b.clone(), c, d.clone(), a.clone()];
    assert_eq!(chain::bounded(&sent).expect("few"), [a.clone(), b, d]);
    assert!(chain::bounded(&vec![a.clone(); chain::ABOVE_MAX]).is_ok());
    assert!(chain::bounded(&vec![a; chain::ABOVE_MAX + 1]).is_err());
}

#[tokio::test]
async fn a_session_ends_with_the_first_certificate_of_the_client_to_end() {
    let ours = authority("ours", None, FRESH);
    let middle = authority("middle", Some(&ours), (8, 2001, 2030));
    let late = (7, 2018, 2020);
    let seconds = |year| u64::try_from(date_time_ymd(year, 1, 1).unix_timestamp()).expect("later");
    for (signer, made, expected) in [
        (&ours, FRESH, seconds(2090)),
        (&middle, FRESH, seconds(2030)),
        (&middle, (7, 2001, 2025), seconds(2025)),
        // It is over, and let in all the same: it is judged again when it comes back.
        (&ours, late, handshake::FOR_EVER),
    ] {
        let auth = auth(&ours, &[], &[EXPIRED], &[]);
        let shaking = async {
            assert!(lets_in(
                &auth,
                &leaf(Some(signer), made),
                &[middle.der().clone()]
            ));
            Ok(handshake::limited(b"session"))
        };
        let shaken = handshake::noting(None, shaking).await.ok();
        let (kept, passed) = shaken.expect("it never fails");
        assert!(kept.starts_with(&expected.to_be_bytes()), "{kept:?}");
        assert_eq!(passed.own == EXPIRED, made == late);
    }
}
