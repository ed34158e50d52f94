//! Questions and answers of DNS (RFC 1035, RFC 2782 for services, RFC 6891 for the length announced).
//! The crate `domain` knows the bytes; what of an answer counts is decided here.

use std::net::IpAddr;
use std::sync::Arc;

use domain::base::iana::Rcode;
use domain::base::{Message, MessageBuilder, Name, ParsedName, Rtype};
use domain::rdata::{A, Aaaa, Cname, Srv};

use super::{Failure, Kind};

/// Records of an answer that are looked at. A name with more servers behind it is none.
const RECORDS_MAX: usize = 1_000;

/// Aliases in a row at most: they may go round in circles.
const ALIASES_MAX: usize = 16;

/// What a name has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// An address.
    Address(IpAddr),
    /// A service.
    Service(Service),
}

/// An SRV record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Service {
    /// Its host.
    pub(crate) host: Arc<str>,
    /// Its port.
    pub(crate) port: u16,
    /// Its weight.
    pub(crate) weight: u16,
    /// The addresses of its host that came along.
    pub(crate) addresses: Vec<IpAddr>,
}

impl Service {
    /// Whether it is the same one, whatever its weight and addresses are now.
    pub(crate) fn is_at(&self, other: &Self) -> bool {
        self.host == other.host && self.port == other.port
    }
}

/// What came in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// What was asked for, at least one.
    Valid(Vec<Found>),
    /// An answer that does not help.
    Failed(Failure),
    /// An answer that was too long for UDP.
    Truncated,
    /// No answer to this question at all: whoever sent it may be guessing.
    Stray,
}

/// A question, ready to be sent.
pub(super) fn question(name: &str, kind: Kind, id: u16, payload: u16) -> Option<Vec<u8>> {
    let name: Name<Vec<u8>> = name.parse().ok()?;
    let mut message = MessageBuilder::new_vec();
    message.header_mut().set_id(id);
    message.header_mut().set_rd(true);
    let mut message = message.question();
    message.push((&name, rtype(kind))).ok()?;
    let mut message = message.additional();
    message
        .opt(|opt| {
            opt.set_udp_payload_size(payload);
            Ok(())
        })
        .ok()?;
    Some(message.finish())
}

fn rtype(kind: Kind) -> Rtype {
    match kind {
        Kind::A => Rtype::A,
        Kind::Aaaa => Rtype::AAAA,
        Kind::Srv => Rtype::SRV,
    }
}

/// Reads what came in for a question.
pub(super) fn read(question: &[u8], kind: Kind, bytes: &[u8]) -> Reply {
    let (Ok(asked), Ok(message)) = (Message::from_octets(question), Message::from_octets(bytes))
    else {
        return Reply::Stray;
    };
    let header = message.header();
    if !header.qr() || header.id() != asked.header().id() {
        return Reply::Stray;
    }
    // A server that understands nothing answers without the question (RFC 1035 section 4.1.1).
    let is_bare_error = header.rcode() != Rcode::NOERROR && message.header_counts().qdcount() == 0;
    if !is_bare_error && !message.is_answer(&asked) {
        return Reply::Stray;
    }
    match header.rcode() {
        Rcode::NOERROR if header.tc() => Reply::Truncated,
        Rcode::NOERROR => match records(&message, kind) {
            Some(found) if !found.is_empty() => Reply::Valid(found),
            _ => Reply::Failed(Failure::Other),
        },
        Rcode::NXDOMAIN => Reply::Failed(Failure::Nx),
        Rcode::REFUSED => Reply::Failed(Failure::Refused),
        _ => Reply::Failed(Failure::Other),
    }
}

type Octets<'a> = &'a [u8];

fn records(message: &Message<Octets<'_>>, kind: Kind) -> Option<Vec<Found>> {
    let owner = canonical(message)?;
    let mut found = Vec::new();
    let answer = message.answer().ok()?;
    match kind {
        Kind::A => {
            for record in answer.limit_to_in::<A>().take(RECORDS_MAX) {
                let record = record.ok()?;
                if *record.owner() == owner {
                    found.push(Found::Address(record.data().addr().into()));
                }
            }
        }
        Kind::Aaaa => {
            for record in answer.limit_to_in::<Aaaa>().take(RECORDS_MAX) {
                let record = record.ok()?;
                if *record.owner() == owner {
                    found.push(Found::Address(record.data().addr().into()));
                }
            }
        }
        Kind::Srv => {
            for record in answer.limit_to_in::<Srv<_>>().take(RECORDS_MAX) {
                let record = record.ok()?;
                let (data, is_ours) = (record.data(), *record.owner() == owner);
                // A target of "." says that there is no such service (RFC 2782).
                if is_ours && data.port() > 0 && data.target().to_string() != "." {
                    found.push(Found::Service(Service {
                        host: data.target().to_string().to_ascii_lowercase().into(),
                        port: data.port(),
                        weight: data.weight(),
                        addresses: Vec::new(),
                    }));
                }
            }
            add_addresses(message, &mut found);
        }
    }
    Some(found)
}

/// The name that a question's name is an alias of, or that name itself.
fn canonical<'a>(message: &Message<Octets<'a>>) -> Option<ParsedName<Octets<'a>>> {
    let mut name = message.sole_question().ok()?.into_qname();
    for _ in 0..ALIASES_MAX {
        let mut aliases = message.answer().ok()?.limit_to_in::<Cname<_>>();
        let next = aliases.find_map(|record| {
            let record = record.ok()?;
            (*record.owner() == name).then(|| record.into_data().into_cname())
        });
        match next {
            Some(next) => name = next,
            None => return Some(name),
        }
    }
    None
}

/// Addresses of the services' hosts, where the nameserver has sent them along.
fn add_addresses(message: &Message<Octets<'_>>, found: &mut [Found]) {
    let mut add = |owner: String, ip: IpAddr| {
        let owner = owner.to_ascii_lowercase();
        for found in &mut *found {
            if let Found::Service(service) = found
                && *service.host == *owner
                && !service.addresses.contains(&ip)
            {
                service.addresses.push(ip);
            }
        }
    };
    // What cannot be read is as good as not there: the hosts are asked for then.
    let Ok(additional) = message.additional() else {
        return;
    };
    for record in additional.limit_to_in::<Aaaa>().flatten().take(RECORDS_MAX) {
        add(record.owner().to_string(), record.data().addr().into());
    }
    for record in additional.limit_to_in::<A>().flatten().take(RECORDS_MAX) {
        add(record.owner().to_string(), record.data().addr().into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `answer` is what stands behind the question, from its count of answers on.
    fn check(name: &str, kind: Kind, change: fn(&mut Vec<u8>), expected: Reply) {
        let asked = question(name, kind, 7, 512).expect("a name");
        let mut bytes = asked.clone();
        // Without the record that announces a length.
        bytes.truncate(asked.len() - 11);
        bytes[11] = 0;
        bytes[2] |= 0x80;
        change(&mut bytes);
        assert_eq!(read(&asked, kind, &bytes), expected, "{name} {bytes:?}");
    }

    fn a_record(bytes: &mut Vec<u8>) {
        bytes[7] += 1;
        bytes.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0, 0, 1]);
    }

    #[test]
    fn answers_are_to_the_question_or_stray() {
        let one = || Reply::Valid(vec![Found::Address([10, 0, 0, 1].into())]);
        check("a.test", Kind::A, a_record, one());
        check("a.test", Kind::A, |_| {}, Reply::Failed(Failure::Other));
        check(
            "a.test",
            Kind::A,
            |it| it[3] = 3,
            Reply::Failed(Failure::Nx),
        );
        check(
            "a.test",
            Kind::A,
            |it| it[3] = 5,
            Reply::Failed(Failure::Refused),
        );
        check(
            "a.test",
            Kind::A,
            |it| it[3] = 2,
            Reply::Failed(Failure::Other),
        );
        check("a.test", Kind::A, |it| it[2] |= 2, Reply::Truncated);
        check("a.test", Kind::A, |it| it[1] = 8, Reply::Stray);
        check("a.test", Kind::A, |it| it[2] &= 0x7f, Reply::Stray);
        check("a.test", Kind::A, |it| it[13] = b'b', Reply::Stray);
        check(
            "a.test",
            Kind::A,
            |it| it[13] = b'A',
            Reply::Failed(Failure::Other),
        );
        check("a.test", Kind::A, |it| it.truncate(5), Reply::Stray);
        // Of another name, and cut short.
        let others = |it: &mut Vec<u8>| {
            a_record(it);
            let at = it.len() - 15;
            it[at] = 14;
        };
        check("a.test", Kind::A, others, Reply::Failed(Failure::Other));
        let cut = |it: &mut Vec<u8>| {
            a_record(it);
            it.pop();
        };
        check("a.test", Kind::A, cut, Reply::Failed(Failure::Other));
        // An alias of itself.
        let circle = |it: &mut Vec<u8>| {
            it[7] += 1;
            it.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 2, 0xc0, 12]);
            a_record(it);
        };
        check("a.test", Kind::A, circle, Reply::Failed(Failure::Other));
    }

    #[test]
    fn names_that_are_none_are_not_asked_for() {
        assert_eq!(question("a..b", Kind::A, 1, 512), None);
        assert_eq!(question(&"x".repeat(64), Kind::A, 1, 512), None);
    }
}
