// safetensors in memory: 8 bytes little-endian header length, a JSON header, tensor bytes. Reading and writing
// files is the caller's business (lib/ does it atomically); here a file is a range of bytes.
//
// The reader trusts nothing: every product is checked, nothing larger than the file is allocated, offsets must
// tile the data section exactly, names are unique, JSON is strict.
#ifndef BW_CORE_SAFETENSORS_H
#define BW_CORE_SAFETENSORS_H

#include <stddef.h>

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BW_TENSOR_MAX_RANK 4

typedef enum bw_dtype {
  BW_F32 = 0,
  BW_F64,
  BW_F16,
  BW_BF16,
  BW_I64,
  BW_I32,
  BW_I16,
  BW_I8,
  BW_U64,
  BW_U32,
  BW_U16,
  BW_U8,
  BW_BOOL,
  BW_DTYPE_COUNT
} bw_dtype;
const char* bw_dtype_name(bw_dtype dtype);  // "F32", ...
size_t bw_dtype_bytes(bw_dtype dtype);

typedef struct bw_tensor {
  const char* name;
  bw_dtype dtype;
  int rank;
  int64_t shape[BW_TENSOR_MAX_RANK];
  const void* data;
  size_t bytes;
} bw_tensor;

typedef struct bw_metadata {
  const char* key;
  const char* value;  // UTF-8
} bw_metadata;

// Serialises into *out (malloc; the caller frees). The same input gives the same bytes. Tensor data is written in
// the order given, 8-byte aligned start of the data section. BW_MEMORY on allocation failure.
bw_status bw_safetensors_write(const bw_tensor* tensors, int tensor_count, const bw_metadata* metadata,
                               int metadata_count, uint8_t** out, size_t* out_bytes, bw_error* error);

typedef struct bw_safetensors {
  bw_tensor* tensors;  // data points into the bytes that were parsed: keep them alive
  int tensor_count;
  bw_metadata* metadata;
  int metadata_count;
  void* storage;  // owns all of the above
} bw_safetensors;

// BW_CHECKPOINT with the header field or tensor in error->path on anything that is not a valid file.
bw_status bw_safetensors_parse(const uint8_t* bytes, size_t size, bw_safetensors* file, bw_error* error);
void bw_safetensors_free(bw_safetensors* file);
const bw_tensor* bw_safetensors_find(const bw_safetensors* file, const char* name);  // NULL if absent
const char* bw_safetensors_metadata(const bw_safetensors* file, const char* key);    // NULL if absent

#ifdef __cplusplus
}
#endif
#endif
