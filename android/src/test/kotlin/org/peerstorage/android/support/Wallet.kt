package org.peerstorage.android.support

import java.io.File
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import kotlinx.coroutines.flow.first
import org.peerstorage.Activity
import org.peerstorage.BitcoinNetwork
import org.peerstorage.OpenConfig
import org.peerstorage.PeerStorage
import org.peerstorage.WalletSecret
import org.peerstorage.android.AndroidPeerStorage
import org.peerstorage.android.PeerStorageJobs
import org.peerstorage.android.PeerStorageSettings
import org.peerstorage.android.open
import org.peerstorage.android.statuses

/** The secret of a test's wallet: the LDK seed of 32 equal bytes. */
fun secretOf(seed: Int): WalletSecret = WalletSecret.fromLdkSeed(ByteArray(32) { seed.toByte() })

/** What an app gives, in the time of a test. */
fun settings(
    seed: Int = 7,
    linger: Duration = Duration.ZERO,
    backgroundBudget: Duration = 20.seconds,
    hostNodeRuns: () -> Boolean = { false },
    opened: suspend (PeerStorage) -> Unit = {},
    leaving: suspend (PeerStorage) -> Unit = {},
    secret: suspend () -> WalletSecret? = { secretOf(seed) },
) = PeerStorageSettings(
    network = BitcoinNetwork.REGTEST,
    linger = linger,
    backgroundBudget = backgroundBudget,
    passBudget = 20.seconds,
    hostNodeRuns = hostNodeRuns,
    opened = opened,
    leaving = leaving,
    secret = secret,
)

/** What the app's `Application.onCreate` does. */
fun Phone.install(settings: PeerStorageSettings = settings()): AndroidPeerStorage =
    AndroidPeerStorage(application, settings, PeerStorageJobs(application)).also { application.peerStorage = it }

/** The storage alone, without anything of Android's. */
suspend fun open(directory: File, seed: Int = 7, visible: Boolean = true): PeerStorage =
    secretOf(seed).use {
        PeerStorage.open(
            OpenConfig(
                dataDir = directory.path,
                network = BitcoinNetwork.REGTEST,
                inForeground = visible,
                lingerMs = 0u,
            ),
            it,
        )
    }

suspend fun PeerStorage.isNow(activity: Activity) {
    statuses().first { it.activity == activity }
}
