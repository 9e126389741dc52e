package org.peerstorage.scenarios

import java.io.File
import kotlinx.coroutines.runBlocking
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.DynamicTest
import org.junit.jupiter.api.DynamicTest.dynamicTest
import org.junit.jupiter.api.TestFactory
import org.junit.jupiter.api.io.TempDir
import org.junit.jupiter.api.parallel.Execution
import org.junit.jupiter.api.parallel.ExecutionMode

/** The scenarios that every language plays (tests/scenarios): the real library, real peers, a real chain. */
class ScenariosTest {
    @TempDir
    lateinit var directory: File

    // Each has a world of its own, and mostly waits.
    @TestFactory
    @Execution(ExecutionMode.CONCURRENT)
    fun each_scenario_goes_as_it_is_written(): List<DynamicTest> {
        val files = File(System.getProperty("scenarios")).listFiles { file -> file.extension == "json" }
        val scenarios = files.orEmpty().sorted().filter { it.nameWithoutExtension.contains(System.getProperty("scenario", "")) }
        assertTrue(scenarios.isNotEmpty())
        return scenarios.map { file -> dynamicTest(file.nameWithoutExtension) { play(file) } }
    }

    private fun play(file: File) = runBlocking {
        val scenario = Json.parseToJsonElement(file.readText()).jsonObject
        assertEquals(file.nameWithoutExtension, scenario.getValue("name").jsonPrimitive.content)
        try {
            Scenario(file.nameWithoutExtension, File(directory, file.nameWithoutExtension))
                .play(scenario.getValue("steps").jsonArray)
        } catch (failure: AssertionError) {
            throw AssertionError("${file.nameWithoutExtension}: ${failure.message}", failure)
        }
    }
}
