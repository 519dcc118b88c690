// libFuzzer target: any bytes are a file or are refused, with less memory than they have bytes. What is a file has
// tensors that tile its data, can be written, and read again is the same.
#include <sanitizer/allocator_interface.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../csrc/core/safetensors.h"
#include "mutate.h"

#define DEMAND(condition)                                                            \
  do {                                                                               \
    if (!(condition)) {                                                              \
      fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                                       \
    }                                                                                \
  } while (0)

// ---- memory ----

static bool measuring;
static size_t live, peak;

static void on_malloc(const volatile void* memory, size_t size) {
  (void)memory;
  if (!measuring) return;
  live += size;
  if (live > peak) peak = live;
}

static void on_free(const volatile void* memory) {
  if (measuring && memory) live -= __sanitizer_get_allocated_size((const void*)memory);
}

static bw_status parse_measured(const uint8_t* bytes, size_t size, bw_safetensors* file, bw_error* error) {
  live = peak = 0;
  measuring = true;
  const bw_status status = bw_safetensors_parse(bytes, size, file, error);
  measuring = false;
  DEMAND(peak <= size);
  DEMAND(status == BW_OK || live == 0);
  return status;
}

// ---- what was read ----

static void check_tensors(const bw_safetensors* file, const uint8_t* bytes, size_t size) {
  const uint8_t* end = file->data;
  DEMAND(end >= bytes + 8 && end <= bytes + size);
  for (int i = 0; i < file->tensor_count; ++i) {
    const bw_tensor tensor = bw_safetensors_tensor(file, i);
    DEMAND(tensor.dtype >= 0 && tensor.dtype < BW_DTYPE_COUNT && tensor.rank >= 0 && tensor.rank <= BW_TENSOR_MAX_RANK);
    DEMAND((const uint8_t*)tensor.data == end);
    DEMAND(tensor.bytes <= (size_t)(bytes + size - end));
    end += tensor.bytes;
    size_t wanted = bw_dtype_bytes(tensor.dtype);
    for (int d = 0; d < tensor.rank; ++d) {
      DEMAND(tensor.shape[d] >= 0);
      DEMAND(!__builtin_mul_overflow(wanted, (size_t)tensor.shape[d], &wanted));
    }
    DEMAND(wanted == tensor.bytes);
    // Looking up every one of many would take the square of their number.
    bw_tensor found;
    if (i < 16) DEMAND(bw_safetensors_find(file, tensor.name, &found) && found.data == tensor.data);
  }
  DEMAND(end == bytes + size);
  for (int i = 0; i < file->metadata_count && i < 16; ++i) {
    const bw_metadata entry = bw_safetensors_entry(file, i);
    DEMAND(bw_safetensors_metadata(file, entry.key) == entry.value);
  }
}

static void check_equal(const bw_safetensors* a, const bw_safetensors* b) {
  DEMAND(a->tensor_count == b->tensor_count && a->metadata_count == b->metadata_count);
  for (int i = 0; i < a->tensor_count; ++i) {
    const bw_tensor x = bw_safetensors_tensor(a, i), y = bw_safetensors_tensor(b, i);
    DEMAND(strcmp(x.name, y.name) == 0 && x.dtype == y.dtype && x.rank == y.rank && x.bytes == y.bytes);
    DEMAND(memcmp(x.shape, y.shape, sizeof x.shape) == 0 && memcmp(x.data, y.data, x.bytes) == 0);
  }
  for (int i = 0; i < a->metadata_count; ++i) {
    const bw_metadata x = bw_safetensors_entry(a, i), y = bw_safetensors_entry(b, i);
    DEMAND(strcmp(x.key, y.key) == 0 && strcmp(x.value, y.value) == 0);
  }
}

static void write_file(const bw_safetensors* file, uint8_t** bytes, size_t* size) {
  bw_tensor* tensors = calloc((size_t)file->tensor_count + 1, sizeof *tensors);
  bw_metadata* metadata = calloc((size_t)file->metadata_count + 1, sizeof *metadata);
  DEMAND(tensors && metadata);
  for (int i = 0; i < file->tensor_count; ++i) tensors[i] = bw_safetensors_tensor(file, i);
  for (int i = 0; i < file->metadata_count; ++i) metadata[i] = bw_safetensors_entry(file, i);
  DEMAND(bw_safetensors_write(tensors, file->tensor_count, metadata, file->metadata_count, bytes, size, NULL) == BW_OK);
  free(tensors);
  free(metadata);
}

// ---- the target ----

int LLVMFuzzerInitialize(int* argc, char*** argv);
int LLVMFuzzerInitialize(int* argc, char*** argv) {
  (void)argc;
  (void)argv;
  DEMAND(__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free));
  return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t* bytes, size_t size, size_t max, unsigned seed);
size_t LLVMFuzzerCustomMutator(uint8_t* bytes, size_t size, size_t max, unsigned seed) {
  // Now and then a new file: one that has changed much is refused for its first change.
  return mutate_file(bytes, seed % 8 == 0 ? 0 : size, max, seed);
}

int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  bw_safetensors file, again;
  bw_error error = {0};
  const bw_status status = parse_measured(bytes, size, &file, &error);
  if (status != BW_OK) {
    DEMAND(status == BW_CHECKPOINT && error.status == BW_CHECKPOINT && error.message[0] && error.path[0]);
    DEMAND(file.tensors == NULL && file.tensor_count == 0 && file.metadata_count == 0);
    return 0;
  }
  check_tensors(&file, bytes, size);
  uint8_t* written;
  size_t written_size;
  write_file(&file, &written, &written_size);
  DEMAND(parse_measured(written, written_size, &again, &error) == BW_OK);
  check_equal(&file, &again);
  bw_safetensors_free(&again);
  free(written);
  bw_safetensors_free(&file);
  return 0;
}
