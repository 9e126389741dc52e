import Foundation
import PeerStorage
import PeerStorageTestSupport

#if canImport(Glibc)
import Glibc
#endif

/// A chain source as an app may have one, in Swift: it asks the Esplora server of the world. For an address it walks all
/// blocks, since the chain is short and Linux has no SHA-256 without another package.
final class HostChain: ChainSource {
    let calls = Locked<[String: Int]>([:])
    /// What it throws in place of an answer.
    let failure = Locked<(any Error)?>(nil)
    private let port: UInt16

    init(_ url: String) {
        port = UInt16(url.split(separator: ":").last ?? "") ?? 0
    }

    func tip() throws -> ChainTip {
        try called()
        let height = try number(need("/blocks/tip/height"))
        return ChainTip(height: height, blockHash: try need("/block-height/\(height)"))
    }

    func headerAt(height: UInt32) throws -> Data? {
        try called()
        guard let block = try get("/block-height/\(height)") else { return nil }
        return Data(hex: try need("/block/\(block)/header"))
    }

    func transaction(txid: String) throws -> ChainTransaction? {
        try called()
        return try found(txid)
    }

    func txidAt(height: UInt32, index: UInt32) throws -> String? {
        try called()
        guard let block = try get("/block-height/\(height)") else { return nil }
        return try get("/block/\(block)/txid/\(index)")
    }

    func spendOf(outpoint: String) throws -> ChainTransaction? {
        try called()
        let parts = outpoint.split(separator: ":")
        guard parts.count == 2, let told = try get("/tx/\(parts[0])/outspend/\(parts[1])") else { return nil }
        return try JSON.read(Data(told.utf8))["txid"]?.string.flatMap(found)
    }

    func outputsTo(script: Data) throws -> [ChainOutput] {
        try called()
        let wanted = script.map { String(format: "%02x", $0) }.joined()
        var outputs: [ChainOutput] = []
        for height in 0...(try number(need("/blocks/tip/height"))) {
            let block = try need("/block-height/\(height)")
            for txid in try JSON.read(Data(need("/block/\(block)/txids").utf8)).list?.compactMap(\.string) ?? [] {
                let paid = try JSON.read(Data(need("/tx/\(txid)").utf8))["vout"]?.list ?? []
                for (index, output) in paid.enumerated() where output["scriptpubkey"]?.string == wanted {
                    outputs.append(ChainOutput(
                        outpoint: "\(txid):\(index)", valueSat: output["value"]?.number ?? 0, script: script, place: try place(of: txid)
                    ))
                }
            }
        }
        return outputs
    }

    func broadcast(transaction: Data) throws {
        try called()
        let (status, body) = try ask("POST /tx", transaction.map { String(format: "%02x", $0) }.joined())
        if status == 200 || body.contains("-27") { return }
        throw ChainSourceError.Rejected(reason: body)
    }

    func feeRate(blocks: UInt16) throws -> UInt64? {
        try called()
        return nil
    }

    // MARK: How it is asked

    private func called(_ name: String = #function) throws {
        calls.with { $0[String(name.prefix { $0 != "(" }), default: 0] += 1 }
        if let failure = failure.now { throw failure }
    }

    private func found(_ txid: String) throws -> ChainTransaction? {
        guard let hex = try get("/tx/\(txid)/hex") else { return nil }
        return ChainTransaction(transaction: Data(hex: hex), place: try place(of: txid))
    }

    private func place(of txid: String) throws -> ChainPlace? {
        let status = try JSON.read(Data(need("/tx/\(txid)/status").utf8))
        guard let height = status["block_height"]?.number, let block = status["block_hash"]?.string else { return nil }
        let proof = try JSON.read(Data(need("/tx/\(txid)/merkle-proof").utf8))
        return ChainPlace(height: UInt32(height), blockHash: block, index: UInt32(proof["pos"]?.number ?? 0))
    }

    private func number(_ text: String) throws -> UInt32 {
        guard let number = UInt32(text) else { throw ChainSourceError.Untrue(reason: text) }
        return number
    }

    private func need(_ path: String) throws -> String {
        guard let answer = try get(path) else { throw ChainSourceError.Unreachable(reason: "no \(path)") }
        return answer
    }

    private func get(_ path: String) throws -> String? {
        let (status, body) = try ask("GET \(path)", "")
        switch status {
        case 200: return body
        case 404: return nil
        default: throw ChainSourceError.Unreachable(reason: body)
        }
    }

    private func ask(_ request: String, _ body: String) throws -> (status: Int, body: String) {
        let connection = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(connection) }
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_addr.s_addr = inet_addr("127.0.0.1")
        name.sin_port = port.bigEndian
        let connected = withUnsafePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(connection, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard connected == 0 else { throw ChainSourceError.Unreachable(reason: "no connection") }
        let head = "\(request) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: \(body.utf8.count)\r\n\r\n"
        let sent = Array((head + body).utf8)
        guard write(connection, sent, sent.count) == sent.count else { throw ChainSourceError.Unreachable(reason: "not sent") }
        var answer: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 65_536)
        while case let count = read(connection, &part, part.count), count > 0 { answer += part[..<count] }
        let text = String(decoding: answer, as: UTF8.self)
        guard let end = text.range(of: "\r\n\r\n"), let status = text.split(separator: " ").dropFirst().first.flatMap({ Int($0) })
        else { throw ChainSourceError.Unreachable(reason: "hung up") }
        return (status, String(text[end.upperBound...]))
    }
}
