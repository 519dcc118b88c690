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

#include "cgroup.h"
#include "posix.h"

static const char* const kNames[BW_ISA_COUNT] = {"portable", "neon", "avx2", "avx512"};

const char* bw_isa_name(bw_isa isa) { return isa >= 0 && isa < BW_ISA_COUNT ? kNames[isa] : "unknown"; }

#if defined(__x86_64__) && (defined(BW_HAVE_AVX2) || defined(BW_HAVE_AVX512))
// What cpuid says of leaf 7, or 0 when the CPU has no FMA or the operating system does not save all of `registers`
// (XCR0 bits) on a switch.
static unsigned vector_features(unsigned registers) {
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
  if (!(c & bit_OSXSAVE) || !(c & bit_FMA)) return 0;
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if ((low & registers) != registers) return 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) ? b : 0;
}

static const unsigned kYmm = 1u << 1 | 1u << 2;                                // XMM, YMM
static const unsigned kZmm = 1u << 1 | 1u << 2 | 1u << 5 | 1u << 6 | 1u << 7;  // and masks, ZMM 0-15, ZMM 16-31
#endif

bool bw_isa_available(bw_isa isa) {
  switch (isa) {
    case BW_ISA_PORTABLE:
      return true;
#if defined(BW_HAVE_NEON)
    case BW_ISA_NEON:
      return true;
#endif
#if defined(__x86_64__) && defined(BW_HAVE_AVX2)
    case BW_ISA_AVX2:
      return (vector_features(kYmm) & bit_AVX2) != 0;
#endif
#if defined(__x86_64__) && defined(BW_HAVE_AVX512)
    case BW_ISA_AVX512: {
      const unsigned needed = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
      return (vector_features(kZmm) & needed) == needed;
    }
#endif
    default:
      return false;
  }
}

bool bw_bf16_available(bw_isa isa) {
#if defined(__x86_64__) && defined(BW_HAVE_AVX512BF16)
  unsigned a, b, c, d;
  return isa == BW_ISA_AVX512 && bw_isa_available(isa) && __get_cpuid_count(7, 1, &a, &b, &c, &d) &&
         (a & bit_AVX512BF16);
#else
  (void)isa;
  return false;
#endif
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
  char expected[128] = "one of";
  for (int i = 0; i < BW_ISA_COUNT; ++i) {
    if (!bw_isa_available((bw_isa)i)) continue;
    if (strcmp(wanted, kNames[i]) == 0) {
      *isa = (bw_isa)i;
      return BW_OK;
    }
    const size_t length = strlen(expected);
    snprintf(expected + length, sizeof expected - length, "%s %s", i > 0 ? "," : "", kNames[i]);
  }
  char received[64];
  snprintf(received, sizeof received, "\"%s\"", wanted);
  return bw_fail_option(error, "cpu", "BELLOWS_ISA", received, expected);
}

// What stands behind ':' on the first line of `path` that starts with `key`.
static bool read_field(const char* path, const char* key, char* value, size_t size) {
  FILE* file = fopen(path, "re");
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

static char cpu_name[128];

static void find_name(void) {
#ifdef __APPLE__
  size_t size = sizeof cpu_name;
  if (sysctlbyname("machdep.cpu.brand_string", cpu_name, &size, NULL, 0) == 0) return;
#endif
#ifdef _WIN32
  unsigned words[12] = {0};  // the brand string, padded with zeros
  for (unsigned i = 0; i < 3; ++i) {
    unsigned* w = words + 4 * i;
    if (!__get_cpuid(0x80000002u + i, &w[0], &w[1], &w[2], &w[3])) break;
  }
  snprintf(cpu_name, sizeof cpu_name, "%.48s", (const char*)words);
  if (cpu_name[0]) return;
#endif
  if (read_field("/proc/cpuinfo", "model name", cpu_name, sizeof cpu_name) && cpu_name[0]) return;
  snprintf(cpu_name, sizeof cpu_name, "unknown");
}

const char* bw_cpu_name(void) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, find_name);
  return cpu_name;
}

void bw_cpu_model(int* family, int* model) {
  *family = *model = 0;
#ifdef __x86_64__
  unsigned a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return;
  // The extended fields count for family 15 (and the model's for 6 too).
  *family = (int)(a >> 8 & 15);
  *model = (int)(a >> 4 & 15);
  if (*family == 6 || *family == 15) *model += (int)(a >> 16 & 15) << 4;
  if (*family == 15) *family += (int)(a >> 20 & 255);
#endif
}

uint64_t bw_memory_available(void) {
#ifdef _WIN32
  MEMORYSTATUSEX status = {.dwLength = sizeof status};
  return GlobalMemoryStatusEx(&status) ? status.ullAvailPhys : 0;
#else
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  uint64_t bytes = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : 0;
  // What the system can give without swapping, where it says so.
  char field[64];
  unsigned long long kib = 0;
  if (read_field("/proc/meminfo", "MemAvailable", field, sizeof field) && sscanf(field, "%llu", &kib) == 1 && kib > 0) {
    bytes = kib * 1024;
  }
  if (bytes > 0) bw_cgroup_limit_memory(&bytes);
  return bytes;
#endif
}
