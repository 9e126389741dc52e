import BackgroundTasks
import Foundation
import PeerStorage
import PeerStorageTestSupport
import UIKit
import XCTest

/// The refresh task: iOS wakes the app, and wants it to be done in time. The stand-in ends the process where iOS would.
final class RefreshTests: XCTestCase, @unchecked Sendable { // Each test has an object of its own.
    /// Woken in the background with a wallet whose one peer takes connections and says nothing. There is time for it.
    @MainActor
    private func phone(with silent: SilentServer, opens: @escaping @Sendable () async -> Void = {}) async throws -> Phone {
        let phone = try Phone(startsIn: .background) { settings in
            settings.passBudget = 600
            settings.opened = { storage in
                try storage.reportWallet(report: silent.reportOfOneChannel())
                await opens()
            }
        }
        phone.app.starts(in: .background, remaining: 1000)
        let before = try await PeerStorage.open(in: phone.directory, networkAvailable: false)
        try await before.declareNew()
        _ = try await before.shutdown(budgetMs: 1000)
        return phone
    }

    @MainActor
    func test_the_identifier_is_registered_once_however_often_the_app_says_so() async throws {
        let phone = try Phone(startsIn: .background)
        XCTAssertFalse(IOSPeerStorage.registerBackgroundRefresh(identifier: Phone.refresh))
        XCTAssertFalse(IOSPeerStorage.registerBackgroundRefresh(identifier: Phone.refresh, every: 60))
        // A wallet that was made anew in the same process.
        _ = try await phone.wallet?.shutdown()
        let next = try Phone(startsIn: .background)
        let task = next.launchesRefresh()
        try await eventually("refresh has ended") { task.completions == [true] }
    }

    @MainActor
    func test_a_refresh_in_a_cold_process_makes_one_pass_and_leaves_nothing_open() async throws {
        let phone = try Phone(startsIn: .background)
        let task = phone.launchesRefresh()
        try await eventually("refresh has ended") { !task.completions.isEmpty }
        XCTAssertEqual(phone.openFiles, [])
        XCTAssertEqual(task.completions, [true])
        XCTAssertEqual(phone.submitted, 1, "the next one")
        try await eventually("background time is given back") { phone.app.backgroundTasks == 0 }
        try await phone.settles()
        XCTAssertEqual(phone.openFiles, [])
        XCTAssertEqual(try phone.activity, .suspended)
        XCTAssertEqual(phone.failures.now.count, 0)
    }

    @MainActor
    func test_a_refresh_that_expires_stops_its_pass() async throws {
        let phone = try await phone(with: SilentServer())
        let sockets = ThisProcess.sockets
        let task = phone.launchesRefresh()
        try await eventually("visits the peer") { ThisProcess.sockets > sockets }
        let start = Date()
        task.expirationHandler?()
        XCTAssertEqual(task.completions, [false])
        XCTAssertEqual(phone.openFiles, [])
        XCTAssertLessThanOrEqual(ThisProcess.sockets, sockets)
        try await eventually("the call has ended") { phone.app.backgroundTasks == 0 }
        XCTAssertLessThan(Date().timeIntervalSince(start), 3)
        XCTAssertEqual(task.completions, [false], "completed once")
    }

    @MainActor
    func test_a_refresh_that_expires_before_it_is_open_visits_no_one() async throws {
        let (isOpening, release) = (Locked(false), Locked(false))
        let phone = try await phone(with: SilentServer()) {
            isOpening.with { $0 = true }
            while !release.now { await Task.detached { try? await Task.sleep(nanoseconds: 1_000_000) }.value }
        }
        let task = phone.launchesRefresh()
        try await eventually("opening") { isOpening.now }
        task.expirationHandler?()
        XCTAssertEqual(task.completions, [false])
        release.with { $0 = true }
        try await eventually("at rest", within: 3) { phone.app.backgroundTasks == 0 && phone.openFiles.isEmpty }
        XCTAssertEqual(try phone.opened.now.last?.status().lastVisits.count, 0)
        XCTAssertEqual(task.completions, [false])
    }

    @MainActor
    func test_a_pass_whose_background_time_is_taken_back_visits_no_one() async throws {
        let (isOpening, release) = (Locked(false), Locked(false))
        let phone = try await phone(with: SilentServer()) {
            isOpening.with { $0 = true }
            while !release.now { await Task.detached { try? await Task.sleep(nanoseconds: 1_000_000) }.value }
        }
        let wallet = try XCTUnwrap(phone.wallet)
        let pass = Task { try await wallet.runBackgroundPass(budget: 600) }
        try await eventually("opening") { isOpening.now }
        XCTAssertEqual(phone.app.takesTimeBack(), 0)
        release.with { $0 = true }
        let start = Date()
        let report = try await pass.value
        XCTAssertTrue(report.suspended)
        XCTAssertLessThan(Date().timeIntervalSince(start), 3)
        XCTAssertEqual(report.status.lastVisits.count, 0)
    }

    @MainActor
    func test_leaving_the_app_schedules_a_refresh() async throws {
        let phone = try Phone()
        try await phone.becomesActive()
        phone.app.goesToBackground()
        XCTAssertEqual(phone.submitted, 1)
        XCTAssertTrue(phone.refreshIsScheduled)
        try await eventually("at rest") { phone.app.backgroundTasks == 0 }
    }

    @MainActor
    func test_after_shutdown_no_refresh_is_scheduled_and_one_that_comes_is_completed() async throws {
        let phone = try Phone()
        try await phone.becomesActive()
        phone.app.goesToBackground()
        try await eventually("at rest") { phone.app.backgroundTasks == 0 }
        let other = try Phone(startsIn: .background)
        _ = try await phone.wallet?.shutdown()
        XCTAssertTrue(phone.refreshIsScheduled, "for the other wallet")
        _ = try await other.wallet?.shutdown()
        XCTAssertFalse(phone.refreshIsScheduled)

        let task = phone.launchesRefresh()
        try await eventually("completed") { task.completions == [false] }
        XCTAssertFalse(phone.refreshIsScheduled)
        XCTAssertEqual(phone.openFiles, [])
    }

    @MainActor
    func test_all_wallets_of_the_process_are_refreshed_by_one_task() async throws {
        let phones = try [Phone(startsIn: .background), Phone(startsIn: .background)]
        let task = phones[0].launchesRefresh()
        try await eventually("refresh has ended") { !task.completions.isEmpty }
        XCTAssertEqual(task.completions, [true])
        XCTAssertEqual(phones.map(\.opened.now.count), [1, 1])
        XCTAssertEqual(phones.flatMap(\.openFiles), [])
    }
}
