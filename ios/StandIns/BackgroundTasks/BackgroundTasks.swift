// Stands in for Apple's BackgroundTasks on Linux: the names that the SDK uses, as the test's hands need them. That
// Apple declares them so, this cannot show.
import Dispatch
import Foundation

open class BGTask: @unchecked Sendable {
    public let identifier: String
    private let lock = NSLock()
    private var _expirationHandler: (() -> Void)?
    private var _completions: [Bool] = []

    init(identifier: String) {
        self.identifier = identifier
    }

    open var expirationHandler: (() -> Void)? {
        get { lock.withLock { _expirationHandler } }
        set { lock.withLock { _expirationHandler = newValue } }
    }

    open func setTaskCompleted(success: Bool) {
        // iOS only logs a second one. Here tests see it.
        lock.withLock { _completions.append(success) }
    }

    // For tests.
    public var completions: [Bool] { lock.withLock { _completions } }
}

public final class BGAppRefreshTask: BGTask, @unchecked Sendable {}

open class BGTaskRequest {
    public let identifier: String
    open var earliestBeginDate: Date?

    init(identifier: String) {
        self.identifier = identifier
    }
}

public final class BGAppRefreshTaskRequest: BGTaskRequest {
    override public init(identifier: String) {
        super.init(identifier: identifier)
    }
}

/// Where iOS ends the app for a mistake, this does so, too.
public final class BGTaskScheduler: @unchecked Sendable {
    public static let shared = BGTaskScheduler()

    private let lock = NSLock()
    private var handlers: [String: (queue: DispatchQueue?, launch: (BGTask) -> Void)] = [:]
    private var _pending: [String: BGTaskRequest] = [:]
    private var _submissions = 0

    public func register(
        forTaskWithIdentifier identifier: String,
        using queue: DispatchQueue?,
        launchHandler: @escaping (BGTask) -> Void
    ) -> Bool {
        lock.withLock {
            guard handlers[identifier] == nil else { fatalError("\(identifier) is registered a second time") }
            handlers[identifier] = (queue, launchHandler)
            return true
        }
    }

    public func submit(_ taskRequest: BGTaskRequest) throws {
        lock.withLock {
            guard handlers[taskRequest.identifier] != nil else { fatalError("\(taskRequest.identifier) is not registered") }
            _pending[taskRequest.identifier] = taskRequest
            _submissions += 1
        }
    }

    public func cancel(taskRequestWithIdentifier identifier: String) {
        lock.withLock { _pending[identifier] = nil }
    }

    // For tests.
    public var pending: [String] { lock.withLock { Array(_pending.keys) } }
    public var submissions: Int { lock.withLock { _submissions } }

    /// As iOS does it: on the queue that was asked for.
    public func launch(_ identifier: String) -> BGAppRefreshTask {
        let task = BGAppRefreshTask(identifier: identifier)
        let handler = lock.withLock {
            _pending[identifier] = nil
            return handlers[identifier]
        }
        guard let handler else { fatalError("\(identifier) has no handler") }
        let launch = UncheckedLaunch(run: handler.launch)
        (handler.queue ?? DispatchQueue.global()).async { launch.run(task) }
        return task
    }
}

private struct UncheckedLaunch: @unchecked Sendable {
    let run: (BGTask) -> Void
}
