import Foundation
import PeerStorage
import PeerStorageTestSupport
import XCTest

/// The end of a wallet in a process that lives on.
final class ShutdownTests: XCTestCase, @unchecked Sendable { // Each test has an object of its own.
    @MainActor
    func test_after_shutdown_nothing_is_heard_and_a_new_one_may_be_made() async throws {
        let phone = try Phone()
        try await phone.becomesActive()
        let report = try await phone.wallet?.shutdown()
        XCTAssertEqual(report?.closed, true)
        phone.app.goesToBackground()
        phone.app.comesToForeground()
        try await phone.settles()
        XCTAssertEqual(phone.openFiles, [])
        do {
            _ = try await phone.wallet?.storage()
            XCTFail("opened")
        } catch {
            XCTAssertEqual(error as? PeerStorageError, .Closed)
        }
        _ = try await PeerStorage.open(in: phone.directory).shutdown(budgetMs: 1000)
    }

    @MainActor
    func test_an_opening_that_hangs_is_not_waited_for_and_what_it_opens_is_closed() async throws {
        let (isOpening, release) = (Locked(false), Locked(false))
        let phone = try Phone { settings in
            settings.opened = { _ in
                isOpening.with { $0 = true }
                // Deaf to being cancelled.
                while !release.now { await Task.detached { try? await Task.sleep(nanoseconds: 1_000_000) }.value }
            }
        }
        try await eventually("opening") { isOpening.now }
        let start = Date()
        do {
            _ = try await phone.wallet?.shutdown(budget: 0.3)
            XCTFail("it has ended")
        } catch {
            XCTAssertEqual(error as? PeerStorageError, .NotNow(obstacle: .busy))
        }
        XCTAssertLessThan(Date().timeIntervalSince(start), 3)
        XCTAssertFalse(phone.openFiles.isEmpty, "in use until it ends")
        release.with { $0 = true }
        try await eventually("closed") { phone.openFiles.isEmpty && phone.app.backgroundTasks == 0 }
        _ = try await PeerStorage.open(in: phone.directory).shutdown(budgetMs: 1000)
        XCTAssertEqual(phone.failures.now.count, 0, "what was shut down has nothing to tell")
    }

    @MainActor
    func test_an_opening_that_can_be_cancelled_ends_with_the_shutdown() async throws {
        let isOpening = Locked(false)
        let phone = try Phone { settings in
            settings.opened = { _ in
                isOpening.with { $0 = true }
                try await Task.sleep(nanoseconds: 60_000_000_000)
            }
        }
        let wallet = try XCTUnwrap(phone.wallet)
        let waiting = Task { try await wallet.storage() }
        try await eventually("opening") { isOpening.now }
        let report = try await wallet.shutdown(budget: 5)
        XCTAssertNil(report)
        XCTAssertEqual(phone.openFiles, [])
        do {
            _ = try await waiting.value
            XCTFail("opened")
        } catch {
            XCTAssertEqual(error as? PeerStorageError, .Closed)
        }
    }
}
