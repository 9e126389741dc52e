package dalvik.system

/** In place of Android's own, whose methods are native: what the framework's collections grow with. */
class VMRuntime private constructor() {
    fun newUnpaddedArray(type: Class<*>, length: Int): Any = java.lang.reflect.Array.newInstance(type, length)

    companion object {
        private val RUNTIME = VMRuntime()

        @JvmStatic
        fun getRuntime(): VMRuntime = RUNTIME
    }
}
