import Foundation
import PeerStorage
import PeerStorageTestSupport

// What the library says, and what it is told, in the words of scenarios.
extension Runner {
    func walletPeer(_ name: String) throws -> WalletPeer {
        guard let peer = start["peers"]?[name] else { throw Failure("there is no \(name)") }
        return WalletPeer(peer)
    }

    func walletPeers(_ given: Arguments) throws -> [WalletPeer] {
        try given.texts("peers").map(walletPeer)
    }

    private func nameOf(_ nodeId: String) throws -> String {
        guard let peer = start["peers"]?.object?.first(where: { $0.value["node_id"]?.string == nodeId }) else {
            throw Failure("the library names a stranger")
        }
        return peer.key
    }

    func visits(_ visits: [PeerVisit]) throws -> JSON {
        .object(try visits.reduce(into: [:]) { peers, visit in
            peers[try nameOf(visit.nodeId)] = switch visit.outcome {
            case .visited(let returned, let sent, let delivered, let verified): [
                    "reached": true, "returned": .string(snake(returned)), "sent": .bool(sent != nil),
                    "delivered": .bool(delivered), "verified": .bool(verified),
                ]
            case .notReached(let why): ["reached": false, "why": .string(snake(why))]
            }
        })
    }

    func answer(_ start: NodeStart) -> JSON {
        var answer: [String: JSON] = ["answer": .string(snake(start)), "why": .null]
        switch start {
        case .nothingKnownAgainst: break
        case .doNotStart(let alarms): answer["alarms"] = JSON(alarms.count)
        case .restored(let channels): answer["channels"] = JSON(channels)
        case .unknown(.hindered(let hindrance)): answer["why"] = .string(snake(hindrance))
        case .unknown(let why): answer["why"] = .string(snake(why))
        }
        return .object(answer)
    }

    func told(_ report: RestoreReport) -> JSON {
        [
            "newest": report.newest?.text ?? .null,
            "answers": JSON(report.answers.count), "silent": JSON(report.silent.count),
            "unheard": JSON(report.unheard.count), "channels": JSON(report.channels.count),
            "older_channels": JSON(report.olderChannels.count),
            "app_data": .string(String(decoding: report.appData, as: UTF8.self)),
        ]
    }

    func shown(_ status: StorageStatus) throws -> JSON {
        let health = try status.peers.map { (try nameOf($0.nodeId), JSON.string(snake($0.health))) }
        return [
            "activity": .string(snake(status.activity)), "past": .string(snake(status.past)),
            "newest": status.newest?.text ?? .null, "channels": JSON(status.channels),
            "restored_channels": JSON(status.restoredChannels), "verified_by": JSON(status.verifiedBy),
            "sent_to": JSON(status.sentTo), "unprotected_channels": JSON(status.unprotectedChannels),
            "held": .bool(status.held), "alarm_count": JSON(status.alarms.count),
            "alarms": counted(status.alarms.map { snake($0.kind) }),
            "peers": .object(Dictionary(uniqueKeysWithValues: health)),
        ]
    }
}
