package org.peerstorage.android

import android.app.ActivityManager
import android.app.ActivityManager.RunningAppProcessInfo
import android.app.ActivityManager.RunningAppProcessInfo.IMPORTANCE_FOREGROUND
import android.app.ActivityManager.RunningAppProcessInfo.REASON_UNKNOWN

/**
 * Whether Android ranks this process as one that shows an activity. So it also ranks one that the app on the screen
 * is bound to, such as by a content provider, and names that as the reason.
 */
internal fun isRankedAsShown(): Boolean =
    try {
        val info = RunningAppProcessInfo()
        ActivityManager.getMyMemoryState(info)
        info.importance == IMPORTANCE_FOREGROUND && info.importanceReasonCode == REASON_UNKNOWN
    } catch (_: RuntimeException) {
        false // the system server is restarting
    }
