// Limits that a Linux control group puts on this process: the smallest of its own group and all groups above it.
// Version 2 (one hierarchy) and version 1 (one a controller) are read; elsewhere there is no limit.
#ifndef BW_CORE_CGROUP_H
#define BW_CORE_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#ifdef __linux__

// The first `count` numbers of a small file; false if it is absent or says "max".
static inline bool bw_cgroup_numbers(const char* path, long long* numbers, int count) {
  FILE* file = fopen(path, "re");
  if (!file) return false;
  bool ok = true;
  for (int i = 0; ok && i < count; ++i) ok = fscanf(file, "%lld", &numbers[i]) == 1;
  fclose(file);
  return ok;
}

// Calls visit(context, directory, version) for this process's group of `controller` and each group above it, in both
// hierarchies. Where the group's own path is not mounted (a container without its own namespace), what is mounted
// above it still counts.
static inline void bw_cgroup_walk(const char* controller, void (*visit)(void*, const char*, int), void* context) {
  FILE* file = fopen("/proc/self/cgroup", "re");
  if (!file) return;
  char line[512];
  while (fgets(line, sizeof line, file)) {  // "4:memory,hugetlb:/group/path" or "0::/group/path"
    line[strcspn(line, "\n")] = 0;
    char* controllers = strchr(line, ':');
    char* group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group) continue;
    *group++ = 0;
    ++controllers;
    char directory[640];
    const bool v2 = *controllers == 0;
    if (!v2) {
      const char* at = strstr(controllers, controller);
      const size_t length = strlen(controller);
      if (!at || (at != controllers && at[-1] != ',') || (at[length] != 0 && at[length] != ',')) continue;
    }
    const int root = v2 ? snprintf(directory, sizeof directory, "/sys/fs/cgroup")
                        : snprintf(directory, sizeof directory, "/sys/fs/cgroup/%s", controllers);
    if (root < 0 || root >= (int)sizeof directory) continue;
    snprintf(directory + root, sizeof directory - (size_t)root, "%s", strcmp(group, "/") == 0 ? "" : group);
    for (;;) {
      visit(context, directory, v2 ? 2 : 1);
      char* slash = strrchr(directory + root, '/');
      if (!slash) break;
      *slash = 0;
    }
  }
  fclose(file);
}

static inline void bw_cgroup_visit_memory(void* context, const char* directory, int version) {
  char path[768];
  long long limit;
  snprintf(path, sizeof path, "%s/%s", directory, version == 2 ? "memory.max" : "memory.limit_in_bytes");
  uint64_t* least = context;
  if (bw_cgroup_numbers(path, &limit, 1) && limit > 0 && (uint64_t)limit < *least) *least = (uint64_t)limit;
}

static inline void bw_cgroup_visit_cpu(void* context, const char* directory, int version) {
  char path[768];
  long long quota[2];  // microseconds of CPU time, in each period of so many microseconds
  bool found;
  if (version == 2) {
    snprintf(path, sizeof path, "%s/cpu.max", directory);
    found = bw_cgroup_numbers(path, quota, 2);
  } else {
    snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", directory);
    found = bw_cgroup_numbers(path, &quota[0], 1);
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", directory);
    found = found && bw_cgroup_numbers(path, &quota[1], 1);
  }
  if (!found || quota[0] <= 0 || quota[1] <= 0) return;
  const long long cores = quota[0] / quota[1] + (quota[0] % quota[1] != 0);
  int* least = context;
  if (cores < *least) *least = (int)cores;
}

#endif

// Lowers *bytes to the memory limit, if there is one below it.
static inline void bw_cgroup_limit_memory(uint64_t* bytes) {
#ifdef __linux__
  bw_cgroup_walk("memory", bw_cgroup_visit_memory, bytes);
#else
  (void)bytes;
#endif
}

// Lowers *cores to the CPU quota rounded up, if there is one below it.
static inline void bw_cgroup_limit_cores(int* cores) {
#ifdef __linux__
  bw_cgroup_walk("cpu", bw_cgroup_visit_cpu, cores);
#else
  (void)cores;
#endif
}

#endif
