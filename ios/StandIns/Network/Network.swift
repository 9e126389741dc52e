// Stands in for Apple's Network on Linux: the names that the SDK uses, as the test's hands need them. That Apple
// declares them so, this cannot show.
import Dispatch
import Foundation

public struct NWPath: Sendable {
    public enum Status: Sendable {
        case satisfied, unsatisfied, requiresConnection
    }

    public let status: Status
}

public final class NWPathMonitor: @unchecked Sendable {
    private let lock = NSLock()
    private var handler: (@Sendable (NWPath) -> Void)?
    private var queue: DispatchQueue?

    public init() {}

    public var pathUpdateHandler: (@Sendable (NWPath) -> Void)? {
        get { lock.withLock { handler } }
        set { lock.withLock { handler = newValue } }
    }

    public func start(queue: DispatchQueue) {
        lock.withLock { self.queue = queue }
        Device.shared.add(self)
    }

    public func cancel() {
        lock.withLock {
            queue = nil
            handler = nil
        }
        Device.shared.remove(self)
    }

    fileprivate func tell(_ status: NWPath.Status) {
        guard let queue = lock.withLock({ queue }) else { return }
        queue.async { [weak self] in self?.pathUpdateHandler?(NWPath(status: status)) }
    }
}

/// For tests: the device that all monitors watch.
public final class Device: @unchecked Sendable {
    public static let shared = Device()

    private let lock = NSLock()
    private var status = NWPath.Status.satisfied
    private var monitors: [ObjectIdentifier: Watching] = [:]

    public var watched: Int { lock.withLock { monitors.count } }

    public func networkIs(_ status: NWPath.Status) {
        let monitors = lock.withLock {
            self.status = status
            return self.monitors.values.compactMap(\.monitor)
        }
        monitors.forEach { $0.tell(status) }
    }

    fileprivate func add(_ monitor: NWPathMonitor) {
        let status = lock.withLock {
            monitors[ObjectIdentifier(monitor)] = Watching(monitor: monitor)
            return self.status
        }
        monitor.tell(status)
    }

    fileprivate func remove(_ monitor: NWPathMonitor) {
        lock.withLock { monitors[ObjectIdentifier(monitor)] = nil }
    }
}

private struct Watching {
    weak var monitor: NWPathMonitor?
}
