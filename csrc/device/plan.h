// Plan, take, carve: nets, rollouts and optimisers first say what memory they need; then one allocation a lifetime is
// taken from the device and carved into their buffers. After that nothing is allocated.
#ifndef BW_DEVICE_PLAN_H
#define BW_DEVICE_PLAN_H

#include <stdbool.h>

#include "device.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum bw_lifetime {
  BW_LIFE_STATE,  // what a checkpoint holds: weights, optimiser moments
  BW_LIFE_WORK,   // what a checkpoint does not hold: it is made again, at the start or in each iteration
  BW_LIFE_HOST,   // host memory: counted here, allocated by who plans it
  BW_LIFETIMES
} bw_lifetime;

typedef enum bw_element { BW_ELEMENT_REAL, BW_ELEMENT_I32, BW_ELEMENT_U8 } bw_element;

typedef struct bw_plan_entry {
  const char* group;  // option group that decides its size; static string
  char name[48];
  bw_element element;
  bw_lifetime lifetime;
  int rank;
  int64_t shape[4];
  uint64_t bytes, offset;
  bw_ref* ref;  // set by bw_plan_take; NULL for host memory
} bw_plan_entry;

typedef struct bw_plan {
  bw_plan_entry* entries;
  int count, capacity;
  uint64_t bytes[BW_LIFETIMES];
  uint32_t buffers[BW_LIFETIMES];
  bool taken[BW_LIFETIMES];
  int real_bytes;
  bw_status status;  // sticky: BW_MEMORY when growing the list failed or a size overflowed
  uint64_t refused;  // bytes of the list that could not grow; 0 for an overflow
} bw_plan;

void bw_plan_init(bw_plan* plan, int real_bytes);
void bw_plan_free(bw_plan* plan);

// Adds a buffer of the given shape; *ref is filled by bw_plan_take. shape: rank (1..4) extents >= 0.
void bw_plan_add(bw_plan* plan, bw_lifetime lifetime, const char* group, const char* name, bw_element element,
                 bw_ref* ref, int rank, const int64_t* shape);
#define BW_PLAN(plan, lifetime, group, name, element, ref, ...)                                                     \
  bw_plan_add(plan, lifetime, group, name, element, ref, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), \
              (const int64_t[]){__VA_ARGS__})

// BW_MEMORY, naming the group that is biggest, when the plan needs more than `available` bytes (0: unknown).
bw_status bw_plan_check(const bw_plan* plan, uint64_t available, bw_error* error);
// Allocates each lifetime once and sets every ref.
bw_status bw_plan_take(bw_plan* plan, bw_device* device, bw_error* error);
// Gives the memory back to the device.
void bw_plan_release(bw_plan* plan, bw_device* device);

#ifdef __cplusplus
}
#endif
#endif
