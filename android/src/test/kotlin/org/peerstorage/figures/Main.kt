/*
 * What the bindings cost when they are called from the JVM: a program that bindings/ffi/benches/against_core
 * starts and asks by lines. It answers each with a line of nanoseconds. Nothing is judged here.
 */
package org.peerstorage.figures

import kotlin.system.measureNanoTime
import kotlinx.coroutines.runBlocking
import org.peerstorage.BitcoinNetwork
import org.peerstorage.OpenConfig
import org.peerstorage.PeerStorage
import org.peerstorage.StorageSettings
import org.peerstorage.WalletPeer
import org.peerstorage.WalletReport
import org.peerstorage.WalletSecret
import org.peerstorage.android.open
import org.peerstorage.sdkVersion

/** Long enough for everything, in milliseconds. */
private val BUDGET: ULong = 20_000u

/** Arguments: a directory, the seed in hex, and the peers as `id@host:port`. */
fun main(arguments: Array<String>) = runBlocking {
    val (directory, seed) = arguments
    val peers = arguments.drop(2).map { WalletPeer(it.substringBefore('@'), listOf(it.substringAfter('@'))) }
    val side = JvmSide(directory, WalletSecret.fromLdkSeed(bytes(seed)))
    side.begin(WalletReport(channels = emptyList(), peers = peers, keepBackupsAt = peers.map { it.nodeId }))
    for (line in generateSequence(::readLine)) {
        println(side.answer(line.substringBefore(' '), line.substringAfter(' ')).joinToString(" "))
    }
}

private class JvmSide(private val directory: String, private val secret: WalletSecret) {
    private lateinit var storage: PeerStorage

    suspend fun begin(report: WalletReport) {
        storage = PeerStorage.open(config(directory, network = true), secret)
        // Before peers are known: nobody is visited.
        storage.onForeground()
        storage.declareNew()
        storage.reportWallet(report)
    }

    suspend fun answer(what: String, argument: String): List<Long> =
        when (what) {
            "open" -> listOf(open())
            "resume" -> listOf(measureNanoTime { storage.onForeground() })
            "change" -> bytes(argument).let { data -> listOf(measureNanoTime { storage.setAppData(data) }) }
            "push" -> listOf(push())
            "calls" -> calls()
            else -> error("no such thing: $what")
        }

    private suspend fun open(): Long {
        lateinit var opened: PeerStorage
        val time = measureNanoTime { opened = PeerStorage.open(config("$directory.opened", network = false), secret) }
        opened.use { it.shutdown(BUDGET) }
        return time
    }

    private suspend fun push(): Long =
        measureNanoTime {
            val report = storage.onBackground(BUDGET)
            check(report.drained && report.suspended) { "not all was pushed" }
        }

    private suspend fun calls(): List<Long> {
        val visible = config("$directory.opened", network = false).copy(inForeground = true)
        return PeerStorage.open(visible, secret).use { opened ->
            val times = listOf(
                each(100) { sdkVersion() },
                each(100) { opened.status() },
                each(20) { opened.nextEvent() },
            )
            opened.shutdown(BUDGET)
            times
        }
    }
}

private const val SERIES = 101

/**
 * What a call takes when the JVM has compiled it, as the middle one of many short series: work of others hits only
 * some of them.
 */
private inline fun each(calls: Int, call: () -> Unit): Long {
    repeat(SERIES * calls) { call() }
    return List(SERIES) { measureNanoTime { repeat(calls) { call() } } / calls }.sorted()[SERIES / 2]
}

private fun config(directory: String, network: Boolean) =
    OpenConfig(
        dataDir = directory,
        network = BitcoinNetwork.REGTEST,
        inForeground = false,
        networkAvailable = network,
        storage = StorageSettings(padFully = true),
        lingerMs = 0u,
    )

private fun bytes(hex: String): ByteArray = ByteArray(hex.length / 2) { hex.substring(2 * it, 2 * it + 2).toInt(16).toByte() }
