package org.peerstorage.android

import android.app.job.JobParameters
import android.app.job.JobService
import java.util.concurrent.ConcurrentHashMap
import kotlinx.coroutines.Job

/**
 * A background pass, run by Android's own scheduler: see [PeerStorageJobs]. It needs an `Application` that is a
 * [PeerStorageOwner]; without a wallet in it the job is over at once.
 */
class PeerStorageJobService : JobService() {
    private val passes = ConcurrentHashMap<Int, Job>()

    override fun onStartJob(params: JobParameters): Boolean {
        val storage = (application as? PeerStorageOwner)?.peerStorage ?: return false
        val pass = storage.preparePass { again ->
            // Once the system has taken a job back, it must not be told of its end.
            if (passes.remove(params.jobId) != null) {
                jobFinished(params, again)
            }
        }
        passes[params.jobId] = pass // before it can end
        pass.start()
        return true
    }

    /** True: run it again later, what is due is still due. */
    override fun onStopJob(params: JobParameters): Boolean {
        val pass = passes.remove(params.jobId) ?: return false
        pass.cancel()
        return true
    }
}
