package org.peerstorage.scenarios

import java.io.File
import java.util.concurrent.TimeUnit
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.put

/** The world of a scenario, a process of its own: tests/world/README.md says what it does. */
class World(private val log: File) : AutoCloseable {
    private val process: Process =
        ProcessBuilder(System.getProperty("world.program")).redirectError(ProcessBuilder.Redirect.to(log)).start()

    /** Says one command, and returns what is answered. An answer that is not ok is a failure of the scenario. */
    fun say(command: JsonObject): JsonObject {
        val input = process.outputWriter()
        input.write("$command\n")
        input.flush()
        val line = process.inputReader().readLine() ?: error("the world has ended at $command: ${log.readText().takeLast(4000)}")
        val answer = Json.parseToJsonElement(line).jsonObject
        check(answer["ok"] == JsonPrimitive(true)) { "$command: ${answer["error"]}" }
        return answer
    }

    fun say(name: String): JsonObject = say(buildJsonObject { put("do", name) })

    override fun close() {
        process.outputWriter().close()
        if (!process.waitFor(20, TimeUnit.SECONDS)) process.destroyForcibly()
    }
}
