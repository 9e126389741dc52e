// Stands in for Apple's UIKit on Linux: the names that the SDK uses, as the test's hands need them. That Apple
// declares them so, this cannot show.
import Foundation

public struct UIBackgroundTaskIdentifier: Hashable, Sendable {
    public let rawValue: Int
    public static let invalid = UIBackgroundTaskIdentifier(rawValue: 0)
}

@MainActor
public final class UIApplication {
    public enum State: Sendable {
        case active, inactive, background
    }

    public static let shared = UIApplication()

    public nonisolated static let willEnterForegroundNotification = Notification.Name("willEnterForeground")
    public nonisolated static let didBecomeActiveNotification = Notification.Name("didBecomeActive")
    public nonisolated static let didEnterBackgroundNotification = Notification.Name("didEnterBackground")
    public nonisolated static let willTerminateNotification = Notification.Name("willTerminate")
    public nonisolated static let protectedDataDidBecomeAvailableNotification = Notification.Name("protectedDataDidBecomeAvailable")

    public private(set) var applicationState = State.inactive
    public private(set) var backgroundTimeRemaining = TimeInterval.greatestFiniteMagnitude

    public func beginBackgroundTask(
        withName taskName: String?,
        expirationHandler handler: (@MainActor @Sendable () -> Void)? = nil
    ) -> UIBackgroundTaskIdentifier {
        guard givesBackgroundTime else { return .invalid }
        begun += 1
        let task = UIBackgroundTaskIdentifier(rawValue: begun)
        running[task] = handler
        return task
    }

    public func endBackgroundTask(_ identifier: UIBackgroundTaskIdentifier) {
        // UIKit only logs it. Here it is a failure.
        if running.removeValue(forKey: identifier) == nil { endedTwice += 1 }
        whenEnded?()
    }

    // For tests.
    public var givesBackgroundTime = true
    public private(set) var begun = 0
    public private(set) var endedTwice = 0
    public var whenEnded: (@MainActor () -> Void)?
    private var running: [UIBackgroundTaskIdentifier: @MainActor @Sendable () -> Void] = [:]

    public var backgroundTasks: Int { running.count }

    /// A process that iOS has started, before anything was heard.
    public func starts(in state: State, remaining: TimeInterval = 30) {
        applicationState = state
        backgroundTimeRemaining = state == .background ? remaining : .greatestFiniteMagnitude
        givesBackgroundTime = true
        endedTwice = 0
    }

    public func comesToForeground() {
        NotificationCenter.default.post(name: Self.willEnterForegroundNotification, object: self)
        applicationState = .active
        backgroundTimeRemaining = .greatestFiniteMagnitude
        NotificationCenter.default.post(name: Self.didBecomeActiveNotification, object: self)
    }

    public func goesToBackground(remaining: TimeInterval = 30) {
        applicationState = .background
        backgroundTimeRemaining = remaining
        NotificationCenter.default.post(name: Self.didEnterBackgroundNotification, object: self)
    }

    public func isUnlocked() {
        NotificationCenter.default.post(name: Self.protectedDataDidBecomeAvailableNotification, object: self)
    }

    public func terminates() {
        NotificationCenter.default.post(name: Self.willTerminateNotification, object: self)
    }

    /// iOS takes the time in background back. Each task has to be ended when its handler returns, or iOS kills the
    /// app: how many were not.
    public func takesTimeBack() -> Int {
        backgroundTimeRemaining = 0
        let ending = running
        ending.values.forEach { $0() }
        return ending.keys.filter { running[$0] != nil }.count
    }
}

// What the code of the guide names.

@MainActor
open class UIResponder {
    public init() {}
}

@MainActor
public protocol UIApplicationDelegate: AnyObject {}

extension UIApplication {
    public struct LaunchOptionsKey: Hashable, Sendable {}
}

public enum UIBackgroundFetchResult: Sendable {
    case newData, noData, failed
}
