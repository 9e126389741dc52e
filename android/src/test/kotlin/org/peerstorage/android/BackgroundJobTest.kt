package org.peerstorage.android

import java.io.File
import java.net.InetAddress
import java.net.InetSocketAddress
import java.net.ServerSocket
import java.nio.channels.ServerSocketChannel
import java.util.concurrent.TimeUnit.SECONDS
import kotlin.time.Duration.Companion.hours
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.runInterruptible
import kotlinx.coroutines.withContext
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertThrowsExactly
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import org.peerstorage.Activity
import org.peerstorage.Past
import org.peerstorage.PeerStorageException
import org.peerstorage.android.support.Phone
import org.peerstorage.android.support.ThisProcess.openFilesBelow
import org.peerstorage.android.support.channel
import org.peerstorage.android.support.install
import org.peerstorage.android.support.isNow
import org.peerstorage.android.support.report
import org.peerstorage.android.support.secretOf
import org.peerstorage.android.support.settings
import org.peerstorage.android.support.until

class BackgroundJobTest {
    @TempDir
    lateinit var noBackup: File

    private val directory get() = File(noBackup, "peer-storage")

    private fun test(body: suspend () -> Unit) = runBlocking { withTimeout(60.seconds) { body() } }

    @Test
    fun a_job_in_a_process_without_an_activity_opens_works_and_leaves_nothing_open() = test {
        val phone = Phone(noBackup)
        val app = phone.install()
        val job = phone.runJob(1)
        assertTrue(job.start())
        assertEquals(false, job.finished.poll(30, SECONDS), "it was told of its end, and wants no other turn")
        assertTrue(directory.exists())
        app.storage().isNow(Activity.SUSPENDED)
        assertEquals(emptyList<String>(), openFilesBelow(directory))
        app.shutdown()
    }

    @Test
    fun an_opening_out_of_sight_can_say_what_the_directory_is_and_visits_nobody() = test {
        ServerSocketChannel.open().use { peer ->
            peer.bind(InetSocketAddress(InetAddress.getLoopbackAddress(), 0)).configureBlocking(false)
            val phone = Phone(noBackup)
            val wallet = report(channel(1), addresses = listOf("127.0.0.1:${peer.socket().localPort}"))
            val app = phone.install(
                settings(opened = {
                    it.reportWallet(wallet)
                    it.adopt()
                    it.setAppData(byteArrayOf(1))
                }),
            )
            val storage = app.storage()
            storage.isNow(Activity.SUSPENDED)
            assertEquals(Past.KNOWN, storage.status().past)
            assertEquals(emptyList<String>(), openFilesBelow(directory))
            assertNull(peer.accept())
            app.shutdown()
        }
    }

    @Test
    fun a_job_while_the_app_is_shown_leaves_it_open() = test {
        val phone = Phone(noBackup)
        val app = phone.install()
        phone.open()
        val storage = app.storage()
        val job = phone.runJob(1)
        assertTrue(job.start())
        job.finished.poll(30, SECONDS)
        assertEquals(Activity.ACTIVE, storage.status().activity)
        app.shutdown()
    }

    @Test
    fun a_job_begins_when_what_the_app_does_at_a_leave_is_done() = test {
        val asked = CompletableDeferred<Unit>()
        val mayEnd = CompletableDeferred<Unit>()
        val phone = Phone(noBackup)
        val app = phone.install(settings(leaving = { asked.complete(Unit).also { mayEnd.await() } }))
        val activity = phone.open()
        app.storage()
        phone.leave(activity)
        asked.await()
        val job = phone.runJob(1)
        assertTrue(job.start())
        assertNull(job.finished.poll(1, SECONDS), "the app's node is just being stopped")
        mayEnd.complete(Unit)
        assertEquals(false, job.finished.poll(30, SECONDS))
        app.shutdown()
    }

    @Test
    fun a_job_that_is_taken_back_ends_at_once_and_is_run_again() = test {
        val phone = Phone(noBackup)
        val asked = CompletableDeferred<Unit>()
        val unlocked = CompletableDeferred<Unit>()
        val app = phone.install(
            settings(secret = {
                asked.complete(Unit)
                unlocked.await()
                secretOf(7)
            }),
        )
        val job = phone.runJob(1)
        assertTrue(job.start())
        asked.await()
        assertTrue(job.stop(), "it is to be run again")
        unlocked.complete(Unit)
        app.storage().isNow(Activity.SUSPENDED)
        until("nothing is open") { openFilesBelow(directory).isEmpty() }
        assertNull(job.finished.poll(), "nobody may be told of the end of a job that was taken back")
        app.shutdown()
    }

    @Test
    fun a_job_that_is_taken_back_in_the_midst_of_a_visit_does_not_wait_for_its_end() = test {
        // Takes connections, and says nothing.
        ServerSocket(0, 50, InetAddress.getLoopbackAddress()).use { silent ->
            val phone = Phone(noBackup)
            val wallet = report(channel(1), addresses = listOf("127.0.0.1:${silent.localPort}"))
            val app = phone.install(settings(opened = { it.reportWallet(wallet) }))
            val job = phone.runJob(1)
            assertTrue(job.start())
            runInterruptible(Dispatchers.IO) { silent.accept() }.use {
                assertTrue(job.stop())
                withTimeout(5.seconds) { app.storage().isNow(Activity.SUSPENDED) }
                until("nothing is open", atMost = 1.seconds) { openFilesBelow(directory).isEmpty() }
                assertNull(job.finished.poll())
            }
            app.shutdown()
        }
    }

    @Test
    fun a_pass_of_a_worker_that_is_cancelled_ends_once_no_other_needs_what_is_open() = test {
        // Takes connections, and says nothing.
        ServerSocket(0, 50, InetAddress.getLoopbackAddress()).use { silent ->
            val phone = Phone(noBackup)
            val wallet = report(channel(1), addresses = listOf("127.0.0.1:${silent.localPort}"))
            val app = phone.install(settings(opened = { it.reportWallet(wallet) }))
            coroutineScope {
                val first = launch { app.runBackgroundPass() }
                val second = launch { app.runBackgroundPass() }
                runInterruptible(Dispatchers.IO) { silent.accept() }.use {
                    first.cancelAndJoin()
                    // Nothing was told that could close it: another pass has the same right to it.
                    assertEquals(Activity.DRAINING, app.storage().status().activity)
                    assertTrue(openFilesBelow(directory).isNotEmpty())
                    second.cancelAndJoin()
                    withTimeout(5.seconds) { app.storage().isNow(Activity.SUSPENDED) }
                    until("nothing is open", atMost = 1.seconds) { openFilesBelow(directory).isEmpty() }
                }
            }
            app.shutdown()
        }
    }

    @Test
    fun a_job_after_a_shutdown_is_over_at_once() = test {
        val phone = Phone(noBackup)
        val app = phone.install()
        app.shutdown()
        val job = phone.runJob(1)
        assertTrue(job.start())
        assertEquals(false, job.finished.poll(30, SECONDS))
        assertFalse(directory.exists())
    }

    @Test
    fun a_shutdown_waits_no_longer_for_an_opening_than_it_may_and_ends_the_job_that_does() = test {
        val phone = Phone(noBackup)
        val asked = CompletableDeferred<Unit>()
        val app = phone.install(
            settings(secret = {
                asked.complete(Unit)
                awaitCancellation()
            }),
        )
        val job = phone.runJob(1)
        assertTrue(job.start())
        asked.await()
        withTimeout(10.seconds) { assertNull(app.shutdown(50.milliseconds)) }
        assertEquals(false, job.finished.poll(30, SECONDS))
        assertThrows(PeerStorageException.Closed::class.java) { runBlocking { app.storage() } }
    }

    @Test
    fun a_job_during_a_shutdown_is_told_of_its_end() = test {
        ServerSocket(0, 50, InetAddress.getLoopbackAddress()).use { silent ->
            val phone = Phone(noBackup)
            val wallet = report(channel(1), addresses = listOf("127.0.0.1:${silent.localPort}"))
            val app = phone.install(settings(opened = { it.reportWallet(wallet) }))
            val job = phone.runJob(1)
            assertTrue(job.start())
            runInterruptible(Dispatchers.IO) { silent.accept() }.use {
                assertEquals(true, app.shutdown(1.seconds)?.closed)
                assertEquals(false, job.finished.poll(30, SECONDS))
            }
        }
    }

    @Test
    fun an_opening_whose_secret_is_cancelled_fails_for_those_who_wait_for_it() = test {
        val phone = Phone(noBackup)
        val app = phone.install(settings(secret = { withTimeout(1.milliseconds) { awaitCancellation() } }))
        // A cancellation would end whoever waits, without a word.
        assertThrowsExactly(IllegalStateException::class.java) { runBlocking { withContext(Dispatchers.Default) { app.storage() } } }
        app.shutdown()
    }

    @Test
    fun a_job_before_the_first_unlock_wants_another_turn() = test {
        val phone = Phone(noBackup)
        val app = phone.install(settings(secret = { null }))
        val job = phone.runJob(1)
        assertTrue(job.start())
        assertEquals(true, job.finished.poll(30, SECONDS))
        assertFalse(directory.exists())
        app.shutdown()
    }

    @Test
    fun a_job_without_a_wallet_is_over_at_once() {
        assertFalse(Phone(noBackup).runJob(1).start())
    }

    @Test
    fun the_daily_job_is_scheduled_once_and_not_put_off_by_each_start() {
        val phone = Phone(noBackup)
        val jobs = PeerStorageJobs(phone.application)
        jobs.scheduleDaily()
        val first = phone.jobs.pending.values.single()
        assertTrue(first.isPeriodic)
        assertEquals(24.hours.inWholeMilliseconds, first.intervalMillis)
        assertEquals(PeerStorageJobService::class.java.name, first.service.className)
        assertEquals("org.example.wallet", first.service.packageName)
        assertTrue(first.requiredNetwork != null)
        PeerStorageJobs(phone.application).scheduleDaily()
        assertTrue(phone.jobs.pending.values.single() === first)
        jobs.scheduleDaily(12.hours)
        assertEquals(12.hours.inWholeMilliseconds, phone.jobs.pending.values.single().intervalMillis)
        jobs.scheduleSoon()
        assertEquals(2, phone.jobs.pending.size)
        jobs.cancel()
        assertTrue(phone.jobs.pending.isEmpty())
    }
}
