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

/// How a task ends; nil: not within so many seconds. It goes on in that case.
func outcome<Value: Sendable>(
    of task: Task<Value, any Error>,
    within seconds: TimeInterval
) async -> Result<Value, any Error>? {
    await withCheckedContinuation { continuation in
        let first = First(continuation)
        let clock = Task {
            try? await Task.sleep(nanoseconds: seconds.milliseconds * 1_000_000)
            first.answer(nil)
        }
        Task {
            first.answer(await task.result)
            clock.cancel()
        }
    }
}

/// Of several answers the first one counts.
private final class First<Answer: Sendable>: @unchecked Sendable { // `continuation` is under the lock.
    private let lock = NSLock()
    private var continuation: CheckedContinuation<Answer, Never>?

    init(_ continuation: CheckedContinuation<Answer, Never>) {
        self.continuation = continuation
    }

    func answer(_ answer: Answer) {
        let waiting = lock.withLock {
            defer { continuation = nil }
            return continuation
        }
        waiting?.resume(returning: answer)
    }
}
