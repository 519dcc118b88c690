// The caches of this CPU, as the system describes those of its first core.
#ifndef BW_CORE_CACHE_H
#define BW_CORE_CACHE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bw_cache {
  uint64_t bytes;  // 0: there is none, or the system does not say
  int sharers;     // hardware threads that share it, at least 1
} bw_cache;

bw_cache bw_cache_find(int level);  // 1 to 3; of data, or of data and instructions

#ifdef __cplusplus
}
#endif
#endif
