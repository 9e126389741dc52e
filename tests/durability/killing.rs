//! `kill -9`, and how long a process could do something before it.
//!
//! What was accepted 100 ms before is durable, and that is measured strictly. But a machine with more to do than it has
//! processors may not let a process run at all for so long: time in which a thread of it stood ready and was not
//! let is left out, as Linux counts it for each thread (`/proc/PID/task/*/schedstat`). Elsewhere none is.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// What was accepted so long before is durable.
const ACCEPTED: Duration = Duration::from_millis(100);
/// A process that was told to stop has.
const STOPS: Duration = Duration::from_secs(5);

/// A moment in the life of a process.
#[derive(Clone, Copy)]
pub struct Moment {
    at: Instant,
    /// For how long its threads were not let run until then, together.
    kept_waiting: Duration,
}

impl Moment {
    pub fn now(process: u32) -> Moment {
        Moment {
            at: Instant::now(),
            kept_waiting: kept_waiting(process),
        }
    }

    /// Whether what was accepted at this moment has to be durable at that one.
    pub fn is_in_time_for(&self, end: &Moment) -> bool {
        self.had_until(end) > ACCEPTED
    }

    /// Whether the process has had so long since then; or five times as long has passed.
    pub fn is_over(&self, after: Duration, process: u32) -> bool {
        let now = Moment::now(process);
        self.had_until(&now) >= after || now.at >= self.at + after * 5
    }

    /// How long the process could do something.
    fn had_until(&self, end: &Moment) -> Duration {
        let span = end.at.saturating_duration_since(self.at);
        let kept_waiting = end.kept_waiting.saturating_sub(self.kept_waiting);
        span.saturating_sub(kept_waiting)
    }
}

/// Kills it. When: at the latest.
pub fn kill(child: &mut Child) -> Moment {
    let at = Instant::now();
    // How long a thread waits is known when it does no longer. It does nothing more after this.
    stop(child.id());
    let kept_waiting = kept_waiting(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    Moment { at, kept_waiting }
}

/// Where a process that will be killed leaves something: in memory where there is such a place. A kill takes nothing
/// from the one that a disk would keep, and no other program's writes are waited for.
pub fn home() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

fn stop(process: u32) {
    let told = Command::new("kill")
        .args(["-STOP", &process.to_string()])
        .status();
    assert!(told.unwrap().success());
    let end = Instant::now() + STOPS;
    // After the name in brackets.
    let goes_on = |stat: String| {
        let state = stat.rsplit(')').next().map(str::trim_start);
        !state.is_some_and(|state| state.starts_with(['T', 't', 'Z', 'X']))
    };
    while of_its_threads(process, "stat").into_iter().any(goes_on) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn kept_waiting(process: u32) -> Duration {
    let nanoseconds = |text: String| -> Option<u64> { text.split(' ').nth(1)?.parse().ok() };
    let all = of_its_threads(process, "schedstat");
    Duration::from_nanos(all.into_iter().filter_map(nanoseconds).sum())
}

/// This file of each of its threads.
fn of_its_threads(process: u32, name: &str) -> Vec<String> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task"));
    let threads = threads.into_iter().flatten().flatten();
    let read = |thread: std::fs::DirEntry| std::fs::read_to_string(thread.path().join(name)).ok();
    threads.filter_map(read).collect()
}
