package org.peerstorage.android

import org.peerstorage.BackgroundReport
import org.peerstorage.Hindrance
import org.peerstorage.Obstacle
import org.peerstorage.PassReport
import org.peerstorage.PeerStorageException

/** Whether a job should finish what was due when the app was left. */
internal fun leftUndone(report: BackgroundReport): Boolean =
    when (report.obstacle) {
        // The wallet's node stores and pushes in its own time: it is the app that stops it.
        Obstacle.HOST_NODE_RUNS -> false
        null -> !report.drained
        else -> true
    }

/** Whether a job that came to this should run again soon, rather than at its next turn. */
internal fun wantsAnother(report: PassReport): Boolean =
    when (report.hindrance) {
        null -> !report.drained
        Hindrance.NO_NETWORK, Hindrance.PAYMENT_IN_FLIGHT, Hindrance.BUSY, Hindrance.LOCKED, Hindrance.IN_USE,
        Hindrance.STORAGE_FAILED -> true
        else -> false
    }

/** The same where there was no report. What does not pass by itself is told to the app, and not tried again. */
internal fun mayPass(problem: Throwable): Boolean =
    when (problem) {
        is PeerStorageException.Locked, is PeerStorageException.NotNow, is PeerStorageException.InUse,
        is PeerStorageException.Storage -> true
        else -> false
    }
