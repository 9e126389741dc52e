/* Loaded into a process (LD_PRELOAD), it puts that process's wall clock ahead by as many seconds as stand in
 * the file that CLOCK_AHEAD names. The steady clock, by which sockets and threads wait, stays as it is. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    const char *path = getenv("CLOCK_AHEAD");
    if (result != 0 || clock != CLOCK_REALTIME || path == NULL) {
        return result;
    }
    char digits[16] = {0};
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        if (read(file, digits, sizeof digits - 1) > 0) {
            time->tv_sec += atol(digits);
        }
        close(file);
    }
    return result;
}
