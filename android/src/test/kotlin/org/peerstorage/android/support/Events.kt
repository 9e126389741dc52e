package org.peerstorage.android.support

import org.peerstorage.PeerStorage
import org.peerstorage.WalletChannel
import org.peerstorage.WalletPeer
import org.peerstorage.WalletReport

/** A node id that is a point on the curve (of the secret key 1), for a peer that nobody plays. */
const val NOBODY = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"

/** A channel with nobody. */
fun channel(number: Int, peer: String = NOBODY) = WalletChannel(
    channelId = number.toString(16).padStart(64, '0'),
    counterpartyNodeId = peer,
    fundingOutpoint = number.toString(16).padStart(64, '0') + ":0",
    shortChannelId = null,
    confirmations = null,
    isReady = true,
    valueSat = 100_000u,
)

/** What a wallet with channels reports. */
fun report(vararg channels: WalletChannel, addresses: List<String> = emptyList()) = WalletReport(
    channels = channels.toList(),
    peers = channels.map { WalletPeer(it.counterpartyNodeId, addresses) }.distinctBy { it.nodeId },
)

/** The library gets more of the app's data than the largest backup has room for, and says so in an event. */
suspend fun PeerStorage.makeAnEvent() {
    reportWallet(report(channel(1)))
    declareNew()
    setAppData(ByteArray(65_500))
}
