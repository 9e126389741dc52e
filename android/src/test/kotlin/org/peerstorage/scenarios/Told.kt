package org.peerstorage.scenarios

import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.boolean
import kotlinx.serialization.json.contentOrNull
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import kotlinx.serialization.json.long
import org.peerstorage.ChannelKind
import org.peerstorage.WalletChannel
import org.peerstorage.WalletPeer
import org.peerstorage.WalletReport

/** What the wallet's node tells: asked of the world, or, in a child process, what it said before. */
interface Told {
    fun channels(): JsonObject

    fun tip(): JsonObject
}

/** What the world has answered to `start`. */
class Started(val answer: JsonObject) {
    val seed: String = text("seed")
    val nodeId: String = text("node_id")
    val esplora: String = text("esplora")
    val sweepTo: String = text("sweep_to")
    private val byName = answer.getValue("peers").jsonObject

    private fun text(key: String) = answer.getValue(key).jsonPrimitive.content

    fun nodeIdOf(name: String): String = byName.getValue(name).jsonObject.getValue("node_id").jsonPrimitive.content

    fun nameOf(nodeId: String): String = byName.keys.firstOrNull { nodeIdOf(it) == nodeId } ?: nodeId

    /** These peers, and where they are. */
    fun peers(names: List<String>): List<WalletPeer> = names.map { walletPeer(byName.getValue(it).jsonObject) }
}

/** The world's answer to `channels`, as what a host reports. */
fun walletReport(channels: JsonObject): WalletReport {
    val report = channels.getValue("report").jsonObject
    return WalletReport(
        channels = report.getValue("channels").jsonArray.map { walletChannel(it.jsonObject) },
        peers = report.getValue("peers").jsonArray.map { walletPeer(it.jsonObject) },
        keepBackupsAt = report.getValue("keep_backups_at").jsonArray.map { it.jsonPrimitive.content },
        spendableOutputs = report.getValue("spendable_outputs").jsonArray.map { it.jsonPrimitive.content.bytes() },
        earliestHtlcExpiry = report.number("earliest_htlc_expiry")?.toUInt(),
    )
}

private fun walletChannel(channel: JsonObject) = WalletChannel(
    channelId = channel.getValue("channel_id").jsonPrimitive.content,
    counterpartyNodeId = channel.getValue("counterparty_node_id").jsonPrimitive.content,
    fundingOutpoint = channel.getValue("funding_outpoint").jsonPrimitive.contentOrNull,
    shortChannelId = channel.number("short_channel_id")?.toULong(),
    confirmations = channel.number("confirmations")?.toUInt(),
    isReady = channel.getValue("is_ready").jsonPrimitive.boolean,
    isClosed = channel.getValue("is_closed").jsonPrimitive.boolean,
    valueSat = channel.getValue("value_sat").jsonPrimitive.long.toULong(),
    kind = ChannelKind.valueOf(channel.getValue("kind").jsonPrimitive.content.uppercase()),
    stateStamp = channel.getValue("state_stamp").jsonPrimitive.long.toULong(),
    channelKeysId = channel["channel_keys_id"]?.jsonPrimitive?.contentOrNull,
)

private fun walletPeer(peer: JsonObject) = WalletPeer(
    nodeId = peer.getValue("node_id").jsonPrimitive.content,
    addresses = peer.getValue("addresses").jsonArray.map { it.jsonPrimitive.content },
)

private fun JsonObject.number(key: String): Long? = get(key)?.takeIf { it != JsonNull }?.jsonPrimitive?.long

fun String.bytes(): ByteArray = chunked(2).map { it.toInt(16).toByte() }.toByteArray()
