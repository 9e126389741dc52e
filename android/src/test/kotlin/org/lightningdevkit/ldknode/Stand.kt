package org.lightningdevkit.ldknode

// What docs/android.md uses of ldk-node, in the names and types of its own Kotlin bindings (0.7.1): these are not
// on Maven Central, so the guide's code is compiled against this.

interface NodeInterface {
    fun start()

    fun stop()

    fun status(): NodeStatus

    fun listChannels(): List<ChannelDetails>

    fun listPeers(): List<PeerDetails>
}

data class NodeStatus(val isRunning: Boolean, val currentBestBlock: BestBlock)

data class BestBlock(val blockHash: String, val height: UInt)

data class ChannelDetails(
    val channelId: String,
    val counterpartyNodeId: String,
    val fundingTxo: OutPoint?,
    val shortChannelId: ULong?,
    val channelValueSats: ULong,
    val confirmations: UInt?,
    val isChannelReady: Boolean,
)

data class OutPoint(val txid: String, val vout: UInt)

data class PeerDetails(val nodeId: String, val address: String, val isPersisted: Boolean, val isConnected: Boolean)
