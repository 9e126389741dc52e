package android.os

/** In place of Android's own, whose methods are native: no property is set. */
@Suppress("unused", "UNUSED_PARAMETER")
object SystemProperties {
    @JvmStatic fun get(key: String?): String = ""

    @JvmStatic fun get(key: String?, default: String?): String? = default

    @JvmStatic fun getInt(key: String?, default: Int): Int = default

    @JvmStatic fun getLong(key: String?, default: Long): Long = default

    @JvmStatic fun getBoolean(key: String?, default: Boolean): Boolean = default

    @JvmStatic fun addChangeCallback(callback: Runnable?) = Unit
}
