package org.peerstorage.docs

import java.io.File
import java.util.concurrent.CountDownLatch
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit.SECONDS
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import org.lightningdevkit.ldknode.BestBlock
import org.lightningdevkit.ldknode.ChannelDetails
import org.lightningdevkit.ldknode.NodeInterface
import org.lightningdevkit.ldknode.NodeStatus
import org.lightningdevkit.ldknode.OutPoint
import org.lightningdevkit.ldknode.PeerDetails
import org.peerstorage.Activity
import org.peerstorage.ChannelClaim
import org.peerstorage.ChannelIds
import org.peerstorage.ChannelState
import org.peerstorage.KnownBy
import org.peerstorage.Obstacle
import org.peerstorage.Past
import org.peerstorage.PeerStorageException
import org.peerstorage.PlannedChannel
import org.peerstorage.RecoveryPlan
import org.peerstorage.StorageAlarm
import org.peerstorage.WalletChannel
import org.peerstorage.android.support.NOBODY
import org.peerstorage.android.support.Phone
import org.peerstorage.android.support.isNow

/** The code of the guide does what the guide says: with the real library, and a node that only says what it is told. */
class GuideWalletTest {
    @TempDir
    lateinit var noBackup: File

    // Without a network the check answers at once.
    private val phone by lazy { Phone(noBackup, connected = false) }

    private fun test(words: Words = Words.MADE_HERE, body: suspend (Wallet) -> Unit) = runBlocking<Unit> {
        withTimeout(60.seconds) {
            val wallet = Wallet(phone, words)
            wallet.onCreate()
            body(wallet)
            wallet.ldkNode.mayStop.countDown()
            wallet.peerStorage.shutdown()
        }
    }

    @Test
    fun a_node_is_started_and_stopped_one_after_the_other_however_fast_the_person_is() = test { wallet ->
        val node = wallet.ldkNode
        val activity = phone.open()
        coroutineScope { wallet.starts(this) }
        assertEquals("start", node.calls.poll(10, SECONDS))
        val storage = wallet.peerStorage.storage()
        assertEquals(Obstacle.HOST_NODE_RUNS, storage.status().obstacle)

        phone.leave(activity)
        assertEquals("stop", node.calls.poll(10, SECONDS))
        phone.comeBack(activity)
        coroutineScope {
            wallet.starts(this)
            assertNull(node.calls.poll(), "it is still stopping")
            node.mayStop.countDown()
        }
        assertEquals("stopped", node.calls.poll(10, SECONDS))
        assertEquals("start", node.calls.poll(10, SECONDS))
        assertEquals(Obstacle.HOST_NODE_RUNS, storage.status().obstacle)

        phone.leave(activity)
        storage.isNow(Activity.SUSPENDED)
        assertEquals(Obstacle.NO_NETWORK, storage.status().obstacle)
    }

    @Test
    fun a_node_that_does_not_stop_or_start_is_taken_to_run() = test { wallet ->
        val node = wallet.ldkNode
        node.mayStop.countDown()
        val activity = phone.open()
        node.fails = true
        assertThrows(IllegalStateException::class.java) { runBlocking { wallet.startNode() } }
        val storage = wallet.peerStorage.storage()
        assertEquals(Obstacle.HOST_NODE_RUNS, storage.status().obstacle)
        node.fails = false
        wallet.startNode()
        node.fails = true
        phone.leave(activity)
        storage.isNow(Activity.SUSPENDED)
        assertEquals("the node's own trouble", wallet.peerStorage.problems.first().message)
        assertEquals(Obstacle.HOST_NODE_RUNS, storage.status().obstacle)
    }

    @Test
    fun words_made_here_are_declared_new() = test(Words.MADE_HERE) { wallet ->
        assertEquals(Past.KNOWN, wallet.peerStorage.storage().status().past)
    }

    @Test
    fun words_that_have_lived_here_are_adopted_with_the_channels_that_there_are() = test(Words.LIVED_HERE) { wallet ->
        val funding = OutPoint("22".repeat(32), 0u)
        wallet.ldkNode.channels.add(ChannelDetails("11".repeat(32), NOBODY, funding, null, 100_000u, null, true))
        assertEquals(Past.KNOWN, wallet.peerStorage.storage().status().past)
    }

    @Test
    fun words_that_were_typed_in_wait_for_a_restore() = test(Words.TYPED_IN) { wallet ->
        assertEquals(Past.UNKNOWN, wallet.peerStorage.storage().status().past)
    }

    @Test
    fun what_passes_is_waited_out_and_nothing_else() = runBlocking<Unit> {
        val problems = ArrayDeque(
            listOf(
                PeerStorageException.NotNow(Obstacle.NO_NETWORK),
                PeerStorageException.Suspended(),
                PeerStorageException.Chain("no answer", mayPass = true),
            ),
        )
        var pauses = 0
        val answer = untilItPasses({ pauses++ }) { problems.removeFirstOrNull()?.let { throw it } ?: "done" }
        assertEquals("done", answer)
        assertEquals(3, pauses)
        for (lasting in listOf(PeerStorageException.Chain("another chain", mayPass = false), PeerStorageException.Closed())) {
            assertThrows(lasting.javaClass) { runBlocking { untilItPasses({ error("no pause") }) { throw lasting } } }
        }
    }

    @Test
    fun channels_that_bring_nothing_are_left_out_with_those_that_cannot_be_told_from_them() {
        val plan = RecoveryPlan(
            id = 1u,
            newest = null,
            channels = listOf(
                planned(1, "anna", ChannelClaim.Balance),
                planned(2, "anna", ChannelClaim.Unsupported),
                planned(3, "anna", ChannelClaim.KeysUnknown),
                planned(4, "bert", ChannelClaim.BalanceAndPayments(1u, false), onlyTogether = true),
                planned(5, "carl", ChannelClaim.Balance, onlyTogether = true),
                planned(6, "carl", ChannelClaim.KeysUnknown, knownBy = KnownBy.PEER),
                planned(7, "dora", ChannelClaim.Balance, onlyTogether = true),
                planned(8, "dora", ChannelClaim.Unsupported, onlyTogether = true),
            ),
            leftOut = emptyList(),
            unheard = emptyList(),
            waitingSat = 0u,
            trouble = null,
        )
        assertEquals(listOf(1uL, 4uL), plan.recoverable().map { it.ids.shortChannelId })
    }

    private fun planned(
        number: Int,
        peer: String,
        claim: ChannelClaim,
        onlyTogether: Boolean = false,
        knownBy: KnownBy = KnownBy.BACKUP,
    ) = PlannedChannel(
        ids = ChannelIds(shortChannelId = number.toULong()),
        peer = peer,
        knownBy = knownBy,
        state = ChannelState.OPEN,
        claim = claim,
        onlyTogether = onlyTogether,
        valueSat = null,
    )

    /** The wallet of the guide, with what an app has besides. */
    private class Wallet(private val phone: Phone, override val words: Words) : WalletApp() {
        val ldkNode = FakeNode()

        override val vault = object : Vault {
            override fun words() = "abandon ".repeat(11) + "about"
        }
        override val node = object : WalletNode {
            override suspend fun node() = ldkNode

            override val isRunning get() = ldkNode.runs

            override suspend fun stopIfRunning() = if (ldkNode.runs) ldkNode.stop() else Unit
        }
        override val closedChannels = object : ClosedChannels {
            override fun all() = emptyList<WalletChannel>()
        }
        override val nodeId = null

        init {
            attachBaseContext(phone.application)
        }

        fun starts(scope: CoroutineScope) = scope.launch(Dispatchers.IO) { startNode() }

        override suspend fun show(alarms: List<StorageAlarm>) = error("there is no alarm")

        override suspend fun showRecovery(channels: UInt) = error("nothing was restored")

        // The phone's own is what the person's doings are told to.
        override fun registerActivityLifecycleCallbacks(callback: ActivityLifecycleCallbacks) =
            phone.application.registerActivityLifecycleCallbacks(callback)

        override fun unregisterActivityLifecycleCallbacks(callback: ActivityLifecycleCallbacks) =
            phone.application.unregisterActivityLifecycleCallbacks(callback)
    }

    private class FakeNode : NodeInterface {
        val calls = LinkedBlockingQueue<String>()
        val channels = mutableListOf<ChannelDetails>()
        val mayStop = CountDownLatch(1)

        @Volatile
        var runs = false

        @Volatile
        var fails = false

        override fun start() {
            check(!runs) { "it runs already" }
            check(!fails) { "the node's own trouble" }
            runs = true
            calls.add("start")
        }

        override fun stop() {
            check(!fails) { "the node's own trouble" }
            calls.add("stop")
            mayStop.await()
            runs = false
            calls.add("stopped")
        }

        override fun status() = NodeStatus(runs, BestBlock("00", 1u))

        override fun listChannels(): List<ChannelDetails> = channels

        override fun listPeers(): List<PeerDetails> = emptyList()
    }
}
