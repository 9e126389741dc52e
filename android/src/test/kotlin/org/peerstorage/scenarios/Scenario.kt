package org.peerstorage.scenarios

import java.io.File
import kotlin.time.Duration.Companion.seconds
import kotlin.time.TimeSource
import kotlinx.coroutines.delay
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import org.peerstorage.PeerStorageException
import org.peerstorage.android.support.ChildJvm

/** Plays a scenario: in a world of its own, on data directories below [directory]. */
class Scenario(private val name: String, private val directory: File) : Told {
    private val world = World(File(directory.also(File::mkdirs), "world.log"))
    private var started: Started? = null
    private var child: ChildJvm? = null
    private val play = Play(directory) { Device(it, checkNotNull(started), this) }

    suspend fun play(steps: JsonArray) {
        try {
            for ((number, step) in steps.withIndex()) {
                play.step(number, step.jsonObject, ::carryOut)
            }
        } finally {
            child?.kill()
            play.letGo()
            world.close()
        }
    }

    override fun channels(): JsonObject = world.say("channels")

    override fun tip(): JsonObject = world.say("tip")

    private suspend fun carryOut(step: JsonObject): JsonObject {
        val what = step.getValue("do").jsonPrimitive.content
        return when {
            what == "world.start" -> world.say(command(step, "name" to JsonPrimitive(name)))
                .also { started = Started(it) }
            what.startsWith("world.") -> world.say(command(step))
            what == "child.start" -> startChild(step.getValue("steps").jsonArray)
            what == "child.kill" -> answer().also { killChild() }
            else -> play.onDevice(step)
        }
    }

    private fun command(step: JsonObject, vararg more: Pair<String, JsonElement>): JsonObject {
        val what = step.getValue("do").jsonPrimitive.content.removePrefix("world.")
        return JsonObject(step - Play.KEYS + ("do" to JsonPrimitive(what)) + more)
    }

    private fun startChild(steps: JsonArray): JsonObject {
        val script = File(directory, "child.json")
        script.writeText(
            answer(
                "steps" to steps,
                "variables" to play.variables,
                "started" to checkNotNull(started).answer,
                "channels" to channels(),
                "tip" to tip(),
            ).toString(),
        )
        val begun = ChildJvm(ChildOfAScenario::class.java.name, directory.path, script.path)
        child = begun
        do {
            val line = checkNotNull(begun.hear()) { "the child has ended by itself" }
        } while (line != "begin ${steps.size - 1}")
        return answer()
    }

    private fun killChild() {
        val begun = checkNotNull(child) { "no child" }
        check(begun.isAlive) { "the child has ended by itself" }
        begun.kill()
    }
}

/** What both a scenario and its child do with a step. */
class Play(private val directory: File, private val device: (File) -> Device) {
    val variables = mutableMapOf<String, JsonElement>()
    private val devices = mutableMapOf<String, Device>()

    suspend fun onDevice(step: JsonObject): JsonObject {
        val name = step["on"]?.jsonPrimitive?.content ?: "phone"
        return devices.getOrPut(name) { device(File(directory, name)) }.carryOut(step)
    }

    suspend fun letGo() = devices.values.forEach { it.letGo() }

    suspend fun step(number: Int, written: JsonObject, carryOut: suspend (JsonObject) -> JsonObject) {
        val step = filledIn(written) as JsonObject
        try {
            val told = told(step, carryOut)
            for ((variable, key) in step["save"]?.jsonObject.orEmpty()) {
                variables[variable] = told.getValue(key.jsonPrimitive.content)
            }
        } catch (failure: Throwable) {
            throw AssertionError("step $number, $written: $failure", failure)
        }
    }

    private suspend fun told(step: JsonObject, carryOut: suspend (JsonObject) -> JsonObject): JsonObject {
        step["fails"]?.let { return failed(it, step, carryOut) }
        var told = carryOut(step)
        step["until"]?.let { until ->
            val begun = TimeSource.Monotonic.markNow()
            while (!fits(until, told)) {
                check(begun.elapsedNow() < 300.seconds) { "in the end told $told" }
                step["between"]?.let { carryOut(it.jsonObject) }
                delay(50)
                told = carryOut(step)
            }
        }
        step["expect"]?.let { check(fits(it, told)) { "told $told" } }
        return told
    }

    private suspend fun failed(
        expected: JsonElement,
        step: JsonObject,
        carryOut: suspend (JsonObject) -> JsonObject,
    ): JsonObject {
        val told = try {
            carryOut(step)
        } catch (error: PeerStorageException) {
            return words(error).also { check(fits(expected, it)) { "failed with $it" } }
        }
        error("did not fail, and told $told")
    }

    private fun filledIn(element: JsonElement): JsonElement =
        when (element) {
            is JsonObject -> JsonObject(element.mapValues { (_, value) -> filledIn(value) })
            is JsonArray -> JsonArray(element.map(::filledIn))
            is JsonPrimitive -> if (element.isString && element.content.startsWith("$")) {
                variables.getValue(element.content.drop(1))
            } else {
                element
            }
        }

    companion object {
        /** What belongs to the runner, and not to what is carried out. */
        val KEYS = setOf("on", "expect", "until", "between", "fails", "save", "note")
    }
}

/** Steps in a process of its own, so that it can be killed in the midst of one. */
object ChildOfAScenario {
    @JvmStatic
    fun main(arguments: Array<String>) {
        val (directory, path) = arguments
        val script = Json.parseToJsonElement(File(path).readText()).jsonObject
        val told = object : Told {
            override fun channels() = script.getValue("channels").jsonObject

            override fun tip() = script.getValue("tip").jsonObject
        }
        val started = Started(script.getValue("started").jsonObject)
        val play = Play(File(directory)) { Device(it, started, told) }
        play.variables += script.getValue("variables").jsonObject
        kotlinx.coroutines.runBlocking {
            for ((number, step) in script.getValue("steps").jsonArray.withIndex()) {
                println("begin $number")
                play.step(number, step.jsonObject, play::onDevice)
            }
        }
        while (readlnOrNull() != null) Unit
    }
}
