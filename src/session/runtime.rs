//! A thread with a tokio runtime of the session's own, so that plain Rust can call it.

use std::future::Future;
use std::sync::{mpsc, Mutex};
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::locks::lock;

/// How much longer than its budget a call may take, if the machine is slow.
const SLACK: Duration = Duration::from_millis(500);

pub(super) struct Runtime {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
    /// What is being run; none: nothing is run any more.
    running: Mutex<Option<Vec<AbortHandle>>>,
}

impl Runtime {
    /// Starts the thread. It calls `tick` again and again.
    pub fn start(every: Duration, tick: impl Fn() + Send + 'static) -> std::io::Result<Runtime> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, mut stopped) = oneshot::channel::<()>();
        let run = move || {
            runtime.block_on(async {
                while tokio::time::timeout(every, &mut stopped).await.is_err() {
                    tick();
                }
            });
            // A name may be being looked up, which cannot be interrupted.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("peer-storage-net".into());
        Ok(Runtime {
            handle,
            stop: Some(stop),
            thread: Some(thread.spawn(run)?),
            running: Mutex::new(Some(Vec::new())),
        })
    }

    /// Runs a future and waits for it, also where the caller is a thread of another runtime. None: it
    /// took longer than the budget, and was dropped, or was cut, or it has panicked.
    pub fn run<T: Send + 'static>(
        &self,
        budget: Duration,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let task = self.handle.spawn(async move {
            let _ = sender.send(future.await);
        });
        match &mut *lock(&self.running) {
            Some(running) => {
                running.retain(|task| !task.is_finished());
                running.push(task.abort_handle());
            }
            None => task.abort(),
        }
        let result = receiver.recv_timeout(budget.saturating_add(SLACK));
        task.abort();
        result.ok()
    }

    /// Drops everything that is being run, and whatever comes later.
    pub fn cut(&self) {
        let running = lock(&self.running).take();
        running.iter().flatten().for_each(AbortHandle::abort);
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            if thread.thread().id() != std::thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}
