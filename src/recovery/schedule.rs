//! When a peer is asked to close next, and how. Pure.
//!
//! One attempt a connection, alternating between the two ways, with pauses that grow: a peer that
//! acts on neither today may after its next update, and one that is offline comes back. The chain alone
//! says whether it has closed.

use std::time::Duration;

use super::journal::{Attempts, Way};
use crate::exchange::Time;

/// Between the first attempt and the second: the first has failed if the close is not to be seen.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// Pauses double up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(6 * 60 * 60);
/// And up to this where nobody answers.
const LONGEST_REDIAL_PAUSE: Duration = Duration::from_secs(60 * 60);

/// The next attempt after those made so far, and when it is due; none: at once.
pub(super) fn next(attempts: &Attempts) -> (Way, Option<Time>) {
    let made = attempts.asked.len();
    let (way, asked_again) = match attempts.asked.last() {
        None => (Way::Error, None),
        Some((Way::Error, at)) => (Way::BogusReestablish, Some(at.after(pause(made)))),
        Some((Way::BogusReestablish, at)) => (Way::Error, Some(at.after(pause(made)))),
    };
    let unreached = attempts.unreached;
    let tried_again = unreached.map(|(times, at)| at.after(redial_pause(times)));
    (way, asked_again.max(tried_again))
}

/// How long the chain is not asked again for a funding output that was not found so many times.
pub(super) fn look_again(times: usize) -> Duration {
    doubled(times).min(LONGEST_PAUSE)
}

/// How long the search by scripts rests after so many. It is long.
pub(super) fn search_again(times: usize) -> Duration {
    (10 * doubled(times)).min(LONGEST_PAUSE)
}

fn pause(attempts: usize) -> Duration {
    doubled(attempts).min(LONGEST_PAUSE)
}

/// Who is offline is not asked less for it once it is back.
fn redial_pause(times: u32) -> Duration {
    doubled(times as usize).min(LONGEST_REDIAL_PAUSE)
}

fn doubled(times: usize) -> Duration {
    FIRST_PAUSE * 2u32.pow(times.saturating_sub(1).min(16) as u32)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_two_ways_alternate_with_pauses_that_grow_to_six_hours() {
        let mut attempts = Attempts::default();
        let mut now = Time(0);
        let mut pauses = Vec::new();
        for round in 0..20 {
            let (way, at) = next(&attempts);
            assert_eq!(way == Way::Error, round % 2 == 0);
            if let Some(at) = at {
                pauses.push(at.since(now));
                now = at;
            }
            attempts.asked.push((way, now));
        }
        assert_eq!(pauses[0], Duration::from_secs(60));
        assert!(pauses.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!(*pauses.last().unwrap(), LONGEST_PAUSE);
        // A fortnight holds enough attempts of both ways.
        assert!(now.since(Time(0)) < Duration::from_secs(14 * 24 * 60 * 60));
    }

    #[test]
    fn a_peer_that_is_offline_is_tried_every_hour_and_in_the_same_way() {
        let day = Duration::from_secs(24 * 60 * 60);
        let now = Time(0).after(day);
        let mut attempts = Attempts {
            asked: vec![(Way::Error, Time(0))],
            unreached: Some((50, now)),
        };
        let (way, at) = next(&attempts);
        assert_eq!(way, Way::BogusReestablish);
        assert_eq!(at.unwrap().since(now), LONGEST_REDIAL_PAUSE);
        attempts.unreached = None;
        assert_eq!(next(&attempts).1.unwrap().since(Time(0)), FIRST_PAUSE);
    }
}
