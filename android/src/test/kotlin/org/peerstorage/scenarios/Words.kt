package org.peerstorage.scenarios

import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive

// How the library's values are written in a scenario (tests/scenarios/README.md).

/** Names of variants and fields, as Rust writes them. */
fun snake(name: String): String = name.replace(Regex("(?<=[a-z0-9])(?=[A-Z])"), "_").lowercase()

/** The variant of an enum, whether or not it has fields. */
fun variant(value: Any): String = snake(if (value is Enum<*>) value.name else value::class.simpleName.orEmpty())

fun json(value: Any?): JsonElement =
    when (value) {
        null -> JsonNull
        is JsonElement -> value
        is Boolean -> JsonPrimitive(value)
        is Number -> JsonPrimitive(value)
        is UInt -> JsonPrimitive(value.toLong())
        is ULong -> JsonPrimitive(value.toLong())
        is String -> JsonPrimitive(value)
        is Enum<*> -> JsonPrimitive(variant(value))
        is Map<*, *> -> JsonObject(value.entries.associate { (key, item) -> key.toString() to json(item) })
        is Iterable<*> -> JsonArray(value.map(::json))
        else -> error("no words for ${value::class}")
    }

fun answer(vararg fields: Pair<String, Any?>): JsonObject = JsonObject(fields.associate { (key, value) -> key to json(value) })

/** An error, with those of its fields that can be written. */
fun words(error: Exception): JsonObject {
    val fields = error::class.java.declaredFields.filterNot { java.lang.reflect.Modifier.isStatic(it.modifiers) }
    val told = fields.onEach { it.isAccessible = true }.associate { snake(it.name) to json(it.get(error)) }
    return JsonObject(told + ("error" to JsonPrimitive(variant(error))))
}

/** Whether [told] has at least what is [expected]: objects key by key, everything else by being equal. */
fun fits(expected: JsonElement, told: JsonElement?): Boolean =
    when {
        expected is JsonObject && told is JsonObject -> expected.all { (key, value) -> fits(value, told[key]) }
        else -> expected == told
    }
