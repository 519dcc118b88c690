#include "plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Buffers start on cache lines.
static const uint64_t kAlignment = 64;

void bw_plan_init(bw_plan* plan, int real_bytes) {
  memset(plan, 0, sizeof *plan);
  plan->real_bytes = real_bytes;
}

void bw_plan_free(bw_plan* plan) {
  free(plan->entries);
  memset(plan, 0, sizeof *plan);
}

static bool multiply(uint64_t a, uint64_t b, uint64_t* product) { return !__builtin_mul_overflow(a, b, product); }

void bw_plan_add(bw_plan* plan, bw_lifetime lifetime, const char* group, const char* name, bw_element element,
                 bw_ref* ref, int rank, const int64_t* shape) {
  if (plan->status != BW_OK) return;
  if (plan->count == plan->capacity) {
    const int capacity = plan->capacity ? plan->capacity * 2 : 64;
    bw_plan_entry* entries = realloc(plan->entries, (size_t)capacity * sizeof *entries);
    if (!entries) {
      plan->status = BW_MEMORY;
      plan->refused = (uint64_t)capacity * sizeof *entries;
      return;
    }
    plan->entries = entries;
    plan->capacity = capacity;
  }
  bw_plan_entry* entry = &plan->entries[plan->count];
  *entry = (bw_plan_entry){.group = group, .element = element, .lifetime = lifetime, .rank = rank, .ref = ref};
  snprintf(entry->name, sizeof entry->name, "%s", name);
  uint64_t bytes = element == BW_ELEMENT_REAL ? (uint64_t)plan->real_bytes : element == BW_ELEMENT_I32 ? 4 : 1;
  bool fits = true;
  for (int i = 0; i < rank; ++i) {
    entry->shape[i] = shape[i];
    fits = fits && multiply(bytes, (uint64_t)shape[i], &bytes);
  }
  const uint64_t limit = UINT64_MAX / 4;
  if (!fits || bytes > limit || plan->bytes[lifetime] > limit) {
    plan->status = BW_MEMORY;
    return;
  }
  entry->bytes = bytes;
  entry->offset = plan->bytes[lifetime];
  plan->bytes[lifetime] += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  ++plan->count;
}

bw_status bw_plan_check(const bw_plan* plan, uint64_t available, bw_error* error) {
  if (plan->refused > 0) return bw_fail_memory(error, "plan", "the list of the plan's buffers", plan->refused, 0);
  if (plan->status != BW_OK) {
    return bw_fail_memory(error, "plan", "the plan: a buffer's size overflows", UINT64_MAX, available);
  }
  uint64_t total = 0;
  for (int i = 0; i < BW_LIFETIMES; ++i) total += plan->bytes[i];
  if (available == 0 || total <= available) return BW_OK;

  const char* biggest = "";
  uint64_t biggest_bytes = 0;
  for (int i = 0; i < plan->count; ++i) {
    uint64_t group_bytes = 0;
    for (int j = 0; j < plan->count; ++j) {
      if (strcmp(plan->entries[i].group, plan->entries[j].group) == 0) group_bytes += plan->entries[j].bytes;
    }
    if (group_bytes > biggest_bytes) {
      biggest_bytes = group_bytes;
      biggest = plan->entries[i].group;
    }
  }
  char what[128];
  snprintf(what, sizeof what, "the plan, of which group '%s' takes %.2f GiB", biggest,
           (double)biggest_bytes / 1073741824.0);
  const bw_status status = bw_fail_memory(error, "plan", what, total, available);
  if (error) snprintf(error->path, sizeof error->path, "%s", biggest);
  return status;
}

bw_status bw_plan_take(bw_plan* plan, bw_device* device, bw_error* error) {
  for (int i = 0; i < BW_LIFETIMES; ++i) {
    if (i == BW_LIFE_HOST || plan->bytes[i] == 0) continue;
    const bw_status status = device->backend->alloc(device, (size_t)plan->bytes[i], &plan->buffers[i], error);
    if (status != BW_OK) {
      bw_plan_release(plan, device);
      return status;
    }
    plan->taken[i] = true;
  }
  for (int i = 0; i < plan->count; ++i) {
    const bw_plan_entry* entry = &plan->entries[i];
    if (entry->ref) *entry->ref = (bw_ref){.buffer = plan->buffers[entry->lifetime], .offset = entry->offset};
  }
  return BW_OK;
}

void bw_plan_release(bw_plan* plan, bw_device* device) {
  for (int i = 0; i < BW_LIFETIMES; ++i) {
    if (plan->taken[i]) device->backend->release(device, plan->buffers[i]);
    plan->taken[i] = false;
  }
}
