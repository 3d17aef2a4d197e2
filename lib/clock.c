#include "lib/clock.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

static int64_t read_ms(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t mono_ms(void)
{
    return read_ms(CLOCK_MONOTONIC);
}

int64_t mono_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t unix_ms(void)
{
    return read_ms(CLOCK_REALTIME);
}

void clock_format_rfc3339(int64_t at_unix_ms, char ret[21])
{
    /* Beyond four digits of year the format has no place: clamp. */
    const int64_t least = -62135596800, most = 253402300799;
    int64_t seconds = at_unix_ms / 1000;
    struct tm tm;

    if (at_unix_ms % 1000 < 0)
        seconds--;
    time_t t = (time_t)(seconds < least ? least : seconds > most ? most : seconds);
    gmtime_r(&t, &tm);
    char text[80]; /* as long as the compiler thinks six ints may be */
    (void)snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900,
                   tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    for (int i = 0; i < 20; i++)
        ret[i] = text[i];
    ret[20] = 0;
}

void clock_pause_ms(int ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000L};

    while (ms > 0 && clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
        ;
}
