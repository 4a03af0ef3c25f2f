/* Loaded into processes before their C library: writes down what they do to regular files below the
 * folder POWER_ROOT, so that `disk.py` can tell what of it a loss of power may take. Each process
 * has a file of its own in POWER_LOG, with one record for each thing done, after it was done and
 * before the caller goes on. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { WRITE, RESIZE, SYNC, NAME, RENAME, UNLINK };

#define SMALL (1 << 20)

/* As `disk.py` reads it; two paths and the data follow. */
struct record {
    uint64_t begun_ns, ended_ns, file;
    int64_t offset;
    uint64_t length;
    uint32_t kind, path, other;
} __attribute__((packed));

static int log_of_process = -1;
static pid_t owner;

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static int is_below(const char *path)
{
    const char *root = getenv("POWER_ROOT");
    size_t length = root ? strlen(root) : 0;
    return length && !strncmp(path, root, length) && (!path[length] || path[length] == '/');
}

/* The regular file or folder behind a descriptor, 0 where it is none of ours. */
static uint64_t file_of(int descriptor, char *path)
{
    char link[64];
    struct stat status;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, 4095);
    path[length > 0 ? length : 0] = 0;
    if (!is_below(path) || fstat(descriptor, &status))
        return 0;
    return S_ISREG(status.st_mode) || S_ISDIR(status.st_mode) ? status.st_ino : 0;
}

/* The path as seen from the root of all files; 0 where it is not below ours. */
static int located(int folder, const char *path, char *whole)
{
    char link[64] = "/proc/self/cwd", base[4096] = "";
    if (path[0] != '/') {
        if (folder != AT_FDCWD)
            snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, base, sizeof base - 2);
        base[length > 0 ? length : 0] = 0;
        strcat(base, "/");
    }
    return snprintf(whole, 8192, "%s%s", base, path) > 0 && is_below(whole);
}

static int opened_log(void)
{
    if (log_of_process >= 0 && owner == getpid())
        return log_of_process;
    char path[4096];
    const char *folder = getenv("POWER_LOG");
    owner = getpid();
    snprintf(path, sizeof path, "%s/%d", folder ? folder : "/nowhere", (int)owner);
    log_of_process = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    return log_of_process;
}

static void keep(struct record record, const char *path, const char *other, const void *data)
{
    int saved = errno;
    record.ended_ns = now();
    record.path = (uint32_t)strlen(path);
    record.other = (uint32_t)strlen(other);
    struct iovec parts[] = {
        {&record, sizeof record}, {(void *)path, record.path}, {(void *)other, record.other},
        {(void *)data, data ? record.length : 0},
    };
    int log = opened_log();
    if (log < 0 || syscall(SYS_writev, log, parts, 4) < 0)
        abort();
    errno = saved;
}

static void keep_write(int descriptor, uint64_t begun, int64_t offset, ssize_t length, const void *data)
{
    char path[4096];
    int saved = errno;
    uint64_t file = length > 0 ? file_of(descriptor, path) : 0;
    if (file) {
        if (offset < 0)
            offset = lseek(descriptor, 0, SEEK_CUR) - length;
        keep((struct record){begun, 0, file, offset, (uint64_t)length, WRITE, 0, 0}, "", "", data);
    }
    errno = saved;
}

/* What the kernel copied into a file is read back from it. */
static void keep_copy(int descriptor, uint64_t begun, int64_t offset, ssize_t length)
{
    char link[64], path[4096];
    if (length <= 0 || !file_of(descriptor, path))
        return;
    if (offset < 0)
        offset = lseek(descriptor, 0, SEEK_CUR) - length;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    int copy = (int)syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC, 0);
    char *data = malloc((size_t)length);
    if (copy < 0 || !data || pread(copy, data, (size_t)length, offset) != length)
        abort();
    keep_write(descriptor, begun, offset, length, data);
    free(data);
    close(copy);
}

ssize_t write(int descriptor, const void *data, size_t length)
{
    uint64_t begun = now();
    ssize_t done = syscall(SYS_write, descriptor, data, length);
    keep_write(descriptor, begun, -1, done, data);
    return done;
}

ssize_t pwrite(int descriptor, const void *data, size_t length, off_t offset)
{
    uint64_t begun = now();
    ssize_t done = syscall(SYS_pwrite64, descriptor, data, length, offset);
    keep_write(descriptor, begun, offset, done, data);
    return done;
}

ssize_t pwrite64(int descriptor, const void *data, size_t length, off64_t offset)
{
    return pwrite(descriptor, data, length, offset);
}

ssize_t writev(int descriptor, const struct iovec *parts, int count)
{
    uint64_t begun = now();
    char path[4096];
    ssize_t done = syscall(SYS_writev, descriptor, parts, count);
    if (done > 0 && file_of(descriptor, path))
        keep_copy(descriptor, begun, -1, done);
    return done;
}

ssize_t sendfile(int to, int from, off_t *offset, size_t length)
{
    uint64_t begun = now();
    ssize_t done = syscall(SYS_sendfile, to, from, offset, length);
    keep_copy(to, begun, -1, done);
    return done;
}

ssize_t sendfile64(int to, int from, off64_t *offset, size_t length)
{
    return sendfile(to, from, offset, length);
}

ssize_t copy_file_range(int from, off64_t *source, int to, off64_t *target, size_t length, unsigned flags)
{
    uint64_t begun = now();
    int64_t offset = target ? *target : -1;
    ssize_t done = syscall(SYS_copy_file_range, from, source, to, target, length, flags);
    keep_copy(to, begun, offset, done);
    return done;
}

static void keep_size(int descriptor, uint64_t begun)
{
    char path[4096];
    struct stat status;
    uint64_t file = file_of(descriptor, path);
    if (file && !fstat(descriptor, &status))
        keep((struct record){begun, 0, file, status.st_size, 0, RESIZE, 0, 0}, "", "", NULL);
}

int ftruncate(int descriptor, off_t length)
{
    uint64_t begun = now();
    int failed = (int)syscall(SYS_ftruncate, descriptor, length);
    if (!failed)
        keep_size(descriptor, begun);
    return failed;
}

int ftruncate64(int descriptor, off64_t length) { return ftruncate(descriptor, length); }

int posix_fallocate(int descriptor, off_t offset, off_t length)
{
    uint64_t begun = now();
    int failed = (int)syscall(SYS_fallocate, descriptor, 0, offset, length);
    if (!failed)
        keep_size(descriptor, begun);
    return failed ? errno : 0;
}

int posix_fallocate64(int descriptor, off64_t offset, off64_t length)
{
    return posix_fallocate(descriptor, offset, length);
}

/* What the C library's own streams wrote passes us by: of small files all is told that there is. */
static void keep_whole(int descriptor)
{
    struct stat status;
    if (!fstat(descriptor, &status) && S_ISREG(status.st_mode) && status.st_size <= SMALL) {
        keep_size(descriptor, now());
        keep_copy(descriptor, now(), 0, status.st_size);
    }
}

static int synced(long number, int descriptor)
{
    char path[4096];
    uint64_t file = file_of(descriptor, path);
    if (file)
        keep_whole(descriptor);
    uint64_t begun = now();
    int failed = (int)syscall(number, descriptor);
    if (!failed && file)
        keep((struct record){begun, 0, file, 0, 0, SYNC, 0, 0}, path, "", NULL);
    return failed;
}

int fsync(int descriptor) { return synced(SYS_fsync, descriptor); }

int fdatasync(int descriptor) { return synced(SYS_fdatasync, descriptor); }

/* A name that may be new, and a file that may have been emptied. */
static int opened(int folder, const char *path, int flags, mode_t mode)
{
    uint64_t begun = now();
    char whole[8192];
    const char *run = getenv("POWER_BOOT_ID");
    if (run && !strcmp(path, "/proc/sys/kernel/random/boot_id"))
        path = run;
    int descriptor = (int)syscall(SYS_openat, folder, path, flags, mode);
    if (descriptor >= 0 && flags & (O_CREAT | O_TRUNC)) {
        uint64_t file = file_of(descriptor, whole);
        if (file) {
            keep((struct record){begun, 0, file, 0, 0, NAME, 0, 0}, whole, "", NULL);
            if (flags & O_TRUNC)
                keep_size(descriptor, begun);
        }
    }
    return descriptor;
}

#define MODE(flags) ({ va_list rest; va_start(rest, flags); mode_t mode = \
    (flags) & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0; va_end(rest); mode; })

int open(const char *path, int flags, ...) { return opened(AT_FDCWD, path, flags, MODE(flags)); }

int open64(const char *path, int flags, ...)
{
    return opened(AT_FDCWD, path, flags | O_LARGEFILE, MODE(flags));
}

int openat(int folder, const char *path, int flags, ...)
{
    return opened(folder, path, flags, MODE(flags));
}

int openat64(int folder, const char *path, int flags, ...)
{
    return opened(folder, path, flags | O_LARGEFILE, MODE(flags));
}

int creat(const char *path, mode_t mode)
{
    return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

static void keep_names(uint32_t kind, uint64_t begun, const char *path, const char *other)
{
    struct stat status;
    const char *last = kind == UNLINK ? path : other;
    uint64_t file = kind != UNLINK && !lstat(last, &status) ? status.st_ino : 0;
    keep((struct record){begun, 0, file, 0, 0, kind, 0, 0}, path, other, NULL);
}

int renameat2(int from, const char *path, int to, const char *other, unsigned flags)
{
    uint64_t begun = now();
    char before[8192], after[8192];
    int ours = located(from, path, before) & located(to, other, after);
    int failed = (int)syscall(SYS_renameat2, from, path, to, other, flags);
    if (!failed && ours)
        keep_names(RENAME, begun, before, after);
    return failed;
}

int renameat(int from, const char *path, int to, const char *other)
{
    return renameat2(from, path, to, other, 0);
}

int rename(const char *path, const char *other)
{
    return renameat2(AT_FDCWD, path, AT_FDCWD, other, 0);
}

int linkat(int from, const char *path, int to, const char *other, int flags)
{
    uint64_t begun = now();
    char after[8192];
    int failed = (int)syscall(SYS_linkat, from, path, to, other, flags);
    if (!failed && located(to, other, after))
        keep_names(NAME, begun, after, after);
    return failed;
}

int link(const char *path, const char *other)
{
    return linkat(AT_FDCWD, path, AT_FDCWD, other, 0);
}

int unlinkat(int folder, const char *path, int flags)
{
    uint64_t begun = now();
    char whole[8192];
    int failed = (int)syscall(SYS_unlinkat, folder, path, flags);
    if (!failed && located(folder, path, whole))
        keep_names(UNLINK, begun, whole, "");
    return failed;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
