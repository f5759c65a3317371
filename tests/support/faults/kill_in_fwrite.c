/* Preloaded into a process: the KILL_AT-th fwrite to a file whose path has KILL_IN in it is its last; with KILL_HALF half of it is on disk before.
   For writers in C++, such as TensorFlow's of events, which Python's hooks do not see. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef size_t (*writer)(const void *, size_t, size_t, FILE *);

static int concerned(FILE *file) {
    char link[64], path[4096];
    const char *part = getenv("KILL_IN");
    if (!part) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fileno(file));
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, part) != NULL;
}

size_t fwrite(const void *data, size_t size, size_t count, FILE *file) {
    static writer whole;
    static int reached;
    if (!whole) whole = (writer)dlsym(RTLD_NEXT, "fwrite");
    if (concerned(file) && __sync_add_and_fetch(&reached, 1) == atoi(getenv("KILL_AT"))) {
        if (getenv("KILL_HALF")) {
            whole(data, 1, size * count / 2, file);
            fflush(file);
        }
        kill(getpid(), SIGKILL);
    }
    return whole(data, size, count, file);
}
