//! How far a recovery is: bars on a terminal, lines elsewhere, events for programs.

use std::collections::BTreeMap;
use std::mem::Discriminant;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use ldk_peer_storage::recovery::chain::ChainError;
use ldk_peer_storage::recovery::{
    ChannelProgress, Progress, RecoveryError, RecoveryEvent, Stage, Way, WhyLeft,
};
use serde_json::{json, Value};

use super::{end, sums};
use crate::channels::{json as ids_json, name};
use crate::output::{spinner_style, Output};

/// Clones share it.
#[derive(Clone)]
pub struct Watch(Arc<Inner>);

struct Inner {
    output: Output,
    bars: MultiProgress,
    shown: Mutex<Shown>,
}

#[derive(Default)]
struct Shown {
    /// A bar for each channel, by its place among those agreed to.
    channels: BTreeMap<usize, ProgressBar>,
    sums: Option<ProgressBar>,
    /// What was told last.
    progress: Option<Progress>,
    trouble: Trouble,
}

/// The trouble that was told last. It is told when it begins and when it becomes one of another kind, not
/// each time that it is met: its words may be other ones in each round.
#[derive(Default)]
struct Trouble(Option<Discriminant<ChainError>>);

impl Trouble {
    fn is_news(&mut self, met: Option<&ChainError>) -> bool {
        let met = met.map(std::mem::discriminant);
        let before = std::mem::replace(&mut self.0, met);
        met.is_some() && met != before
    }
}

impl Watch {
    pub fn new(output: &Output) -> Watch {
        let target = match output.is_json() {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr(),
        };
        Watch(Arc::new(Inner {
            output: Output::new(output.is_json()),
            bars: MultiProgress::with_draw_target(target),
            shown: Mutex::default(),
        }))
    }

    /// Something has happened.
    pub fn event(&self, event: &RecoveryEvent) {
        self.say(&told(event));
        let (name, fields) = fields(event);
        self.0.output.event(name, fields);
    }

    /// A round is over.
    pub fn progress(&self, progress: &Progress) {
        let mut shown = self.shown();
        if !self.0.bars.is_hidden() {
            self.draw(&mut shown, progress);
        }
        let is_news = shown.progress.as_ref().is_none_or(|before| {
            let same = |p: &Progress| (p.channels.clone(), p.found_sat, p.recovered_sat, p.done);
            same(before) != same(progress)
        });
        let trouble = progress.trouble.as_ref();
        let trouble = trouble.filter(|_| shown.trouble.is_news(trouble));
        shown.progress = Some(progress.clone());
        drop(shown);
        if let Some(trouble) = trouble {
            self.tell_trouble(&trouble.clone().into());
        }
        if is_news {
            let mut fields = sums(progress);
            fields["channels"] = progress.channels.iter().map(channel).collect();
            self.0.output.event("progress", fields);
        }
    }

    /// A round came to nothing, since the chain source does not answer at present.
    pub fn trouble(&self, error: &RecoveryError) {
        let is_news = match error {
            RecoveryError::Chain(error) => self.shown().trouble.is_news(Some(error)),
            _ => true,
        };
        if is_news {
            self.tell_trouble(error);
        }
    }

    fn tell_trouble(&self, error: &RecoveryError) {
        self.say(&format!("{error}; it is tried again"));
        let fields = json!({ "error": error.to_string() });
        self.0.output.event("trouble", fields);
    }

    /// All is over.
    pub fn done(&self, progress: &Progress) {
        let mut shown = self.shown();
        for bar in shown.channels.values().chain(&shown.sums) {
            bar.finish_and_clear();
        }
        shown.channels.clear();
        drop(shown);
        let kept = &progress.kept;
        let word = match kept.is_empty() {
            true => "Done",
            false => "Ended, but not everything came",
        };
        self.0.output.say(format!(
            "{word}: {} sat have arrived, {} sat were paid in fees.",
            progress.recovered_sat, progress.fees_sat
        ));
        if progress.left_sat > 0 {
            let left = progress.left_sat;
            self.0
                .output
                .say(format!("{left} sat are left: nobody can sweep them."));
        }
        kept.iter()
            .for_each(|kept| self.0.output.say(end::words(kept)));
        let mut fields = sums(progress);
        fields["left_behind"] = kept.iter().map(end::json).collect();
        self.0.output.event("done", fields);
    }

    /// Above the bars, where there are any.
    fn say(&self, words: &str) {
        match self.0.bars.is_hidden() {
            true => self.0.output.say(words),
            false => drop(self.0.bars.println(words)),
        }
    }

    fn draw(&self, shown: &mut Shown, progress: &Progress) {
        for (place, channel) in progress.channels.iter().enumerate() {
            let bar = shown.channels.entry(place).or_insert_with(|| {
                let bar = ProgressBar::new(STEPS).with_style(channel_style());
                self.0.bars.add(bar.with_prefix(name(&channel.ids)))
            });
            bar.set_position(steps(channel.stage));
            bar.set_message(words(channel));
        }
        let sums = shown.sums.get_or_insert_with(|| {
            let bar = ProgressBar::new_spinner().with_style(spinner_style());
            let bar = self.0.bars.add(bar);
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        sums.set_message(format!(
            "{} sat found, {} sat arrived, {} sat fees. Can be ended at any time.",
            progress.found_sat, progress.recovered_sat, progress.fees_sat
        ));
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.0.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From open to over.
const STEPS: u64 = 4;

fn steps(stage: Stage) -> u64 {
    match stage {
        Stage::Open => 0,
        Stage::Closing(_) => 1,
        Stage::Closed(_) => 2,
        Stage::Swept(_) | Stage::NothingOfOurs(_) => 3,
        Stage::Over => STEPS,
    }
}

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Open => "open",
        Stage::Closing(_) => "closing",
        Stage::Closed(_) => "closed",
        Stage::Swept(_) => "swept",
        Stage::NothingOfOurs(_) => "nothing_of_ours",
        Stage::Over => "over",
    }
}

fn words(channel: &ChannelProgress) -> String {
    match channel.stage {
        Stage::Open if channel.unreached > 0 => {
            format!(
                "the peer was not reached, {} times in a row",
                channel.unreached
            )
        }
        Stage::Open => format!("waits for the peer, asked {} times", channel.asked),
        stage => after_close(stage, channel.ours_sat),
    }
}

fn after_close(stage: Stage, ours_sat: u64) -> String {
    match (stage, ours_sat) {
        (Stage::Open | Stage::Closing(_), _) => "the close waits for a block".to_owned(),
        (Stage::NothingOfOurs(_), _) | (Stage::Closed(_) | Stage::Swept(_), 0) => {
            "closed, nothing of yours is found in it yet, waits for blocks".to_owned()
        }
        (Stage::Closed(_), sat) => format!("closed, {sat} sat are yours"),
        (Stage::Swept(_), sat) => format!("{sat} sat swept, waits for blocks"),
        (Stage::Over, 0) => "over, nothing of yours was found in it".to_owned(),
        (Stage::Over, _) => "over".to_owned(),
    }
}

fn channel_style() -> ProgressStyle {
    let style = ProgressStyle::with_template("{prefix}  [{bar:12}]  {msg}");
    style.unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn channel(channel: &ChannelProgress) -> Value {
    json!({
        "channel": ids_json(&channel.ids),
        "peer": channel.peer,
        "stage": stage_name(channel.stage),
        "ours_sat": channel.ours_sat,
        "asked": channel.asked,
        "unreached": channel.unreached,
    })
}

/// For the person, with the names that a log must not hold.
fn told(event: &RecoveryEvent) -> String {
    match event {
        RecoveryEvent::Asked { peer, .. }
        | RecoveryEvent::NotReached { peer, .. }
        | RecoveryEvent::NotNamed { peer, .. } => format!("{event} ({peer})"),
        RecoveryEvent::Closing { channel, txid } | RecoveryEvent::Closed { channel, txid, .. } => {
            format!("{event} ({}, by {txid})", name(channel))
        }
        RecoveryEvent::Reopened { channel }
        | RecoveryEvent::NothingOfOurs { channel }
        | RecoveryEvent::OverByScript { channel }
        | RecoveryEvent::Over { channel } => format!("{event} ({})", name(channel)),
        RecoveryEvent::Sweeping { txid, .. }
        | RecoveryEvent::SweepStuck { txid }
        | RecoveryEvent::SweepRefused { txid, .. } => format!("{event} ({txid})"),
        RecoveryEvent::SweepToOldAddress { txid, needs } => format!(
            "a sweep to the address before cannot be replaced: --plan-again --highest-fee-rate {} \
             would do it ({txid})",
            needs.to_sat_per_vb_ceil()
        ),
        other => other.to_string(),
    }
}

fn fields(event: &RecoveryEvent) -> (&'static str, Value) {
    match event {
        RecoveryEvent::Asked { peer, way } => {
            let way = match way {
                Way::Error => "error",
                Way::BogusReestablish => "channel_reestablish",
            };
            ("asked", json!({ "peer": peer, "way": way }))
        }
        RecoveryEvent::NotReached { peer, times, why } => (
            "not_reached",
            json!({ "peer": peer, "times": times, "why": why }),
        ),
        RecoveryEvent::Closing { channel, txid } => (
            "closing",
            json!({ "channel": ids_json(channel), "txid": txid }),
        ),
        RecoveryEvent::Closed {
            channel,
            txid,
            ours_sat,
        } => (
            "closed",
            json!({ "channel": ids_json(channel), "txid": txid, "ours_sat": ours_sat }),
        ),
        RecoveryEvent::Reopened { channel } => {
            ("reopened", json!({ "channel": ids_json(channel) }))
        }
        RecoveryEvent::Sweeping {
            txid,
            sat,
            fee_sat,
            raised,
        } => (
            "sweeping",
            json!({ "txid": txid, "sat": sat, "fee_sat": fee_sat, "raised": raised }),
        ),
        RecoveryEvent::SweepStuck { txid } => ("sweep_stuck", json!({ "txid": txid })),
        RecoveryEvent::NotNamed { peer, times } => {
            ("not_named", json!({ "peer": peer, "times": times }))
        }
        RecoveryEvent::SweepToOldAddress { txid, needs } => (
            "sweep_to_old_address",
            json!({ "txid": txid, "needs_sat_per_vb": needs.to_sat_per_vb_ceil() }),
        ),
        RecoveryEvent::SweepRefused { txid, reason } => {
            ("sweep_refused", json!({ "txid": txid, "reason": reason }))
        }
        RecoveryEvent::NothingOfOurs { channel } => {
            ("nothing_of_ours", json!({ "channel": ids_json(channel) }))
        }
        RecoveryEvent::Over { channel } => ("over", json!({ "channel": ids_json(channel) })),
        RecoveryEvent::OverByScript { channel } => {
            ("over_by_script", json!({ "channel": ids_json(channel) }))
        }
        RecoveryEvent::TooDear { sat, below } => (
            "too_dear",
            json!({ "sat": sat, "below_sat_per_vb": below.to_sat_per_vb_ceil() }),
        ),
        RecoveryEvent::Left { sat, why } => {
            let why = match why {
                WhyLeft::TooSmall => "too_small",
                WhyLeft::NotInChain => "not_in_chain",
                WhyLeft::NoKey => "no_key",
                _ => "other",
            };
            ("left", json!({ "sat": sat, "why": why }))
        }
        other => ("other", json!({ "words": other.to_string() })),
    }
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;
    use bitcoin::Txid;

    use super::*;

    #[test]
    fn a_close_without_anything_of_the_person_is_not_told_as_a_sweep() {
        let txid = Txid::all_zeros();
        let none = Stage::NothingOfOurs(txid);
        for stage in [none, Stage::Closed(txid), Stage::Swept(txid), Stage::Over] {
            let words = after_close(stage, 0);
            assert!(words.contains("nothing of yours"), "{words}");
            assert!(!words.contains("swept") && !words.contains("0 sat"));
        }
        assert!(after_close(Stage::Swept(txid), 7).contains("7 sat swept"));
    }

    #[test]
    fn trouble_is_told_when_it_begins_and_not_in_each_round() {
        let (away, again) = (ChainError::unreachable("a"), ChainError::unreachable("b"));
        let mut trouble = Trouble::default();
        assert!(!trouble.is_news(None));
        assert!(trouble.is_news(Some(&away)));
        assert!(!trouble.is_news(Some(&away)));
        assert!(!trouble.is_news(Some(&again)), "in other words");
        let invalid = ChainError::invalid("a");
        assert!(trouble.is_news(Some(&invalid)));
        assert!(!trouble.is_news(None));
        assert!(trouble.is_news(Some(&invalid)), "it had passed");
    }
}
