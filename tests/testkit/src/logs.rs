//! Watches what the crates under test log, at the most verbose level: a line that holds something private ends
//! the test program at once.
//!
//! It goes by how secrets look, so that it needs to know none: keys, seeds, ids and contents are long runs of
//! hexadecimal digits or lists of numbers, and address book entries are addresses with a port.

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Once;

use log::{LevelFilter, Log, Metadata, Record};

/// Watches this process from now on. Where the process has a logger already, nothing is watched.
pub fn watch() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        if log::set_logger(&Watch).is_ok() {
            log::set_max_level(LevelFilter::Trace);
        }
    });
}

/// How many lines of the crates under test were looked at in this process.
pub fn lines_seen() -> u64 {
    SEEN.load(Ordering::Relaxed)
}

/// What is private in a text, in a word. None: nothing.
pub fn private_in(text: &str) -> Option<&'static str> {
    if longest_run(text, |c| c.is_ascii_hexdigit()) >= HEX_DIGITS {
        return Some("a long run of hexadecimal digits");
    }
    if longest_list(text) >= NUMBERS {
        return Some("a list of numbers");
    }
    if text.split(is_boundary).any(is_address) {
        return Some("an address with a port");
    }
    None
}

/// 16 bytes: shorter than any key, id or hash, longer than any count or time.
const HEX_DIGITS: usize = 32;
const NUMBERS: usize = 16;

static SEEN: AtomicU64 = AtomicU64::new(0);

struct Watch;

impl Log for Watch {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let of = metadata.target().split("::").next().unwrap_or_default();
        of.starts_with("ldk_peer_storage") || of.starts_with("peer_storage")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        SEEN.fetch_add(1, Ordering::Relaxed);
        if let Some(private) = private_in(&record.args().to_string()) {
            let place = (record.file().unwrap_or("?"), record.line().unwrap_or(0));
            // Past the test runner, which keeps what is printed until a test ends.
            let _ = writeln!(
                std::io::stderr(),
                "safety rule 13: {private} was logged at {}:{}",
                place.0,
                place.1
            );
            // Not a panic: the threads that log survive those.
            std::process::abort();
        }
    }

    fn flush(&self) {}
}

fn longest_run(text: &str, is_part: impl Fn(char) -> bool) -> usize {
    text.split(|c| !is_part(c)).map(str::len).max().unwrap_or(0)
}

/// As `{:?}` writes an array of bytes.
fn longest_list(text: &str) -> usize {
    let (mut longest, mut length) = (0, 0);
    for word in text
        .split(|c: char| c.is_whitespace() || ",[]".contains(c))
        .filter(|word| !word.is_empty())
    {
        length = if word.parse::<u8>().is_ok() {
            length + 1
        } else {
            0
        };
        longest = longest.max(length);
    }
    longest
}

fn is_boundary(c: char) -> bool {
    c.is_whitespace() || "()<>,;\"'@".contains(c)
}

fn is_address(word: &str) -> bool {
    let Some((host, port)) = word.trim_end_matches(['.', ':']).rsplit_once(':') else {
        return false;
    };
    port.parse::<u16>().is_ok() && (host.contains('.') || host.ends_with(']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_private_is_seen_in_every_form() {
        let key = [171u8; 32];
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(private_in(&format!("the key is {hex}.")).is_some());
        assert!(private_in(&format!("{:?}", key)).is_some());
        assert!(private_in(&format!("{:#?}", key)).is_some());
        for address in [
            "127.0.0.1:9735",
            "[::1]:9735",
            "abc.onion:9735",
            "peer.example:9735",
        ] {
            assert!(
                private_in(&format!("no answer from {address}.")).is_some(),
                "{address}"
            );
            assert!(
                private_in(&format!("peer 02@{address}: gone")).is_some(),
                "{address}"
            );
        }
    }

    #[test]
    fn what_is_said_every_day_passes() {
        for line in [
            "store: opened with 17 slots in 3.2ms",
            "a blob of 65531 bytes cannot be sent",
            "cannot write to the data directory: database or disk is full: 13",
            "nothing",
            "",
        ] {
            assert_eq!(private_in(line), None, "{line}");
        }
    }
}
