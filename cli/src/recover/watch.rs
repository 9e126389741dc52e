//! How far a recovery is: bars on a terminal, lines elsewhere, events for programs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use ldk_peer_storage::recovery::{
    ChannelProgress, Progress, RecoveryError, RecoveryEvent, Stage, Way,
};
use serde_json::{json, Value};

use super::sums;
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
        let before = shown.progress.as_ref().and_then(|p| p.trouble.clone());
        let trouble = progress
            .trouble
            .clone()
            .filter(|now| Some(now) != before.as_ref());
        shown.progress = Some(progress.clone());
        drop(shown);
        if let Some(trouble) = trouble {
            self.trouble(&trouble.into());
        }
        if is_news {
            let mut fields = sums(progress);
            fields["channels"] = progress.channels.iter().map(channel).collect();
            self.0.output.event("progress", fields);
        }
    }

    /// The chain source does not answer at present.
    pub fn trouble(&self, error: &RecoveryError) {
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
        self.0.output.say(format!(
            "Done: {} sat have arrived, {} sat were paid in fees.",
            progress.recovered_sat, progress.fees_sat
        ));
        self.0.output.event("done", sums(progress));
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
        Stage::Closing(_) => "the close waits for a block".to_owned(),
        Stage::Closed(_) => format!("closed, {} sat are yours", channel.ours_sat),
        Stage::Swept(_) => format!("{} sat swept, waits for blocks", channel.ours_sat),
        Stage::NothingOfOurs(_) => "closed, and nothing in it is known to be yours".to_owned(),
        Stage::Over => "over".to_owned(),
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
            json!({ "txid": txid, "needs": needs.to_sat_per_vb_ceil() }),
        ),
        RecoveryEvent::SweepRefused { txid, reason } => {
            ("sweep_refused", json!({ "txid": txid, "reason": reason }))
        }
        RecoveryEvent::NothingOfOurs { channel } => {
            ("nothing_of_ours", json!({ "channel": ids_json(channel) }))
        }
        RecoveryEvent::Over { channel } => ("over", json!({ "channel": ids_json(channel) })),
        other => ("other", json!({ "words": other.to_string() })),
    }
}
