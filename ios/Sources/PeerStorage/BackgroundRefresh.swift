#if canImport(UIKit) && canImport(BackgroundTasks) && !os(watchOS)
import BackgroundTasks
import Foundation

@available(iOSApplicationExtension, unavailable)
extension IOSPeerStorage {
    /// Lets iOS wake the app now and then for a background pass of every storage that there then is. Call it at every
    /// launch before the app has finished launching, also where there is no wallet yet: later iOS takes no
    /// registration. Info.plist needs the identifier in `BGTaskSchedulerPermittedIdentifiers`, and `fetch` in
    /// `UIBackgroundModes`.
    ///
    /// iOS ends an app that registers an identifier twice. So of all calls in a process only the first one does
    /// anything; the identifier is not to be registered by the app itself.
    ///
    /// - Parameters:
    ///   - every: the shortest time between two, in seconds. When it is really run, iOS decides: perhaps never.
    /// - Returns: false where Info.plist does not permit the identifier, or this was called before.
    @discardableResult
    public static func registerBackgroundRefresh(identifier: String, every: TimeInterval = 6 * 3600) -> Bool {
        BackgroundRefresh.shared.register(identifier, every: every)
    }
}

/// The one refresh task of this process, and the storages that are refreshed by it.
@available(iOSApplicationExtension, unavailable)
@MainActor
final class BackgroundRefresh {
    static let shared = BackgroundRefresh()

    private struct Member {
        weak var storage: IOSPeerStorage?
    }

    private var wasAsked = false
    private var registered: (identifier: String, every: TimeInterval)?
    private var members: [Member] = []

    func register(_ identifier: String, every: TimeInterval) -> Bool {
        if wasAsked { return false }
        wasAsked = true
        let isTaken = BGTaskScheduler.shared.register(forTaskWithIdentifier: identifier, using: .main) { task in
            let run = RefreshRun(task)
            onMain { Self.shared.launched(run) }
        }
        if isTaken { registered = (identifier, every) }
        return isTaken
    }

    func add(_ storage: IOSPeerStorage) {
        members.append(Member(storage: storage))
    }

    /// It is refreshed no more. Where it was the last one, iOS need not wake the app.
    func remove(_ storage: IOSPeerStorage) {
        members.removeAll { $0.storage == nil || $0.storage === storage }
        if members.isEmpty, let registered {
            BGTaskScheduler.shared.cancel(taskRequestWithIdentifier: registered.identifier)
        }
    }

    /// Takes the place of one that was scheduled before.
    func schedule() {
        guard let registered else { return }
        let request = BGAppRefreshTaskRequest(identifier: registered.identifier)
        request.earliestBeginDate = Date(timeIntervalSinceNow: registered.every)
        // Refused in the simulator, and where the person has switched Background App Refresh off.
        try? BGTaskScheduler.shared.submit(request)
    }

    private func launched(_ run: RefreshRun) {
        let storages = members.compactMap(\.storage)
        guard !storages.isEmpty else { return run.end(success: false) }
        // First: if this one is killed, there is a next one all the same.
        schedule()
        let passes = storages.map { storage in Task { await storage.refreshes() } }
        run.onExpiry {
            passes.forEach { $0.cancel() }
            storages.forEach { $0.suspendNow() }
        }
        Task {
            var success = true
            for pass in passes where await !pass.value { success = false }
            run.end(success: success)
        }
    }
}

@available(iOSApplicationExtension, unavailable)
extension IOSPeerStorage {
    /// Whether all that was due is done.
    fileprivate func refreshes() async -> Bool {
        do {
            return try await runBackgroundPass().drained
        } catch {
            settings.failed(error)
            return false
        }
    }
}

/// One task of iOS's. It is completed once, or iOS ends the app.
private final class RefreshRun: @unchecked Sendable { // `task` is under the lock.
    private let lock = NSLock()
    private var task: BGTask?

    init(_ task: BGTask) {
        self.task = task
    }

    func onExpiry(_ stop: @escaping @MainActor @Sendable () -> Void) {
        // They hold each other until the end.
        lock.withLock { task }?.expirationHandler = {
            onMain {
                stop()
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
