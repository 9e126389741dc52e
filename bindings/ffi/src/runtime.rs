//! The threads of the SDK: one small runtime for the whole process.
//!
//! The core blocks, and callers in Kotlin and Swift await. So every asynchronous export hands its work to a
//! thread of this runtime and awaits the end of it:
//!
//! * a caller that no longer waits loses the answer and nothing else: the work goes on to its end;
//! * a panic in the work is an error for its caller, and for nobody else;
//! * what takes long cannot keep waiting what must be short: each [`Lane`] has places of its own, and there are
//!   as many threads as places in all lanes together.
//!
//! Idle threads end by themselves after a moment; the runtime's own wait without a timer.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use once_cell::sync::OnceCell;
use tokio::sync::Semaphore;
use tokio::task::JoinError;
use tokio::time::{timeout_at, Instant};

use crate::callbacks::lock;
use crate::errors::{Obstacle, PeerStorageError};

type Outcome<T> = Result<T, PeerStorageError>;

/// What kind of work it is, and so with what it shares its places.
#[derive(Clone, Copy)]
pub(crate) enum Lane {
    /// Waiting for the rest or the end of it all. Nothing else may keep it waiting.
    Leaving,
    /// Other calls with a budget that the system has given the app.
    Bounded,
    /// A read or a write of the data directory.
    Disk,
    /// Visits to peers, questions to the chain: seconds to minutes.
    Long,
}

/// In the order of [`Lane`].
const PLACES: [usize; 4] = [8, 8, 4, 4];

/// How long an idle thread stays.
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// A budget above this is cut: nobody means it.
const LONGEST_BUDGET: Duration = Duration::from_secs(24 * 60 * 60);

/// How much longer than its budget a call may take before it is left to itself. The core promises a second.
const SLACK: Duration = Duration::from_millis(1500);

struct Runtime {
    tokio: tokio::runtime::Runtime,
    places: [Arc<Semaphore>; PLACES.len()],
}

static RUNTIME: OnceCell<Runtime> = OnceCell::new();

fn runtime() -> Outcome<&'static Runtime> {
    RUNTIME.get_or_try_init(|| {
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(PLACES.iter().sum())
            .thread_keep_alive(KEEP_ALIVE)
            .thread_name("peer-storage-ffi")
            .enable_time()
            .build()
            .map_err(|error| PeerStorageError::internal(format!("no threads: {error}")))?;
        let places = PLACES.map(|places| Arc::new(Semaphore::new(places)));
        Ok(Runtime { tokio, places })
    })
}

/// Does `work` on a thread of the lane. It is done to its end also where nobody waits for it any more.
pub(crate) async fn run<T: Send + 'static>(
    lane: Lane,
    work: impl FnOnce() -> Outcome<T> + Send + 'static,
) -> Outcome<T> {
    let (answer, place) = Answer::new();
    on_a_thread(lane, Box::new(move || place.put(work()))).await?;
    answer.take()
}

/// The same for a call with a budget: `work` gets what is left of it when its turn comes. It returns within
/// the budget and a second and a half whatever the rest of the process does.
///
/// # Errors
/// [`Obstacle::Busy`] where it had no turn within the budget, or took longer. In the latter case it goes on.
pub(crate) async fn run_within<T: Send + 'static>(
    lane: Lane,
    budget: Duration,
    work: impl FnOnce(Duration) -> Outcome<T> + Send + 'static,
) -> Outcome<T> {
    let (answer, place) = Answer::new();
    within(lane, budget, Box::new(move |left| place.put(work(left)))).await?;
    answer.take()
}

/// The same as [`run`] for work that is alone with what it works on. Waiting for that takes no place.
pub(crate) async fn run_alone<S: Send + 'static, T: Send + 'static>(
    lane: Lane,
    with: Arc<tokio::sync::Mutex<S>>,
    work: impl FnOnce(&mut S) -> Outcome<T> + Send + 'static,
) -> Outcome<T> {
    let (answer, place) = Answer::new();
    alone(lane, with, Box::new(move |with| place.put(work(with)))).await?;
    answer.take()
}

/// Does `work` on the caller's thread, where it is short. A panic in it is an error.
pub(crate) fn contained<T>(work: impl FnOnce() -> Outcome<T>) -> Outcome<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(PeerStorageError::panicked()))
}

/// The same for an export that cannot fail: its panic would end the app.
pub(crate) fn quietly(work: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        log::error!("a call panicked");
    }
}

// ---- below, work has no type ---------------------------------------------------------------
//
// Each type of a task brings its own copy of all that tokio does with tasks: with one for each export the
// library was a tenth of a megabyte larger.

/// What comes of work, from the thread that does it to the one that waits for it.
struct Answer<T>(Arc<Mutex<Option<Outcome<T>>>>);

impl<T> Answer<T> {
    /// Two ends of one.
    fn new() -> (Self, Self) {
        let place = Arc::default();
        (Answer(Arc::clone(&place)), Answer(place))
    }

    fn put(self, outcome: Outcome<T>) {
        *lock(&self.0) = Some(outcome);
    }

    fn take(self) -> Outcome<T> {
        let outcome = lock(&self.0).take();
        outcome.unwrap_or_else(|| Err(PeerStorageError::panicked()))
    }
}

async fn on_a_thread(lane: Lane, work: Box<dyn FnOnce() + Send>) -> Outcome<()> {
    let runtime = runtime()?;
    let places = Arc::clone(&runtime.places[lane as usize]);
    let task = runtime.tokio.spawn(async move {
        let place = places.acquire_owned().await;
        let work = tokio::task::spawn_blocking(move || {
            let _place = place;
            work();
        });
        work.await.map_err(not_done)
    });
    task.await.map_err(not_done)?
}

async fn within(
    lane: Lane,
    budget: Duration,
    work: Box<dyn FnOnce(Duration) + Send>,
) -> Outcome<()> {
    let runtime = runtime()?;
    let places = Arc::clone(&runtime.places[lane as usize]);
    let over = Instant::now() + budget.min(LONGEST_BUDGET);
    let busy = |_| PeerStorageError::not_now(Obstacle::Busy);
    let task = runtime.tokio.spawn(async move {
        // Also with no budget at all: what has to be at rest at once must get its turn.
        let turn = timeout_at(over + SLACK / 3, places.acquire_owned());
        let place = turn.await.map_err(busy)?;
        let work = tokio::task::spawn_blocking(move || {
            let _place = place;
            work(over.saturating_duration_since(Instant::now()));
        });
        let done = timeout_at(over + SLACK, work).await.map_err(busy)?;
        done.map_err(not_done)
    });
    task.await.map_err(not_done)?
}

async fn alone<S: Send + 'static>(
    lane: Lane,
    with: Arc<tokio::sync::Mutex<S>>,
    work: Box<dyn FnOnce(&mut S) + Send>,
) -> Outcome<()> {
    let task = runtime()?.tokio.spawn(async move {
        let mut with = with.lock_owned().await;
        on_a_thread(lane, Box::new(move || work(&mut with))).await
    });
    task.await.map_err(not_done)?
}

/// Nothing here is ever cancelled, so it has panicked. What it said may name what no log may know.
fn not_done(_: JoinError) -> PeerStorageError {
    PeerStorageError::panicked()
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::sync::mpsc::channel;

    use super::*;

    fn wait<T>(call: impl Future<Output = T>) -> T {
        runtime().unwrap().tokio.block_on(call)
    }

    const BUSY: PeerStorageError = PeerStorageError::NotNow {
        obstacle: Obstacle::Busy,
    };

    #[test]
    fn what_is_stuck_in_one_lane_holds_up_no_other_and_answers_in_time() {
        let (release, released) = channel::<()>();
        let released = Arc::new(std::sync::Mutex::new(released));
        let places = PLACES[Lane::Long as usize];
        for _ in 0..places {
            let released = Arc::clone(&released);
            let stuck = run_within(Lane::Long, Duration::ZERO, move |_| {
                let _ = released.lock().map(|released| released.recv());
                Ok(())
            });
            assert_eq!(wait(stuck), Err(BUSY), "it goes on, and its caller not");
        }
        let no_turn = run_within(Lane::Long, Duration::ZERO, |_| Ok(()));
        assert_eq!(wait(no_turn), Err(BUSY));
        for lane in [Lane::Leaving, Lane::Bounded, Lane::Disk] {
            assert_eq!(wait(run(lane, || Ok(1))), Ok(1));
        }
        drop(release);
        assert_eq!(wait(run(Lane::Long, || Ok(2))), Ok(2), "its turn comes");
    }

    #[test]
    fn waiting_for_a_turn_takes_from_the_budget() {
        let budget = Duration::from_secs(3600);
        let left = wait(run_within(Lane::Bounded, budget, Ok)).unwrap();
        assert!(left < budget && left > budget / 2, "{left:?}");
        let no_budget = run_within(Lane::Bounded, Duration::ZERO, Ok);
        assert_eq!(wait(no_budget), Ok(Duration::ZERO));
    }

    #[test]
    fn a_panic_ends_no_thread_of_the_apps() {
        let panics = || -> Outcome<()> { panic!("as a bug may") };
        assert_eq!(contained(panics), Err(PeerStorageError::panicked()));
        quietly(|| drop(panics()));
    }
}
