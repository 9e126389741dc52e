package org.peerstorage.sample

import java.io.File
import java.nio.file.Files
import kotlin.system.exitProcess
import kotlinx.coroutines.delay
import kotlinx.coroutines.runBlocking
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.buildJsonArray
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import kotlinx.serialization.json.long
import kotlinx.serialization.json.put
import org.peerstorage.WalletReport
import org.peerstorage.android.support.ChildJvm
import org.peerstorage.scenarios.Started
import org.peerstorage.scenarios.World
import org.peerstorage.scenarios.answer
import org.peerstorage.scenarios.bytes
import org.peerstorage.scenarios.walletReport

/**
 * A wallet's life on the command line: it is made, has channels, is left, killed and opened again; then the phone is
 * lost, and the coins come back through its peers. The node, the peers and the chain are real (tests/world); the
 * last line says what came back.
 */
fun main(arguments: Array<String>) {
    when (arguments.size) {
        0 -> runBlocking { story(Files.createTempDirectory("sample-wallet").toFile()) }
        else -> runBlocking { leftAndKilled(File(arguments[0]), File(arguments[1])) }
    }
    exitProcess(0)
}

private suspend fun story(home: File) {
    World(File(home, "world.log")).use { world ->
        val started = Started(
            world.say(
                buildJsonObject {
                    put("do", "start")
                    put("name", "kotlin-sample")
                    put("peers", buildJsonArray { for (name in PEERS) add(answer("name" to name, "kind" to "stock")) })
                },
            ),
        )
        val node = NodeOfTheWorld(world)
        val first = File(home, "phone")
        val seed = started.seed.bytes()
        val peers = started.peers(PEERS)

        println("A wallet is made, and gets channels.")
        node.start()
        for (peer in PEERS) world.say(answer("do" to "open_channel", "peer" to peer, "sat" to 1_000_000))
        world.say(answer("do" to "pay", "peer" to PEERS[0], "msat" to 12_345_000))
        node.stop()
        val made = Wallet.open(first, seed, node)
        made.begin(isNew = true)
        made.verify(peers)
        println("Backed up: ${made.status.verifiedBy} of ${peers.size} peers have returned it.")

        println("It is opened, its node starts, pays, and the app is left.")
        check(made.startNode())
        world.say(answer("do" to "pay", "peer" to PEERS[1], "msat" to 7_000_000))
        made.leave()
        made.end()

        println("The system kills it in background.")
        val last = File(home, "last.json").apply { writeText(answer("started" to started.answer, "channels" to world.say("channels")).toString()) }
        ChildJvm("org.peerstorage.sample.MainKt", first.path, last.path).use { child ->
            check(child.hear() == "leaving")
            child.kill()
        }

        println("It is opened again.")
        val again = Wallet.open(first, seed, node)
        again.begin(isNew = false)
        check(again.startNode())
        again.leave()
        again.end()
        val had = world.say("channels").getValue("owned_sat").jsonPrimitive.long
        println("In its channels are $had sat.")

        println("The phone is lost. On a new one there are the words, and the address of one peer.")
        first.deleteRecursively()
        world.say("node_lost")
        val new = Wallet.open(File(home, "new-phone"), seed, NoNode)
        val found = new.restore(peers.take(1))
        var waits = 0
        val progress = new.recover(started.esplora, found, started.sweepTo) {
            // It loses its network, and is left, in the midst of it.
            when (waits++) {
                0 -> new.network(false)
                1 -> new.network(true)
                2 -> new.leave()
                3 -> new.comeBack()
                else -> world.say(answer("do" to "mine", "blocks" to 1))
            }
            delay(10)
        }
        new.end()
        val address = answer("do" to "balance", "address" to started.sweepTo)
        val arrived = world.say(address).getValue("sat").jsonPrimitive.long
        check(arrived == progress.recoveredSat.toLong() && arrived + progress.feesSat.toLong() == had)
        println("sample wallet: ok had_sat=$had recovered_sat=$arrived fees_sat=${progress.feesSat}")
    }
    home.deleteRecursively()
}

/** The app in a process of its own, until it is killed. Its node is stopped, and lists what it did. */
private suspend fun leftAndKilled(directory: File, last: File) {
    val told = Json.parseToJsonElement(last.readText()).jsonObject
    val started = Started(told.getValue("started").jsonObject)
    val report = walletReport(told.getValue("channels").jsonObject)
    val node = object : Node {
        override fun report() = report

        override fun start() = Unit

        override fun stop() = Unit
    }
    val wallet = Wallet.open(directory, started.seed.bytes(), node)
    wallet.begin(isNew = false)
    println("leaving")
    wallet.leave()
    while (true) delay(1_000)
}

/** After a restore there is none: it knows no channels, and peers would close for it. */
private object NoNode : Node {
    override fun report() = WalletReport(channels = emptyList(), peers = emptyList())

    override fun start() = error("no node may start on restored words")

    override fun stop() = Unit
}

private class NodeOfTheWorld(private val world: World) : Node {
    override fun report(): WalletReport = walletReport(world.say("channels"))

    override fun start() {
        world.say("node_start")
    }

    override fun stop() {
        world.say("node_stop")
    }
}

private val PEERS = listOf("bert", "carl")
