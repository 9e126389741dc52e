import Foundation
import PeerStorage
import PeerStorageTestSupport
import XCTest

/// What makes no sense is refused with the name of what is wrong, and nothing else happens.
final class BadInputTests: XCTestCase {
    private static let long = String(repeating: "x", count: 5000)

    func test_what_is_wrong_in_a_configuration_is_named() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.url.path
        let bad: [(String, OpenConfig)] = [
            ("data_dir", OpenConfig(dataDir: "", network: .regtest)),
            ("data_dir", OpenConfig(dataDir: "a\0b", network: .regtest)),
            ("data_dir", OpenConfig(dataDir: Self.long, network: .regtest)),
            ("expected_node_id", OpenConfig(dataDir: path, network: .regtest, expectedNodeId: "02zz")),
            ("tor_proxy", OpenConfig(dataDir: path, network: .regtest, torProxy: "localhost:9050")),
            ("guest_bytes", OpenConfig(dataDir: path, network: .regtest, storage: StorageSettings(guestBytes: 65_532))),
            ("guests", OpenConfig(dataDir: path, network: .regtest, storage: StorageSettings(guests: .listed(nodeIds: ["me"])))),
        ]
        for (field, config) in bad {
            await refuses(field) { _ = try await PeerStorage.open(config: config, secret: anySecret()) }
        }
        XCTAssertEqual(ThisProcess.openFiles(in: directory.url), [])
        _ = try await PeerStorage.open(in: directory.url, networkAvailable: false).shutdown(budgetMs: 1000)
    }

    func test_a_secret_is_checked_when_it_is_made_and_no_error_repeats_it() async throws {
        let words = Array(repeating: "abandon", count: 11).joined(separator: " ")
        await refuses("bytes") { _ = try WalletSecret.fromLdkSeed(bytes: Data(count: 31)) }
        await refuses("bytes") { _ = try WalletSecret.fromLdkSeed(bytes: Data()) }
        await refuses("bytes") { _ = try WalletSecret.fromLdkNodeSeed(bytes: Data(count: 65)) }
        await refuses("words") { _ = try WalletSecret.fromLdkNodeMnemonic(words: "", passphrase: "") }
        await refuses("words") { _ = try WalletSecret.fromLdkNodeMnemonic(words: Self.long, passphrase: "") }
        do {
            _ = try WalletSecret.fromLdkNodeMnemonic(words: words + " zebra", passphrase: "")
            XCTFail("taken")
        } catch {
            let said = "\(error) \(error.localizedDescription)"
            XCTAssertFalse(said.contains("zebra") || said.contains("abandon"), said)
        }
    }

    func test_what_is_wrong_in_a_report_is_named_and_the_report_before_stays() async throws {
        let directory = try TemporaryDirectory()
        let storage = try await PeerStorage.open(in: directory.url, networkAvailable: false)
        try await storage.declareNew()
        try storage.reportWallet(report: report(channels: 1))
        let peer = try anySecret(9).nodeId()
        func channel(
            id: String = String(repeating: "ab", count: 32), peer other: String? = nil, outpoint: String? = nil, keys: String? = nil
        ) -> WalletReport {
            let channel = WalletChannel(
                channelId: id, counterpartyNodeId: other ?? peer, fundingOutpoint: outpoint, isReady: true,
                valueSat: 1, channelKeysId: keys
            )
            return WalletReport(channels: [channel], peers: [])
        }
        func address(_ address: String) -> WalletReport {
            WalletReport(channels: [], peers: [WalletPeer(nodeId: peer, addresses: [address])])
        }
        let bad: [(String, WalletReport)] = [
            ("channel_id", channel(id: "00")),
            ("channel_id", channel(id: "")),
            ("channel_id", channel(id: "é")),
            ("counterparty_node_id", channel(peer: String(repeating: "05", count: 33))),
            ("funding_outpoint", channel(outpoint: String(repeating: "00", count: 32))),
            ("funding_outpoint", channel(outpoint: String(repeating: "00", count: 32) + ":x")),
            ("channel_keys_id", channel(keys: "0g")),
            ("spendable_outputs", WalletReport(channels: [], peers: [], spendableOutputs: [Data([1, 2, 3])])),
            ("keep_backups_at", WalletReport(channels: [], peers: [], keepBackupsAt: ["somebody"])),
            ("peers", address("")),
            ("peers", address("127.0.0.1")),
            ("peers", address("127.0.0.1:99999")),
            ("peers", address(Self.long + ":9735")),
        ]
        for (field, report) in bad {
            await refuses(field) { try storage.reportWallet(report: report) }
        }
        try await eventually("the report before") { try storage.status().channels == 1 }

        let stranger = [WalletPeer(nodeId: "x", addresses: [])]
        await refuses("channel") { try await storage.channelSwept(channel: ChannelIds()) }
        await refuses("data") { try await storage.setAppData(data: Data(count: 70_000)) }
        await refuses("peers") { _ = try await storage.restore(peers: stranger, budgetMs: 0) }
        await refuses("peers") { _ = try await storage.syncWithPeers(peers: stranger, verify: false, budgetMs: 0) }
        await refuses("url") {
            let chain = ChainAccess.esplora(url: "nonsense", proxy: nil)
            _ = try await storage.startRecovery(chain: chain, settings: RecoverySettings(), listener: nil)
        }
        for bytes in [Data(), Data([0]), Data(count: 1000)] {
            do {
                _ = try await readMonitor(secret: anySecret(), monitor: bytes)
                XCTFail("read")
            } catch {
                XCTAssertTrue(error is PeerStorageError)
            }
        }
        _ = try await storage.shutdown(budgetMs: 1000)
    }

    func test_the_largest_and_the_smallest_numbers_are_taken() async throws {
        let directory = try TemporaryDirectory()
        let config = OpenConfig(dataDir: directory.url.path, network: .regtest, networkAvailable: false, lingerMs: .max)
        let storage = try await PeerStorage.open(config: config, secret: anySecret())
        storage.reportTip(height: .max)
        let one = try report(channels: 1)
        let huge = WalletChannel(
            channelId: one.channels[0].channelId, counterpartyNodeId: one.channels[0].counterpartyNodeId, fundingOutpoint: nil,
            shortChannelId: .max, confirmations: .max, isReady: true, valueSat: .max, stateStamp: .max
        )
        try storage.reportWallet(report: WalletReport(channels: [huge], peers: one.peers, earliestHtlcExpiry: .max))
        _ = try await storage.checkBeforeNodeStart(budgetMs: 0)
        try await storage.eventHandled(id: .max)
        _ = try await storage.onBackground(budgetMs: 0)
        let report = try await storage.shutdown(budgetMs: .max)
        XCTAssertTrue(report.closed)
    }

    private func refuses(
        _ expected: String,
        line: UInt = #line,
        _ work: () async throws -> Void
    ) async {
        do {
            try await work()
            XCTFail("\(expected) was taken", line: line)
        } catch PeerStorageError.InvalidInput(let field, _) {
            XCTAssertEqual(field, expected, line: line)
        } catch {
            XCTFail("\(expected): \(error)", line: line)
        }
    }
}
