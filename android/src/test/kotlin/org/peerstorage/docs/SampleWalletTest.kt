package org.peerstorage.docs

import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.peerstorage.android.support.ChildJvm

class SampleWalletTest {
    @Test
    fun the_sample_wallet_gets_everything_back() {
        ChildJvm("org.peerstorage.sample.MainKt").use { sample ->
            val said = generateSequence(sample::hear).toList()
            said.forEach(::println)
            val last = said.lastOrNull().orEmpty()
            assertTrue(Regex("sample wallet: ok had_sat=\\d+ recovered_sat=\\d+ fees_sat=\\d+").matches(last), "$said")
        }
    }
}
