package org.peerstorage.android

import java.io.File
import kotlin.random.Random
import kotlin.time.Duration.Companion.seconds
import kotlin.time.TimeSource
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import kotlinx.coroutines.withTimeoutOrNull
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import org.peerstorage.Activity
import org.peerstorage.AlarmResolution
import org.peerstorage.ChainAccess
import org.peerstorage.ChannelIds
import org.peerstorage.Past
import org.peerstorage.PeerStorage
import org.peerstorage.PeerStorageException
import org.peerstorage.RecoverySettings
import org.peerstorage.WalletPeer
import org.peerstorage.android.support.NOBODY
import org.peerstorage.android.support.ThisProcess
import org.peerstorage.android.support.channel
import org.peerstorage.android.support.isNow
import org.peerstorage.android.support.makeAnEvent
import org.peerstorage.android.support.open
import org.peerstorage.android.support.report
import org.peerstorage.android.support.until

/** A coroutine may be cancelled at any point: its caller loses the answer, and nobody anything else. */
class CancellationTest {
    @TempDir
    lateinit var directory: File

    // Nobody answers at port 1.
    private val peers = listOf(WalletPeer(NOBODY, listOf("127.0.0.1:1")))

    private val calls: List<suspend (PeerStorage, Random) -> Any?> = listOf(
        { storage, random -> storage.onBackground(random.nextLong(50).toULong()) },
        { storage, random -> storage.runBackgroundPass(random.nextLong(50).toULong()) },
        { storage, random -> storage.checkBeforeNodeStart(random.nextLong(50).toULong()) },
        { storage, random -> storage.syncWithPeers(peers, random.nextBoolean(), random.nextLong(50).toULong()) },
        { storage, random -> storage.restore(peers, random.nextLong(50).toULong()) },
        { storage, _ -> storage.declareNew() },
        { storage, _ -> storage.adopt() },
        { storage, _ -> storage.restoreReport() },
        { storage, _ -> storage.finishRestore() },
        { storage, random -> storage.channelSwept(channelIds(random.nextInt(2, 10))) },
        { storage, random -> storage.setAppData(random.nextBytes(random.nextInt(2000))) },
        { storage, random -> storage.resolveAlarm(random.nextULongSmall(), AlarmResolution.STAY_HELD) },
        { storage, _ -> storage.nextEvent() },
        { storage, random -> storage.eventHandled(random.nextULongSmall()) },
        { storage, _ -> storage.startRecovery(esplora, RecoverySettings(), null).use { it.isBegun() } },
        { _, _ -> open(directory).use { it.shutdown(1000u) } },
    )

    private val esplora = ChainAccess.Esplora("http://127.0.0.1:1", null)

    private fun channelIds(number: Int) =
        ChannelIds(channelId = number.toString(16).padStart(64, '0'))

    private fun Random.nextULongSmall() = nextLong(1, 5).toULong()

    @Test
    fun a_thousand_calls_given_up_at_any_point_lose_and_leak_nothing() = runBlocking<Unit> {
        withTimeout(120.seconds) {
            val random = Random(20260101)
            val storage = open(directory)
            storage.reportWallet(report(channel(1)))
            storage.isNow(Activity.ACTIVE)
            storage.giveUpOn(random, 50)
            val before = ThisProcess.openByKind(directory)
            storage.giveUpOn(random, 1000)

            // Nothing that was begun is under way any more, and all of it works as before.
            // A leave that nobody waits for may be taken in after the word that the app is back, for as long as a call
            // may take: its 50 ms, and a second and a half.
            var active = TimeSource.Monotonic.markNow()
            until("no leave is under way") {
                if (storage.status().activity != Activity.ACTIVE) {
                    storage.onForeground()
                    active = TimeSource.Monotonic.markNow()
                }
                active.elapsedNow() > 2.seconds
            }
            noMoreIsOpenThan(before)
            until("what was begun was done") { storage.status().past == Past.KNOWN }
            storage.setAppData(byteArrayOf(1))
            val report = storage.shutdown(10_000u)
            assertTrue(report.closed)
            assertEquals(emptyList<String>(), ThisProcess.openFilesBelow(directory))
            // Whole on the disk, too.
            open(directory).use {
                assertEquals(Past.KNOWN, it.status().past)
                it.shutdown(1000u)
            }
            storage.close()
        }
    }

    private suspend fun noMoreIsOpenThan(before: Map<String, Int>) {
        val more = { ThisProcess.moreOpenThan(before, directory) }
        withTimeoutOrNull(30.seconds) { while (more().isNotEmpty()) delay(5) }
        assertEquals(emptyMap<String, Int>(), more())
    }

    private suspend fun PeerStorage.giveUpOn(random: Random, times: Int) = coroutineScope {
        repeat(times) {
            val call = calls.random(random)
            val giveUpAfter = random.nextLong(if (it % 3 == 0) 3_000_000 else 300_000)
            val job = launch(Dispatchers.Default) {
                try {
                    call(this@giveUpOn, random)
                } catch (_: PeerStorageException) {
                    // What it says is tested elsewhere.
                }
            }
            val started = System.nanoTime()
            while (System.nanoTime() - started < giveUpAfter) Thread.onSpinWait()
            job.cancel()
            if (it % 20 == 0) onForeground()
        }
    }

    @Test
    fun what_was_begun_is_done_though_nobody_waits_for_it() = runBlocking<Unit> {
        withTimeout(30.seconds) {
            open(directory).use { storage ->
                // Undispatched: it runs to its first suspension, which is in the library.
                launch(start = CoroutineStart.UNDISPATCHED) { storage.declareNew() }.cancel()
                storage.statuses().first { it.past == Past.KNOWN }
                storage.shutdown(1000u)
            }
        }
    }

    @Test
    fun an_event_that_was_given_to_a_cancelled_caller_is_given_again() = runBlocking<Unit> {
        withTimeout(30.seconds) {
            open(directory).use { storage ->
                storage.makeAnEvent()
                until("there is an event") { storage.nextEvent() != null }
                val first = storage.nextEvent()
                repeat(100) { launch(start = CoroutineStart.UNDISPATCHED) { storage.nextEvent() }.cancel() }
                assertEquals(first, storage.nextEvent())
                storage.shutdown(1000u)
            }
        }
    }
}
