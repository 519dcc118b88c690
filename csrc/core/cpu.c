#include "cpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif
#ifdef __APPLE__
#include <sys/sysctl.h>
#endif
#include <unistd.h>

static const char* const kNames[BW_ISA_COUNT] = {"portable", "avx512"};

const char* bw_isa_name(bw_isa isa) { return kNames[isa]; }

#if defined(__x86_64__) && defined(BW_HAVE_AVX512)
// AVX-512 F, DQ, BW, VL and FMA in the CPU, and the operating system saves the ZMM, mask and YMM state.
static bool has_avx512(void) {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return false;
  if (!(c & bit_OSXSAVE) || !(c & bit_FMA)) return false;
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if ((low & 0xE6) != 0xE6) return false;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  const unsigned needed = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
  return (b & needed) == needed;
}
#endif

bool bw_isa_available(bw_isa isa) {
  if (isa == BW_ISA_PORTABLE) return true;
#if defined(__x86_64__) && defined(BW_HAVE_AVX512)
  if (isa == BW_ISA_AVX512) return has_avx512();
#endif
  return false;
}

bw_status bw_isa_choose(bw_isa* isa, bw_error* error) {
  const char* wanted = getenv("BELLOWS_ISA");
  if (!wanted || !*wanted) {
    *isa = BW_ISA_PORTABLE;
    for (int i = 0; i < BW_ISA_COUNT; ++i) {
      if (bw_isa_available((bw_isa)i)) *isa = (bw_isa)i;
    }
    return BW_OK;
  }
  char expected[128] = "one of:";
  for (int i = 0; i < BW_ISA_COUNT; ++i) {
    if (!bw_isa_available((bw_isa)i)) continue;
    if (strcmp(wanted, kNames[i]) == 0) {
      *isa = (bw_isa)i;
      return BW_OK;
    }
    strcat(strcat(expected, " "), kNames[i]);
  }
  return bw_fail_option(error, "cpu", "BELLOWS_ISA", wanted, expected);
}

// The part behind ':' of the first line of `path` that starts with `key`.
static bool read_field(const char* path, const char* key, char* value, size_t size) {
  FILE* file = fopen(path, "r");
  if (!file) return false;
  char line[256];
  bool found = false;
  while (!found && fgets(line, sizeof line, file)) {
    const char* colon = strncmp(line, key, strlen(key)) == 0 ? strchr(line, ':') : NULL;
    if (!colon) continue;
    snprintf(value, size, "%s", colon + 1 + strspn(colon + 1, " \t"));
    value[strcspn(value, "\n")] = 0;
    found = true;
  }
  fclose(file);
  return found;
}

static void find_name(char* name, size_t size) {
#ifdef __APPLE__
  if (sysctlbyname("machdep.cpu.brand_string", name, &size, NULL, 0) == 0) return;
#endif
  if (!read_field("/proc/cpuinfo", "model name", name, size)) snprintf(name, size, "unknown");
}

const char* bw_cpu_name(void) {
  static _Thread_local char name[128];
  if (!name[0]) find_name(name, sizeof name);
  return name;
}

static uint64_t read_number(const char* path) {
  FILE* file = fopen(path, "r");
  if (!file) return 0;
  unsigned long long value = 0;
  if (fscanf(file, "%llu", &value) != 1) value = 0;  // "max"
  fclose(file);
  return value;
}

uint64_t bw_memory_available(void) {
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  uint64_t memory = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
  char field[64];
  unsigned long long kib = 0;
  if (read_field("/proc/meminfo", "MemAvailable", field, sizeof field) && sscanf(field, "%llu", &kib) == 1) memory = kib * 1024;
  const uint64_t limits[2] = {read_number("/sys/fs/cgroup/memory.max"),
                              read_number("/sys/fs/cgroup/memory/memory.limit_in_bytes")};
  for (int i = 0; i < 2; ++i) {
    if (limits[i] > 0 && (memory == 0 || limits[i] < memory)) memory = limits[i];
  }
  return memory;
}
