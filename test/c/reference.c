#define BW_REAL64
#include "../../csrc/device/dialect_cpu.h"

#include "reference.h"

#include <stdlib.h>

#include "../../csrc/backends/host_memory.h"
#include "../../csrc/backends/instantiate.h"

static const bw_kernel_table kKernels = BW_KERNEL_TABLE;

static void reference_launch(bw_device* device, bw_op op, const void* args, bw_cost cost) {
  const bw_kernel_context context = {.buffers = ((bw_host_device*)device)->buffers, .first = 0, .last = cost.items};
  bw_find_kernel(&kKernels, op, args)(args, &context);
}

static void reference_destroy(bw_device* device) {
  bw_host_free_all(device);
  free(device);
}

static const bw_backend kBackend = {
    .name = "reference",
    .real_bytes = 8,
    BW_HOST_MEMORY,
    .launch = reference_launch,
    .destroy = reference_destroy,
};

bw_status bw_reference_device_create(bw_device** device, bw_error* error) {
  bw_host_device* reference = calloc(1, sizeof *reference);
  if (!reference) return bw_fail_memory(error, "reference.create", "the device", sizeof *reference, 0);
  reference->base.backend = &kBackend;
  reference->base.threads = 1;
  *device = &reference->base;
  return BW_OK;
}
