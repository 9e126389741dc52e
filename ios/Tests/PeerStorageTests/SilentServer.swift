import Foundation
import PeerStorage
import PeerStorageTestSupport

#if canImport(Glibc)
import Glibc
#endif

/// Takes connections and says nothing.
final class SilentServer: Sendable {
    let address: String
    private let socket: Int32

    init() throws {
        #if canImport(Glibc)
        let socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        #else
        let socket = Darwin.socket(AF_INET, SOCK_STREAM, 0)
        #endif
        self.socket = socket
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(socket, $0, length) == 0 && listen(socket, 16) == 0 && getsockname(socket, $0, &length) == 0
            }
        }
        guard bound else { throw NeverHappened(description: "no socket") }
        address = "127.0.0.1:\(UInt16(bigEndian: name.sin_port))"
    }

    deinit {
        close(socket)
    }
}

extension SilentServer {
    func reportOfOneChannel() throws -> WalletReport {
        let one = try report(channels: 1)
        let peers = one.peers.map { WalletPeer(nodeId: $0.nodeId, addresses: [address]) }
        return WalletReport(channels: one.channels, peers: peers)
    }
}
