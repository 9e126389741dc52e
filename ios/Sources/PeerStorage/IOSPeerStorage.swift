#if canImport(UIKit) && !os(watchOS)
import Foundation
import UIKit

/// The storage of one wallet in an iOS app: opens it, and tells it of the app's life and of the network.
///
/// Make one in `application(_:didFinishLaunchingWithOptions:)` (not in the initialiser of a SwiftUI `App`: there is no
/// `UIApplication` yet), and keep it as long as the process. It costs no I/O there: iOS also starts apps in the background, before the first unlock, and
/// only to have them warm. The files are opened when the app comes to the foreground, for a background pass, or when
/// the app asks.
@available(iOSApplicationExtension, unavailable)
@MainActor
public final class IOSPeerStorage {
    let settings: PeerStorageSettings

    private var notifications: AppNotifications?
    private var network: NetworkWatch?

    private var visible: Bool
    private var networkAvailable = true
    private var passes = 0
    private var attempt: Task<PeerStorage, any Error>?
    private var opened: PeerStorage?
    private var isWaitingForUnlock = false
    private var isShutDown = false

    public init(_ settings: PeerStorageSettings) {
        self.settings = settings
        visible = UIApplication.shared.applicationState != .background
        notifications = AppNotifications { [weak self] in self?.heard($0) }
        network = NetworkWatch { [weak self] in self?.networkChanged($0) }
        BackgroundRefresh.shared.add(self)
        if visible { openUnasked() }
    }

    /// The storage, opened if it is not yet. An opening that failed is tried anew by the next caller, when the app
    /// comes to the foreground, and at the first unlock.
    ///
    /// In the background it comes to rest again at once: there, work belongs into ``runBackgroundPass(budget:)``.
    public func storage() async throws -> PeerStorage {
        if isShutDown { throw PeerStorageError.Closed }
        return try await attempted().value
    }

    /// A bounded pass in the background, whoever wakes the app: ``registerBackgroundRefresh(identifier:every:)``, a
    /// silent push, a location update. Opens what it needs, and after it nothing runs unless the app is visible.
    ///
    /// - Parameter budget: in seconds, the opening included; nil: ``PeerStorageSettings/passBudget``.
    @discardableResult
    public func runBackgroundPass(budget: TimeInterval? = nil) async throws -> PassReport {
        passes += 1
        defer { passes -= 1 }
        let time = BackgroundTime("peer-storage pass") { [weak self] in self?.suspendNow() }
        defer { time.end() }
        let most = budget ?? settings.passBudget
        let end = Date(timeIntervalSinceNow: visible ? most : time.budget(atMost: most))
        let storage = try await storage()
        // Too late to visit anyone; but what was opened for this has to come to rest.
        let left = Task.isCancelled || time.wasTakenBack ? 0 : end.timeIntervalSinceNow
        return try await storage.runBackgroundPass(budgetMs: left.milliseconds)
    }

    /// Ends all, for a wallet that is deleted or changed while the process lives. Not needed at the end of the app.
    ///
    /// - Parameter budget: in seconds. An opening under way is cancelled, and waited for no longer than this.
    /// - Returns: nil where nothing was open.
    /// - Throws: `NotNow` (`busy`) where an opening has not ended in time, such as in the app's own part of it. What it
    ///   still opens is closed at once, and handed to nobody; until then the directory is in use.
    @discardableResult
    public func shutdown(budget: TimeInterval = 5) async throws -> ShutdownReport? {
        isShutDown = true
        notifications = nil
        network = nil
        BackgroundRefresh.shared.remove(self)
        guard let attempt else { return nil }
        let end = Date(timeIntervalSinceNow: budget)
        if opened == nil { attempt.cancel() }
        guard let outcome = await outcome(of: attempt, within: budget) else {
            throw PeerStorageError.NotNow(obstacle: .busy)
        }
        guard case .success(let storage) = outcome else { return nil }
        let report = try await storage.shutdown(budgetMs: end.timeIntervalSinceNow.milliseconds)
        opened = nil
        self.attempt = nil
        return report
    }

    /// The time in background is over: whatever still runs ends now, and this waits for it.
    func suspendNow() {
        guard let opened, !visible else { return }
        wait(atMost: 2) { [weak self] in
            _ = try? await opened.onBackground(budgetMs: 0)
            Task { @MainActor in self?.wasLeft(opened) }
        }
    }

    /// A leave is taken in on a thread of the library's: perhaps after the word that the app is back. Said again, that
    /// is the last word.
    private func wasLeft(_ storage: PeerStorage) {
        if visible { storage.onForeground() }
    }
}

// What is heard.
@available(iOSApplicationExtension, unavailable)
extension IOSPeerStorage {
    private func heard(_ moment: AppMoment) {
        switch moment {
        case .foreground: cameToForeground()
        case .background: wentToBackground()
        case .terminating: terminates()
        case .unlocked: if isWaitingForUnlock { openUnasked() }
        }
    }

    private func cameToForeground() {
        visible = true
        if let opened {
            opened.onForeground()
        } else {
            openUnasked()
        }
    }

    private func wentToBackground() {
        guard visible else { return }
        visible = false
        BackgroundRefresh.shared.schedule()
        if let opened { leave(opened) }
    }

    private func networkChanged(_ available: Bool) {
        networkAvailable = available
        opened?.onNetworkChanged(available: available)
    }

    private func terminates() {
        guard let opened else { return }
        // iOS gives some five seconds, and the end comes when this returns.
        wait(atMost: 3) { _ = try? await opened.shutdown(budgetMs: 2000) }
    }

    /// Brings everything to rest while iOS still lets us.
    private func leave(_ storage: PeerStorage) {
        let time = BackgroundTime("peer-storage") { [weak self] in self?.suspendNow() }
        let end = Date(timeIntervalSinceNow: time.budget(atMost: settings.backgroundBudget))
        Task { [weak self, settings] in
            defer { time.end() }
            await settings.leaving(storage)
            if self?.visible != true {
                do {
                    _ = try await storage.onBackground(budgetMs: end.timeIntervalSinceNow.milliseconds)
                } catch {
                    settings.failed(error)
                }
            }
            self?.wasLeft(storage)
        }
    }
}

// Opening.
@available(iOSApplicationExtension, unavailable)
extension IOSPeerStorage {
    private func openUnasked() {
        guard !isShutDown else { return }
        let attempt = attempted()
        Task { [weak self, settings] in
            do {
                _ = try await attempt.value
            } catch {
                if self?.isShutDown == false { settings.failed(error) }
            }
        }
    }

    private func attempted() -> Task<PeerStorage, any Error> {
        if let attempt { return attempt }
        // A task of its own: a caller that is cancelled must not lose what the others wait for.
        let attempt = Task { try await open() }
        self.attempt = attempt
        return attempt
    }

    private func open() async throws -> PeerStorage {
        // Suspended halfway, files would be left open.
        let time = BackgroundTime("peer-storage opening")
        defer { time.end() }
        isWaitingForUnlock = false
        do {
            let storage = try await settings.open(visible: visible, networkAvailable: networkAvailable)
            if isShutDown {
                // Nobody waits for it any more.
                _ = try? await storage.shutdown(budgetMs: 0)
                throw PeerStorageError.Closed
            }
            opened = storage
            tellFacts(to: storage)
            return storage
        } catch {
            attempt = nil
            if isShutDown { throw PeerStorageError.Closed }
            if case PeerStorageError.Locked = error { isWaitingForUnlock = true }
            throw error
        }
    }

    /// They may have changed while it was opened.
    private func tellFacts(to storage: PeerStorage) {
        storage.onNetworkChanged(available: networkAvailable)
        // Only what bars visits: that the node has stopped, whoever stopped it says.
        if settings.hostNodeRuns() { storage.onHostNodeChanged(running: true) }
        if visible {
            storage.onForeground()
        } else if passes == 0 {
            leave(storage)
        }
    }
}
#endif
