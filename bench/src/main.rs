//! What tidegate costs beside its peers: processor time per message, connection and request, memory
//! per idle socket. Every proxy does the same job with the same things on; rounds are interleaved,
//! the order in each is drawn, and what is compared is the ratio to HAProxy in the same round.
//!
//! A run whose counts do not match is no result: it ends the bench with what went wrong.

mod client;
mod copy_loop;
mod frames;
mod goals;
mod node;
mod options;
mod peers;
mod process;
mod publish;
mod report;
mod results;
mod rounds;
mod updates;
mod workload;

use std::fs;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, ensure};
use rustls::pki_types::CertificateDer;
use tokio::task::LocalSet;

use options::Options;
use peers::Setup;
use results::Results;
use rounds::Bench;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, command, listen, target] = arguments.as_slice()
        && command == "copy-loop"
    {
        return copy_loop::run(listen.parse()?, target.parse()?);
    }
    let Some(options) = Options::parse()? else {
        return Ok(());
    };
    raise_descriptor_limit()?;
    process::pin_generator()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, measure(&options))
}

/// 9,000 sockets are as many descriptors here, and twice as many in the proxy, which inherits the
/// limit.
fn raise_descriptor_limit() -> Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    ensure!(
        hard >= 20_000,
        "a process may open {hard} descriptors here, 20000 are needed"
    );
    Ok(())
}

/// Measures, and tells what there is even when it did not come to its end.
async fn measure(options: &Options) -> Result<()> {
    let folder = tempfile::Builder::new()
        .prefix("tidegate-bench-")
        .tempdir()?;
    // Kept bound and never read.
    let log = UdpSocket::bind("127.0.0.1:0")?;
    let (certificate, authority) = certificate(folder.path())?;
    let setup = Setup {
        folder: folder.path().to_owned(),
        certificate,
        log: log.local_addr()?,
    };
    let about = about(options)?;
    let mut results = Results::default();
    let bench = Bench {
        options,
        setup: &setup,
        authority: &authority,
    };
    let measured = bench.run(&mut results).await;
    let text = report::text(&results, options);
    for line in &about {
        println!("{line}");
    }
    println!("\n{text}");
    measured?;
    publish::write(options, &results, &about, &text)
}

/// A certificate for [`client::NAME`] with its key in one file, and the authority that signed it.
fn certificate(folder: &Path) -> Result<(PathBuf, CertificateDer<'static>)> {
    let certified = rcgen::generate_simple_self_signed([client::NAME.to_owned()])?;
    let path = folder.join("cert.pem");
    let pem = certified.cert.pem() + &certified.signing_key.serialize_pem();
    fs::write(&path, pem)?;
    Ok((path, certified.cert.der().clone()))
}

/// When, where and what was measured.
fn about(options: &Options) -> Result<Vec<String>> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cpus = fs::read_to_string("/proc/cpuinfo")?;
    let models = cpus
        .lines()
        .filter_map(|line| line.strip_prefix("model name"));
    let model = models.clone().next().unwrap_or(": unknown processor");
    let mut about = vec![
        format!(
            "{}, {} rounds of {:?}",
            jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC"),
            options.rounds,
            options.plan.measured
        ),
        format!(
            "Linux {}, {} ×{}",
            kernel.trim(),
            model.trim_start_matches(['\t', ' ', ':']),
            models.count()
        ),
    ];
    for peer in &options.peers {
        about.extend(peer.version()?);
    }
    Ok(about)
}
