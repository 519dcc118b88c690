// safetensors in memory: 8 bytes little-endian header length, a JSON header, tensor bytes. Reading and writing
// files is the caller's business (lib/ does it atomically); here a file is a range of bytes.
//
// The reader trusts nothing: every product is checked, less than the file's size is allocated, offsets must tile the
// data section exactly, names are unique, JSON is strict. What it accepts, the format's reference implementation does
// too; that one allows more than BW_TENSOR_MAX_RANK dimensions and types that are missing below.
#ifndef BW_CORE_SAFETENSORS_H
#define BW_CORE_SAFETENSORS_H

#include <stdbool.h>
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

// A file that was read. Beside the counts everything in it is the reader's own.
typedef struct bw_safetensors {
  int tensor_count;
  int metadata_count;
  const uint8_t* data;
  struct bw_tensor_record* tensors;
  uint32_t* entries;
  char* text;
} bw_safetensors;

// BW_CHECKPOINT with the header field or tensor in error->path on anything that is not a valid file. Allocates less
// than the header's length, and takes time in proportion to it (times a logarithm, for unique names).
bw_status bw_safetensors_parse(const uint8_t* bytes, size_t size, bw_safetensors* file, bw_error* error);
void bw_safetensors_free(bw_safetensors* file);

// Number `at` of the tensors in the order of their data, of the metadata in the order of the header. Texts are valid
// until free; data points into the bytes that were parsed: keep them alive.
bw_tensor bw_safetensors_tensor(const bw_safetensors* file, int at);
bw_metadata bw_safetensors_entry(const bw_safetensors* file, int at);

bool bw_safetensors_find(const bw_safetensors* file, const char* name, bw_tensor* tensor);  // false if absent
const char* bw_safetensors_metadata(const bw_safetensors* file, const char* key);           // NULL if absent

#ifdef __cplusplus
}
#endif
#endif
