package org.peerstorage.android

import java.io.File
import java.net.InetAddress
import java.net.InetSocketAddress
import java.nio.channels.ServerSocketChannel
import java.util.concurrent.CountDownLatch
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import org.peerstorage.Activity
import org.peerstorage.Hindrance
import org.peerstorage.Obstacle
import org.peerstorage.android.support.Phone
import org.peerstorage.android.support.channel
import org.peerstorage.android.support.install
import org.peerstorage.android.support.isNow
import org.peerstorage.android.support.report
import org.peerstorage.android.support.settings
import org.peerstorage.android.support.until

/** The wallet's own node: while it runs no peer is visited, or each would throw out the other's connections. */
class HostNodeTest {
    @TempDir
    lateinit var noBackup: File

    /** A peer that notes who calls. */
    private val peer: ServerSocketChannel =
        ServerSocketChannel.open().bind(InetSocketAddress(InetAddress.getLoopbackAddress(), 0)).apply { configureBlocking(false) }
    private val wallet get() = report(channel(1), addresses = listOf("127.0.0.1:${peer.socket().localPort}"))

    private fun test(body: suspend () -> Unit) = peer.use { runBlocking { withTimeout(60.seconds) { body() } } }

    private suspend fun isVisited() = until("the peer is visited") { peer.accept()?.close() != null }

    @Test
    fun an_opening_beside_a_node_that_runs_visits_nobody_until_it_has_stopped() = test {
        val phone = Phone(noBackup)
        val app = phone.install(
            settings(
                hostNodeRuns = { true },
                opened = {
                    it.reportWallet(wallet)
                    it.adopt()
                },
            ),
        )
        phone.open()
        val storage = app.storage()
        storage.isNow(Activity.ACTIVE)
        assertEquals(Obstacle.HOST_NODE_RUNS, storage.status().obstacle)
        // A pass visits whoever may be visited.
        assertEquals(Hindrance.HOST_NODE_RUNS, app.runBackgroundPass().hindrance)
        assertNull(peer.accept())
        storage.onHostNodeChanged(false)
        isVisited()
        app.shutdown()
    }

    @Test
    fun a_node_that_starts_during_the_opening_is_seen() = test {
        val phone = Phone(noBackup)
        var runs = false
        val app = phone.install(settings(hostNodeRuns = { runs.also { runs = true } }))
        phone.open()
        val storage = app.storage()
        assertEquals(Obstacle.HOST_NODE_RUNS, storage.status().obstacle)
        app.shutdown()
    }

    @Test
    fun it_is_asked_at_each_opening() = test {
        val phone = Phone(noBackup)
        var runs = true
        for (expected in listOf(Obstacle.HOST_NODE_RUNS, null)) {
            val app = phone.install(settings(hostNodeRuns = { runs }))
            assertEquals(expected, app.storage().status().obstacle)
            app.shutdown()
            runs = false
        }
    }

    @Test
    fun a_node_that_stops_slowly_is_reported_and_its_backup_left_to_a_job_that_waits_for_it() = test {
        val phone = Phone(noBackup)
        val mayStop = CountDownLatch(1)
        val app = phone.install(
            settings(
                backgroundBudget = 1.seconds,
                hostNodeRuns = { true },
                opened = {
                    it.reportWallet(wallet)
                    it.adopt()
                },
                leaving = {
                    mayStop.await() // as a node's own `stop` blocks
                    it.onHostNodeChanged(false)
                },
            ),
        )
        val activity = phone.open()
        val storage = app.storage()
        phone.leave(activity)
        storage.isNow(Activity.SUSPENDED)
        assertTrue(app.problems.first() is LeavingTakesLong)
        until("a job is scheduled") { phone.jobs.isPending() }
        val job = phone.runJob(phone.jobs.pending.keys.single())
        assertTrue(job.start())
        assertNull(peer.accept())
        mayStop.countDown()
        isVisited()
        assertTrue(job.stop()) // or it would knock at a peer that hangs up, for as long as it may
        assertNull(storage.status().obstacle)
        app.shutdown()
    }

    @Test
    fun a_node_that_could_not_be_stopped_is_left_to_a_job() = test {
        val phone = Phone(noBackup)
        val app = phone.install(settings(hostNodeRuns = { true }, leaving = { error("it does not stop") }))
        val activity = phone.open()
        val storage = app.storage()
        phone.leave(activity)
        storage.isNow(Activity.SUSPENDED)
        assertEquals("it does not stop", app.problems.first().message)
        until("a job is scheduled") { phone.jobs.isPending() }
        assertEquals(Obstacle.HOST_NODE_RUNS, storage.status().obstacle)
        app.shutdown()
    }

    @Test
    fun who_shows_problems_slowly_holds_up_no_leave() = test {
        val phone = Phone(noBackup)
        val app = phone.install(settings(leaving = { error("the app's own trouble") }))
        val activity = phone.open()
        val storage = app.storage()
        coroutineScope {
            val shown = launch(start = CoroutineStart.UNDISPATCHED) { app.problems.collect { awaitCancellation() } }
            repeat(3) {
                phone.leave(activity)
                storage.isNow(Activity.SUSPENDED)
                phone.comeBack(activity)
                storage.isNow(Activity.ACTIVE)
            }
            shown.cancel()
        }
        app.shutdown()
    }
}
