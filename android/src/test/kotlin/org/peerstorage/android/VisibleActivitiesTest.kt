package org.peerstorage.android

import java.io.File
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.cancel
import kotlinx.coroutines.launch
import org.junit.jupiter.api.AfterEach
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Test
import org.peerstorage.android.support.Phone

class VisibleActivitiesTest {
    private val phone = Phone(File("/nonexistent"))
    private val activities = VisibleActivities().also(phone.application::registerActivityLifecycleCallbacks)
    private val seen = mutableListOf<Boolean>()
    private val scope = CoroutineScope(Dispatchers.Unconfined).apply {
        launch { activities.visible.collect(seen::add) }
    }

    @AfterEach
    fun end() = scope.cancel()

    @Test
    fun an_app_is_visible_from_its_first_activity_to_its_last() {
        val activity = phone.open()
        phone.leave(activity)
        phone.comeBack(activity)
        phone.back(activity)
        assertEquals(listOf(false, true, false, true, false), seen)
    }

    @Test
    fun going_from_one_activity_to_another_is_no_leave() {
        val second = phone.goOn(phone.open())
        assertEquals(listOf(false, true), seen)
        phone.back(second)
        assertEquals(listOf(false, true, false), seen)
    }

    @Test
    fun a_rotation_is_no_leave() {
        var activity = phone.open()
        repeat(3) { activity = phone.rotate(activity) }
        assertEquals(listOf(false, true), seen)
        phone.leave(activity)
        assertEquals(listOf(false, true, false), seen)
    }

    @Test
    fun an_activity_that_was_started_before_the_library_takes_no_other_with_it() {
        val early = phone.open()
        val late = VisibleActivities().also(phone.application::registerActivityLifecycleCallbacks)
        val second = phone.goOn(early)
        assertEquals(true, late.visible.value)
        phone.back(second)
        assertEquals(false, late.visible.value)
    }

    @Test
    fun one_that_comes_to_the_front_again_is_there_though_its_start_was_missed() {
        val early = phone.open()
        val late = VisibleActivities().also(phone.application::registerActivityLifecycleCallbacks)
        // A dialog of the app's own over it, and back: the one below was never stopped.
        val dialog = phone.open()
        phone.resume(early)
        phone.back(dialog)
        assertEquals(true, late.visible.value)
        phone.leave(early)
        assertEquals(false, late.visible.value)
    }

    @Test
    fun what_is_assumed_holds_until_an_activity_ends_and_not_against_what_was_heard() {
        val early = phone.open()
        val late = VisibleActivities().also(phone.application::registerActivityLifecycleCallbacks)
        late.assume { false }
        assertEquals(false, late.visible.value)
        late.assume()
        assertEquals(true, late.visible.value)
        phone.leave(early)
        assertEquals(false, late.visible.value)
        late.assume()
        assertEquals(false, late.visible.value)
    }

    @Test
    fun low_memory_is_no_leave() {
        phone.open()
        phone.lowMemory()
        assertEquals(listOf(false, true), seen)
    }
}
