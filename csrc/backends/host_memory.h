// Device memory for backends whose "device" is this process: buffers from the heap, uploads and downloads by copying.
#ifndef BW_BACKENDS_HOST_MEMORY_H
#define BW_BACKENDS_HOST_MEMORY_H

#include "../device/device.h"

#ifdef __cplusplus
extern "C" {
#endif

// Such backends embed this as their first member.
typedef struct bw_host_device {
  bw_device base;
  char* buffers[BW_MAX_BUFFERS];  // 64-byte aligned; NULL is free
} bw_host_device;

static inline char* bw_host_address(bw_device* device, bw_ref ref) {
  return ((bw_host_device*)device)->buffers[ref.buffer] + ref.offset;
}

// The memory functions of a bw_backend.
bw_status bw_host_alloc(bw_device* device, size_t bytes, uint32_t* buffer, bw_error* error);
void bw_host_release(bw_device* device, uint32_t buffer);
void bw_host_upload(bw_device* device, bw_ref to, const void* from, size_t bytes);
void bw_host_download(bw_device* device, void* to, bw_ref from, size_t bytes);
void bw_host_copy(bw_device* device, bw_ref to, bw_ref from, size_t bytes);
void bw_host_zero(bw_device* device, bw_ref to, size_t bytes);
bw_status bw_host_sync(bw_device* device, bw_error* error);
void bw_host_free_all(bw_device* device);  // what is left when the device goes

#define BW_HOST_MEMORY                                                                                        \
  .alloc = bw_host_alloc, .release = bw_host_release, .upload = bw_host_upload, .download = bw_host_download, \
  .copy = bw_host_copy, .zero = bw_host_zero, .sync = bw_host_sync

#ifdef __cplusplus
}
#endif
#endif
