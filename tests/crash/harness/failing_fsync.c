/* Loaded into a process before its C library: fsync and fdatasync fail with EIO as long as the file
 * named by CRASH_FSYNC_FAILS holds the number of this process. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int is_to_fail(void)
{
    const char *path = getenv("CRASH_FSYNC_FAILS");
    FILE *file = path ? fopen(path, "r") : NULL;
    int number = 0;
    if (!file)
        return 0;
    if (fscanf(file, "%d", &number) != 1)
        number = 0;
    fclose(file);
    return number == (int)getpid();
}

static int synced(const char *name, int descriptor)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    if (is_to_fail()) {
        errno = EIO;
        return -1;
    }
    return real(descriptor);
}

int fsync(int descriptor) { return synced("fsync", descriptor); }

int fdatasync(int descriptor) { return synced("fdatasync", descriptor); }
