package org.peerstorage.android.support

import java.io.File

/** What an app's manifest has of the library's, when the two are merged. */
object Manifest {
    val permissions: Set<String> =
        Regex("<uses-permission android:name=\"(.*?)\"")
            .findAll(File(System.getProperty("repository"), "android/src/main/AndroidManifest.xml").readText())
            .map { it.groupValues[1] }
            .toSet()
}
