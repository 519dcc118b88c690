#define BW_REAL64
#include "../../csrc/device/dialect_cpu.h"

#include "reference.h"

#include <stdlib.h>

#include "../../csrc/backends/instantiate.h"

static const bw_kernel_table kKernels = BW_KERNEL_TABLE;

typedef struct reference_device {
  bw_device base;
  char* buffers[BW_MAX_BUFFERS];
} reference_device;

static char* address(bw_device* device, bw_ref ref) {
  return ((reference_device*)device)->buffers[ref.buffer] + ref.offset;
}

static bw_status reference_alloc(bw_device* device, size_t bytes, uint32_t* buffer, bw_error* error) {
  reference_device* reference = (reference_device*)device;
  for (uint32_t slot = 0; slot < BW_MAX_BUFFERS; ++slot) {
    if (reference->buffers[slot]) continue;
    reference->buffers[slot] = calloc(1, bytes + 1);
    *buffer = slot;
    if (reference->buffers[slot]) return BW_OK;
    break;
  }
  return bw_fail_memory(error, "reference.alloc", "a buffer", bytes, 0);
}

static void reference_release(bw_device* device, uint32_t buffer) {
  reference_device* reference = (reference_device*)device;
  free(reference->buffers[buffer]);
  reference->buffers[buffer] = NULL;
}

static void reference_upload(bw_device* device, bw_ref to, const void* from, size_t bytes) {
  memcpy(address(device, to), from, bytes);
}

static void reference_download(bw_device* device, void* to, bw_ref from, size_t bytes) {
  memcpy(to, address(device, from), bytes);
}

static void reference_copy(bw_device* device, bw_ref to, bw_ref from, size_t bytes) {
  memcpy(address(device, to), address(device, from), bytes);
}

static void reference_zero(bw_device* device, bw_ref to, size_t bytes) { memset(address(device, to), 0, bytes); }

static bw_status reference_sync(bw_device* device, bw_error* error) {
  (void)device;
  (void)error;
  return BW_OK;
}

static void reference_launch(bw_device* device, bw_op op, const void* args, bw_cost cost) {
  reference_device* reference = (reference_device*)device;
  const bw_kernel_context context = {.buffers = reference->buffers, .first = 0, .last = cost.items};
  bw_find_kernel(&kKernels, op, args)(args, &context);
}

static void reference_destroy(bw_device* device) {
  reference_device* reference = (reference_device*)device;
  for (int i = 0; i < BW_MAX_BUFFERS; ++i) free(reference->buffers[i]);
  free(reference);
}

static const bw_backend kBackend = {
    .name = "reference",
    .real_bytes = 8,
    .alloc = reference_alloc,
    .release = reference_release,
    .upload = reference_upload,
    .download = reference_download,
    .copy = reference_copy,
    .zero = reference_zero,
    .sync = reference_sync,
    .launch = reference_launch,
    .destroy = reference_destroy,
};

bw_status bw_reference_device_create(bw_device** device, bw_error* error) {
  reference_device* reference = calloc(1, sizeof *reference);
  if (!reference) return bw_fail_memory(error, "reference.create", "the device", sizeof *reference, 0);
  reference->base.backend = &kBackend;
  reference->base.threads = 1;
  *device = &reference->base;
  return BW_OK;
}
