import BackgroundTasks
import Foundation
import Network
import PeerStorage
import PeerStorageTestSupport
import UIKit
import XCTest

/// What iOS says to an app, in the orders in which it says it: through the real `IOSPeerStorage`, with the real
/// library. `UIKit`, `BackgroundTasks` and `Network` are stand-ins (see Package.swift).
final class AppLifeTests: XCTestCase, @unchecked Sendable { // Each test has an object of its own.
    @MainActor
    func test_a_launch_in_background_opens_nothing() async throws {
        let phone = try Phone(startsIn: .background)
        try await phone.settles()
        XCTAssertFalse(phone.hasDirectory)
        XCTAssertEqual(phone.app.begun - phone.begunBefore, 0)
    }

    @MainActor
    func test_what_is_seen_is_opened_once_and_active() async throws {
        let phone = try Phone()
        try await phone.becomesActive()
        phone.app.comesToForeground()
        let storage = try await phone.wallet?.storage()
        XCTAssertTrue(storage === phone.opened.now.last)
        XCTAssertEqual(phone.opened.now.count, 1)
        XCTAssertFalse(phone.openFiles.isEmpty)
        XCTAssertEqual(phone.app.backgroundTasks, 0)
    }

    @MainActor
    func test_in_background_nothing_is_open_when_the_time_ends() async throws {
        let phone = try Phone()
        try await phone.becomesActive()
        let openAtTheEnd = phone.filesOpenAtTheEnd()
        phone.app.goesToBackground()
        XCTAssertEqual(phone.app.backgroundTasks, 1, "begun before iOS has its answer")
        try await eventually("background time is given back") { phone.app.backgroundTasks == 0 }
        XCTAssertEqual(openAtTheEnd.now, [0])
        XCTAssertEqual(try phone.activity, .suspended)

        try await phone.becomesActive()
        XCTAssertEqual(phone.opened.now.count, 1, "the same object goes on")
        XCTAssertEqual(phone.app.endedTwice, 0)
    }

    @MainActor
    func test_a_short_hop_to_background_tears_nothing_down() async throws {
        let phone = try Phone { $0.linger = 60 }
        try await phone.becomesActive()
        let files = phone.openFiles
        for _ in 0..<20 {
            phone.app.goesToBackground()
            XCTAssertEqual(phone.openFiles, files)
            phone.app.comesToForeground()
        }
        try await eventually("background time is given back") { phone.app.backgroundTasks == 0 }
        XCTAssertEqual(phone.openFiles, files)
        try await eventually("active") { try phone.activity == .active }
    }

    @MainActor
    func test_the_last_of_many_flips_counts() async throws {
        let phone = try Phone()
        try await phone.becomesActive()
        for _ in 0..<200 {
            phone.app.goesToBackground()
            // So that the word that it is back meets the leave at every point of its way.
            for _ in 0..<Int.random(in: 0...6) { await Task.yield() }
            phone.app.comesToForeground()
            try await eventually("background time is given back") { phone.app.backgroundTasks == 0 }
            try await eventually("active", within: 5) { try phone.activity == .active }
        }
        phone.app.goesToBackground()
        try await eventually("at rest") { phone.app.backgroundTasks == 0 }
        XCTAssertEqual(phone.openFiles, [])
        XCTAssertEqual(phone.app.endedTwice, 0)
    }

    @MainActor
    func test_when_ios_takes_the_time_back_nothing_is_open_and_every_task_is_ended() async throws {
        let phone = try Phone { $0.backgroundBudget = 600 }
        try await phone.becomesActive()
        let hold = try phone.opened.now.last?.hold()
        phone.app.goesToBackground(remaining: 1000)
        try await eventually("draining") { try phone.activity == .draining }
        XCTAssertFalse(phone.openFiles.isEmpty, "held")
        XCTAssertEqual(phone.app.takesTimeBack(), 0, "tasks that iOS would kill the app for")
        XCTAssertEqual(phone.openFiles, [])
        hold?.release()
        try await eventually("the call has ended") { try phone.activity == .suspended }
        XCTAssertEqual(phone.app.endedTwice, 0)
    }

    @MainActor
    func test_what_ios_has_left_is_the_budget() async throws {
        let phone = try Phone { $0.backgroundBudget = 600 }
        try await phone.becomesActive()
        let hold = try phone.opened.now.last?.hold()
        defer { hold?.release() }
        let openAtTheEnd = phone.filesOpenAtTheEnd()
        phone.app.goesToBackground(remaining: 5)
        try await eventually("ends by itself", within: 4) { phone.app.backgroundTasks == 0 }
        XCTAssertEqual(openAtTheEnd.now, [0])
    }

    @MainActor
    func test_without_background_time_it_comes_to_rest_all_the_same() async throws {
        let phone = try Phone()
        try await phone.becomesActive()
        phone.app.givesBackgroundTime = false
        phone.app.goesToBackground(remaining: 0)
        try await eventually("at rest", within: 6) { phone.openFiles.isEmpty }
        XCTAssertEqual(phone.app.endedTwice, 0)
    }

    @MainActor
    func test_left_while_it_opens_it_comes_to_rest() async throws {
        let isOpening = Locked(false)
        let release = Locked(false)
        let phone = try Phone { settings in
            settings.opened = { _ in
                isOpening.with { $0 = true }
                while !release.now { try await Task.sleep(nanoseconds: 1_000_000) }
            }
        }
        try await eventually("opening") { isOpening.now }
        phone.app.goesToBackground()
        XCTAssertEqual(phone.app.backgroundTasks, 1, "the opening has time")
        release.with { $0 = true }
        try await eventually("opened") { !phone.opened.now.isEmpty }
        try await eventually("at rest") { try phone.activity == .suspended && phone.app.backgroundTasks == 0 }
        XCTAssertEqual(phone.openFiles, [])
    }

    @MainActor
    func test_the_app_s_own_part_of_leaving_comes_first_and_shares_the_time() async throws {
        let seen = Locked<[Activity]>([])
        let release = Locked(false)
        let phone = try Phone { settings in
            settings.leaving = { storage in
                while !release.now { try? await Task.sleep(nanoseconds: 1_000_000) }
                if let activity = try? storage.status().activity { seen.with { $0.append(activity) } }
            }
        }
        try await phone.becomesActive()
        phone.app.goesToBackground()
        try await phone.settles()
        XCTAssertEqual(phone.app.backgroundTasks, 1)
        release.with { $0 = true }
        try await eventually("at rest") { phone.app.backgroundTasks == 0 }
        XCTAssertEqual(seen.now, [.active])
        XCTAssertEqual(phone.openFiles, [])
    }

    @MainActor
    func test_who_takes_too_long_to_leave_is_overtaken() async throws {
        let release = Locked(false)
        let phone = try Phone { settings in
            settings.leaving = { _ in while !release.now { try? await Task.sleep(nanoseconds: 1_000_000) } }
        }
        try await phone.becomesActive()
        phone.app.goesToBackground()
        XCTAssertEqual(phone.app.takesTimeBack(), 0)
        XCTAssertEqual(phone.openFiles, [])
        phone.app.comesToForeground()
        try await eventually("active") { try phone.activity == .active }
        let seen = Locked<[Activity]>([])
        let statuses = try XCTUnwrap(phone.opened.now.last).statuses()
        let watching = Task { for await status in statuses { seen.with { $0.append(status.activity) } } }
        release.with { $0 = true }
        try await phone.settles()
        watching.cancel()
        await watching.value
        XCTAssertEqual(Set(seen.now), [.active], "the late end of leaving says nothing any more")
        XCTAssertEqual(phone.app.endedTwice, 0)
    }

    @MainActor
    func test_before_the_first_unlock_it_fails_softly_and_opens_at_the_unlock() async throws {
        let isUnlocked = Locked(false)
        let phone = try Phone(startsIn: .background) { settings in
            let secret = settings.secret
            settings.secret = { try await isUnlocked.now ? secret() : nil }
        }
        let task = phone.launchesRefresh()
        try await eventually("refresh has ended") { task.completions == [false] }
        guard case PeerStorageError.Locked? = phone.failures.now.last else { return XCTFail("\(phone.failures.now)") }
        XCTAssertFalse(phone.hasDirectory)

        isUnlocked.with { $0 = true }
        phone.app.isUnlocked()
        try await eventually("opened") { phone.opened.now.count == 1 }
        try await eventually("at rest again") { phone.app.backgroundTasks == 0 && phone.openFiles.isEmpty }
        try await phone.becomesActive()
    }

    @MainActor
    func test_files_that_cannot_be_read_yet_are_opened_when_they_can() async throws {
        let phone = try Phone(startsIn: .background)
        try FileManager.default.createDirectory(at: phone.directory, withIntermediateDirectories: true)
        try await withUnreadable(phone.directory) {
            phone.app.comesToForeground()
            try await eventually("failed") { !phone.failures.now.isEmpty }
        }
        guard case PeerStorageError.Locked? = phone.failures.now.last else { return XCTFail("\(phone.failures.now)") }
        XCTAssertEqual(phone.opened.now.count, 0)
        phone.app.isUnlocked()
        try await eventually("opened") { phone.opened.now.count == 1 }
    }

    @MainActor
    func test_at_the_end_of_the_app_all_is_closed_when_ios_has_its_answer() async throws {
        let phone = try Phone()
        try await phone.becomesActive()
        phone.app.terminates()
        XCTAssertEqual(phone.openFiles, [])
        XCTAssertEqual(try phone.activity, .closed)
    }

    @MainActor
    func test_the_network_is_reported() async throws {
        let phone = try Phone()
        defer { Device.shared.networkIs(.satisfied) }
        try await phone.becomesActive()
        let storage = try XCTUnwrap(phone.opened.now.last)
        let peers = try report(channels: 1).peers
        for (status, error) in [(NWPath.Status.unsatisfied, PeerStorageError.NotNow(obstacle: .noNetwork)), (.satisfied, nil)] {
            Device.shared.networkIs(status)
            try await eventually("\(status)") {
                do {
                    _ = try await storage.syncWithPeers(peers: peers, verify: false, budgetMs: 100)
                    return error == nil
                } catch let thrown as PeerStorageError {
                    return thrown == error
                }
            }
        }
    }

    @MainActor
    func test_whether_the_host_s_node_runs_is_asked_at_each_opening() async throws {
        let runs = Locked(true)
        let phone = try Phone { settings in
            settings.hostNodeRuns = { runs.now }
            settings.opened = { storage in
                let obstacle = try storage.status().obstacle
                XCTAssertEqual(obstacle, .hostNodeRuns, "from the first moment on")
            }
        }
        try await eventually("opened") { !phone.opened.now.isEmpty }
        try await bars(phone, .hostNodeRuns)
        _ = try await phone.wallet?.shutdown()
        phone.wallet = nil

        runs.with { $0 = false }
        let next = try Phone { settings in
            settings.hostNodeRuns = { runs.now }
            // Started while the storage is opened.
            settings.opened = { storage in
                let before = try storage.status().obstacle
                XCTAssertNil(before)
                runs.with { $0 = true }
            }
        }
        try await eventually("opened") { !next.opened.now.isEmpty }
        try await bars(next, .hostNodeRuns)
    }

    @MainActor
    private func bars(_ phone: Phone, _ obstacle: Obstacle) async throws {
        let storage = try await XCTUnwrap(phone.wallet).storage()
        do {
            _ = try await storage.syncWithPeers(peers: report(channels: 1).peers, verify: false, budgetMs: 100)
            XCTFail("visits peers")
        } catch {
            XCTAssertEqual(error as? PeerStorageError, .NotNow(obstacle: obstacle))
        }
    }

    @MainActor
    func test_a_directory_in_use_is_opened_when_it_is_free() async throws {
        let phone = try Phone(startsIn: .background)
        let other = try await PeerStorage.open(in: phone.directory)
        phone.app.comesToForeground()
        try await eventually("told") { phone.failures.now.contains { $0 as? PeerStorageError == .InUse } }
        _ = try await other.shutdown(budgetMs: 1000)
        try await phone.becomesActive()
        XCTAssertEqual(phone.opened.now.count, 1)
    }

    @MainActor
    func test_where_the_app_s_own_part_fails_nothing_stays_open() async throws {
        struct Refused: Error {}
        let works = Locked(false)
        let phone = try Phone { settings in
            settings.opened = { _ in if !works.now { throw Refused() } }
        }
        try await eventually("told") { phone.failures.now.last is Refused }
        XCTAssertEqual(phone.openFiles, [])
        works.with { $0 = true }
        _ = try await XCTUnwrap(phone.wallet).storage()
        XCTAssertFalse(phone.openFiles.isEmpty)
    }

    @MainActor
    func test_what_the_app_lets_go_of_goes() async throws {
        let phone = try Phone()
        try await phone.becomesActive()
        let watched = Device.shared.watched
        weak var wallet = phone.wallet
        weak var storage = phone.opened.now.last
        phone.wallet = nil
        phone.opened.with { $0 = [] }
        try await eventually("gone") { wallet == nil && storage == nil }
        try await eventually("closed") { phone.openFiles.isEmpty }
        XCTAssertEqual(Device.shared.watched, watched - 1)
        phone.app.goesToBackground()
        XCTAssertEqual(phone.app.backgroundTasks, 0)
        let task = phone.launchesRefresh()
        try await eventually("refused") { task.completions == [false] }
    }
}
