package org.peerstorage.android

import android.app.job.JobInfo
import android.app.job.JobScheduler
import android.content.ComponentName
import android.content.Context
import kotlin.time.Duration
import kotlin.time.Duration.Companion.hours
import kotlin.time.Duration.Companion.minutes

/**
 * Schedules [PeerStorageJobService]. Both jobs need a network, and none survives a reboot: call
 * [scheduleDaily] at each start of the app.
 *
 * @property idDaily the id of the periodic job. Ids are the app's: no other job of it may have the same.
 * @property idSoon the id of the job that finishes what a leave has left.
 */
class PeerStorageJobs(
    private val context: Context,
    private val idDaily: Int = 0x7053_0001,
    private val idSoon: Int = 0x7053_0002,
) {
    /**
     * A pass about every [interval]: Android moves it, by hours for an app that is rarely used. Where such a
     * job is scheduled already it stays as it is, or every start of the app would put it off.
     *
     * @throws SecurityException from Android 14 on, where the app's manifest takes the permission
     *   `ACCESS_NETWORK_STATE` back, which the library's brings.
     */
    fun scheduleDaily(interval: Duration = 24.hours) {
        val millis = interval.inWholeMilliseconds
        if (scheduler.getPendingJob(idDaily)?.intervalMillis != millis) {
            schedule(idDaily) { setPeriodic(millis, millis / 2) }
        }
    }

    /** One pass as soon as there is a network: what was due when the app was left could not be done. */
    fun scheduleSoon() = schedule(idSoon) {
        setBackoffCriteria(RETRY.inWholeMilliseconds, JobInfo.BACKOFF_POLICY_EXPONENTIAL)
    }

    /** Takes both back: the wallet is deleted, or its backup switched off. */
    fun cancel() {
        scheduler.cancel(idDaily)
        scheduler.cancel(idSoon)
    }

    private val scheduler: JobScheduler
        get() = context.getSystemService(JobScheduler::class.java)

    private fun schedule(id: Int, details: JobInfo.Builder.() -> Unit) {
        val service = ComponentName(context.packageName, PeerStorageJobService::class.java.name)
        val job = JobInfo.Builder(id, service).setRequiredNetworkType(JobInfo.NETWORK_TYPE_ANY)
        scheduler.schedule(job.apply(details).build())
    }

    private companion object {
        val RETRY = 10.minutes
    }
}
