//! Reloading HAProxy through its master's socket (management.txt 9.4): the last resort, since every reload
//! leaves a process behind until its last WebSocket has ended.

use std::time::Duration;

use super::file::essence;
use super::socket::{ANSWER_TIME_MAX, NoAnswer, Place, RELOAD_TIME_MAX, ask_master};
use tokio::time::{Instant, sleep};

/// How often it is looked whether the new process is there.
const LOOK: Duration = Duration::from_millis(100);

/// Reloads, and waits until the new process runs. Fails with a line for the operator; then the old
/// process goes on.
pub(super) async fn reload(master: &Place) -> Result<(), String> {
    let before = processes(master).await.map_err(|why| why.to_string())?;
    let begun = Instant::now();
    // 2.6 hangs up when it starts itself anew; later versions say what came of it.
    match ask_master(master, "reload", RELOAD_TIME_MAX).await {
        Ok(answer) if answer.starts_with("Success=0") => return Err(essence(&answer)),
        Ok(answer) if answer.contains("Permission denied") => return Err(essence(&answer)),
        Ok(_) | Err(NoAnswer::Io(..)) => {}
        Err(late) => return Err(late.to_string()),
    }
    while begun.elapsed() < RELOAD_TIME_MAX {
        match processes(master).await {
            Ok(now) if now.failed > before.failed => {
                return Err("HAProxy could not load its configuration; its log says why".to_owned());
            }
            Ok(now) if now.worker.is_some() && now.worker != before.worker => return Ok(()),
            // The master is busy with itself.
            Ok(_) | Err(_) => sleep(LOOK).await,
        }
    }
    let limit = RELOAD_TIME_MAX.as_secs();
    Err(format!("no new process within {limit} s"))
}

/// What `show proc` says.
#[derive(Debug, PartialEq, Eq)]
struct Processes {
    failed: u64,
    worker: Option<u64>,
}

async fn processes(master: &Place) -> Result<Processes, NoAnswer> {
    let answer = ask_master(master, "show proc", ANSWER_TIME_MAX).await?;
    Ok(read(&answer))
}

fn read(answer: &str) -> Processes {
    let mut read = Processes {
        failed: 0,
        worker: None,
    };
    let lines = answer.lines().take_while(|line| *line != "# old workers");
    for line in lines {
        let mut words = line.split_ascii_whitespace();
        match (words.next().map(str::parse), words.next()) {
            (Some(Ok(_)), Some("master")) => {
                let failed = line
                    .split_once("[failed: ")
                    .and_then(|(_, rest)| rest.split_once(']'));
                read.failed = failed
                    .and_then(|(number, _)| number.parse().ok())
                    .unwrap_or(0);
            }
            (Some(Ok(pid)), Some("worker")) => read.worker = Some(pid),
            _ => {}
        }
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_masters_list_is_read() {
        let answer = "#<PID> <type> <reloads> <uptime> <version>\n1162 master 5 [failed: 2] 0d00h 2.6\n\
                      # workers\n1271 worker 1 0d00h 2.6\n# old workers\n1233 worker 3 0d00h 2.0\n\n";
        let expected = Processes {
            failed: 2,
            worker: Some(1271),
        };
        assert_eq!(read(answer), expected);
        assert_eq!(
            read("Permission denied\n"),
            Processes {
                failed: 0,
                worker: None
            }
        );
    }
}
