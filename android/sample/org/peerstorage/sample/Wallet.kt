package org.peerstorage.sample

import java.io.File
import kotlinx.coroutines.sync.Mutex
import kotlinx.coroutines.sync.withLock
import org.peerstorage.BitcoinNetwork
import org.peerstorage.ChainAccess
import org.peerstorage.ChannelClaim
import org.peerstorage.NodeStart
import org.peerstorage.OpenConfig
import org.peerstorage.Past
import org.peerstorage.PeerStorage
import org.peerstorage.PeerStorageException
import org.peerstorage.RecoveryConsent
import org.peerstorage.RecoveryProgress
import org.peerstorage.RecoverySettings
import org.peerstorage.StorageStatus
import org.peerstorage.WalletPeer
import org.peerstorage.WalletReport
import org.peerstorage.WalletSecret
import org.peerstorage.android.open

/** The wallet's node, which is not the library's business: here it lives in another process. */
interface Node {
    /** What it has, whether it runs or not. */
    fun report(): WalletReport

    fun start()

    fun stop()
}

/** A wallet whose backup its peers keep: all that an app does with the library. */
class Wallet(private val storage: PeerStorage, private val node: Node) {
    val status: StorageStatus get() = storage.status()

    /** Whoever starts or stops the node has it: the person may come back while it stops. */
    private val nodeTurn = Mutex()

    /** A wallet that was just made, or one that lives on this device already. */
    suspend fun begin(isNew: Boolean) {
        storage.reportWallet(node.report())
        if (storage.status().past == Past.UNKNOWN) {
            if (isNew) storage.declareNew() else storage.adopt()
        }
    }

    /** False: the state on this device is old, or the wallet was restored: the node must not run on it. */
    suspend fun startNode(): Boolean = nodeTurn.withLock {
        storage.reportWallet(node.report())
        when (storage.checkBeforeNodeStart(budgetMs = 5_000u)) {
            is NodeStart.DoNotStart, is NodeStart.Restored -> false
            is NodeStart.NothingKnownAgainst, is NodeStart.Unknown -> {
                node.start() // from the check on the library takes it to run
                storage.onHostNodeChanged(true)
                true
            }
        }
    }

    /** The app is left: first the node, then the backup. */
    suspend fun leave() {
        nodeTurn.withLock {
            node.stop()
            storage.reportWallet(node.report())
            storage.onHostNodeChanged(false)
        }
        storage.onBackground(budgetMs = 20_000u)
    }

    /** It is shown again. */
    fun comeBack() = storage.onForeground()

    /** The device has a network, or has lost it. */
    fun network(available: Boolean) = storage.onNetworkChanged(available)

    /** Pushes, and sees whether it comes back. */
    suspend fun verify(peers: List<WalletPeer>) {
        storage.syncWithPeers(peers, verify = true, budgetMs = 30_000u)
    }

    /** Everything is lost but the words and a peer: takes the newest backup of all peers that answer. */
    suspend fun restore(peers: List<WalletPeer>): List<WalletPeer> {
        val report = storage.restore(peers, budgetMs = 30_000u).report
        storage.finishRestore()
        return report.peers
    }

    /** The peers close, and what is ours goes to [address]. [wait] is what a phone does in days. */
    suspend fun recover(
        esplora: String,
        peers: List<WalletPeer>,
        address: String,
        wait: suspend () -> Unit,
    ): RecoveryProgress {
        val settings = RecoverySettings(stayMs = 1_000u) // a real wallet keeps the default
        storage.startRecovery(ChainAccess.Esplora(esplora, proxy = null), settings, listener = null).use { recovery ->
            val plan = untilItPasses(wait) { recovery.plan(peers, budgetMs = 30_000u) }
            val ours = plan.channels.filter {
                it.claim is ChannelClaim.Balance || it.claim is ChannelClaim.BalanceAndPayments
            }
            // Everything here is a question to the person.
            recovery.agree(
                plan.id,
                RecoveryConsent(
                    channels = ours.map { it.ids },
                    sweepTo = address,
                    feeRateSatPerKwu = 1_000u,
                    highestFeeRateSatPerKwu = 5_000u,
                    oldDeviceIsGone = true,
                    closesChannelsWithoutKeys = false,
                    goesOnWithoutUnheardPeers = false,
                ),
            )
            while (true) {
                val progress = untilItPasses(wait) { recovery.step() }
                if (progress.done) return progress
                wait()
            }
        }
    }

    /** The network, the app in background, the chain's server: they come back. */
    private suspend fun <T> untilItPasses(wait: suspend () -> Unit, work: suspend () -> T): T {
        while (true) {
            try {
                return work()
            } catch (problem: PeerStorageException) {
                val passes = when (problem) {
                    is PeerStorageException.NotNow, is PeerStorageException.Suspended -> true
                    is PeerStorageException.Chain -> problem.mayPass
                    else -> false
                }
                if (!passes) throw problem
            }
            wait()
        }
    }

    suspend fun end() = storage.use { it.shutdown(budgetMs = 10_000u) }

    companion object {
        suspend fun open(directory: File, seed: ByteArray, node: Node): Wallet =
            WalletSecret.fromLdkSeed(seed).use { secret ->
                val config = OpenConfig(dataDir = directory.path, network = BitcoinNetwork.REGTEST)
                Wallet(PeerStorage.open(config, secret), node)
            }
    }
}
