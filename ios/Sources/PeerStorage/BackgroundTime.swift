#if canImport(UIKit) && !os(watchOS)
import Foundation
import UIKit

/// A time during which iOS does not suspend the app. Begun before the work, ended once: by whoever began it, or by
/// itself when iOS takes it back.
@available(iOSApplicationExtension, unavailable)
@MainActor
final class BackgroundTime {
    /// About what iOS gives without being asked, in seconds. It is all there is where it gives nothing more.
    private static let givenAnyway: TimeInterval = 4
    /// What is left to end in order when the work has used up its budget, in seconds.
    private static let reserve: TimeInterval = 4

    private var task: UIBackgroundTaskIdentifier = .invalid
    /// The app may be suspended at any moment.
    private(set) var wasTakenBack = false

    /// `expired` is called where iOS takes the time back. After it the app may be suspended at once.
    init(_ name: String, expired: @escaping @MainActor @Sendable () -> Void = {}) {
        // It holds on to this object until the time is over: one that is forgotten ends all the same.
        task = UIApplication.shared.beginBackgroundTask(withName: name) {
            onMain {
                guard self.task != .invalid else { return }
                self.wasTakenBack = true
                expired()
                self.end()
            }
        }
    }

    /// Ends it. Any further time nothing happens.
    func end() {
        guard task != .invalid else { return }
        let ended = task
        task = .invalid
        UIApplication.shared.endBackgroundTask(ended)
    }

    /// How long work may take that ends before iOS takes the time back.
    func budget(atMost most: TimeInterval) -> TimeInterval {
        let remaining = UIApplication.shared.backgroundTimeRemaining
        let given = task == .invalid ? Self.givenAnyway : max(remaining - Self.reserve, 1)
        return min(most, given)
    }
}
#endif
