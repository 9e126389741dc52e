package androidx.work

import android.content.Context

// What docs/android.md uses of WorkManager, which is not on Maven Central: the recipe is compiled against this.

class WorkerParameters

abstract class CoroutineWorker(val applicationContext: Context, @Suppress("unused") parameters: WorkerParameters) {
    abstract suspend fun doWork(): ListenableWorker.Result
}

object ListenableWorker {
    class Result private constructor() {
        companion object {
            fun success() = Result()

            fun retry() = Result()
        }
    }
}
