#if canImport(Network)
import Foundation
import Network

/// Tells whether the device has a network, at each change, on the main queue. Ends when it is released.
public final class NetworkWatch: Sendable {
    private let monitor: NWPathMonitor

    /// The first word comes soon after this, not in it.
    public init(changed: @escaping @MainActor @Sendable (_ available: Bool) -> Void) {
        monitor = NWPathMonitor()
        monitor.pathUpdateHandler = { path in
            // A path that needs a connection first (a VPN on demand) gets one by being used.
            let available = path.status != .unsatisfied
            onMain { changed(available) }
        }
        monitor.start(queue: .main)
    }

    deinit {
        monitor.cancel()
    }
}
#endif
