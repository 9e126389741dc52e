import Foundation
import PeerStorage
import PeerStorageTestSupport
import XCTest

/// What an app's listener may do.
final class ListenerTests: XCTestCase {
    private final class Listener: StorageListener {
        private let heard: @Sendable (StorageStatus) throws -> Void

        init(_ heard: @escaping @Sendable (StorageStatus) throws -> Void) {
            self.heard = heard
        }

        func onStatus(status: StorageStatus) throws { try heard(status) }
        func onEventsWaiting() throws {}
    }

    private func withStorage(_ work: (PeerStorage) async throws -> Void) async throws {
        let directory = try TemporaryDirectory()
        let storage = try await PeerStorage.open(in: directory.url, networkAvailable: false)
        try await work(storage)
        _ = try await storage.shutdown(budgetMs: 2000)
        XCTAssertEqual(ThisProcess.openFiles(in: directory.url), [])
    }

    func test_a_listener_that_throws_is_told_again_and_harms_no_one() async throws {
        struct Unforeseen: Error {}
        try await withStorage { storage in
            let calls = Locked(0)
            let throwing = try storage.subscribe(listener: Listener { _ in
                calls.with { $0 += 1 }
                throw Unforeseen()
            })
            let declared = try storage.subscribe(listener: Listener { _ in throw CallbackError.Failed })
            let pasts = Locked<[Past]>([])
            let other = try storage.subscribe(listener: Listener { status in pasts.with { $0.append(status.past) } })
            try await eventually("first") { calls.now == 1 }
            try await storage.declareNew()
            try await eventually("again") { calls.now > 1 && pasts.now.last == .known }
            for subscription in [throwing, declared, other] { subscription.cancel() }
        }
    }

    func test_a_listener_that_blocks_holds_up_no_call() async throws {
        try await withStorage { storage in
            let release = DispatchSemaphore(value: 0)
            let isCalled = Locked(false)
            let blocking = try storage.subscribe(listener: Listener { _ in
                isCalled.with { $0 = true }
                release.wait()
                release.signal()
            })
            try await eventually("called") { isCalled.now }
            let start = Date()
            try await storage.declareNew()
            try storage.reportWallet(report: report(channels: 1))
            XCTAssertEqual(try storage.status().past, .known)
            let background = try await storage.onBackground(budgetMs: 5000)
            XCTAssertTrue(background.suspended)
            storage.onForeground()
            _ = try await storage.shutdown(budgetMs: 5000)
            XCTAssertLessThan(Date().timeIntervalSince(start), 5)
            blocking.cancel()
            release.signal()
        }
    }

    func test_a_listener_may_call_everything() async throws {
        try await withStorage { storage in
            let outcome = Locked<[String]>([])
            let own = Locked<StorageSubscription?>(nil)
            let subscription = try storage.subscribe(listener: Listener { [weak storage] status in
                guard let storage, outcome.now.isEmpty else { return }
                storage.onForeground()
                storage.onNetworkChanged(available: false)
                storage.reportTip(height: 100)
                try storage.hold().release()
                try storage.reportWallet(report: report(channels: 1))
                let inner = try storage.subscribe(listener: Listener { _ in })
                inner.cancel()
                own.now?.cancel()
                let past = try storage.status().past
                outcome.with { $0.append("\(past == status.past)") }
            })
            own.with { $0 = subscription }
            try await eventually("called") { outcome.now == ["true"] }
        }
    }

    func test_after_cancel_no_call_begins() async throws {
        try await withStorage { storage in
            let calls = Locked(0)
            let subscription = try storage.subscribe(listener: Listener { _ in calls.with { $0 += 1 } })
            try await eventually("first") { calls.now == 1 }
            subscription.cancel()
            try await storage.declareNew()
            let later = Locked(0)
            let another = try storage.subscribe(listener: Listener { _ in later.with { $0 += 1 } })
            try await eventually("another is called") { later.now > 0 }
            XCTAssertEqual(calls.now, 1)
            another.cancel()
        }
    }
}
