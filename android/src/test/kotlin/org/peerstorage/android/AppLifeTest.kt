package org.peerstorage.android

import android.app.Activity as Screen
import android.app.ActivityManager.RunningAppProcessInfo
import java.io.File
import kotlin.random.Random
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import org.peerstorage.Activity
import org.peerstorage.Obstacle
import org.peerstorage.PeerStorage
import org.peerstorage.PeerStorageException
import org.peerstorage.android.support.Framework
import org.peerstorage.android.support.Phone
import org.peerstorage.android.support.ThisProcess.openFilesBelow
import org.peerstorage.android.support.install
import org.peerstorage.android.support.isNow
import org.peerstorage.android.support.open
import org.peerstorage.android.support.secretOf
import org.peerstorage.android.support.settings
import org.peerstorage.android.support.until

/** What Android does to an app, in one process: with the real library, and nobody to talk to. */
class AppLifeTest {
    @TempDir
    lateinit var noBackup: File

    private val directory get() = File(noBackup, "peer-storage")

    private fun test(body: suspend () -> Unit) = runBlocking { withTimeout(60.seconds) { body() } }

    private class Shown(val phone: Phone, val app: AndroidPeerStorage, var activity: Screen, val storage: PeerStorage)

    /** The app is shown, and its storage is open. */
    private fun shown(
        settings: PeerStorageSettings = settings(),
        connected: Boolean = true,
        body: suspend Shown.() -> Unit,
    ) = test {
        val phone = Phone(noBackup, connected)
        val app = phone.install(settings)
        val activity = phone.open()
        val storage = app.storage()
        storage.isNow(Activity.ACTIVE)
        Shown(phone, app, activity, storage).body()
        app.shutdown()
    }

    @Test
    fun the_start_of_the_process_alone_opens_nothing() = test {
        val phone = Phone(noBackup)
        val storage = phone.install()
        assertFalse(directory.exists())
        storage.shutdown()
        assertFalse(directory.exists())
    }

    @Test
    fun the_first_activity_opens_it() = test {
        val phone = Phone(noBackup)
        val storage = phone.install()
        phone.open()
        until("it is open") { openFilesBelow(directory).isNotEmpty() }
        storage.storage().isNow(Activity.ACTIVE)
        storage.shutdown()
    }

    @Test
    fun one_that_is_made_while_an_activity_is_shown_and_is_told_so_opens_and_stays_open() = test {
        val phone = Phone(noBackup)
        val activity = phone.open()
        val app = AndroidPeerStorage(phone.application, settings(), isShown = true)
        until("it is open") { openFilesBelow(directory).isNotEmpty() }
        app.storage().isNow(Activity.ACTIVE)
        phone.leave(activity)
        app.storage().isNow(Activity.SUSPENDED)
        app.shutdown()
    }

    @Test
    fun one_that_is_made_while_an_activity_is_shown_asks_android() = test {
        val shown = RunningAppProcessInfo.IMPORTANCE_FOREGROUND
        val bound = RunningAppProcessInfo.REASON_PROVIDER_IN_USE
        for ((rank, reason, expected) in listOf(
            Triple(shown, RunningAppProcessInfo.REASON_UNKNOWN, Activity.ACTIVE),
            Triple(shown, bound, Activity.SUSPENDED),
            Triple(RunningAppProcessInfo.IMPORTANCE_SERVICE, RunningAppProcessInfo.REASON_UNKNOWN, Activity.SUSPENDED),
        )) {
            val phone = Phone(noBackup)
            val activity = phone.open()
            Framework.importance = rank
            Framework.importanceReason = reason
            val app = phone.install()
            val storage = app.storage()
            // What is believed to be in background comes to rest by itself; what is not, is as it was opened.
            if (expected == Activity.ACTIVE) assertEquals(expected, storage.status().activity) else storage.isNow(expected)
            phone.leave(activity)
            storage.isNow(Activity.SUSPENDED)
            app.shutdown()
        }
    }

    @Test
    fun after_a_leave_nothing_is_open_and_another_may_have_the_directory() = shown {
        assertThrows(PeerStorageException.InUse::class.java) { runBlocking { open(directory) } }

        phone.leave(activity)
        storage.isNow(Activity.SUSPENDED)
        assertEquals(emptyList<String>(), openFilesBelow(directory))
        open(directory).use { it.shutdown(1000u) }

        phone.comeBack(activity)
        storage.isNow(Activity.ACTIVE)
        app.shutdown()
        assertEquals(emptyList<String>(), openFilesBelow(directory))
    }

    @Test
    fun a_rotation_and_a_step_to_another_activity_leave_it_open() = shown {
        coroutineScope {
            val seen = mutableSetOf<Activity>()
            val watch = launch(start = CoroutineStart.UNDISPATCHED) { storage.statuses().collect { seen.add(it.activity) } }
            repeat(10) {
                activity = phone.rotate(activity)
                activity = phone.goOn(activity)
            }
            // What was told after it was carried out after it.
            phone.network(null)
            storage.statuses().first { it.obstacle == Obstacle.NO_NETWORK }
            watch.cancelAndJoin()
            assertEquals(setOf(Activity.ACTIVE), seen)
            assertTrue(openFilesBelow(directory).isNotEmpty())
        }
    }

    @Test
    fun a_share_sheet_tears_nothing_down() = shown(settings(linger = 60.seconds, backgroundBudget = 60.seconds)) {
        repeat(200) {
            phone.leave(activity)
            storage.isNow(Activity.DRAINING)
            assertTrue(openFilesBelow(directory).isNotEmpty())
            phone.comeBack(activity)
            storage.isNow(Activity.ACTIVE)
        }
    }

    @Test
    fun low_memory_tears_nothing_down() = shown {
        phone.lowMemory()
        assertEquals(Activity.ACTIVE, storage.status().activity)
        assertTrue(openFilesBelow(directory).isNotEmpty())
    }

    @Test
    fun the_last_of_many_flips_counts() = shown {
        val random = Random(1)
        repeat(30) { round ->
            repeat(random.nextInt(1, 12)) {
                phone.leave(activity)
                if (random.nextBoolean()) Thread.sleep(random.nextLong(3))
                phone.comeBack(activity)
                if (random.nextBoolean()) activity = phone.rotate(activity)
            }
            if (round % 2 == 0) {
                phone.leave(activity)
                storage.isNow(Activity.SUSPENDED)
                phone.comeBack(activity)
            }
            storage.isNow(Activity.ACTIVE)
        }
    }

    @Test
    fun a_locked_secret_is_asked_for_again_when_the_app_is_shown_again() = test {
        val phone = Phone(noBackup)
        var unlocked = false
        val app = phone.install(settings(secret = { if (unlocked) secretOf(7) else null }))
        val activity = phone.open()
        assertTrue(app.problems.first() is PeerStorageException.Locked)
        assertFalse(directory.exists())
        unlocked = true
        phone.leave(activity)
        phone.comeBack(activity)
        until("it is open") { openFilesBelow(directory).isNotEmpty() }
        app.shutdown()
    }

    @Test
    fun a_shut_down_storage_says_so_and_leaves_nothing_behind() = shown {
        app.shutdown()
        assertThrows(PeerStorageException.Closed::class.java) { runBlocking { app.storage() } }
        assertThrows(PeerStorageException.Closed::class.java) { runBlocking { storage.nextEvent() } }
        storage.onForeground()
        assertEquals(Activity.CLOSED, storage.status().activity)
        phone.leave(activity)
        phone.comeBack(activity)
        assertEquals(0, phone.networkListeners)
        assertEquals(emptyList<String>(), openFilesBelow(directory))
        // The wallet is opened anew, by an object of its own.
        val again = phone.install()
        again.storage()
        again.shutdown()
    }

    @Test
    fun whoever_stops_waiting_for_the_opening_takes_it_from_nobody() = test {
        val phone = Phone(noBackup)
        val app = phone.install()
        coroutineScope {
            repeat(20) { launch { app.storage() }.cancel() }
            repeat(20) { launch(start = CoroutineStart.UNDISPATCHED) { app.storage() }.cancel() }
        }
        assertEquals(app.storage(), app.storage())
        app.shutdown()
    }

    @Test
    fun the_app_may_stop_its_node_before_the_storage_is_told_of_a_leave() {
        val seen = CompletableDeferred<Activity>()
        shown(settings(leaving = { seen.complete(it.status().activity) })) {
            phone.leave(activity)
            assertEquals(Activity.ACTIVE, seen.await())
            storage.isNow(Activity.SUSPENDED)
        }
    }

    @Test
    fun an_app_that_never_ends_its_leaving_or_throws_in_it_is_left_all_the_same() {
        for (leaving in listOf<suspend (PeerStorage) -> Unit>({ awaitCancellation() }, { error("the app's own trouble") })) {
            shown(settings(backgroundBudget = 2.seconds, leaving = leaving)) {
                repeat(2) {
                    phone.leave(activity)
                    storage.isNow(Activity.SUSPENDED)
                    phone.comeBack(activity)
                    storage.isNow(Activity.ACTIVE)
                }
            }
        }
    }

    @Test
    fun who_comes_back_while_the_app_stops_its_node_was_never_gone() {
        val asked = CompletableDeferred<Unit>()
        val back = CompletableDeferred<Unit>()
        val leaving: suspend (PeerStorage) -> Unit = {
            asked.complete(Unit)
            back.await()
        }
        shown(settings(leaving = leaving)) {
            coroutineScope {
                val seen = async(start = CoroutineStart.UNDISPATCHED) { storage.statuses().map { it.activity }.toList() }
                phone.leave(activity)
                asked.await()
                phone.comeBack(activity)
                back.complete(Unit)
                app.shutdown()
                assertFalse(Activity.SUSPENDED in seen.await())
            }
        }
    }

    @Test
    fun who_comes_back_and_leaves_again_while_the_app_stops_its_node_is_left_twice() {
        val mayEnd = CompletableDeferred<Unit>()
        val asked = Channel<Unit>(Channel.UNLIMITED)
        val leaving: suspend (PeerStorage) -> Unit = {
            asked.send(Unit)
            mayEnd.await()
        }
        shown(settings(leaving = leaving)) {
            phone.leave(activity)
            asked.receive()
            phone.comeBack(activity)
            phone.leave(activity)
            mayEnd.complete(Unit)
            storage.isNow(Activity.SUSPENDED)
            assertTrue(asked.tryReceive().isSuccess, "what was started meanwhile is stopped")
        }
    }

    @Test
    fun trouble_of_the_app_in_what_it_gives_ends_nothing() = test {
        val phone = Phone(noBackup)
        val app = phone.install(settings(secret = { error("no keystore") }))
        phone.open()
        assertEquals("no keystore", app.problems.first().message)
        app.shutdown()
    }

    @Test
    fun an_opening_in_which_the_app_fails_leaves_nothing_open_and_is_tried_anew() = test {
        var fails = true
        val phone = Phone(noBackup)
        val app = phone.install(settings(opened = { if (fails) error("no list of channels") }))
        val problem = assertThrows(IllegalStateException::class.java) { runBlocking { app.storage() } }
        assertEquals("no list of channels", problem.message)
        assertEquals(emptyList<String>(), openFilesBelow(directory))
        open(directory).use { it.shutdown(1000u) }
        fails = false
        app.storage()
        app.shutdown()
    }

    @Test
    fun without_a_network_a_leave_asks_for_a_job() = shown(connected = false) {
        phone.leave(activity)
        storage.isNow(Activity.SUSPENDED)
        until("a job is scheduled") { phone.jobs.isPending() }
    }
}
