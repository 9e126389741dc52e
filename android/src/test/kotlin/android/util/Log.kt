package android.util

/**
 * In place of Android's own, whose methods are native. The framework's classes log while they are loaded; what
 * the library itself writes goes through `setLogWriter`.
 */
@Suppress("unused", "UNUSED_PARAMETER")
object Log {
    @JvmStatic fun isLoggable(tag: String?, level: Int): Boolean = false

    @JvmStatic fun v(tag: String?, text: String?): Int = 0

    @JvmStatic fun d(tag: String?, text: String?): Int = 0

    @JvmStatic fun i(tag: String?, text: String?): Int = 0

    @JvmStatic fun w(tag: String?, text: String?): Int = 0

    @JvmStatic fun w(tag: String?, text: String?, error: Throwable?): Int = 0

    @JvmStatic fun e(tag: String?, text: String?): Int = 0

    @JvmStatic fun e(tag: String?, text: String?, error: Throwable?): Int = 0
}
