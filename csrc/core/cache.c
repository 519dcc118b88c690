#include "cache.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __APPLE__
#include <sys/sysctl.h>
#endif

#include "posix.h"

#if defined(__linux__)

static bool read_line(int index, const char* field, char* line, size_t size) {
  char path[96];
  snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, field);
  FILE* file = fopen(path, "re");
  if (!file) return false;
  const bool found = fgets(line, (int)size, file) != NULL;
  fclose(file);
  return found;
}

// How many numbers "0-3,8,10-11" lists.
static int list_length(const char* list) {
  int length = 0;
  for (const char* item = list; *item >= '0' && *item <= '9';) {
    char* end;
    const long first = strtol(item, &end, 10);
    const long last = *end == '-' ? strtol(end + 1, &end, 10) : first;
    if (last >= first && last - first < 1 << 20) length += (int)(last - first) + 1;
    item = *end == ',' ? end + 1 : "";
  }
  return length;
}

bw_cache bw_cache_find(int level) {
  char line[256];
  for (int index = 0; read_line(index, "level", line, sizeof line); ++index) {
    if (atoi(line) != level) continue;
    if (!read_line(index, "type", line, sizeof line) || strncmp(line, "Instruction", 11) == 0) continue;
    unsigned long long size = 0;
    char unit = 0;
    if (!read_line(index, "size", line, sizeof line) || sscanf(line, "%llu%c", &size, &unit) < 1) continue;
    const uint64_t scale = unit == 'K' ? 1u << 10 : unit == 'M' ? 1u << 20 : 1;
    const int sharers = read_line(index, "shared_cpu_list", line, sizeof line) ? list_length(line) : 1;
    return (bw_cache){.bytes = (uint64_t)size * scale, .sharers = sharers > 0 ? sharers : 1};
  }
  return (bw_cache){.sharers = 1};
}

#elif defined(__APPLE__)

static uint64_t read_number(const char* name) {
  uint64_t value = 0;  // the system fills four or eight bytes of it, and all Macs are little-endian
  size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, NULL, 0) == 0 ? value : 0;
}

bw_cache bw_cache_find(int level) {
  // Of the fast cores where there are two kinds.
  static const char* const kNames[][2] = {{"hw.perflevel0.l1dcachesize", "hw.l1dcachesize"},
                                          {"hw.perflevel0.l2cachesize", "hw.l2cachesize"},
                                          {"hw.perflevel0.l3cachesize", "hw.l3cachesize"}};
  bw_cache cache = {.sharers = 1};
  if (level < 1 || level > 3) return cache;
  for (int i = 0; i < 2 && cache.bytes == 0; ++i) cache.bytes = read_number(kNames[level - 1][i]);
  if (level == 2) cache.sharers = (int)read_number("hw.perflevel0.cpusperl2");
  if (level == 3) cache.sharers = (int)read_number("hw.logicalcpu");
  if (cache.sharers < 1) cache.sharers = 1;
  return cache;
}

#elif defined(_WIN32)

bw_cache bw_cache_find(int level) {
  bw_cache cache = {.sharers = 1};
  DWORD size = 0;
  GetLogicalProcessorInformation(NULL, &size);
  SYSTEM_LOGICAL_PROCESSOR_INFORMATION* rows = size > 0 ? malloc(size) : NULL;
  if (rows && GetLogicalProcessorInformation(rows, &size)) {
    for (DWORD i = 0; cache.bytes == 0 && i < size / sizeof *rows; ++i) {
      const CACHE_DESCRIPTOR* c = &rows[i].Cache;
      if (rows[i].Relationship != RelationCache || c->Level != level || c->Type == CacheInstruction) continue;
      cache.bytes = c->Size;
      cache.sharers = 0;
      for (ULONG_PTR mask = rows[i].ProcessorMask; mask; mask &= mask - 1) ++cache.sharers;
    }
  }
  free(rows);
  return cache;
}

#else

bw_cache bw_cache_find(int level) {
  (void)level;
  return (bw_cache){.sharers = 1};
}

#endif
