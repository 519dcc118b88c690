#include "host_memory.h"

#include <string.h>

#include "../core/posix.h"

bw_status bw_host_alloc(bw_device* device, size_t bytes, uint32_t* buffer, bw_error* error) {
  bw_host_device* host = (bw_host_device*)device;
  uint32_t slot = 0;
  while (slot < BW_MAX_BUFFERS && host->buffers[slot]) ++slot;
  if (slot == BW_MAX_BUFFERS) {
    return bw_fail(error, BW_STATE, "device.alloc", "all %d buffers are in use", BW_MAX_BUFFERS);
  }
  const size_t rounded = (bytes + 63) / 64 * 64 + 64;
  char* memory = rounded > bytes ? bw_aligned_alloc(64, rounded) : NULL;
  if (!memory) return bw_fail_memory(error, "device.alloc", "a device buffer", bytes, 0);
  memset(memory, 0, rounded);
  host->buffers[slot] = memory;
  *buffer = slot;
  return BW_OK;
}

void bw_host_release(bw_device* device, uint32_t buffer) {
  bw_host_device* host = (bw_host_device*)device;
  bw_aligned_free(host->buffers[buffer]);
  host->buffers[buffer] = NULL;
}

void bw_host_upload(bw_device* device, bw_ref to, const void* from, size_t bytes) {
  memcpy(bw_host_address(device, to), from, bytes);
}

void bw_host_download(bw_device* device, void* to, bw_ref from, size_t bytes) {
  memcpy(to, bw_host_address(device, from), bytes);
}

void bw_host_copy(bw_device* device, bw_ref to, bw_ref from, size_t bytes) {
  memcpy(bw_host_address(device, to), bw_host_address(device, from), bytes);
}

void bw_host_zero(bw_device* device, bw_ref to, size_t bytes) { memset(bw_host_address(device, to), 0, bytes); }

bw_status bw_host_sync(bw_device* device, bw_error* error) {
  (void)device;
  (void)error;
  return BW_OK;
}

void bw_host_free_all(bw_device* device) {
  for (uint32_t i = 0; i < BW_MAX_BUFFERS; ++i) bw_host_release(device, i);
}
