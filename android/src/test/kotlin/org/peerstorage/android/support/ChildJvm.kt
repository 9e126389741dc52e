package org.peerstorage.android.support

import java.io.BufferedReader
import java.io.File

/**
 * Another process with the same classes and the same native library: what dies with `kill -9`, as an app does
 * under Android. Its standard error goes where ours goes.
 */
class ChildJvm(mainClass: String, vararg arguments: String) : AutoCloseable {
    private val process: Process =
        ProcessBuilder(
            listOf(File(System.getProperty("java.home"), "bin/java").path) +
                listOf("-Xmx256m", "-XX:TieredStopAtLevel=1") +
                listOf("jna.library.path", "jna.nosys", "world.program", "repository").map { "-D$it=${System.getProperty(it)}" } +
                listOf("-cp", System.getProperty("surefire.test.class.path") ?: System.getProperty("java.class.path")) +
                mainClass + arguments,
        ).redirectError(ProcessBuilder.Redirect.INHERIT).start()
    private val said: BufferedReader = process.inputReader()

    val isAlive: Boolean get() = process.isAlive

    /** The next line that it prints; null: it has ended. */
    fun hear(): String? = said.readLine()

    /** `kill -9`. */
    fun kill() {
        process.destroyForcibly().waitFor()
    }

    override fun close() = kill()
}
