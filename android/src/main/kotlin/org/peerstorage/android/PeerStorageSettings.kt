package org.peerstorage.android

import kotlin.time.Duration
import kotlin.time.Duration.Companion.minutes
import kotlin.time.Duration.Companion.seconds
import org.peerstorage.BitcoinNetwork
import org.peerstorage.PeerStorage
import org.peerstorage.StorageSettings
import org.peerstorage.WalletSecret

/**
 * How [AndroidPeerStorage] opens and drives the storage of one wallet.
 *
 * @property network the Bitcoin network of the wallet.
 * @property expectedNodeId the node id that the secret has to give, in hex; null: any. A secret of another
 *   wallet is then an error before anything is written.
 * @property directory the name of the data directory, inside `Context.getNoBackupFilesDir()`: a channel
 *   state that the system brings back from a cloud backup is old, and an old one loses money.
 * @property storage whom backups are kept for.
 * @property torProxy `host:port` of a SOCKS5 proxy, for peers with onion addresses; all others are dialled directly.
 *   Null: peers with onion addresses alone are not reached.
 * @property backgroundBudget how long the storage may go on after the last activity has stopped. Android
 *   freezes a cached process about ten seconds after that.
 * @property passBudget how long one background pass of a job may take. Android gives a job ten minutes.
 * @property linger how long a leave may last before anything is torn down, so that a share sheet or a
 *   permission dialog costs nothing.
 * @property validatedNetworksOnly whether a network counts only once Android has found the internet behind
 *   it. A captive portal has none; but where Android's own check is blocked, so is every network.
 * @property hostNodeRuns whether the wallet's own node runs, where that is another than this library: asked at each opening,
 *   on a background thread, so that no peer is visited beside it. Later changes are said with
 *   [PeerStorage.onHostNodeChanged].
 * @property opened called after each opening, on a background thread, before anything else is done: the place
 *   to say what the directory is (`declareNew`, `adopt`) and to report the wallet, where that can be done
 *   without its node. A process that was started for a background pass has nothing else to learn it from.
 * @property leaving called when the app is left, before the storage is told: the place to stop the wallet's own
 *   node, for beside a running one no peer is visited. It may block. It has half of [backgroundBudget]; what takes longer
 *   goes on, the storage is told without it, [AndroidPeerStorage.problems] says so, and a job is scheduled. The person
 *   may come back meanwhile, and leave again: what starts and stops a node needs a lock of its own (`Mutex`).
 * @property secret the wallet's secret, asked for once an opening, on a background thread. It is handed to
 *   the library, which keeps it in memory alone, and closed. Null while it is not to be had, such as before the first
 *   unlock after a reboot: the opening then fails as `Locked`, and is tried again at the next occasion.
 */
class PeerStorageSettings(
    val network: BitcoinNetwork,
    val expectedNodeId: String? = null,
    val directory: String = "peer-storage",
    val storage: StorageSettings = StorageSettings(),
    val torProxy: String? = null,
    val backgroundBudget: Duration = 8.seconds,
    val passBudget: Duration = 2.minutes,
    val linger: Duration = 5.seconds,
    val validatedNetworksOnly: Boolean = true,
    val hostNodeRuns: () -> Boolean = { false },
    val opened: suspend (PeerStorage) -> Unit = {},
    val leaving: suspend (PeerStorage) -> Unit = {},
    val secret: suspend () -> WalletSecret?,
)
