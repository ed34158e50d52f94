//! A scripted nameserver over UDP and TCP on one port: it says what it is told to say, and may lie.
//!
//! Its bytes are written by hand, so that what the balancer reads was not written by the same code.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

const A: u16 = 1;
const SRV: u16 = 33;
const AAAA: u16 = 28;
const HEADER_LEN: usize = 12;
const TTL: [u8; 4] = [0, 0, 0, 5];

/// What it says of a name.
#[derive(Debug, Clone)]
pub enum Says {
    /// It has these addresses.
    Addresses(Vec<IpAddr>),
    /// It has these services: weight, port, host.
    Services(Vec<(u16, u16, String)>),
    /// This response code: 2 failure, 3 no such name, 5 refused.
    Code(u8),
    /// Nothing.
    Silence,
    /// These addresses, under another id.
    WrongId(Vec<IpAddr>),
    /// These addresses, as the answer to another question.
    WrongName(Vec<IpAddr>),
    /// These addresses, from another port.
    WrongPort(Vec<IpAddr>),
    /// These addresses, by TCP only; by UDP that there are too many.
    TooLong(Vec<IpAddr>),
    /// Bytes that are no message.
    Noise,
}

impl Says {
    /// One address.
    pub fn address(ip: &str) -> Self {
        Self::Addresses(vec![ip.parse().unwrap()])
    }

    /// Services: weight, port, host.
    pub fn services(services: &[(u16, u16, &str)]) -> Self {
        let services = services
            .iter()
            .map(|(w, p, host)| (*w, *p, (*host).to_owned()));
        Self::Services(services.collect())
    }
}

type Names = Arc<Mutex<HashMap<String, Says>>>;

/// The nameserver. Names it was told nothing of do not exist.
pub struct Nameserver {
    address: SocketAddr,
    names: Names,
    asked: Arc<Mutex<Vec<(String, u16)>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Nameserver {
    /// Binds a free port on 127.0.0.1.
    pub async fn start() -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let liar = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = udp.local_addr().unwrap();
        let (names, asked) = (Names::default(), Arc::new(Mutex::new(Vec::new())));
        let (told, kept) = (names.clone(), asked.clone());
        let by_udp = tokio::spawn(async move {
            let mut buffer = vec![0; 65_536];
            while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
                let question = &buffer[..length];
                let says = say(&told, &kept, question);
                let socket = match says {
                    Says::WrongPort(_) => &liar,
                    _ => &udp,
                };
                if let Some(answer) = answer(question, &says, true) {
                    socket.send_to(&answer, from).await.unwrap();
                }
            }
        });
        let (told, kept) = (names.clone(), asked.clone());
        let by_tcp = tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let Ok(length) = stream.read_u16().await else {
                    continue;
                };
                let mut question = vec![0; length.into()];
                stream.read_exact(&mut question).await.unwrap();
                if let Some(answer) = answer(&question, &say(&told, &kept, &question), false) {
                    let length = u16::try_from(answer.len()).unwrap();
                    stream.write_u16(length).await.unwrap();
                    stream.write_all(&answer).await.unwrap();
                }
            }
        });
        Self {
            address,
            names,
            asked,
            tasks: vec![by_udp, by_tcp],
        }
    }

    /// Where to ask.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it says this of a name.
    pub fn say(&self, name: &str, says: Says) {
        self.names.lock().unwrap().insert(name.to_owned(), says);
    }

    /// The questions so far: names, and types by number.
    pub fn asked(&self) -> Vec<(String, u16)> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Nameserver {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn say(names: &Names, asked: &Mutex<Vec<(String, u16)>>, question: &[u8]) -> Says {
    let (name, kind, _) = read(question);
    asked.lock().unwrap().push((name.clone(), kind));
    let names = names.lock().unwrap();
    names.get(&name).cloned().unwrap_or(Says::Code(3))
}

/// The name, the type, and where the question ends.
fn read(question: &[u8]) -> (String, u16, usize) {
    let mut at = HEADER_LEN;
    let mut labels = Vec::new();
    while question[at] > 0 {
        let end = at + 1 + usize::from(question[at]);
        labels.push(String::from_utf8_lossy(&question[at + 1..end]).into_owned());
        at = end;
    }
    let kind = u16::from_be_bytes([question[at + 1], question[at + 2]]);
    (labels.join("."), kind, at + 5)
}

fn answer(question: &[u8], says: &Says, by_udp: bool) -> Option<Vec<u8>> {
    let (_, kind, end) = read(question);
    // Without what stands behind the question.
    let mut bytes = question[..end].to_vec();
    bytes[2] |= 0x80;
    bytes[8..HEADER_LEN].fill(0);
    let mut records: Vec<Vec<u8>> = Vec::new();
    match says {
        Says::Silence => return None,
        Says::Noise => return Some(vec![0xff; 40]),
        Says::Code(code) => bytes[3] |= code,
        Says::TooLong(_) if by_udp => bytes[2] |= 2,
        Says::Services(services) if kind == SRV => {
            records.extend(services.iter().map(|(weight, port, host)| {
                let mut data = vec![0, 1];
                data.extend(weight.to_be_bytes());
                data.extend(port.to_be_bytes());
                for label in host.split('.') {
                    data.push(u8::try_from(label.len()).unwrap());
                    data.extend(label.bytes());
                }
                data.push(0);
                data
            }));
        }
        Says::Services(_) => {}
        Says::Addresses(ips)
        | Says::WrongId(ips)
        | Says::WrongName(ips)
        | Says::WrongPort(ips)
        | Says::TooLong(ips) => records.extend(ips.iter().filter_map(|ip| match ip {
            IpAddr::V4(ip) => (kind == A).then(|| ip.octets().to_vec()),
            IpAddr::V6(ip) => (kind == AAAA).then(|| ip.octets().to_vec()),
        })),
    }
    match says {
        Says::WrongId(_) => bytes[0] ^= 0xff,
        Says::WrongName(_) => bytes[HEADER_LEN + 1] ^= 1,
        _ => {}
    }
    bytes[6..8].copy_from_slice(&u16::try_from(records.len()).unwrap().to_be_bytes());
    for data in records {
        bytes.extend([0xc0, u8::try_from(HEADER_LEN).unwrap()]);
        bytes.extend(kind.to_be_bytes());
        bytes.extend([0, 1]);
        bytes.extend(TTL);
        bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        bytes.extend(data);
    }
    Some(bytes)
}
