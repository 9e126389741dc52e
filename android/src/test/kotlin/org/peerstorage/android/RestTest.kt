package org.peerstorage.android

import android.app.Activity as Screen
import java.io.File
import java.net.InetAddress
import java.net.ServerSocket
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.runInterruptible
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.DynamicTest.dynamicTest
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.TestFactory
import org.junit.jupiter.api.io.TempDir
import org.peerstorage.Activity
import org.peerstorage.PeerStorage
import org.peerstorage.android.support.Phone
import org.peerstorage.android.support.ThisProcess
import org.peerstorage.android.support.channel
import org.peerstorage.android.support.install
import org.peerstorage.android.support.isNow
import org.peerstorage.android.support.open
import org.peerstorage.android.support.report
import org.peerstorage.android.support.settings
import org.peerstorage.android.support.until

/** After a call of the background nothing of the library's is left: asked of Linux, which knows. */
class RestTest {
    @TempDir
    lateinit var noBackup: File

    private fun test(body: suspend () -> Unit) = runBlocking { withTimeout(60.seconds) { body() } }

    /** Takes connections, and says nothing: whoever visits it is in the midst of that until the end. */
    private val peer = ServerSocket(0, 50, InetAddress.getLoopbackAddress()).apply { soTimeout = 20_000 }
    private val wallet = report(channel(1), addresses = listOf("127.0.0.1:${peer.localPort}"))
    private val opened: suspend (PeerStorage) -> Unit = {
        it.reportWallet(wallet)
        it.adopt()
    }

    /** What Android does, up to the end of the last activity. */
    private val leaves: Map<String, Phone.(Screen) -> Unit> = mapOf(
        "home" to { leave(it) },
        "back" to { back(it) },
        "rotated, then left" to { leave(rotate(it)) },
        "on to another activity, then back out of it" to { back(goOn(it)) },
        "a share sheet, back, another, and not back" to {
            leave(it)
            comeBack(it)
            leave(it)
        },
        "left while memory is low" to {
            lowMemory()
            leave(it)
            lowMemory()
        },
        "left without a network" to {
            network(null)
            leave(it)
        },
    )

    @TestFactory
    fun however_the_app_is_left_nothing_is_left_of_the_library(): List<DynamicTest> =
        leaves.map { (name, leave) -> dynamicTest(name) { test { leaveAndLook(File(noBackup, name), leave) } } }

    private suspend fun leaveAndLook(noBackup: File, leave: Phone.(Screen) -> Unit) {
        val directory = File(noBackup, "peer-storage")
        val phone = Phone(noBackup)
        val sockets = ThisProcess.openSockets()
        val app = phone.install(settings(backgroundBudget = 2.seconds, opened = opened))
        val activity = phone.open()
        val storage = app.storage()
        // In the midst of a visit.
        runInterruptible(Dispatchers.IO) { peer.accept() }.use {
            assertTrue(ThisProcess.locksBelow(directory).isNotEmpty())
            assertTrue(ThisProcess.busyThreads().isNotEmpty())
            phone.leave(activity)
            storage.isNow(Activity.SUSPENDED)
        }
        nothingIsLeft(directory, sockets)
        app.shutdown()
        nothingIsLeft(directory, sockets)
    }

    @Test
    fun a_report_that_says_suspended_means_it() = test {
        val directory = File(noBackup, "alone")
        val sockets = ThisProcess.openSockets()
        val storage = open(directory)
        opened(storage)
        runInterruptible(Dispatchers.IO) { peer.accept() }.use { assertTrue(storage.onBackground(2000u).suspended) }
        nothingIsLeft(directory, sockets)
        storage.onForeground()
        storage.isNow(Activity.ACTIVE)
        runInterruptible(Dispatchers.IO) { peer.accept() }.use { assertTrue(storage.shutdown(2000u).closed) }
        nothingIsLeft(directory, sockets)
    }

    private suspend fun nothingIsLeft(directory: File, sockets: Set<String>) {
        assertEquals(emptyList<String>(), ThisProcess.openFilesBelow(directory))
        assertEquals(emptyList<String>(), ThisProcess.locksBelow(directory))
        // The last to end is the thread that has closed all.
        runCatching { until("no thread is at work", atMost = 5.seconds) { ThisProcess.busyThreads().isEmpty() } }
        assertEquals(emptyList<String>(), ThisProcess.busyThreads())
        assertEquals(emptySet<String>(), ThisProcess.openSockets() - sockets)
    }
}
