// Preloaded into Node (LD_PRELOAD), this counts the file calls that touch one folder, and lets one of them fail, stop
// half way, or take the process with it. Which one, and how, stands in a file that is mapped into memory
// (FAIL_IO_CONTROL), so that a test can change it while the process runs, and read the log of one that was killed.
//
// fail_io.mjs has the other side of the layout.
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum family { CHANGE = 1, READ = 2 };  // bits

enum mode {
  MODE_ERRNO = 1,  // the call fails, once; nothing was done
  MODE_SHORT,      // a write or read of one byte
  MODE_HALF,       // a write or read of half of what was asked for
  MODE_FULL,       // half a write, then no space for anything, for good
  MODE_FOR_GOOD,   // every call fails from here on
  MODE_KILL,       // SIGKILL instead of the call
  MODE_KILL_HALF,  // SIGKILL after half of the write
};

// What the test and this library share. All numbers little-endian, as on every machine this runs on.
struct control {
  uint32_t at;       // which call, counted from 1; 0 for none
  uint32_t mode;     // enum mode
  uint32_t error;    // errno
  uint32_t family;   // which calls count
  uint32_t count;    // calls so far
  uint32_t hits;     // calls that were made to fail
  uint32_t logged;   // bytes of log
  uint32_t failing;  // set once a fault for good has begun
  char folder[992];  // without a slash at its end
  char log[];        // a line a call: "open PATH", "rename FROM<tab>TO"
};

enum { CONTROL_BYTES = 1 << 20, LOG_BYTES = CONTROL_BYTES - 1024, MAX_FILES = 4096 };

static struct control* control;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char* files[MAX_FILES];  // path of every open file below the folder

#define REAL(name) ((__typeof__(&name))real(#name))

static void* real(const char* name) {
  void* found = dlsym(RTLD_NEXT, name);
  if (!found) _exit(99);
  return found;
}

__attribute__((constructor)) static void start(void) {
  const char* path = getenv("FAIL_IO_CONTROL");
  if (!path) return;
  int fd = REAL(open64)(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) _exit(98);
  void* memory = mmap(NULL, CONTROL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) _exit(98);
  REAL(close)(fd);
  control = memory;
}

// Whether a path lies in the folder, or is it. Relative ones never do: tests use absolute ones.
static bool inside(const char* path) {
  if (!control || !path || !control->folder[0]) return false;
  size_t length = strlen(control->folder);
  return strncmp(path, control->folder, length) == 0 && (path[length] == '/' || path[length] == 0);
}

static bool file_path(int fd, char* path) {
  if (!control || fd < 0 || fd >= MAX_FILES) return false;
  pthread_mutex_lock(&mutex);
  const char* found = files[fd];
  if (found) snprintf(path, PATH_MAX, "%s", found);
  pthread_mutex_unlock(&mutex);
  return found != NULL;
}

static void remember(int fd, const char* path) {
  if (fd < 0 || fd >= MAX_FILES) return;
  pthread_mutex_lock(&mutex);
  free(files[fd]);
  files[fd] = path ? strdup(path) : NULL;
  pthread_mutex_unlock(&mutex);
}

// What a call is to do.
enum verdict { GO_ON, FAIL, CUT_TO_ONE, CUT_TO_HALF, KILL_AFTER_HALF };

enum kind { OTHER, WRITES, TAKES_SPACE };

// Counts and logs a call, and says what becomes of it. errno is set where it is to fail.
static enum verdict judge(enum family family, const char* name, const char* path, enum kind kind) {
  if (!(control->family & (uint32_t)family)) return GO_ON;
  pthread_mutex_lock(&mutex);
  uint32_t index = ++control->count;
  char line[2 * PATH_MAX + 32];
  int length = snprintf(line, sizeof line, "%s %s\n", name, path);
  if (length > 0 && control->logged + (uint32_t)length <= LOG_BYTES) {
    memcpy(control->log + control->logged, line, (size_t)length);
    control->logged += (uint32_t)length;
  }
  enum verdict verdict = GO_ON;
  bool now = index == control->at;
  switch (control->mode) {
    case MODE_ERRNO:
      if (now) verdict = FAIL;
      break;
    case MODE_SHORT:
      if (now && kind == WRITES) verdict = CUT_TO_ONE;
      break;
    case MODE_HALF:
      if (now && kind == WRITES) verdict = CUT_TO_HALF;
      break;
    case MODE_FULL:
      if (control->failing && kind != OTHER) verdict = FAIL;
      if (now) {
        verdict = kind == WRITES ? CUT_TO_HALF : kind == TAKES_SPACE ? FAIL : GO_ON;
        control->failing = 1;
      }
      break;
    case MODE_FOR_GOOD:
      if (now) control->failing = 1;
      if (control->failing) verdict = FAIL;
      break;
    case MODE_KILL:
      if (now) kill(getpid(), SIGKILL);
      break;
    case MODE_KILL_HALF:
      if (now && kind == WRITES) verdict = KILL_AFTER_HALF;
      break;
    default:
      break;
  }
  if (verdict != GO_ON) ++control->hits;
  pthread_mutex_unlock(&mutex);
  if (verdict == FAIL) errno = (int)control->error;
  return verdict;
}

static size_t cut(enum verdict verdict, size_t bytes) {
  if (bytes <= 1 || verdict == GO_ON) return bytes;
  return verdict == CUT_TO_ONE ? 1 : bytes / 2;
}

static void die_after(enum verdict verdict) {
  if (verdict == KILL_AFTER_HALF) kill(getpid(), SIGKILL);
}

// Opening: creating counts as a change, and so does opening a folder, which is done to sync it.
static int opened(const char* path, int flags, mode_t mode) {
  if (!inside(path)) return REAL(open64)(path, flags, mode);
  struct stat status;
  bool folder = (flags & O_ACCMODE) == O_RDONLY && stat(path, &status) == 0 && S_ISDIR(status.st_mode);
  bool change = folder || (flags & O_ACCMODE) != O_RDONLY;
  enum kind kind = flags & O_CREAT ? TAKES_SPACE : OTHER;
  if (judge(change ? CHANGE : READ, folder ? "opendir" : "open", path, kind) == FAIL) return -1;
  int fd = REAL(open64)(path, flags, mode);
  remember(fd, path);
  return fd;
}

int open64(const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
  va_end(list);
  return opened(path, flags, mode);
}

int open(const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  mode_t mode = flags & O_CREAT ? va_arg(list, mode_t) : 0;
  va_end(list);
  return opened(path, flags, mode);
}

// A descriptor is gone after close, whatever it returns.
int close(int fd) {
  char path[PATH_MAX];
  if (!file_path(fd, path)) return REAL(close)(fd);
  remember(fd, NULL);
  enum verdict verdict = judge(CHANGE, "close", path, OTHER);
  int error = errno;
  int done = REAL(close)(fd);
  if (verdict != FAIL) return done;
  errno = error;
  return -1;
}

// Writing and reading. A cut transfer does the first part of it.
#define TRANSFER(family, name, parameters, arguments)          \
  ssize_t name parameters {                                    \
    char path[PATH_MAX];                                       \
    if (!file_path(fd, path)) return REAL(name) arguments;     \
    enum verdict verdict = judge(family, #name, path, WRITES); \
    if (verdict == FAIL) return -1;                            \
    bytes = cut(verdict, bytes);                               \
    ssize_t done = REAL(name) arguments;                       \
    die_after(verdict);                                        \
    return done;                                               \
  }

TRANSFER(CHANGE, write, (int fd, const void* data, size_t bytes), (fd, data, bytes))
TRANSFER(CHANGE, pwrite64, (int fd, const void* data, size_t bytes, off64_t at), (fd, data, bytes, at))
TRANSFER(READ, read, (int fd, void* data, size_t bytes), (fd, data, bytes))
TRANSFER(READ, pread64, (int fd, void* data, size_t bytes, off64_t at), (fd, data, bytes, at))

// A list of parts, cut: the first part, or a piece of it.
#define TRANSFER_LIST(family, name, parameters, arguments)                       \
  ssize_t name parameters {                                                      \
    char path[PATH_MAX];                                                         \
    if (!file_path(fd, path)) return REAL(name) arguments;                       \
    enum verdict verdict = judge(family, #name, path, WRITES);                   \
    if (verdict == FAIL) return -1;                                              \
    struct iovec first;                                                          \
    if (verdict != GO_ON && count > 0) {                                         \
      first = (struct iovec){parts[0].iov_base, cut(verdict, parts[0].iov_len)}; \
      parts = &first;                                                            \
      count = 1;                                                                 \
    }                                                                            \
    ssize_t done = REAL(name) arguments;                                         \
    die_after(verdict);                                                          \
    return done;                                                                 \
  }

TRANSFER_LIST(CHANGE, writev, (int fd, const struct iovec* parts, int count), (fd, parts, count))
TRANSFER_LIST(CHANGE, pwritev64, (int fd, const struct iovec* parts, int count, off64_t at), (fd, parts, count, at))
TRANSFER_LIST(READ, readv, (int fd, const struct iovec* parts, int count), (fd, parts, count))
TRANSFER_LIST(READ, preadv64, (int fd, const struct iovec* parts, int count, off64_t at), (fd, parts, count, at))

#define ON_FILE(name, parameters, arguments)                  \
  int name parameters {                                       \
    char path[PATH_MAX];                                      \
    if (!file_path(fd, path)) return REAL(name) arguments;    \
    if (judge(CHANGE, #name, path, OTHER) == FAIL) return -1; \
    return REAL(name) arguments;                              \
  }

ON_FILE(fsync, (int fd), (fd))
ON_FILE(fdatasync, (int fd), (fd))
ON_FILE(flock, (int fd, int operation), (fd, operation))
ON_FILE(ftruncate64, (int fd, off64_t length), (fd, length))

#define ON_PATH(name, kind, parameters, arguments)           \
  int name parameters {                                      \
    if (!inside(path)) return REAL(name) arguments;          \
    if (judge(CHANGE, #name, path, kind) == FAIL) return -1; \
    return REAL(name) arguments;                             \
  }

ON_PATH(mkdir, TAKES_SPACE, (const char* path, mode_t mode), (path, mode))
ON_PATH(rmdir, OTHER, (const char* path), (path))
ON_PATH(unlink, OTHER, (const char* path), (path))
ON_PATH(unlinkat, OTHER, (int at, const char* path, int flags), (at, path, flags))
ON_PATH(link, TAKES_SPACE, (const char* from, const char* path), (from, path))

int rename(const char* from, const char* path) {
  if (!inside(path)) return REAL(rename)(from, path);
  char both[2 * PATH_MAX];
  snprintf(both, sizeof both, "%s\t%s", from, path);
  if (judge(CHANGE, "rename", both, OTHER) == FAIL) return -1;
  return REAL(rename)(from, path);
}

// Looking: listing a folder.
int scandir64(const char* path, struct dirent64*** list, int (*filter)(const struct dirent64*),
              int (*compare)(const struct dirent64**, const struct dirent64**)) {
  if (inside(path) && judge(READ, "scandir64", path, OTHER) == FAIL) return -1;
  return REAL(scandir64)(path, list, filter, compare);
}

// libuv closes files and asks for their status by number.
long syscall(long number, ...) {
  va_list list;
  va_start(list, number);
  long a[6];
  for (int i = 0; i < 6; ++i) a[i] = va_arg(list, long);
  va_end(list);
  if (number == SYS_close) return close((int)a[0]);
  if (number == SYS_statx) {
    const char* path = (const char*)a[1];
    char open_path[PATH_MAX];
    if (path && path[0] == 0 && file_path((int)a[0], open_path)) path = open_path;
    if (inside(path) && judge(READ, "statx", path, OTHER) == FAIL) return -1;
  }
  return REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
