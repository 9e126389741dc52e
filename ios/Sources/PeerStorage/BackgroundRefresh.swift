#if canImport(UIKit) && canImport(BackgroundTasks) && !os(watchOS)
import BackgroundTasks
import Foundation

@available(iOSApplicationExtension, unavailable)
extension IOSPeerStorage {
    /// Lets iOS wake the app now and then for a background pass. Call it once, before the app has finished launching.
    /// Info.plist needs the identifier in `BGTaskSchedulerPermittedIdentifiers`, and `fetch` in `UIBackgroundModes`.
    ///
    /// - Parameters:
    ///   - every: the shortest time between two, in seconds. When it is really run, iOS decides: perhaps never.
    /// - Returns: false where Info.plist does not permit the identifier, or it was registered before.
    @discardableResult
    public func registerBackgroundRefresh(identifier: String, every: TimeInterval = 6 * 3600) -> Bool {
        let refresh = BackgroundRefresh(identifier: identifier, every: every)
        // iOS keeps the handler for ever; so it does not keep us.
        let registered = BGTaskScheduler.shared.register(forTaskWithIdentifier: identifier, using: .main) { [weak self] task in
            let run = RefreshRun(task)
            onMain {
                guard let self else { return run.end(success: false) }
                self.refreshed(run)
            }
        }
        if registered { self.refresh = refresh }
        return registered
    }

    private func refreshed(_ run: RefreshRun) {
        // First: if this one is killed, there is a next one all the same.
        refresh?.schedule()
        run.onExpiry { [weak self] in self?.suspendNow() }
        Task {
            do {
                let report = try await runBackgroundPass()
                run.end(success: report.drained)
            } catch {
                settings.failed(error)
                run.end(success: false)
            }
        }
    }
}

/// When the next one is wanted.
struct BackgroundRefresh: Sendable {
    let identifier: String
    let every: TimeInterval

    /// Takes the place of one that was scheduled before.
    func schedule() {
        let request = BGAppRefreshTaskRequest(identifier: identifier)
        request.earliestBeginDate = Date(timeIntervalSinceNow: every)
        // Refused in the simulator, and where the person has switched Background App Refresh off.
        try? BGTaskScheduler.shared.submit(request)
    }
}

/// One task of iOS's. It is completed once, or iOS ends the app.
private final class RefreshRun: @unchecked Sendable { // `task` is under the lock.
    private let lock = NSLock()
    private var task: BGTask?

    init(_ task: BGTask) {
        self.task = task
    }

    func onExpiry(_ suspend: @escaping @MainActor @Sendable () -> Void) {
        // They hold each other until the end.
        lock.withLock { task }?.expirationHandler = {
            onMain {
                suspend()
                self.end(success: false)
            }
        }
    }

    func end(success: Bool) {
        let current = lock.withLock {
            defer { task = nil }
            return task
        }
        current?.setTaskCompleted(success: success)
    }
}
#endif
