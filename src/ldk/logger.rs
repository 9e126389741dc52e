//! The warnings of peers, which LDK tells its logger alone.

use std::fmt::{self, Write};
use std::ops::Deref;
use std::sync::Arc;

use lightning::util::logger::{Level, Logger, Record};

use crate::service::Engine;

/// LDK 0.2's `PeerManager` at a `warning` (type 1), followed by the peer's id, a colon and the text.
const PREFIX: &str = "Got warning message from ";
const MODULE: &str = "lightning::ln::peer_handler";
/// So much of a line is looked at; the texts that matter stand at the beginning.
const LONGEST_LINE: usize = 400;

/// Reads the warnings of peers out of LDK's log, and passes every record on.
///
/// Made by [`PeerStorage::logger`](crate::service::PeerStorage::logger) around the node's own, and
/// given to the `PeerManager` in its place. Without it a peer that keeps 1024 bytes at most is found
/// out two connections later, and one that refuses not at all. It sees warnings even if the inner
/// logger drops debug lines, unless LDK was built with one of its `max_level_` features. No other
/// line is ever formatted here: traces hold whole messages.
///
/// LDK logs with its own locks held. What a warning leads to here takes the exchange's lock, which is
/// never held while LDK is called or waited for.
pub struct WarningLogger<L> {
    inner: L,
    engine: Arc<Engine>,
}

impl<L> WarningLogger<L> {
    pub(crate) fn new(engine: Arc<Engine>, inner: L) -> Self {
        WarningLogger { inner, engine }
    }
}

impl<L: Deref> Logger for WarningLogger<L>
where
    L::Target: Logger,
{
    fn log(&self, record: Record) {
        if record.level == Level::Debug && record.module_path == MODULE {
            if let (Some(peer), Some(text)) = (record.peer_id, warning(record.args)) {
                self.engine.warning_received(peer, &text);
            }
        }
        self.inner.log(record);
    }
}

/// The text of a warning, if the line tells of one.
fn warning(args: fmt::Arguments<'_>) -> Option<String> {
    let mut line = Line::default();
    // Fails on purpose as soon as the rest does not matter.
    let _ = line.write_fmt(args);
    text_of(&line.text).map(str::to_owned)
}

/// The text of a warning, if a line of this module tells of one.
pub(super) fn warning_in_line<'a>(module_path: &str, line: &'a str) -> Option<&'a str> {
    text_of(line).filter(|_| module_path == MODULE)
}

fn text_of(line: &str) -> Option<&str> {
    let (_peer, text) = line.strip_prefix(PREFIX)?.split_once(": ")?;
    Some(text)
}

/// The beginning of a line that may tell of a warning; nothing more is formatted.
#[derive(Default)]
struct Line {
    text: String,
}

impl Write for Line {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        self.text.push_str(part);
        let compared = self.text.len().min(PREFIX.len());
        let matches = self.text.as_bytes()[..compared] == PREFIX.as_bytes()[..compared];
        if !matches || self.text.len() > LONGEST_LINE {
            return Err(fmt::Error);
        }
        Ok(())
    }
}

impl<L> fmt::Debug for WarningLogger<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WarningLogger").finish_non_exhaustive()
    }
}

/// Where no log is wanted: LDK's names channels and transactions (safety rule 13).
pub(crate) struct NoLog;

impl Logger for NoLog {
    fn log(&self, _: Record) {}
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_read_and_other_lines_are_not_formatted() {
        let peer = "02".repeat(33);
        let text = "Supports only data up to 1024 bytes in peer storage.";
        let read = warning(format_args!("Got warning message from {peer}: {text}"));
        assert_eq!(read.as_deref(), Some(text));
        assert_eq!(
            warning(format_args!("Got Err message from {peer}: {text}")),
            None
        );

        struct Blob;
        impl fmt::Display for Blob {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                panic!("formatted")
            }
        }
        assert_eq!(warning(format_args!("Received message {Blob}")), None);
    }

    #[test]
    fn a_text_may_hold_what_looks_like_the_end_of_the_peer() {
        let read = warning(format_args!("{PREFIX}02aa: a: b"));
        assert_eq!(read.as_deref(), Some("a: b"));
    }
}
