package org.peerstorage.docs

import java.io.File
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.peerstorage.android.support.Manifest

/** The guide's code is code that compiles, and the versions are the same wherever they stand. */
class AndroidGuideTest {
    private val repository = File(System.getProperty("repository"))

    private fun text(path: String) = File(repository, path).readText()

    @Test
    fun the_code_of_the_guide_is_the_code_that_is_compiled_here() {
        val source = text("android/src/test/kotlin/org/peerstorage/docs/AndroidGuide.kt")
        val parts = Regex("""// \[(\w+)]\n(.*?)// \[end]""", RegexOption.DOT_MATCHES_ALL)
            .findAll(source)
            .associate { it.groupValues[1] to it.groupValues[2].trim() }
        val shown = Regex("""<!-- AndroidGuide.kt: (\w+) -->\n```kotlin\n(.*?)```""", RegexOption.DOT_MATCHES_ALL)
            .findAll(text("docs/android.md"))
            .associate { it.groupValues[1] to it.groupValues[2].trim() }
        assertTrue(parts.size >= 5)
        assertEquals(parts, shown)
        // And there is no other Kotlin in it.
        assertEquals(shown.size, Regex("```kotlin").findAll(text("docs/android.md")).count())
    }

    @Test
    fun versions_are_the_same_in_gradle_maven_xtask_and_the_guide() {
        val gradle = text("android/build.gradle.kts")
        val maven = text("android/pom.xml")
        val xtask = text("xtask/src/kotlin.rs")
        fun property(name: String) = Regex("<$name>(.*?)</$name>").find(maven)!!.groupValues[1]
        assertTrue("kotlin.android\") version \"${property("kotlin.version")}\"" in gradle)
        for ((artifact, version, constant) in listOf(
            Triple("net.java.dev.jna:jna:", property("jna.version"), "JNA"),
            Triple("org.jetbrains.kotlinx:kotlinx-coroutines-core:", property("coroutines.version"), "COROUTINES"),
        )) {
            assertTrue("$artifact$version" in gradle, artifact)
            assertTrue("const $constant: &str = \"$version\"" in xtask, artifact)
        }
        val version = Regex("""\[workspace.package]\nversion = "(.*?)"""").find(text("Cargo.toml"))!!.groupValues[1]
        assertTrue("version=$version\n" in text("android/gradle.properties"))
        assertTrue("<version>$version</version>" in maven)
        assertTrue("org.peerstorage:peer-storage-android:$version" in text("docs/android.md"))
    }

    @Test
    fun the_manifest_has_what_the_library_needs_and_a_service_that_only_the_system_may_start() {
        val manifest = text("android/src/main/AndroidManifest.xml")
        val tags = Regex("<([a-z-]+)[ >\n]").findAll(manifest).map { it.groupValues[1] }.toList()
        assertEquals(listOf("manifest", "uses-permission", "uses-permission", "application", "service"), tags)
        assertEquals(setOf("android.permission.INTERNET", "android.permission.ACCESS_NETWORK_STATE"), Manifest.permissions)
        assertTrue("android:exported=\"false\"" in manifest)
        assertTrue("android:permission=\"android.permission.BIND_JOB_SERVICE\"" in manifest)
        assertTrue("android:name=\"org.peerstorage.android.PeerStorageJobService\"" in manifest)
    }
}
