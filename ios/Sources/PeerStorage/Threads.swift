import Dispatch
import Foundation

/// Does this on the main thread: now where this is it, else soon.
func onMain(_ work: @escaping @MainActor @Sendable () -> Void) {
    if Thread.isMainThread {
        MainActor.assumeIsolated(work)
    } else {
        DispatchQueue.main.async { MainActor.assumeIsolated(work) }
    }
}

/// Waits on the calling thread, for the two moments in which iOS gives no other chance: the end of background time
/// and the end of the app. The work must not need that thread. It goes on if it is not done by then.
func wait(atMost seconds: TimeInterval, for work: @escaping @Sendable () async -> Void) {
    let done = DispatchSemaphore(value: 0)
    Task.detached(priority: .userInitiated) {
        await work()
        done.signal()
    }
    _ = done.wait(timeout: .now() + seconds)
}
