package org.peerstorage.android

import java.io.File
import java.util.concurrent.TimeUnit.SECONDS
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertThrows
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.io.TempDir
import org.peerstorage.Activity
import org.peerstorage.Past
import org.peerstorage.PeerStorageException
import org.peerstorage.android.support.ChildJvm
import org.peerstorage.android.support.Phone
import org.peerstorage.android.support.ThisProcess
import org.peerstorage.android.support.install
import org.peerstorage.android.support.isNow
import org.peerstorage.android.support.open
import org.peerstorage.android.support.settings

/** Android ends a process without a word, and starts another on the same directory. */
class ProcessDeathTest {
    @TempDir
    lateinit var noBackup: File

    private val directory get() = File(noBackup, "peer-storage")

    private fun app(vararg arguments: String) = ChildJvm(AppProcess::class.java.name, noBackup.path, *arguments)

    private fun test(body: suspend () -> Unit) = runBlocking { withTimeout(90.seconds) { body() } }

    @Test
    fun a_process_that_is_killed_while_shown_leaves_a_directory_that_opens() = test {
        app("shown").use { first ->
            assertEquals("known", first.hear())
            assertThrows(PeerStorageException.InUse::class.java) { runBlocking { open(directory) } }
            first.kill()
        }
        val phone = Phone(noBackup)
        val app = phone.install()
        phone.open()
        assertEquals(Past.KNOWN, app.storage().status().past)
        app.shutdown()
    }

    @Test
    fun a_process_that_is_killed_in_background_leaves_a_directory_that_opens() = test {
        app("left").use { first ->
            assertEquals("known", first.hear())
            assertEquals("suspended", first.hear())
            first.kill()
        }
        open(directory).use {
            assertEquals(Past.KNOWN, it.status().past)
            it.shutdown(1000u)
        }
    }

    @Test
    fun a_job_in_a_process_of_its_own_works_and_leaves_nothing_open() = test {
        app("shown").use { first ->
            assertEquals("known", first.hear())
            first.kill()
        }
        app("job").use { second ->
            assertEquals("again: false", second.hear())
            assertEquals("suspended, open: 0", second.hear())
            // It lives, and holds nothing.
            open(directory).use { it.shutdown(1000u) }
        }
    }
}

/** The app, as a process of its own. */
object AppProcess {
    @JvmStatic
    fun main(arguments: Array<String>) {
        val (noBackup, what) = arguments
        val phone = Phone(File(noBackup))
        runBlocking {
            val app = phone.install(settings(opened = { if (it.status().past == Past.UNKNOWN) it.declareNew() }))
            if (what == "job") {
                val job = phone.runJob(1).also { it.start() }
                println("again: ${job.finished.poll(30, SECONDS)}")
                app.storage().isNow(Activity.SUSPENDED)
                println("suspended, open: ${ThisProcess.openFilesBelow(File(noBackup)).size}")
            } else {
                val activity = phone.open()
                app.storage()
                println("known")
                if (what == "left") {
                    phone.leave(activity)
                    app.storage().isNow(Activity.SUSPENDED)
                    println("suspended")
                }
            }
        }
        Thread.sleep(Long.MAX_VALUE) // until it is killed
    }
}
