import Foundation
import PeerStorage
import PeerStorageTestSupport
import UIKit
import XCTest

/// The code of the guide for a wallet beside ldk-node, run: what its node does, and what the library is told.
final class GuideRunTests: XCTestCase, @unchecked Sendable { // Each test has an object of its own.
    @MainActor
    private func phone(with wallet: Wallet, opened: @escaping @Sendable (PeerStorage) async throws -> Void) throws -> Phone {
        try Phone { settings in
            wallet.isBeside(&settings)
            settings.backgroundBudget = 4
            settings.opened = opened
        }
    }

    @MainActor
    func test_a_node_that_starts_when_the_app_is_left_is_stopped_again() async throws {
        // The check waits for this peer, and so the start takes its time.
        let silent = try SilentServer()
        var wallet = Wallet()
        wallet.report = { (try? silent.reportOfOneChannel()) ?? WalletReport(channels: [], peers: []) }
        let phone = try phone(with: wallet) { try await $0.declareNew() }
        try await phone.becomesActive()
        let backup = try XCTUnwrap(phone.wallet)
        let sockets = ThisProcess.sockets
        let starting = Task { [wallet] in try await wallet.startNode(backup, Screen()) }
        try await eventually("asks the peer") { ThisProcess.sockets > sockets }
        XCTAssertFalse(wallet.node.isRunning.now)
        phone.app.goesToBackground()
        try? await starting.value
        try await eventually("at rest") { phone.app.backgroundTasks == 0 }
        XCTAssertFalse(wallet.node.isRunning.now, "it runs in the background")
        XCTAssertEqual(phone.openFiles, [])
        XCTAssertNotEqual(try phone.obstacle, .hostNodeRuns)
    }

    @MainActor
    func test_a_start_whose_turn_comes_when_the_app_was_left_starts_nothing() async throws {
        let wallet = Wallet()
        let phone = try phone(with: wallet) { try await $0.declareNew() }
        try await phone.becomesActive()
        phone.app.goesToBackground()
        try await eventually("at rest") { phone.app.backgroundTasks == 0 }
        // Nobody would stop it any more.
        try? await wallet.startNode(XCTUnwrap(phone.wallet), Screen())
        XCTAssertFalse(wallet.node.isRunning.now)
    }

    @MainActor
    func test_who_comes_back_while_the_node_is_stopped_gets_a_node_that_runs() async throws {
        let wallet = Wallet()
        let phone = try phone(with: wallet) { try await $0.declareNew() }
        try await phone.becomesActive()
        let backup = try XCTUnwrap(phone.wallet)
        try await wallet.startNode(backup, Screen())
        XCTAssertTrue(wallet.node.isRunning.now)
        for _ in 0..<30 {
            phone.app.goesToBackground()
            for _ in 0..<Int.random(in: 0...4) { await Task.yield() }
            phone.app.comesToForeground()
            // Where the node was stopped it is started again; where that is still to come, by who is next.
            try? await wallet.startNode(backup, Screen())
            try await eventually("given back") { phone.app.backgroundTasks == 0 }
            try? await wallet.startNode(backup, Screen())
            XCTAssertTrue(wallet.node.isRunning.now)
            XCTAssertEqual(try phone.obstacle, .hostNodeRuns, "peers are visited beside the node")
        }
    }

    @MainActor
    func test_a_node_that_did_not_start_bars_no_visits() async throws {
        let wallet = Wallet()
        wallet.node.startFails.with { $0 = true }
        let phone = try phone(with: wallet) { try await $0.declareNew() }
        try await phone.becomesActive()
        do {
            try await wallet.startNode(XCTUnwrap(phone.wallet), Screen())
            XCTFail("it has started")
        } catch {
            XCTAssertTrue(error is Node.Failed)
        }
        XCTAssertNotEqual(try phone.obstacle, .hostNodeRuns)
    }

    @MainActor
    func test_beside_a_node_that_did_not_stop_no_peer_is_visited() async throws {
        let wallet = Wallet()
        let phone = try phone(with: wallet) { try await $0.declareNew() }
        try await phone.becomesActive()
        try await wallet.startNode(XCTUnwrap(phone.wallet), Screen())
        wallet.node.stopFails.with { $0 = true }
        phone.app.goesToBackground()
        try await eventually("at rest") { phone.app.backgroundTasks == 0 }
        XCTAssertEqual(try phone.obstacle, .hostNodeRuns)
        XCTAssertEqual(phone.openFiles, [])
    }
}

extension Phone {
    var obstacle: Obstacle? {
        get throws { try opened.now.last?.status().obstacle }
    }
}
