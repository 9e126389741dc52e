//! How the app's own objects are called: by one thread, with nothing locked, and one call after the other.
//!
//! So a listener may call the SDK again, may throw, and may take its time: then all others are called later,
//! and nothing else happens. What writes the log has a thread of its own ([`crate::logging`]), and a chain source
//! is called by whoever waits for its answer ([`crate::chain`]).

use std::collections::VecDeque;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{channel, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use once_cell::sync::OnceCell;

/// What a listener throws. It is logged, and nothing follows from it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
pub enum CallbackError {
    /// The listener could not do what it does.
    #[error("the listener failed")]
    Failed,
}

impl From<uniffi::UnexpectedUniFFICallbackError> for CallbackError {
    // Its text is the app's, and may say anything.
    fn from(_: uniffi::UnexpectedUniFFICallbackError) -> Self {
        CallbackError::Failed
    }
}

type Call = Box<dyn FnOnce() + Send>;

/// Has the thread of callbacks do this, some time after now. False: there is no such thread, and can be none.
fn dispatch(call: Call) -> bool {
    static CALLS: OnceCell<Sender<Call>> = OnceCell::new();
    let started = CALLS.get_or_try_init(|| {
        let (sender, calls) = channel::<Call>();
        let thread = std::thread::Builder::new().name("peer-storage-callbacks".into());
        let run = move || {
            for call in calls {
                contain(call);
            }
        };
        thread.spawn(run).map(|_| sender)
    });
    match started {
        Ok(calls) => calls.send(call).is_ok(),
        Err(error) => {
            log::error!("no thread for callbacks: {error}");
            false
        }
    }
}

/// Calls something of the app's. What it throws is its own affair.
fn contain(call: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(call)).is_err() {
        log::error!("a listener panicked");
    }
}

pub(crate) fn note(result: Result<(), CallbackError>) {
    if result.is_err() {
        log::warn!("a listener has failed");
    }
}

/// Something that is rung, any number of times and by anyone, and is called once or more after the last ring.
/// Ringing never waits.
pub(crate) struct Bell {
    is_rung: AtomicBool,
    is_silenced: AtomicBool,
    answer: Box<dyn Fn() + Send + Sync>,
}

impl Bell {
    pub fn new(answer: impl Fn() + Send + Sync + 'static) -> Arc<Bell> {
        Arc::new(Bell {
            is_rung: AtomicBool::new(false),
            is_silenced: AtomicBool::new(false),
            answer: Box::new(answer),
        })
    }

    pub fn ring(self: &Arc<Bell>) {
        if self.is_silenced.load(Ordering::SeqCst) || self.is_rung.swap(true, Ordering::SeqCst) {
            return;
        }
        let bell = Arc::clone(self);
        let is_heard = dispatch(Box::new(move || {
            // Before it is answered: who rings from now on has something newer to tell.
            bell.is_rung.store(false, Ordering::SeqCst);
            if !bell.is_silenced.load(Ordering::SeqCst) {
                (bell.answer)();
            }
        }));
        if !is_heard {
            // The next ring tries again.
            self.is_rung.store(false, Ordering::SeqCst);
        }
    }

    /// No call begins after this. One that is under way may still end: waiting for it would be waiting for
    /// oneself, where it is made in the call.
    pub fn silence(&self) {
        self.is_silenced.store(true, Ordering::SeqCst);
    }
}

/// So much waits for a listener at most.
const MOST_WAITING: usize = 1000;

/// Things that are told to a listener, each once and in order, by a bell. Where it does not keep up, the oldest
/// are dropped.
pub(crate) struct Inbox<T> {
    waiting: Arc<Mutex<VecDeque<T>>>,
    bell: Arc<Bell>,
}

impl<T: Send + 'static> Inbox<T> {
    pub fn new(tell: impl Fn(T) + Send + Sync + 'static) -> Inbox<T> {
        let waiting: Arc<Mutex<VecDeque<T>>> = Arc::default();
        let of_bell = Arc::clone(&waiting);
        let bell = Bell::new(move || {
            loop {
                // By itself: in the head of the loop it would stay locked while the listener is called.
                let next = lock(&of_bell).pop_front();
                match next {
                    Some(next) => contain(|| tell(next)),
                    None => break,
                }
            }
        });
        Inbox { waiting, bell }
    }

    pub fn put(&self, thing: T) {
        let mut waiting = lock(&self.waiting);
        if waiting.len() >= MOST_WAITING {
            waiting.pop_front();
            log::warn!("a listener does not keep up");
        }
        waiting.push_back(thing);
        drop(waiting);
        self.bell.ring();
    }
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        self.bell.silence();
    }
}

/// State stays whole where a thread panicked: each change to it is one assignment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::sync::{OnceLock, Weak};

    use super::*;

    #[test]
    fn what_a_listener_causes_while_it_is_told_is_told_after() {
        let (told, hears) = mpsc::channel();
        let own = Arc::new(OnceLock::<Weak<Inbox<u32>>>::new());
        let of_listener = own.clone();
        let inbox = Arc::new(Inbox::new(move |number| {
            let inbox = of_listener.get().and_then(Weak::upgrade);
            if let Some(inbox) = inbox.filter(|_| number < 3) {
                inbox.put(number + 1);
            }
            let _ = told.send(number);
            assert_ne!(
                number, 1,
                "what panics is told once, and the others after it"
            );
        }));
        own.set(Arc::downgrade(&inbox)).unwrap();
        inbox.put(0);
        let heard: Vec<u32> = (0..4).map(|_| hears.recv().unwrap()).collect();
        assert_eq!(heard, [0, 1, 2, 3]);
    }

    #[test]
    fn a_bell_that_is_rung_while_it_is_answered_is_answered_again() {
        let (answered, hears) = mpsc::channel();
        let own = Arc::new(OnceLock::<Arc<Bell>>::new());
        let of_bell = own.clone();
        let times = Mutex::new(0);
        let bell = Bell::new(move || {
            *lock(&times) += 1;
            let times = *lock(&times);
            if let Some(bell) = of_bell.get().filter(|_| times < 3) {
                bell.ring();
                bell.ring();
            }
            let _ = answered.send(times);
        });
        own.set(bell.clone()).map_err(|_| "set").unwrap();
        bell.ring();
        let heard: Vec<u32> = (0..3).map(|_| hears.recv().unwrap()).collect();
        assert_eq!(heard, [1, 2, 3]);
        bell.silence();
        bell.ring();
        assert!(hears.try_recv().is_err());
    }

    #[test]
    fn of_what_a_listener_does_not_keep_up_with_the_oldest_is_dropped() {
        let (told, hears) = mpsc::channel();
        let (open, opened) = mpsc::channel::<()>();
        let gate = Mutex::new(opened);
        let inbox = Inbox::new(move |number: usize| {
            if number == 0 {
                let _ = lock(&gate).recv();
            }
            let _ = told.send(number);
        });
        let last = MOST_WAITING + 10;
        (0..=last).for_each(|number| inbox.put(number));
        drop(open);
        let mut heard = Vec::new();
        while heard.last() != Some(&last) {
            heard.push(hears.recv().unwrap());
        }
        assert!(heard.len() <= MOST_WAITING + 1, "{}", heard.len());
        assert!(heard.windows(2).all(|two| two[0] < two[1]), "in order");
    }

    /// Keeps the thread of callbacks busy until what is returned is dropped.
    fn busy() -> mpsc::Sender<()> {
        let (open, opened) = mpsc::channel::<()>();
        assert!(dispatch(Box::new(move || {
            let _ = opened.recv();
        })));
        open
    }

    #[test]
    fn what_panics_takes_nothing_along_that_was_put_before() {
        let (told, hears) = mpsc::channel();
        let inbox = Inbox::new(move |number| {
            let _ = told.send(number);
            assert_ne!(number, 0, "as a listener may");
        });
        let open = busy();
        // One ring for all three.
        (0..3).for_each(|number| inbox.put(number));
        drop(open);
        let heard: Vec<u32> = (0..3).map(|_| hears.recv().unwrap()).collect();
        assert_eq!(heard, [0, 1, 2]);
    }

    #[test]
    fn who_is_gone_is_told_nothing_more() {
        let (told, hears) = mpsc::channel();
        let inbox = Inbox::new(move |number| {
            let _ = told.send(number);
        });
        let open = busy();
        inbox.put(1);
        drop(inbox);
        drop(open);
        assert_eq!(hears.recv(), Err(mpsc::RecvError));
    }
}
