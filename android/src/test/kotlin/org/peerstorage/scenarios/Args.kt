package org.peerstorage.scenarios

import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.boolean
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonPrimitive
import kotlinx.serialization.json.long

/** The arguments of a step. One that nobody reads is a slip of whoever wrote the scenario. */
class Args(private val step: JsonObject) {
    val what: String = step.getValue("do").jsonPrimitive.content
    private val read = mutableSetOf<String>()

    fun text(key: String): String = checkNotNull(textOrNull(key)) { "$key is missing" }

    fun textOrNull(key: String): String? = get(key)?.jsonPrimitive?.content

    fun names(key: String): List<String> = get(key)?.jsonArray.orEmpty().map { it.jsonPrimitive.content }

    fun flag(key: String): Boolean = checkNotNull(get(key)) { "$key is missing" }.jsonPrimitive.boolean

    fun flag(key: String, default: Boolean): Boolean = get(key)?.jsonPrimitive?.boolean ?: default

    fun budget(): ULong = get("budget_ms")?.jsonPrimitive?.long?.toULong() ?: 20_000u

    fun allRead() {
        val unread = step.keys - read - Play.KEYS - "do"
        check(unread.isEmpty()) { "no such argument: $unread" }
    }

    private fun get(key: String) = step[key].also { read += key }
}
