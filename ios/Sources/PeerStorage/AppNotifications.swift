#if canImport(UIKit) && !os(watchOS)
import Foundation
import UIKit

/// What UIKit says about the life of the app. It says the same to apps with scenes, also those of SwiftUI.
enum AppMoment: Sendable {
    case foreground, background, terminating, unlocked
}

/// Hears of these moments on the main thread, until it is released.
@available(iOSApplicationExtension, unavailable)
final class AppNotifications: @unchecked Sendable { // The tokens are only ever written here, once.
    private let tokens: [any NSObjectProtocol]

    @MainActor
    init(heard: @escaping @MainActor @Sendable (AppMoment) -> Void) {
        let moments: [(Notification.Name, AppMoment)] = [
            (UIApplication.willEnterForegroundNotification, .foreground),
            // Also at the start of an app without scenes, which is not told of the foreground.
            (UIApplication.didBecomeActiveNotification, .foreground),
            (UIApplication.didEnterBackgroundNotification, .background),
            (UIApplication.willTerminateNotification, .terminating),
            (UIApplication.protectedDataDidBecomeAvailableNotification, .unlocked),
        ]
        tokens = moments.map { name, moment in
            // Without a queue: heard before the app's own method returns to iOS, which is when background time
            // has to be begun.
            NotificationCenter.default.addObserver(forName: name, object: nil, queue: nil) { _ in
                onMain { heard(moment) }
            }
        }
    }

    deinit {
        tokens.forEach { NotificationCenter.default.removeObserver($0) }
    }
}
#endif
