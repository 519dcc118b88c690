// Preloaded into Node (LD_PRELOAD), this counts the allocations that the addon makes, and lets one of them fail: memory
// of C and C++, threads, exit handlers. Node's own succeed always: it would end the process. Which one fails stands in
// a file that is mapped into memory (FAIL_ALLOC_CONTROL), so that a test can change it while the process runs.
//
// fail_alloc.mjs has the other side of the layout.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct control {
  uint64_t at;      // which allocation fails, counted from 1; 0 for none
  uint64_t seen;    // allocations of the addon since the test last wrote
  uint64_t hits;    // those that failed
  uint64_t live;    // allocations of the addon that were not given back, while `at` is not 0
  uint64_t refuse;  // functions of Node-API that fail, as a sum of enum refusal
};

// What a runtime may refuse for reasons of its own.
enum refusal { NO_THREADSAFE_FUNCTION = 1, NO_EXTERNAL_BUFFER = 2 };

typedef struct range {
  uintptr_t begin, end;
} range;

static struct control* control;
static range addon, cxx;  // bellows.node, libstdc++
static __thread bool refuse, inside;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static bool within(const range* r, const void* address) { return (uintptr_t)address - r->begin < r->end - r->begin; }

static int find_range(struct dl_phdr_info* info, size_t size, void* context) {
  (void)size;
  (void)context;
  const char* slash = strrchr(info->dlpi_name, '/');
  const char* name = slash ? slash + 1 : info->dlpi_name;
  range* r = strcmp(name, "bellows.node") == 0 ? &addon : strncmp(name, "libstdc++.so", 12) == 0 ? &cxx : NULL;
  if (!r) return 0;
  *r = (range){UINTPTR_MAX, 0};
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    if (info->dlpi_phdr[i].p_type != PT_LOAD) continue;
    const uintptr_t begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
    const uintptr_t end = begin + info->dlpi_phdr[i].p_memsz;
    if (begin < r->begin) r->begin = begin;
    if (end > r->end) r->end = end;
  }
  return 0;
}

__attribute__((constructor)) static void start(void) {
  void* frames[1];
  backtrace(frames, 1);  // its first call allocates
  const char* path = getenv("FAIL_ALLOC_CONTROL");
  const int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  if (file < 0) return;
  void* memory = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (memory != MAP_FAILED) control = memory;
}

// The C++ library allocates for whoever called it.
static bool for_addon(const void* caller) {
  if (within(&addon, caller)) return true;
  if (!within(&cxx, caller)) return false;
  void* frames[16];
  inside = true;
  const int count = backtrace(frames, 16);
  inside = false;
  int i = 0;
  while (i < count && !within(&cxx, frames[i])) ++i;
  while (i < count && within(&cxx, frames[i])) ++i;
  return i < count && within(&addon, frames[i]);
}

static bool fails(const void* caller) {
  if (!control || inside || control->at == 0 || !for_addon(caller)) return false;
  if (__atomic_add_fetch(&control->seen, 1, __ATOMIC_SEQ_CST) != control->at) return false;
  __atomic_add_fetch(&control->hits, 1, __ATOMIC_SEQ_CST);
  return true;
}

// ---- what is alive ----

enum { SLOTS = 1 << 16 };
static void* living[SLOTS];
static int tracked;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static size_t slot_of(const void* memory) { return (uintptr_t)memory * 0x9E3779B97F4A7C15u >> 48; }

static void* keep(void* memory, const void* caller) {
  if (!memory || !control || inside || control->at == 0 || !for_addon(caller)) return memory;
  pthread_mutex_lock(&mutex);
  size_t slot = slot_of(memory);
  while (living[slot]) slot = (slot + 1) % SLOTS;
  living[slot] = memory;
  if (++tracked > SLOTS / 2) abort();
  control->live = (uint64_t)tracked;
  pthread_mutex_unlock(&mutex);
  return memory;
}

static void forget(const void* memory) {
  if (!memory || __atomic_load_n(&tracked, __ATOMIC_RELAXED) == 0) return;
  pthread_mutex_lock(&mutex);
  size_t slot = slot_of(memory);
  while (living[slot] && living[slot] != memory) slot = (slot + 1) % SLOTS;
  if (living[slot]) {
    living[slot] = NULL;
    control->live = (uint64_t)--tracked;
    // Those behind it that an empty slot would hide move up.
    for (size_t next = (slot + 1) % SLOTS; living[next]; next = (next + 1) % SLOTS) {
      if ((next - slot_of(living[next])) % SLOTS < (next - slot) % SLOTS) continue;
      living[slot] = living[next];
      living[next] = NULL;
      slot = next;
    }
  }
  pthread_mutex_unlock(&mutex);
}

// ---- the functions ----

#define CALLER __builtin_return_address(0)

// Node-API's functions lie in the program itself, before any preloaded library: to take their place, the addresses in
// the addon's table are changed, right after it is loaded.

enum { GENERIC_FAILURE = 9, NO_EXTERNAL_BUFFERS_ALLOWED = 22 };  // of napi_status

static int create_threadsafe_function(void* env, void* function, void* resource, void* name, size_t queue,
                                      size_t threads, void* data, void* finalize, void* context, void* call,
                                      void** result) {
  if (control && control->refuse & NO_THREADSAFE_FUNCTION) return GENERIC_FAILURE;
  static int (*original)(void*, void*, void*, void*, size_t, size_t, void*, void*, void*, void*, void**);
  if (!original) *(void**)&original = dlsym(RTLD_DEFAULT, "napi_create_threadsafe_function");
  return original(env, function, resource, name, queue, threads, data, finalize, context, call, result);
}

static int create_external_arraybuffer(void* env, void* data, size_t size, void* finalize, void* hint, void** result) {
  if (control && control->refuse & NO_EXTERNAL_BUFFER) return NO_EXTERNAL_BUFFERS_ALLOWED;
  static int (*original)(void*, void*, size_t, void*, void*, void**);
  if (!original) *(void**)&original = dlsym(RTLD_DEFAULT, "napi_create_external_arraybuffer");
  return original(env, data, size, finalize, hint, result);
}

static const struct replacement {
  const char* name;
  void* address;
} kReplacements[] = {
    {"napi_create_threadsafe_function", (void*)create_threadsafe_function},
    {"napi_create_external_arraybuffer", (void*)create_external_arraybuffer},
};

static int replace(struct dl_phdr_info* info, size_t size, void* context) {
  (void)size;
  (void)context;
  if (info->dlpi_addr != addon.begin) return 0;
  const ElfW(Dyn)* entry = NULL;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    if (info->dlpi_phdr[i].p_type == PT_DYNAMIC) entry = (void*)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr);
  }
  const ElfW(Sym)* symbols = NULL;
  const char* strings = NULL;
  const ElfW(Rela) * tables[2] = {NULL, NULL};
  size_t bytes[2] = {0, 0};
  for (; entry && entry->d_tag != DT_NULL; ++entry) {
    if (entry->d_tag == DT_SYMTAB) symbols = (void*)entry->d_un.d_ptr;
    if (entry->d_tag == DT_STRTAB) strings = (void*)entry->d_un.d_ptr;
    if (entry->d_tag == DT_JMPREL) tables[0] = (void*)entry->d_un.d_ptr;
    if (entry->d_tag == DT_PLTRELSZ) bytes[0] = entry->d_un.d_val;
    if (entry->d_tag == DT_RELA) tables[1] = (void*)entry->d_un.d_ptr;
    if (entry->d_tag == DT_RELASZ) bytes[1] = entry->d_un.d_val;
  }
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  for (int t = 0; t < 2; ++t) {
    for (size_t i = 0; i < bytes[t] / sizeof *tables[t]; ++i) {
      const char* name = strings + symbols[ELF64_R_SYM(tables[t][i].r_info)].st_name;
      for (size_t r = 0; r < sizeof kReplacements / sizeof *kReplacements; ++r) {
        if (strcmp(name, kReplacements[r].name) != 0) continue;
        const uintptr_t slot = info->dlpi_addr + tables[t][i].r_offset;
        mprotect((void*)(slot & ~(page - 1)), page, PROT_READ | PROT_WRITE);
        *(void**)slot = kReplacements[r].address;
      }
    }
  }
  return 1;
}

void* dlopen(const char* path, int flags) {
  void* library = REAL(dlopen)(path, flags);
  dl_iterate_phdr(find_range, NULL);
  if (addon.end > 0) dl_iterate_phdr(replace, NULL);
  return library;
}

// The C library's own names for what lies below these four; dlsym() itself allocates.
extern void* __libc_malloc(size_t size);
extern void* __libc_calloc(size_t count, size_t size);
extern void* __libc_realloc(void* memory, size_t size);
extern void* __libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void* memory);

static bool refused(const void* caller) {
  if (refuse) {  // asked for by operator new, below
    refuse = false;
  } else if (!fails(caller)) {
    return false;
  }
  errno = ENOMEM;
  return true;
}

void* malloc(size_t size) { return refused(CALLER) ? NULL : keep(__libc_malloc(size), CALLER); }
void* calloc(size_t count, size_t size) { return refused(CALLER) ? NULL : keep(__libc_calloc(count, size), CALLER); }
void* aligned_alloc(size_t alignment, size_t size) {
  return refused(CALLER) ? NULL : keep(__libc_memalign(alignment, size), CALLER);
}
void free(void* memory) {
  forget(memory);
  __libc_free(memory);
}
void* realloc(void* memory, size_t size) {
  if (refused(CALLER)) return NULL;
  forget(memory);
  return keep(__libc_realloc(memory, size), CALLER);
}

// operator new: the C++ library's own calls malloc, and throws when that fails.
void* _Znwm(size_t size) {
  static void* (*real)(size_t);
  if (!real) real = REAL(_Znwm);
  if (fails(CALLER)) refuse = true;
  return keep(real(size), CALLER);
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*begin)(void*), void* argument) {
  return fails(CALLER) ? EAGAIN : REAL(pthread_create)(thread, attributes, begin, argument);
}

int __cxa_atexit(void (*function)(void*), void* argument, void* library);
int __cxa_atexit(void (*function)(void*), void* argument, void* library) {
  return fails(CALLER) ? -1 : REAL(__cxa_atexit)(function, argument, library);
}
