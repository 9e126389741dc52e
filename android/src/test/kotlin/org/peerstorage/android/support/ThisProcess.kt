package org.peerstorage.android.support

import java.io.File
import java.nio.file.Files
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import kotlin.time.TimeSource
import kotlinx.coroutines.delay

/** What this process holds, as Linux tells it. */
object ThisProcess {
    /** The open files below a directory. */
    fun openFilesBelow(directory: File): List<String> {
        val root = directory.canonicalPath
        return openFiles().filter { it.startsWith(root) }
    }

    /** How many files and sockets are open. */
    fun openFileCount(): Int = File("/proc/self/fd").list().orEmpty().size

    /** The threads of the native library that run. */
    fun nativeThreads(): List<String> =
        File("/proc/self/task").listFiles().orEmpty()
            .mapNotNull { runCatching { File(it, "comm").readText().trim() }.getOrNull() }
            .filter { it.startsWith("peer-storage") }

    /** What is in memory, in kB. */
    fun residentKilobytes(): Long =
        File("/proc/self/status").readLines()
            .first { it.startsWith("VmRSS:") }
            .filter(Char::isDigit)
            .toLong()

    private fun openFiles(): List<String> =
        File("/proc/self/fd").listFiles().orEmpty()
            .mapNotNull { runCatching { Files.readSymbolicLink(it.toPath()).toString() }.getOrNull() }
}

/** Waits until it is so; fails with [what] when it is not for [atMost]. */
suspend fun until(what: String, atMost: Duration = 30.seconds, isSo: suspend () -> Boolean) {
    val started = TimeSource.Monotonic.markNow()
    while (!isSo()) {
        check(started.elapsedNow() < atMost) { "waited in vain until $what" }
        delay(5)
    }
}
