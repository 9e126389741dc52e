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

    /** The TCP sockets that are open. Java keeps others, of its own. */
    fun openSockets(): Set<String> {
        val tcp = listOf("/proc/self/net/tcp", "/proc/self/net/tcp6")
            .map(::File)
            .filter(File::exists) // without IPv6 there is one
            .flatMap { it.readLines().drop(1) }
            .map { "socket:[${it.trim().split(Regex(" +"))[INODE]}]" }
        return openFiles().toSet().intersect(tcp.toSet())
    }

    /** The locks that this process holds on files below a directory, as the kernel lists them. */
    fun locksBelow(directory: File): List<String> {
        val inodes = directory.walk().map { Files.getAttribute(it.toPath(), "unix:ino").toString() }.toSet()
        return File("/proc/locks").readLines().filter { line -> inodes.any { ":$it " in line } }
    }

    /**
     * The threads of the library that are at work, and those that stay only as long as something is open. Others stay
     * and wait, without a timer, for the next call and for what has to be told.
     */
    fun busyThreads(): List<String> =
        File("/proc/self/task").listFiles().orEmpty()
            .mapNotNull { runCatching { File(it, "stat").readText() }.getOrNull() }
            .map { it.substringAfter('(').substringBeforeLast(')') to it.substringAfterLast(") ").first() }
            .filter { (name, state) -> name.startsWith("peer-storage") && (name !in STAY || state != 'S') }
            .map { (name, state) -> "$name: $state" }

    /**
     * How many of each kind are open: sockets, pipes, event queues, and files below a directory by their path. Java opens
     * and keeps files of its own at any time, such as those with its classes: others are left out.
     */
    fun openByKind(directory: File): Map<String, Int> {
        val root = directory.canonicalPath
        val kinds = openFiles().filter { !it.startsWith("/") || it.startsWith(root) }
        return kinds.groupingBy { it.replace(Regex(":\\[\\d+]"), "") }.eachCount()
    }

    /** What more of a kind is open than there was [before]: but for one or two, which may come and go. */
    fun moreOpenThan(before: Map<String, Int>, directory: File): Map<String, Int> =
        openByKind(directory).filter { (kind, count) -> count > (before[kind] ?: 0) + 2 }

    /** The threads of the native library that run. */
    fun nativeThreads(): List<String> =
        File("/proc/self/task").listFiles().orEmpty()
            .mapNotNull { runCatching { File(it, "comm").readText().trim() }.getOrNull() }
            .filter { it.startsWith("peer-storage") }

    // Which column of the kernel's list it is.
    private const val INODE = 9

    // Linux cuts names.
    private val STAY = setOf("peer-storage-ffi", "peer-storage-callbacks").map { it.take(15) }

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
