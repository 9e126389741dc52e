import Foundation
import PeerStorage
import PeerStorageTestSupport
import XCTest

/// The relay, as a node in Swift whose messages are hooked calls it. What it does with messages of channels is tested in
/// Rust, with real nodes; here it is seen that all of it arrives.
final class RelayTests: XCTestCase, @unchecked Sendable { // Each test has an object of its own.
    private static let backup: UInt16 = 7
    private static let returnedBackup: UInt16 = 9

    private final class Hook: RelayListener {
        let rings = Locked(0)
        func onStepsWaiting() { rings.with { $0 += 1 } }
    }

    /// A relay, the one peer that the wallet has a channel with, and what was to be sent to it so far.
    @MainActor
    private final class Node {
        let storage: PeerStorage
        let relay: MessageRelay
        let peer: String
        let hook = Hook()
        private(set) var sent: [RawMessage] = []

        init(_ directory: TemporaryDirectory) async throws {
            storage = try await PeerStorage.open(in: directory.url, networkAvailable: false)
            let one = try report(channels: 1)
            peer = one.peers[0].nodeId
            try await storage.declareNew()
            try storage.reportWallet(report: one)
            relay = try await storage.messageRelay(listener: hook)
        }

        /// As a node of this project: it keeps backups for others.
        func connects() throws {
            sent = []
            let features = try relay.initFeatures(nodesOwn: Data([0, 0]))
            try relay.peerConnected(peer: peer, theirInitFeatures: features, inbound: true, nodeSays: [])
        }

        func says(_ kind: UInt16, _ backup: Data) throws {
            let length = Data([UInt8(backup.count >> 8), UInt8(backup.count & 0xff)])
            try relay.messageReceived(peer: peer, message: RawMessage(kind: kind, payload: length + backup))
        }

        /// Its `channel_reestablish` of a channel that nothing was paid in.
        func reestablishes() throws {
            let channel = try report(channels: 1).channels[0].channelId
            let numbers = Data([0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])
            let payload = Data(hex: channel) + numbers + Data(count: 32) + Data(hex: peer)
            try relay.messageReceived(peer: peer, message: RawMessage(kind: 136, payload: payload))
        }

        func hasSent(_ kind: UInt16) throws -> Data? {
            for case .send(let to, let message) in try relay.takeSteps() where to == peer { sent.append(message) }
            return sent.first { $0.kind == kind }.map { $0.payload.dropFirst(2) }.map { Data($0) }
        }
    }

    @MainActor
    func test_a_node_in_swift_keeps_a_peer_s_backup_and_gets_its_own_back() async throws {
        let directory = try TemporaryDirectory()
        let node = try await Node(directory)
        let theirs = Data((0..<200).map { UInt8($0) })

        try node.connects()
        // It has nothing of ours: it speaks of the channel first.
        try node.reestablishes()
        try node.says(Self.backup, theirs)
        let ours = Locked<Data?>(nil)
        try await eventually("our backup is pushed") {
            let pushed = try node.hasSent(Self.backup)
            ours.with { $0 = pushed }
            return pushed != nil
        }
        XCTAssertGreaterThan(node.hook.rings.now, 0, "the listener is called when steps wait")
        XCTAssertNil(try node.hasSent(Self.returnedBackup), "it had nothing here yet")
        try node.relay.peerDisconnected(peer: node.peer)

        try await eventually("each has the other's backup") {
            try node.connects()
            try node.says(Self.returnedBackup, ours.now ?? Data())
            let returned = try node.hasSent(Self.returnedBackup)
            let isFirst = node.sent.first?.kind == Self.returnedBackup
            if let newer = try node.hasSent(Self.backup) { ours.with { $0 = newer } }
            try node.relay.peerDisconnected(peer: node.peer)
            return try returned == theirs && isFirst && node.storage.status().verifiedBy == 1
        }
        _ = try await node.storage.shutdown(budgetMs: 2000)
    }

    @MainActor
    func test_what_the_relay_refuses_it_names() async throws {
        let directory = try TemporaryDirectory()
        let node = try await Node(directory)
        let (relay, peer) = (node.relay, node.peer)
        func refused(_ expected: RelayError, line: UInt = #line, _ work: () throws -> Void) {
            XCTAssertThrowsError(try work(), line: line) { error in
                if case .InvalidInput(let field, _)? = error as? RelayError, case .InvalidInput(let wanted, _) = expected {
                    return XCTAssertEqual(field, wanted, line: line)
                }
                XCTAssertEqual(error as? RelayError, expected, line: line)
            }
        }
        let ping = RawMessage(kind: 18, payload: Data([0, 1, 0, 0]))
        refused(.NotConnected) { try relay.messageReceived(peer: peer, message: ping) }
        refused(.NotConnected) { try relay.nodeSends(peer: peer, message: RawMessage(kind: Self.backup, payload: Data([0, 0]))) }
        refused(.InvalidInput(field: "peer", reason: "")) { try relay.peerDisconnected(peer: "me") }
        refused(.InvalidInput(field: "features", reason: "")) { _ = try relay.initFeatures(nodesOwn: Data([9])) }
        refused(.InvalidInput(field: "features", reason: "")) { _ = try relay.nodeFeatures(nodesOwn: Data()) }
        refused(.InvalidInput(field: "transactions", reason: "")) { _ = try relay.mayPublish(transactions: [Data([1, 2])]) }
        XCTAssertTrue(try relay.mayPublish(transactions: []))

        try node.connects()
        refused(.NotForTheRelay(kind: 18)) { try relay.messageReceived(peer: peer, message: ping) }
        refused(.Unreadable(kind: 136)) { try relay.messageReceived(peer: peer, message: RawMessage(kind: 136, payload: Data())) }
        try relay.nodeLogged(modulePath: "lightning::ln::peer_handler", peer: peer, text: "anything")
        _ = try relay.takeSteps()
        try relay.nodeDisconnects(peer: peer)
        try await eventually("the peer is to be disconnected") { try relay.takeSteps().contains(.disconnect(peer: peer)) }
        try relay.peerDisconnected(peer: peer)

        XCTAssertTrue(try relay.isCurrent())
        _ = try await node.storage.onBackground(budgetMs: 2000)
        XCTAssertFalse(try relay.isCurrent(), "of an opening that is over")
        _ = try await node.storage.shutdown(budgetMs: 2000)
    }
}
