import Foundation
import PeerStorage

// What the world tells, as a host reports it to the library.

extension WalletReport {
    /// The answer to `channels`.
    public init(_ told: JSON) {
        let report = told["report"] ?? .null
        self.init(
            channels: (report["channels"]?.list ?? []).map { WalletChannel($0) },
            peers: (report["peers"]?.list ?? []).map { WalletPeer($0) },
            keepBackupsAt: (report["keep_backups_at"]?.list ?? []).compactMap(\.string),
            spendableOutputs: (report["spendable_outputs"]?.list ?? []).map { Data(hex: $0.string ?? "") },
            earliestHtlcExpiry: report["earliest_htlc_expiry"]?.number.map(UInt32.init)
        )
    }
}

extension WalletPeer {
    public init(_ told: JSON) {
        self.init(nodeId: told["node_id"]?.string ?? "", addresses: told["addresses"]?.list?.compactMap(\.string) ?? [])
    }
}

extension WalletChannel {
    init(_ told: JSON) {
        let kinds: [String: ChannelKind] = ["anchors": .anchors, "static_remote_key": .staticRemoteKey]
        self.init(
            channelId: told["channel_id"]?.string ?? "",
            counterpartyNodeId: told["counterparty_node_id"]?.string ?? "",
            fundingOutpoint: told["funding_outpoint"]?.string,
            shortChannelId: told["short_channel_id"]?.number,
            confirmations: told["confirmations"]?.number.map(UInt32.init),
            isReady: told["is_ready"]?.bool ?? false,
            isClosed: told["is_closed"]?.bool ?? false,
            valueSat: told["value_sat"]?.number ?? 0,
            kind: told["kind"]?.string.flatMap { kinds[$0] } ?? .other,
            stateStamp: told["state_stamp"]?.number ?? 0,
            channelKeysId: told["channel_keys_id"]?.string
        )
    }
}

extension Data {
    /// Empty where these are not hexadecimal digits: the library then says so.
    public init(hex: String) {
        let digits = Array(hex)
        let bytes = stride(from: 0, to: digits.count - 1, by: 2).map { UInt8(String(digits[$0...$0 + 1]), radix: 16) }
        self.init(bytes.contains(nil) ? [] : bytes.compactMap { $0 })
    }
}
