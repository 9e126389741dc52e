// The library that a wallet depends on: org.peerstorage:peer-storage-android, an AAR.
//
// Needs the Android SDK, NDK r28 or newer, cargo-ndk, and Rust's three Android targets; docs/android.md says
// how to get them. The project's own machines have none of these: this file was written with care, and has
// not been run. What it compiles, pom.xml compiles and tests on the JVM.

import org.jetbrains.kotlin.gradle.dsl.JvmTarget

plugins {
    id("com.android.library") version "8.13.2"
    id("org.jetbrains.kotlin.android") version "2.2.21"
    `maven-publish`
}

val rustRoot: Directory = layout.projectDirectory.dir("..")
val generatedBindings: Provider<Directory> = layout.buildDirectory.dir("generated/peer-storage/bindings")
val generatedKotlin: Provider<Directory> = generatedBindings.map { it.dir("kotlin") }
val generatedJniLibs: Provider<Directory> = layout.buildDirectory.dir("generated/peer-storage/jniLibs")

android {
    namespace = "org.peerstorage.android"
    compileSdk = 36

    defaultConfig {
        minSdk = 24
        consumerProguardFiles("consumer-rules.pro")
    }

    sourceSets.named("main") {
        kotlin.srcDir(generatedKotlin)
        jniLibs.srcDir(generatedJniLibs)
    }
    // The tests in src/test are the JVM's: they need the native library of the host (pom.xml).
    sourceSets.named("test") {
        kotlin.setSrcDirs(emptyList<String>())
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }

    // The native library keeps its symbol table here; the app's build strips it, and may keep a copy of
    // the symbols for crash reports.
    packaging.jniLibs.keepDebugSymbols += "**/libpeer_storage_ffi.so"

    publishing {
        singleVariant("release") { withSourcesJar() }
    }
}

kotlin {
    compilerOptions { jvmTarget = JvmTarget.JVM_17 }
}

dependencies {
    // From JNA 5.18.1 on its own native library has 16 KiB pages. `api`: the AAR variant has to reach the app.
    api("net.java.dev.jna:jna:5.18.1@aar")
    api("org.jetbrains.kotlinx:kotlinx-coroutines-core:1.10.2")
}

// `cargo xtask bindings` and `cargo xtask android` do the work, so that this build and CI do the same.
val bindings by tasks.registering(Exec::class) {
    description = "Generates the Kotlin bindings out of the native library of this machine"
    workingDir(rustRoot)
    commandLine("cargo", "xtask", "bindings", "--out", generatedBindings.get().asFile.path)
    outputs.dir(generatedBindings)
    outputs.upToDateWhen { false } // cargo knows better
}

val nativeLibraries by tasks.registering(Exec::class) {
    description = "Builds the native library for each ABI, and checks its page size"
    workingDir(rustRoot)
    commandLine("cargo", "xtask", "android", "--jni-libs", generatedJniLibs.get().asFile.path)
    outputs.dir(generatedJniLibs)
    outputs.upToDateWhen { false }
}

tasks.named("preBuild") { dependsOn(bindings, nativeLibraries) }
tasks.withType<org.jetbrains.kotlin.gradle.tasks.KotlinCompile>().configureEach { dependsOn(bindings) }
tasks.withType<Jar>().configureEach { dependsOn(bindings) }

publishing {
    publications {
        register<MavenPublication>("release") {
            artifactId = "peer-storage-android"
            afterEvaluate { from(components["release"]) }
            pom {
                name = "peer-storage-android"
                description = "Lightning peers keep each other's encrypted backups: BOLT #1 peer storage for LDK wallets"
                licenses {
                    license {
                        name = "MIT"
                        url = "https://opensource.org/license/mit"
                    }
                    license {
                        name = "Apache-2.0"
                        url = "https://www.apache.org/licenses/LICENSE-2.0"
                    }
                }
            }
        }
    }
}
