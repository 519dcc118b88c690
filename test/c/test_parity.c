// Every op of device/ops.def on every backend against the float64 reference device, which runs the same kernel text
// in double on one thread.
//
// A case describes buffers and an Args struct once; compare() then launches it on all devices. Integers (games) must
// be equal bit for bit, reals within the tolerances below; the CPU's bits must not depend on its threads. Outputs are
// poisoned before a launch, and behind every buffer lies a guard zone of NaN: an element that was not written, a write
// beyond the end and a read beyond the end (it brings NaN in) are all found.
//
// `test_parity -v` prints every op's worst error as a share of its tolerance.
#include "../../csrc/backends/backends.h"
#include "../../csrc/core/rng.h"
#include "../../csrc/games/game.h"
#include "../../csrc/games/registry.h"
#include "check.h"
#include "reference.h"

// ---- tolerances ----

// |got - wanted| <= relative * |wanted| + absolute * scale, for float32. The scale is the case's: sqrt(n) for a sum
// of n, the size of the terms where they are not of order 1. 0, 0: equal.
typedef struct tolerance {
  double relative, absolute;
} tolerance;

enum { OP_LINEAR_FORWARD = BW_OP_COUNT, OP_LINEAR_BACKWARD, OP_LINEAR_GRADIENT, OP_COUNT };  // composites

static const tolerance kTolerances[OP_COUNT] = {
    [BW_OP_relu_backward] = {0, 0},
    [BW_OP_gelu_forward] = {2e-6, 1e-6},
    [BW_OP_gelu_backward] = {1e-6, 0},
    [BW_OP_bias_activation] = {1e-6, 1e-6},
    [BW_OP_column_sum] = {2e-6, 1e-6},
    [BW_OP_scale_add] = {1e-6, 1e-6},
    [BW_OP_layernorm_forward] = {2e-6, 1e-6},
    [BW_OP_layernorm_backward] = {2e-6, 1e-6},
    [BW_OP_layernorm_gradient] = {5e-6, 2e-6},
    [BW_OP_matmul] = {2e-6, 1e-6},
    [BW_OP_features_base] = {2e-6, 1e-6},
    [BW_OP_features_forward] = {2e-6, 1e-6},
    [BW_OP_features_gradient] = {2e-6, 1e-6},
    [BW_OP_rollout_unique] = {0, 0},
    [BW_OP_rollout_encode] = {0, 0},
    [BW_OP_rollout_act] = {2e-6, 1e-6},
    [BW_OP_sample_states] = {0, 0},
    [BW_OP_sample_gather] = {0, 0},
    [BW_OP_gae] = {2e-6, 2e-6},
    [BW_OP_wdl_targets] = {2e-6, 2e-6},
    [BW_OP_sample_moments] = {5e-6, 1e-6},
    [BW_OP_advantage_normalize] = {2e-6, 2e-6},
    [BW_OP_ppo_loss] = {5e-6, 3e-7},
    [BW_OP_ppo_statistics] = {2e-6, 1e-6},
    [BW_OP_square_sum] = {4e-6, 1e-6},
    [BW_OP_clip_scale] = {1e-6, 0},
    [BW_OP_adamw] = {2e-6, 1e-6},
    [BW_OP_muon_momentum] = {1e-6, 1e-6},
    [BW_OP_muon_normalize] = {4e-6, 1e-7},
    [BW_OP_muon_apply] = {1e-6, 1e-6},
    [OP_LINEAR_FORWARD] = {2e-6, 1e-6},
    [OP_LINEAR_BACKWARD] = {2e-6, 1e-6},
    [OP_LINEAR_GRADIENT] = {2e-6, 1e-6},
};

// Of the composites where factors are rounded to bf16: 2^-8 each, so at most 2^-7 a product, of either sign.
static const tolerance kBf16Tolerance = {4e-3, 1.2e-2};

static const char* name_of(int op) {
  switch (op) {
    case OP_LINEAR_FORWARD:
      return "linear_forward";
    case OP_LINEAR_BACKWARD:
      return "linear_backward";
    case OP_LINEAR_GRADIENT:
      return "linear_gradient";
    default:
      return bw_op_name((bw_op)op);
  }
}

static double worst_share[OP_COUNT];
static int launches[OP_COUNT];

// ---- random values ----

static uint64_t random_state = 1;

static uint32_t random_word(void) {
  random_state += 0x9E3779B97F4A7C15u;  // splitmix64
  uint64_t z = random_state;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return (uint32_t)(z >> 32);
}

static int64_t random_below(int64_t bound) { return (int64_t)bw_below(random_word(), (uint32_t)bound); }

// A float32.
static double random_real(double low, double high) {
  return (double)(float)(low + (high - low) * ldexp((double)random_word(), -32));
}

// order[n] = a random order of 0 .. n - 1
static void random_order(int32_t* order, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const int64_t j = random_below(i + 1);
    order[i] = order[j];
    order[j] = (int32_t)i;
  }
}

// ---- devices ----

typedef struct test_device {
  char name[32];
  bw_device* device;
  int bits;   // devices of equal number must agree bit for bit; 0: none
  bool bf16;  // rounds the factors of matrix products
} test_device;

enum { MAX_DEVICES = 16, ARENA_BYTES = 24 << 20, GUARD_BYTES = 128 };

static test_device reference_device, devices[MAX_DEVICES];
static int device_count;

// One allocation a device: it is slot 0 everywhere, and buffers lie at the same offsets, so that one Args struct
// serves all devices. A real takes 8 bytes of it; what a float32 device does not use is guard zone.
static void add_device(test_device* entry, bw_status status, bw_device* device, int bits) {
  REQUIRE(status == BW_OK);
  entry->device = device;
  entry->bits = bits;
  uint32_t slot = 99;
  REQUIRE(device->backend->alloc(device, ARENA_BYTES, &slot, NULL) == BW_OK);
  REQUIRE(slot == 0);
}

static void create_devices(void) {
  bw_device* device = NULL;
  bw_status status = bw_reference_device_create(&device, NULL);
  snprintf(reference_device.name, sizeof reference_device.name, "reference");
  add_device(&reference_device, status, device, 0);
  for (int isa = 0; isa < BW_ISA_COUNT; ++isa) {
    if (!bw_isa_available((bw_isa)isa)) continue;
    for (int bf16 = 0; bf16 <= (bw_bf16_available((bw_isa)isa) ? 1 : 0); ++bf16) {
      for (int threads = 1; threads <= 3; threads += 2) {
        REQUIRE(device_count < MAX_DEVICES);
        test_device* entry = &devices[device_count++];
        entry->bf16 = bf16;
        snprintf(entry->name, sizeof entry->name, "cpu %s%s, %d threads", bw_isa_name((bw_isa)isa), bf16 ? " bf16" : "",
                 threads);
        status =
            bw_cpu_device_create((bw_isa)isa, bf16 ? BW_PRECISION_BF16 : BW_PRECISION_FP32, threads, &device, NULL);
        add_device(entry, status, device, 1 + 2 * isa + bf16);
      }
    }
  }
  static const int kTeams[][2] = {{1, 1}, {2, 2}, {3, 8}};
  for (int i = 0; i < 3; ++i) {
    test_device* entry = &devices[device_count++];
    snprintf(entry->name, sizeof entry->name, "emu %dx%d", kTeams[i][0], kTeams[i][1]);
    status = bw_emu_device_create(kTeams[i][0], kTeams[i][1], &device, NULL);
    add_device(entry, status, device, 0);
  }
}

static void destroy_devices(void) {
  bw_device_destroy(reference_device.device);
  for (int i = 0; i < device_count; ++i) bw_device_destroy(devices[i].device);
}

// ---- the buffers of a case ----

typedef enum buffer_kind { REAL, I32, RAW } buffer_kind;
// SCRATCH: not compared; its size is the device's (packed weights).
typedef enum buffer_role { IN, OUT, INOUT, SCRATCH } buffer_role;

typedef struct buffer {
  buffer_kind kind;
  buffer_role role;
  int64_t count;     // elements; bytes if RAW
  uint64_t offset;   // in the arena
  uint64_t end;      // of its guard zone
  double scale;      // of the absolute tolerance
  bool sparse;       // may have elements that are not written
  bool exact_zeros;  // where the reference is 0, so must be the device
  uint64_t length;   // offset of the i32 that says how many elements count; 0: all
  void* values;      // on the host: double, int32_t or bytes
  int64_t packed_out, packed_in;
  int packed_backward;
} buffer;

static struct {
  buffer buffers[32];
  int count;
  uint64_t used;
  unsigned char *before, *wanted, *got, *previous;  // [ARENA_BYTES] images
} bench;

static size_t element_bytes(buffer_kind kind, int real_bytes) {
  return kind == REAL ? (size_t)real_bytes : kind == I32 ? 4 : 1;
}

static void clear_case(void) {
  for (int i = 0; i < bench.count; ++i) free(bench.buffers[i].values);
  bench.count = 0;
  bench.used = GUARD_BYTES;  // a handle that an op should not touch is 0: that is guard zone
}

static buffer* add_buffer(buffer_kind kind, buffer_role role, int64_t count, uint64_t bytes) {
  REQUIRE(bench.count < 32);
  buffer* b = &bench.buffers[bench.count];
  *b = (buffer){.kind = kind, .role = role, .count = count, .scale = 1};
  // Off the cache line, as tensors inside a net's flat parameters are; packed weights are promised to start on one.
  b->offset = (bench.used + 63) / 64 * 64 + (role == SCRATCH ? 0 : (uint64_t)(bench.count % 8) * 8);
  b->end = bench.used = b->offset + bytes + GUARD_BYTES;
  REQUIRE(bench.used <= ARENA_BYTES);
  ++bench.count;
  return b;
}

static bw_ref ref_of(const buffer* b) { return (bw_ref){.buffer = 0, .offset = b->offset}; }

static buffer* buffer_of(bw_ref ref) {
  for (int i = 0; i < bench.count; ++i) {
    if (bench.buffers[i].offset == ref.offset) return &bench.buffers[i];
  }
  const bool known = false;  // a reference to no buffer of this case
  REQUIRE(known);
  return NULL;
}

// count reals, uniform on [low, high) where they go in
static bw_ref reals(buffer_role role, int64_t count, double low, double high) {
  buffer* b = add_buffer(REAL, role, count, (uint64_t)count * 8);
  double* values = b->values = calloc((size_t)count + 1, sizeof *values);
  REQUIRE(values);
  for (int64_t i = 0; i < count; ++i) values[i] = role == OUT ? (double)NAN : random_real(low, high);
  return ref_of(b);
}

// Their host values, which the case may overwrite; they are rounded to float32 on the way to the devices.
static double* real_values(bw_ref ref) { return buffer_of(ref)->values; }

// count i32, 0 where they go in until the case sets them
static bw_ref ints(buffer_role role, int64_t count) {
  buffer* b = add_buffer(I32, role, count, (uint64_t)count * 4);
  b->values = calloc((size_t)count + 1, 4);
  REQUIRE(b->values);
  if (role == OUT) memset(b->values, 0xAB, (size_t)count * 4);
  return ref_of(b);
}

static int32_t* int_values(bw_ref ref) { return buffer_of(ref)->values; }

static bw_ref raw(buffer_role role, int64_t bytes) {
  buffer* b = add_buffer(RAW, role, bytes, (uint64_t)bytes);
  b->values = calloc((size_t)bytes + 1, 1);
  REQUIRE(b->values);
  if (role == OUT) memset(b->values, 0xAB, (size_t)bytes);
  return ref_of(b);
}

static void* raw_values(bw_ref ref) { return buffer_of(ref)->values; }

// Room for the packed weights of any device.
static bw_ref packed(int64_t out, int64_t in, int backward) {
  size_t most = 0;
  for (int i = 0; i < device_count; ++i) {
    const size_t bytes = bw_packed_bytes(devices[i].device, out, in, backward);
    if (bytes > most) most = bytes;
  }
  buffer* b = add_buffer(RAW, SCRATCH, 0, most);
  b->packed_out = out;
  b->packed_in = in;
  b->packed_backward = backward;
  return ref_of(b);
}

static void set_scale(bw_ref ref, double scale) { buffer_of(ref)->scale = scale; }

// ---- comparison ----

// The arena's bytes before the launch, for a device with reals of real_bytes.
static void make_image(const test_device* on, unsigned char* image) {
  const int real_bytes = on->device->backend->real_bytes;
  memset(image, 0xFF, (size_t)bench.used);  // as reals NaN, as i32 -1
  for (int i = 0; i < bench.count; ++i) {
    buffer* b = &bench.buffers[i];
    if (b->role == SCRATCH) {
      b->count = (int64_t)bw_packed_bytes(on->device, b->packed_out, b->packed_in, b->packed_backward);
      continue;
    }
    if (b->kind != REAL) {
      memcpy(image + b->offset, b->values, (size_t)b->count * element_bytes(b->kind, 0));
      continue;
    }
    const double* values = b->values;
    for (int64_t k = 0; k < b->count; ++k) {
      const float narrow = (float)values[k];
      const double wide = (double)narrow;
      memcpy(image + b->offset + (size_t)(k * real_bytes), real_bytes == 4 ? (const void*)&narrow : &wide,
             (size_t)real_bytes);
    }
  }
}

static double real_at(const unsigned char* image, const buffer* b, int64_t index, int real_bytes) {
  const unsigned char* at = image + b->offset + (size_t)(index * real_bytes);
  float narrow;
  double wide;
  if (real_bytes == 8) {
    memcpy(&wide, at, 8);
    return wide;
  }
  memcpy(&narrow, at, 4);
  return (double)narrow;
}

static int32_t int_at(const unsigned char* image, uint64_t offset) {
  int32_t value;
  memcpy(&value, image + offset, 4);
  return value;
}

// What the reference computed.
static double wanted_real(bw_ref ref, int64_t index) { return real_at(bench.wanted, buffer_of(ref), index, 8); }
static int32_t wanted_int(bw_ref ref, int64_t index) { return int_at(bench.wanted, ref.offset + (uint64_t)index * 4); }
static const unsigned char* wanted_raw(bw_ref ref) { return bench.wanted + ref.offset; }

// Inputs unchanged, guard zones whole.
static void check_untouched(int op, const test_device* on, const unsigned char* image) {
  const int real_bytes = on->device->backend->real_bytes;
  uint64_t begin = 0;  // of the guard zone before a buffer
  for (int i = 0; i <= bench.count; ++i) {
    const uint64_t end = i < bench.count ? bench.buffers[i].offset : bench.used;
    bool whole = true;
    for (uint64_t at = begin; at < end; ++at) whole = whole && image[at] == 0xFF;
    CHECK_MSG(whole, "%s on %s wrote beyond buffer %d", name_of(op), on->name, i - 1);
    if (i == bench.count) break;
    const buffer* b = &bench.buffers[i];
    const size_t bytes = (size_t)b->count * element_bytes(b->kind, real_bytes);
    begin = b->offset + bytes;
    if (b->role == IN) {
      CHECK_MSG(memcmp(image + b->offset, bench.before + b->offset, bytes) == 0, "%s on %s wrote to input %d",
                name_of(op), on->name, i);
    }
  }
}

static void check_buffer(int op, const test_device* on, int index) {
  const buffer* b = &bench.buffers[index];
  const tolerance allowed = on->bf16 && op >= OP_LINEAR_FORWARD ? kBf16Tolerance : kTolerances[op];
  int64_t count = b->count;
  if (b->length) count = int_at(bench.wanted, b->length);
  if (b->kind != REAL) {
    const size_t size = element_bytes(b->kind, 0);
    const unsigned char *got = bench.got + b->offset, *wanted = bench.wanted + b->offset;
    int64_t same = 0;
    while (same < count && memcmp(got + (size_t)same * size, wanted + (size_t)same * size, size) == 0) ++same;
    CHECK_MSG(same == count, "%s on %s: buffer %d differs at %lld of %lld", name_of(op), on->name, index,
              (long long)same, (long long)count);
    return;
  }
  for (int64_t k = 0; k < count; ++k) {
    const double wanted = real_at(bench.wanted, b, k, 8), got = real_at(bench.got, b, k, 4);
    if (b->sparse && isnan(wanted) && isnan(got)) continue;
    const bool exact = b->exact_zeros && wanted == 0;
    const double limit = exact ? 0 : allowed.relative * fabs(wanted) + allowed.absolute * b->scale;
    const double error = fabs(got - wanted);
    if (limit > 0 && error / limit > worst_share[op]) worst_share[op] = error / limit;
    if (error <= limit) continue;  // false for NaN
    CHECK_MSG(false, "%s on %s: buffer %d at %lld of %lld: got %.9g, wanted %.9g within %.3g", name_of(op), on->name,
              index, (long long)k, (long long)count, got, wanted, limit);
    return;
  }
  CHECK(true);
}

typedef void (*run_function)(bw_device* device, int op, const void* args);

static void run_on(const test_device* on, int op, const void* args, run_function run, unsigned char* image) {
  bw_device* device = on->device;
  make_image(on, bench.before);
  device->backend->upload(device, (bw_ref){0, 0}, bench.before, (size_t)bench.used);
  run(device, op, args);
  device->backend->download(device, image, (bw_ref){0, 0}, (size_t)bench.used);
  CHECK(bw_device_sync(device, NULL) == BW_OK);
  check_untouched(op, on, image);
}

static void compare_by(int op, const void* args, run_function run) {
  ++launches[op];
  run_on(&reference_device, op, args, run, bench.wanted);
  int bits = 0;
  for (int i = 0; i < device_count; ++i) {
    run_on(&devices[i], op, args, run, bench.got);
    for (int k = 0; k < bench.count; ++k) {
      if (bench.buffers[k].role == OUT || bench.buffers[k].role == INOUT) check_buffer(op, &devices[i], k);
    }
    if (devices[i].bits && devices[i].bits == bits) {
      CHECK_MSG(memcmp(bench.got, bench.previous, (size_t)bench.used) == 0,
                "%s: bits on %s differ from those of 1 thread", name_of(op), devices[i].name);
    }
    bits = devices[i].bits;
    memcpy(bench.previous, bench.got, (size_t)bench.used);
  }
}

static void run_single(bw_device* device, int op, const void* args) { bw_device_launch(device, (bw_op)op, args); }

static void compare(bw_op op, const void* args) { compare_by((int)op, args, run_single); }

#define COMPARE(op, ...) compare(BW_OP_##op, &(bw_##op##_args){__VA_ARGS__})

// Sizes around the widths of vectors, blocks and teams; the last is big enough to be split over threads.
#define FOR_SIZES(n, ...)                                                                  \
  for (const int64_t* n##_next = (const int64_t[]){__VA_ARGS__, 0}; *n##_next; ++n##_next) \
    for (int64_t n = (clear_case(), *n##_next), n##_once = 1; n##_once; n##_once = 0)

// ---- elementwise ----

static void case_scale_add(void) {
  FOR_SIZES(n, 1, 7, 33, 100, 10007) {
    const bw_ref x = reals(IN, n, -2, 2), y = reals(INOUT, n, -2, 2);
    COMPARE(scale_add, .x = x, .y = y, .alpha = -1.25, .beta = 0.7, .n = n);
  }
}

static void case_relu_backward(void) {
  FOR_SIZES(n, 1, 7, 33, 100, 10007) {
    const bw_ref y = reals(IN, n, -1, 1), dy = reals(INOUT, n, -2, 2);
    for (int64_t i = 0; i < n; i += 3) real_values(y)[i] = 0;  // what relu leaves: its gradient there is 0
    COMPARE(relu_backward, .y = y, .dy = dy, .n = n);
    for (int64_t i = 0; i < n; i += 3) CHECK(wanted_real(dy, i) == 0);
  }
}

static void case_gelu_forward(void) {
  FOR_SIZES(n, 1, 7, 33, 100, 10007) {
    const bw_ref x = reals(INOUT, n, -6, 6), residual = reals(IN, n, -2, 2), y = reals(OUT, n, 0, 0);
    COMPARE(gelu_forward, .x = x, .residual = residual, .y = y, .n = n);
    for (int64_t i = 0; i < n; ++i) {
      const double v = real_values(x)[i], t = tanh(sqrt(2 / M_PI) * (v + 0.044715 * v * v * v));
      CHECK_NEAR(wanted_real(y, i), real_values(residual)[i] + v / 2 * (1 + t), 1e-12);
      const double du = sqrt(2 / M_PI) * (1 + 3 * 0.044715 * v * v);
      CHECK_NEAR(wanted_real(x, i), (1 + t + v * (1 - t * t) * du) / 2, 1e-12);
    }
  }
}

static void case_gelu_backward(void) {
  FOR_SIZES(n, 1, 7, 33, 100, 10007) {
    const bw_ref dy = reals(IN, n, -2, 2), dx = reals(INOUT, n, -1, 2);
    COMPARE(gelu_backward, .dy = dy, .dx = dx, .n = n);
  }
}

static void case_bias_activation(void) {
  for (int activation = BW_ACTIVATION_NONE; activation <= BW_ACTIVATION_RELU; ++activation) {
    FOR_SIZES(rows, 1, 7, 33, 300) {
      const int64_t columns = rows == 7 ? 1 : rows + 10;
      const bw_ref bias = reals(IN, columns, -1, 1), y = reals(INOUT, rows * columns, -1, 1);
      COMPARE(bias_activation, .bias = bias, .y = y, .rows = rows, .columns = columns, .activation = activation);
    }
  }
}

static void case_column_sum(void) {
  FOR_SIZES(rows, 1, 7, 33, 300) {
    const int64_t columns = rows == 7 ? 1 : rows == 33 ? 17 : 65;
    const bw_ref x = reals(IN, rows * columns, -1, 1), sum = reals(OUT, columns, 0, 0);
    set_scale(sum, sqrt((double)rows));
    COMPARE(column_sum, .x = x, .sum = sum, .rows = rows, .columns = columns);
  }
}

// ---- norm ----

static int64_t norm_columns(int64_t rows) { return rows == 1 ? 100 : rows == 7 ? 1 : rows == 33 ? 7 : 33; }

static void case_layernorm_forward(void) {
  FOR_SIZES(rows, 1, 7, 33, 150) {
    const int64_t columns = norm_columns(rows);
    const bw_ref x = reals(IN, rows * columns, -2, 3);
    const bw_ref gain = reals(IN, columns, -2, 2), shift = reals(IN, columns, -1, 1);
    const bw_ref y = reals(OUT, rows * columns, 0, 0), mean = reals(OUT, rows, 0, 0), rstd = reals(OUT, rows, 0, 0);
    COMPARE(layernorm_forward, .x = x, .gain = gain, .shift = shift, .y = y, .mean = mean, .rstd = rstd, .rows = rows,
            .columns = columns);
  }
}

// Sets mean and rstd to those of x.
static void set_moments(bw_ref x, bw_ref mean, bw_ref rstd, int64_t rows, int64_t columns) {
  for (int64_t i = 0; i < rows; ++i) {
    double sum = 0, squares = 0;
    for (int64_t j = 0; j < columns; ++j) sum += real_values(x)[i * columns + j];
    const double m = sum / (double)columns;
    for (int64_t j = 0; j < columns; ++j) squares += pow(real_values(x)[i * columns + j] - m, 2);
    real_values(mean)[i] = m;
    real_values(rstd)[i] = 1 / sqrt(squares / (double)columns + 1e-5);
  }
}

static void case_layernorm_backward(void) {
  for (int accumulate = 0; accumulate <= 1; ++accumulate) {
    FOR_SIZES(rows, 1, 7, 33, 150) {
      const int64_t columns = norm_columns(rows);
      const bw_ref x = reals(IN, rows * columns, -2, 3), gain = reals(IN, columns, -2, 2);
      const bw_ref mean = reals(IN, rows, 0, 1), rstd = reals(IN, rows, 0, 1), dy = reals(IN, rows * columns, -1, 1);
      const bw_ref dx = reals(accumulate ? INOUT : OUT, rows * columns, -1, 1);
      const int64_t groups = (rows + BW_ROW_GROUP - 1) / BW_ROW_GROUP;
      const bw_ref partials = reals(OUT, groups * 2 * columns, 0, 0);
      set_moments(x, mean, rstd, rows, columns);
      if (columns == 1) set_scale(dx, 100);  // rstd is 1 / sqrt(eps) there
      set_scale(partials, columns == 1 ? 300 : 3);
      COMPARE(layernorm_backward, .x = x, .gain = gain, .mean = mean, .rstd = rstd, .dy = dy, .dx = dx,
              .partials = partials, .rows = rows, .columns = columns, .accumulate = accumulate);
      for (int64_t j = 0; j < columns; ++j) {
        double dgain = 0, dshift = 0;
        for (int64_t i = 0; i < rows; ++i) {
          const double d = real_values(dy)[i * columns + j];
          dgain += d * (real_values(x)[i * columns + j] - real_values(mean)[i]) * real_values(rstd)[i];
          dshift += d;
        }
        for (int64_t g = 0; g < groups; ++g) {
          dgain -= wanted_real(partials, g * 2 * columns + j);
          dshift -= wanted_real(partials, (g * 2 + 1) * columns + j);
        }
        CHECK_NEAR(dgain, 0, 2e-4 * (columns == 1 ? 100 : 1));  // mean and rstd go to the device as float32
        CHECK_NEAR(dshift, 0, 1e-4);
      }
    }
  }
}

static void case_layernorm_gradient(void) {
  FOR_SIZES(rows, 1, 7, 33, 300) {
    const int64_t columns = norm_columns(rows);
    const bw_ref partials = reals(IN, (rows + BW_ROW_GROUP - 1) / BW_ROW_GROUP * 2 * columns, -3, 3);
    const bw_ref dgain = reals(OUT, columns, 0, 0), dshift = reals(OUT, columns, 0, 0);
    set_scale(dgain, sqrt((double)rows));
    set_scale(dshift, sqrt((double)rows));
    COMPARE(layernorm_gradient, .partials = partials, .dgain = dgain, .dshift = dshift, .rows = rows,
            .columns = columns);
  }
}

// ---- features ----

enum {
  FEATURE_PLANES = 3,
  FEATURE_CELLS = 14,
  FEATURE_INPUTS = FEATURE_PLANES * FEATURE_CELLS,
  MANY_CELLS = 190  // more inputs than a tuned kernel sorts at once
};

// u16 [rows][1 + cells]: random lists; what lies behind a list's end must not be read.
// full: every list has all of its cells.
static bw_ref random_features(int64_t rows, int cells, bool full) {
  const bw_ref ref = raw(IN, rows * (1 + cells) * 2);
  uint16_t* lists = raw_values(ref);
  for (int64_t i = 0; i < rows; ++i) {
    uint16_t* list = lists + i * (1 + cells);
    const int density = full ? 3 : (int)random_below(4);  // 0: an empty list
    memset(list, 0xFF, sizeof *list * (size_t)(1 + cells));
    list[0] = 0;
    for (int cell = 0; cell < cells; ++cell) {
      if ((int)random_below(3) < density) list[++list[0]] = (uint16_t)(FEATURE_PLANES * cell + (int)random_below(2));
    }
  }
  return ref;
}

static int64_t feature_columns(int64_t rows) { return rows == 1 ? 64 : rows == 7 ? 1 : rows == 33 ? 130 : 200; }

// The observation as numbers.
static void spread_features(const uint16_t* list, int inputs, double* x) {
  for (int i = 0; i < inputs; ++i) x[i] = i % FEATURE_PLANES == FEATURE_PLANES - 1;
  for (int k = 1; k <= list[0]; ++k) x[list[k]] = 1;
}

static void case_features_base(void) {
  FOR_SIZES(columns, 1, 7, 33, 100, 10007) {
    const bw_ref weight = reals(IN, FEATURE_INPUTS * columns, -1, 1), bias = reals(IN, columns, -1, 1);
    const bw_ref base = reals(OUT, columns, 0, 0);
    set_scale(base, sqrt((double)FEATURE_CELLS));
    COMPARE(features_base, .weight = weight, .bias = bias, .base = base, .inputs = FEATURE_INPUTS,
            .planes = FEATURE_PLANES, .columns = columns);
  }
}

static void case_features_forward(void) {
  for (int activation = BW_ACTIVATION_NONE; activation <= BW_ACTIVATION_RELU; ++activation) {
    FOR_SIZES(rows, 1, 7, 33, 300) {
      const int64_t columns = feature_columns(rows);
      const bw_ref features = random_features(rows, FEATURE_CELLS, false),
                   weight = reals(IN, FEATURE_INPUTS * columns, -1, 1);
      const bw_ref base = reals(IN, columns, -1, 1), y = reals(OUT, rows * columns, 0, 0);
      set_scale(y, sqrt((double)FEATURE_CELLS));
      COMPARE(features_forward, .features = features, .weight = weight, .base = base, .y = y, .rows = rows,
              .columns = columns, .max_features = FEATURE_CELLS, .activation = activation);
    }
  }
}

static void case_features_gradient(void) {
  FOR_SIZES(rows, 1, 7, 33, 120, 300) {
    const int64_t columns = feature_columns(rows);
    const int cells = rows == 33 || rows == 120 ? MANY_CELLS : FEATURE_CELLS, inputs = FEATURE_PLANES * cells;
    const bw_ref features = random_features(rows, cells, rows == 120), dy = reals(IN, rows * columns, -1, 1);
    const bw_ref weight_gradient = reals(OUT, inputs * columns, 0, 0), bias_gradient = reals(OUT, columns, 0, 0);
    set_scale(weight_gradient, sqrt((double)rows));
    set_scale(bias_gradient, sqrt((double)rows));
    COMPARE(features_gradient, .features = features, .dy = dy, .weight_gradient = weight_gradient,
            .bias_gradient = bias_gradient, .rows = rows, .inputs = inputs, .planes = FEATURE_PLANES,
            .columns = columns, .max_features = cells);
    // Against the dense product x^T dy of the first column.
    for (int input = 0; input < inputs; ++input) {
      double sum = 0, x[FEATURE_PLANES * MANY_CELLS];
      for (int64_t i = 0; i < rows; ++i) {
        spread_features((uint16_t*)raw_values(features) + i * (1 + cells), inputs, x);
        sum += x[input] * real_values(dy)[i * columns];
      }
      CHECK_NEAR(wanted_real(weight_gradient, input * columns), sum, 1e-4);
    }
  }
}

// ---- matmul ----

static void case_matmul(void) {
  for (int layout = 0; layout < 4; ++layout) {  // each operand as it lies and transposed
    FOR_SIZES(rows, 1, 7, 33, 70) {
      const int64_t columns = rows == 1 ? 9 : rows == 7 ? 1 : rows == 33 ? 10 : 65;
      const int64_t contract = rows == 7 ? 100 : rows == 33 ? 1 : 27;
      const bw_ref a = reals(IN, rows * contract, -1, 1), b = reals(IN, contract * columns, -1, 1);
      const bw_ref c = reals(OUT, rows * columns, 0, 0);
      set_scale(c, sqrt((double)contract));
      COMPARE(matmul, .a = a, .b = b, .c = c, .rows = rows, .columns = columns, .contract = contract,
              .a_row = layout & 1 ? 1 : contract, .a_contract = layout & 1 ? rows : 1,
              .b_contract = layout & 2 ? 1 : columns, .b_column = layout & 2 ? contract : 1);
    }
  }
}

// ---- rollout ----

#define FOR_GAMES(game, index)                          \
  for (int index = 0; index < bw_game_count(); ++index) \
    for (const bw_game* game = bw_game_at(index); game; game = NULL)

enum { OVER_NEVER, OVER_MAYBE };

// A state after a random number of random legal moves; over says whether the game may have ended with them.
static void play_random(const bw_game* game, void* state, int over) {
  for (;;) {
    memset(state, 0, game->state_bytes);
    game->init(state);
    for (int64_t left = random_below(game->max_plies + 1); left > 0 && game->result(state) == BW_ONGOING; --left) {
      uint32_t mask = game->legal(state);
      for (int64_t skip = random_below(__builtin_popcount(mask)); skip > 0; --skip) mask &= mask - 1;
      game->play(state, __builtin_ctz(mask));
    }
    if (over == OVER_MAYBE || game->result(state) == BW_ONGOING) return;
  }
}

static bw_ref random_states(buffer_role role, const bw_game* game, int64_t count, int over) {
  const bw_ref ref = raw(role, count * (int64_t)game->state_bytes);
  for (int64_t i = 0; i < count; ++i) play_random(game, (char*)raw_values(ref) + (size_t)i * game->state_bytes, over);
  return ref;
}

static bw_ref random_setups(const bw_game* game, int64_t games) {
  const bw_ref ref = raw(IN, games * (int64_t)sizeof(bw_game_setup));
  bw_game_setup* setups = raw_values(ref);
  for (int64_t g = 0; g < games; ++g) {
    setups[g].number = (uint64_t)random_word() << (random_below(2) * 30);
    setups[g].opponent = (int32_t)random_below(3);
    setups[g].seat = (uint8_t)random_below(2);
    setups[g].record_both = (uint8_t)random_below(2);
    setups[g].mirrored = (uint8_t)random_below(2);
    setups[g].opening = (uint8_t)random_below(game->max_plies + 3);
    setups[g].start = random_below(4) == 0;
    setups[g].deviation = (uint8_t)(random_below(2) * random_below(game->max_plies + 3));
    setups[g].deviator = (uint8_t)random_below(2);
  }
  return ref;
}

// A random subset of the games, in random order; at least one.
static bw_ref random_list(int64_t games, int64_t* listed) {
  *listed = games > 2 ? games - games / 3 : games;
  const bw_ref ref = ints(IN, *listed);
  int32_t* order = malloc((size_t)games * sizeof *order);
  REQUIRE(order);
  random_order(order, games);
  memcpy(int_values(ref), order, (size_t)*listed * sizeof *order);
  free(order);
  return ref;
}

typedef union bw_any {
  unsigned char bytes[BW_GAME_MAX_STATE_BYTES];
  uint64_t align;
} bw_any;

static void case_rollout_start(void) {
  FOR_GAMES(game, index) {
    FOR_SIZES(games, 1, 7, 33, 100, 700) {
      const bw_rollout_buffers rollout = {.setups = random_setups(game, games),
                                          .states = raw(OUT, games * (int64_t)game->state_bytes),
                                          .outcomes = ints(OUT, games),
                                          .plies = ints(OUT, games),
                                          .counts = ints(OUT, games),
                                          .moves = raw(INOUT, games * game->max_plies)};
      const bw_ref starts = random_states(IN, game, games, OVER_NEVER);
      memset(raw_values(rollout.moves), 0, (size_t)(games * game->max_plies));
      COMPARE(rollout_start, .game = index, .rollout = rollout, .starts = starts, .seed = 77, .games = games,
              .max_plies = game->max_plies, .keep_moves = (int)(games % 2));
      const bw_game_setup* setups = raw_values(rollout.setups);
      for (int64_t g = 0; g < games; ++g) {
        const void* state = wanted_raw(rollout.states) + (size_t)g * game->state_bytes;
        const unsigned char* moves = (const unsigned char*)wanted_raw(rollout.moves) + g * game->max_plies;
        const int made = setups[g].start ? 0 : game->ply(state);
        for (int i = 0; i < game->max_plies; ++i) CHECK((moves[i] != 0) == (games % 2 && i < made));
        if (setups[g].start) {
          CHECK_BYTES(state, (char*)raw_values(starts) + (size_t)g * game->state_bytes, game->state_bytes);
          continue;
        }
        if (games % 2) {  // they lead there
          bw_any again = {0};
          game->init(again.bytes);
          for (int i = 0; i < made; ++i) game->play(again.bytes, moves[i] - 1);
          CHECK_BYTES(state, again.bytes, game->state_bytes);
        }
        CHECK(game->result(state) == BW_ONGOING && game->ply(state) <= setups[g].opening);
        // Shorter only where the next move would have ended the game.
        CHECK(game->ply(state) == setups[g].opening || game->ply(state) >= 4);
      }
    }
  }
}

static void case_rollout_select(void) {
  FOR_GAMES(game, index) {
    for (int policy = 0; policy <= 1; ++policy) {
      FOR_SIZES(games, 1, 7, 33, 700) {
        const bw_ref states = random_states(IN, game, games, OVER_MAYBE), outcomes = ints(IN, games);
        const bw_ref setups_ref = random_setups(game, games);
        const bw_rollout_buffers rollout = {.setups = setups_ref, .states = states, .outcomes = outcomes};
        int64_t listed;
        const bw_ref list = random_list(games, &listed), count = ints(OUT, 1), rows = ints(OUT, listed);
        buffer_of(rows)->length = count.offset;
        for (int64_t g = 0; g < games; ++g) {
          const void* state = (char*)raw_values(states) + (size_t)g * game->state_bytes;
          const int result = game->result(state);
          int_values(outcomes)[g] = result == BW_DRAWN ? BW_OUTCOME_DRAW
                                    : result == BW_WON ? (game->ply(state) & 1 ? BW_OUTCOME_FIRST : BW_OUTCOME_SECOND)
                                                       : BW_OUTCOME_ONGOING;
        }
        COMPARE(rollout_select, .game = index, .rollout = rollout, .list = list, .rows = rows, .count = count,
                .games = listed, .policy = policy);
        const bw_game_setup* setups = raw_values(rollout.setups);
        int32_t found = 0;
        for (int64_t i = 0; i < listed; ++i) {
          const int32_t g = int_values(list)[i];
          const void* state = (char*)raw_values(states) + (size_t)g * game->state_bytes;
          const bool agent = setups[g].opponent == 0 || game->ply(state) % 2 == setups[g].seat;
          if (int_values(outcomes)[g] != BW_OUTCOME_ONGOING || agent != (policy == 0)) continue;
          CHECK_EQ_INT(wanted_int(rows, found), g);
          ++found;
        }
        CHECK_EQ_INT(wanted_int(count, 0), found);
      }
    }
  }
}

static void case_rollout_encode(void) {
  FOR_GAMES(game, index) {
    FOR_SIZES(games, 1, 7, 33, 700) {
      const bw_rollout_buffers rollout = {.setups = random_setups(game, games),
                                          .states = random_states(IN, game, games, OVER_NEVER)};
      const int observation = games % 3 == 0;
      const int64_t most = game->observers[observation].max_features;
      int64_t rows;
      const bw_ref row_games = random_list(games, &rows), features = raw(OUT, rows * (1 + most) * 2);
      COMPARE(rollout_encode, .game = index, .rollout = rollout, .row_games = row_games, .features = features,
              .rows = rows, .max_features = most, .observation = observation);
    }
  }
}

// A copy of the game's state as its policy sees it.
typedef struct seen_state {
  _Alignas(16) char bytes[BW_GAME_MAX_STATE_BYTES];
} seen_state;

static seen_state see(const bw_game* game, const void* state, int mirrored) {
  seen_state seen = {{0}};
  memcpy(seen.bytes, state, game->state_bytes);
  if (mirrored) game->mirror(seen.bytes);
  return seen;
}

// Few different states among many rows: the games' states are copies of a few, some of them seen mirrored.
static void case_rollout_unique(void) {
  FOR_GAMES(game, index) {
    FOR_SIZES(games, 1, 7, 33, 700) {
      const bw_rollout_buffers rollout = {.setups = random_setups(game, games),
                                          .states = random_states(IN, game, games, OVER_NEVER)};
      char* states = raw_values(rollout.states);
      for (int64_t g = 1; g < games; ++g) {
        if (random_below(4) == 0) continue;
        memcpy(states + g * (int64_t)game->state_bytes, states + random_below(g) * (int64_t)game->state_bytes,
               game->state_bytes);
      }
      int64_t rows, slots = 2;
      const bw_ref row_games = random_list(games, &rows), count = ints(OUT, 1);
      while (slots < 2 * rows) slots *= 2;
      const bw_ref unique_games = ints(OUT, rows), row_heads = ints(OUT, rows);
      const bw_ref table = ints(OUT, slots), keys = raw(OUT, rows * 8);
      buffer_of(unique_games)->length = count.offset;
      COMPARE(rollout_unique, .game = index, .rollout = rollout, .row_games = row_games, .unique_games = unique_games,
              .row_heads = row_heads, .count = count, .table = table, .keys = keys, .rows = rows, .slots = slots);
      const bw_game_setup* setups = raw_values(rollout.setups);
      const int32_t found = wanted_int(count, 0);
      REQUIRE(found >= 1 && found <= rows);
      int32_t next = 0;  // heads are numbered in order of appearance, so no two of them see the same state
      for (int64_t i = 0; i < rows; ++i) {
        const int32_t g = int_values(row_games)[i], head = wanted_int(row_heads, i);
        REQUIRE(head >= 0 && head <= next && head < found);
        const int32_t same = wanted_int(unique_games, head);
        if (head == next) {
          CHECK_EQ_INT(same, g);
          ++next;
        }
        const seen_state mine = see(game, states + g * (int64_t)game->state_bytes, setups[g].mirrored);
        const seen_state theirs = see(game, states + same * (int64_t)game->state_bytes, setups[same].mirrored);
        CHECK_BYTES(mine.bytes, theirs.bytes, game->state_bytes);
        for (int32_t other = 0; other < found; ++other) {
          const int32_t o = wanted_int(unique_games, other);
          const seen_state seen = see(game, states + o * (int64_t)game->state_bytes, setups[o].mirrored);
          CHECK((memcmp(seen.bytes, mine.bytes, game->state_bytes) == 0) == (other == head));
        }
      }
      CHECK_EQ_INT(next, found);
    }
  }
}

// The action that inversion picks in double, or -1 when rounding could pick another: u near a boundary between
// actions (or, for argmax, two logits that are nearly equal).
static int choose(const double* logits, uint32_t mask, int actions, double temperature, int argmax, double u) {
  double top = -INFINITY, second = -INFINITY, sum = 0, cumulative = 0;
  int best = -1, last = -1;
  for (int a = 0; a < actions; ++a) {
    if (!(mask >> a & 1)) continue;
    last = a;
    if (logits[a] > top) {
      second = top;
      top = logits[a];
      best = a;
    } else if (logits[a] > second) {
      second = logits[a];
    }
  }
  if (argmax) return top - second > 1e-3 ? best : -1;
  for (int a = 0; a < actions; ++a) {
    if (mask >> a & 1) sum += exp((logits[a] - top) / temperature);
  }
  for (int a = 0; a < last; ++a) {
    if (!(mask >> a & 1)) continue;
    cumulative += exp((logits[a] - top) / temperature) / sum;
    if (fabs(u - cumulative) < 1e-5) return -1;
    if (u < cumulative) return a;
  }
  return last;
}

static bool may_end(const bw_game* game, const seen_state* seen) {
  for (int action = 0; action < game->actions; ++action) {
    seen_state next = *seen;
    if (!(game->legal(seen->bytes) >> action & 1)) continue;
    game->play(next.bytes, action);
    if (game->result(next.bytes) != BW_ONGOING) return true;
  }
  return false;
}

// Recording goes with temperature 1: what is recorded is log p under the policy itself.
static void act(const bw_game* game, int index, int64_t games, double temperature, int uniform, int argmax, int record,
                int wdl) {
  static const double kIllegal[] = {0, 1e30, (double)INFINITY, (double)NAN, -(double)INFINITY};
  const uint64_t seed = random_word();
  const int64_t slots = games * game->max_plies, state_bytes = (int64_t)game->state_bytes;
  const bw_rollout_buffers rollout = {.setups = random_setups(game, games),
                                      .states = random_states(INOUT, game, games, OVER_NEVER),
                                      .outcomes = ints(INOUT, games),
                                      .plies = ints(INOUT, games),
                                      .counts = ints(INOUT, games),
                                      .record_states = raw(OUT, slots * state_bytes),
                                      .record_actions = ints(OUT, slots),
                                      .record_players = ints(OUT, slots),
                                      .record_log_probs = reals(OUT, slots, 0, 0),
                                      .record_values = reals(OUT, slots, 0, 0),
                                      .record_wdl = reals(OUT, wdl ? 3 * slots : 1, 0, 0),
                                      .record_policies = reals(OUT, wdl ? slots * game->actions : 1, 0, 0)};
  buffer_of(rollout.record_log_probs)->sparse = buffer_of(rollout.record_values)->sparse = true;
  buffer_of(rollout.record_wdl)->sparse = buffer_of(rollout.record_policies)->sparse = true;
  set_scale(rollout.record_policies, 8);
  set_scale(rollout.record_log_probs, 8);  // of logits
  int64_t rows;
  const int64_t width = game->actions + (wdl ? 3 : 1);
  const double draw_value = 0.25;
  const bw_ref row_games = random_list(games, &rows), head = reals(IN, rows * width, -1, 1);
  const bw_ref row_heads = ints(IN, rows);  // a row's head lies anywhere
  random_order(int_values(row_heads), rows);
  const bw_game_setup* setups = raw_values(rollout.setups);
  char* states = raw_values(rollout.states);
  for (int64_t g = 0; g < games; ++g) {
    int_values(rollout.plies)[g] = (int32_t)(random_below(game->ply(states + g * state_bytes) + 1) * random_below(2));
    int_values(rollout.counts)[g] = (int32_t)random_below(int_values(rollout.plies)[g] + 1);
  }
  int* chosen = malloc((size_t)rows * sizeof *chosen);  // as the policy sees the board
  bool* deviates = calloc((size_t)rows, sizeof *deviates);
  REQUIRE(chosen && deviates);
  int64_t random_moves = 0, deviations = 0;
  for (int64_t i = 0; i < rows; ++i) {
    const int32_t g = int_values(row_games)[i];
    const seen_state seen = see(game, states + g * state_bytes, setups[g].mirrored);
    const uint32_t mask = game->legal(seen.bytes);
    const uint32_t word = bw_philox(seed, BW_STREAM_ACTION, setups[g].number, (uint32_t)game->ply(seen.bytes)).v[0];
    if (uniform) {  // the head must not be read
      uint32_t left = mask;
      for (uint32_t skip = bw_below(word, (uint32_t)__builtin_popcount(mask)); skip > 0; --skip) left &= left - 1;
      chosen[i] = __builtin_ctz(left);
      for (int64_t a = 0; a < width; ++a) real_values(head)[int_values(row_heads)[i] * width + a] = (double)NAN;
      continue;
    }
    const double size = i % 7 == 3 ? 40 : 3;  // some nearly certain
    double* logits = &real_values(head)[int_values(row_heads)[i] * width];
    do {
      for (int a = 0; a < game->actions; ++a) {
        const bool legal = mask >> a & 1;
        logits[a] = legal || i % 5 == 0 ? random_real(-size, size) : kIllegal[i % 5];
      }
      chosen[i] = choose(logits, mask, game->actions, temperature, argmax, (double)bw_uniform(word));
    } while (chosen[i] < 0);
    const int ply = game->ply(seen.bytes);
    if (int_values(rollout.plies)[g] > 0 || ply >= setups[g].deviation) continue;
    deviates[i] = !may_end(game, &seen);
    if (!deviates[i]) continue;
    int candidate = chosen[i];
    const bw_random4 random = bw_philox(seed, BW_STREAM_OPENING, setups[g].number, (uint32_t)ply);
    if (ply % 2 == setups[g].deviator && bw_uniform(random.v[0]) < 0.4f) {
      uint32_t left = mask;
      for (uint32_t skip = bw_below(random.v[1], (uint32_t)__builtin_popcount(mask)); skip > 0; --skip)
        left &= left - 1;
      candidate = __builtin_ctz(left);
    }
    ++deviations;
    random_moves += candidate != chosen[i];
    chosen[i] = candidate;
  }
  if (rows > 300 && !uniform) CHECK(deviations > 20 && random_moves > 0 && random_moves < deviations / 2);

  COMPARE(rollout_act, .game = index, .rollout = rollout, .row_games = row_games, .row_heads = row_heads, .head = head,
          .seed = seed, .rows = rows, .max_plies = game->max_plies, .temperature = temperature, .uniform = uniform,
          .argmax = argmax, .record = record, .wdl = wdl, .draw_value = draw_value, .record_policy = wdl,
          .deviation_random = 0.4);

  // The reference itself played what the host's own arithmetic chooses, and recorded it.
  for (int64_t i = 0; i < rows; ++i) {
    const int32_t g = int_values(row_games)[i];
    char* state = states + g * state_bytes;
    const seen_state seen = see(game, state, setups[g].mirrored);
    const int player = game->ply(state) & 1;
    const int action = setups[g].mirrored ? game->mirror_action(chosen[i]) : chosen[i];
    REQUIRE(game->legal(state) >> action & 1);
    game->play(state, action);
    const int result = game->result(state);
    CHECK_BYTES(wanted_raw(rollout.states) + g * state_bytes, state, game->state_bytes);
    const int outcome = result == BW_WON     ? BW_OUTCOME_FIRST + player
                        : result == BW_DRAWN ? BW_OUTCOME_DRAW
                                             : BW_OUTCOME_ONGOING;
    CHECK_EQ_INT(wanted_int(rollout.outcomes, g), outcome);
    CHECK_EQ_INT(wanted_int(rollout.plies, g), int_values(rollout.plies)[g] + !deviates[i]);
    const int before = int_values(rollout.counts)[g];
    const bool recorded = record && !uniform && !deviates[i] && (setups[g].record_both || player == setups[g].seat);
    CHECK_EQ_INT(wanted_int(rollout.counts, g), before + recorded);
    const int64_t slot = g * game->max_plies + before;
    if (recorded) {
      CHECK_EQ_INT(wanted_int(rollout.record_actions, slot), chosen[i]);
      CHECK_EQ_INT(wanted_int(rollout.record_players, slot), player);
      CHECK_BYTES(wanted_raw(rollout.record_states) + slot * state_bytes, seen.bytes, game->state_bytes);
      const double* logits = &real_values(head)[int_values(row_heads)[i] * width];
      double sum = 0;
      for (int a = 0; a < game->actions; ++a) sum += game->legal(seen.bytes) >> a & 1 ? exp(logits[a]) : 0;
      CHECK_NEAR(wanted_real(rollout.record_log_probs, slot), logits[chosen[i]] - log(sum), 1e-9);
      const double* values = logits + game->actions;
      if (wdl) {
        for (int a = 0; a < game->actions; ++a) {
          const double log_p = game->legal(seen.bytes) >> a & 1 ? logits[a] - log(sum) : 0;
          CHECK_NEAR(wanted_real(rollout.record_policies, slot * game->actions + a), log_p, 1e-9);
        }
        const double all = exp(values[0]) + exp(values[1]) + exp(values[2]);
        for (int k = 0; k < 3; ++k)
          CHECK_NEAR(wanted_real(rollout.record_wdl, 3 * slot + k), exp(values[k]) / all, 1e-12);
        CHECK_NEAR(wanted_real(rollout.record_values, slot),
                   (exp(values[0]) - exp(values[2]) + draw_value * exp(values[1])) / all, 1e-12);
      } else {
        CHECK(wanted_real(rollout.record_values, slot) == values[0]);
      }
    } else {
      CHECK(isnan(wanted_real(rollout.record_values, slot)));
    }
  }
  free(chosen);
  free(deviates);
}

static void case_rollout_act(void) {
  FOR_GAMES(game, index) {
    FOR_SIZES(games, 1, 7, 33, 100, 700) {
      act(game, index, games, 1, 0, 0, 1, 0);
      clear_case();
      act(game, index, games, 1, 0, 0, 1, 1);
      clear_case();
      act(game, index, games, 1.5, 0, 0, 0, 0);
      clear_case();
      act(game, index, games, 0.5, 0, 0, 0, 0);
      clear_case();
      act(game, index, games, 1, 0, 1, 1, 0);
      clear_case();
      act(game, index, games, 1, 1, 0, 1, 0);
    }
  }
}

static void case_sample_states(void) {
  FOR_GAMES(game, index) {
    FOR_SIZES(samples, 1, 7, 33, 700) {
      const int64_t slots = samples + 9, size = (int64_t)game->state_bytes;
      const bw_rollout_buffers rollout = {.record_states = random_states(IN, game, slots, OVER_NEVER)};
      char* states = raw_values(rollout.record_states);
      for (int64_t i = 1; i < slots; ++i) {
        if (random_below(4) != 0) memcpy(states + i * size, states + random_below(i) * size, game->state_bytes);
      }
      const bw_ref listed = ints(IN, samples), numbers = ints(OUT, slots);
      for (int64_t i = 0; i < samples; ++i)
        int_values(listed)[i] = (int32_t)(i * 9 / samples + i);  // ascending, with gaps
      int64_t table_slots = 2;
      while (table_slots < 2 * samples) table_slots *= 2;
      const bw_ref table = ints(OUT, table_slots), keys = raw(OUT, samples * 8);
      buffer_of(numbers)->sparse = buffer_of(keys)->sparse = true;
      COMPARE(sample_states, .game = index, .rollout = rollout, .slots = listed, .numbers = numbers, .table = table,
              .keys = keys, .samples = samples, .table_slots = table_slots);
      int32_t next = 0;
      for (int64_t i = 0; i < samples; ++i) {
        const int32_t slot = int_values(listed)[i], number = wanted_int(numbers, slot);
        REQUIRE(number >= 0 && number <= next);
        next += number == next;
        for (int64_t j = 0; j < i; ++j) {
          const int32_t other = int_values(listed)[j];
          CHECK((memcmp(states + other * size, states + slot * size, game->state_bytes) == 0) ==
                (wanted_int(numbers, other) == number));
        }
      }
    }
  }
}

// row_ends of a few rows with more than one sample, at least one of which has more than a vector has lanes, if
// `samples` allows; *rows becomes their number.
static bw_ref random_row_ends(int64_t samples, int64_t* rows) {
  int32_t ends[1024];
  int64_t count = 0;
  REQUIRE(samples <= 1024);
  for (int64_t end = 0; end < samples; ++count) {
    const int64_t most = random_below(4) ? 1 : random_below(4) ? 3 : 40;
    end += 1 + random_below(most);
    ends[count] = (int32_t)(end < samples ? end : samples);
  }
  const bw_ref row_ends = ints(IN, count);
  memcpy(int_values(row_ends), ends, (size_t)count * sizeof *ends);
  *rows = count;
  return row_ends;
}

static void case_sample_gather(void) {
  FOR_GAMES(game, index) {
    FOR_SIZES(samples, 1, 7, 33, 100, 700) {
      const int64_t slots = 60;
      const bw_rollout_buffers rollout = {.record_states = random_states(IN, game, slots, OVER_NEVER),
                                          .record_actions = ints(IN, slots),
                                          .record_log_probs = reals(IN, slots, -3, 0),
                                          .record_advantages = reals(IN, slots, -2, 2),
                                          .record_returns = reals(IN, slots, -1, 1),
                                          .record_wdl = reals(IN, 3 * slots, 0, 1),
                                          .record_policies = reals(IN, slots * game->actions, -3, 0)};
      const int with_wdl = samples % 2 == 0;
      int64_t rows;
      const bw_ref row_ends = random_row_ends(samples, &rows), order = ints(IN, samples);
      for (int64_t i = 0; i < slots; ++i) int_values(rollout.record_actions)[i] = (int32_t)random_below(game->actions);
      for (int64_t i = 0; i < samples; ++i) int_values(order)[i] = (int32_t)random_below(slots);
      const int observation = samples % 3 == 0;
      const bw_observer* observer = &game->observers[observation];
      const int64_t stride = 1 + observer->max_features;
      const bw_ref features = raw(OUT, rows * stride * 2), masks = ints(OUT, rows), actions = ints(OUT, samples);
      const bw_ref log_probs = reals(OUT, samples, 0, 0), advantages = reals(OUT, samples, 0, 0);
      const bw_ref returns = reals(OUT, samples, 0, 0), wdl = reals(OUT, with_wdl ? 3 * samples : 1, 0, 0);
      const int64_t kept = with_wdl ? game->actions : 0;
      const bw_ref policies = reals(OUT, with_wdl ? samples * kept : 1, 0, 0);
      buffer_of(wdl)->sparse = buffer_of(policies)->sparse = !with_wdl;
      COMPARE(sample_gather, .game = index, .rollout = rollout, .order = order, .row_ends = row_ends,
              .features = features, .masks = masks, .policies = policies, .policy_actions = kept, .actions = actions,
              .log_probs = log_probs, .advantages = advantages, .returns = returns, .wdl = wdl, .rows = rows,
              .samples = samples, .max_features = observer->max_features, .observation = observation,
              .with_wdl = with_wdl);
      for (int64_t row = 0, i = 0; row < rows; ++row) {
        const void* state = (char*)raw_values(rollout.record_states) + (size_t)int_values(order)[i] * game->state_bytes;
        uint16_t list[BW_GAME_MAX_FEATURES];
        const uint16_t* got = (const uint16_t*)(const void*)wanted_raw(features) + row * stride;
        CHECK_EQ_INT(got[0], observer->features(state, list));
        CHECK_BYTES(got + 1, list, (size_t)got[0] * 2);
        CHECK((uint32_t)wanted_int(masks, row) == game->legal(state));
        for (; i < int_values(row_ends)[row]; ++i) {
          const int32_t slot = int_values(order)[i];
          CHECK_EQ_INT(wanted_int(actions, i), int_values(rollout.record_actions)[slot]);
          CHECK(wanted_real(advantages, i) == real_values(rollout.record_advantages)[slot]);
          for (int64_t a = 0; a < kept; ++a) {
            CHECK(wanted_real(policies, i * kept + a) == real_values(rollout.record_policies)[slot * kept + a]);
          }
          for (int k = 0; with_wdl && k < 3; ++k) {
            CHECK(wanted_real(wdl, 3 * i + k) == real_values(rollout.record_wdl)[3 * slot + k]);
          }
        }
      }
    }
  }
}

// ---- playouts ----

// The moves that a playout makes, by the rules of the registry and one draw after another.
static int plain_playout(const bw_game* game, char* state, uint64_t seed, uint64_t number) {
  int moves = 0;
  for (uint32_t tries = 0; game->result(state) == BW_ONGOING; ++tries) {
    const uint32_t word = bw_philox(seed, BW_STREAM_PLAYOUT, number, tries / 24).v[tries % 24 / 6];
    const int bits = BW_ACTION_BITS(game->actions);
    const int action = (int)(word >> tries % 6 * (uint32_t)bits & ((1u << bits) - 1));
    if (action >= game->actions || !(game->legal(state) >> action & 1)) continue;
    game->play(state, action);
    ++moves;
  }
  return moves;
}

static void case_playouts(void) {
  FOR_GAMES(game, index) {
    for (int stride = 0; stride <= 1; ++stride) {
      FOR_SIZES(games, 1, 7, 33, 100, 512, 1700) {  // 1700: several runs of every thread
        const uint64_t seed = (uint64_t)random_word() << 32 | random_word();
        const uint64_t number = ((uint64_t)1 << 32) - 50;  // crosses the low word
        const bw_ref starts = random_states(IN, game, stride ? games : 1, stride ? OVER_MAYBE : OVER_NEVER);
        const bw_ref outcomes = ints(OUT, games), plies = ints(OUT, games);
        COMPARE(playouts, .game = index, .starts = starts, .outcomes = outcomes, .plies = plies, .seed = seed,
                .number = number, .games = games, .stride = stride);
        for (int64_t g = 0; g < games; ++g) {
          _Alignas(16) char state[BW_GAME_MAX_STATE_BYTES];
          memcpy(state, (char*)raw_values(starts) + (size_t)(g * stride) * game->state_bytes, game->state_bytes);
          CHECK_EQ_INT(wanted_int(plies, g), plain_playout(game, state, seed, number + (uint64_t)g));
          CHECK_EQ_INT(wanted_int(outcomes, g), game->result(state) == BW_DRAWN
                                                    ? BW_OUTCOME_DRAW
                                                    : (game->ply(state) & 1 ? BW_OUTCOME_FIRST : BW_OUTCOME_SECOND));
        }
      }
    }
  }
}

// ---- gae ----

enum { PLIES = 21 };  // any max_plies

static bw_ref random_counts(int64_t games, int64_t* total) {
  const bw_ref counts = ints(IN, games);
  *total = 0;
  for (int64_t g = 0; g < games; ++g) {
    int_values(counts)[g] = (int32_t)random_below(PLIES + 1);
    if (g == 0) int_values(counts)[g] = PLIES;
    *total += int_values(counts)[g];
  }
  return counts;
}

static void case_gae(void) {
  for (int by_player = 0; by_player <= 1; ++by_player) {
    FOR_SIZES(games, 1, 7, 33, 300) {
      int64_t total;
      const bw_rollout_buffers rollout = {.outcomes = ints(IN, games),
                                          .counts = random_counts(games, &total),
                                          .record_players = ints(IN, games * PLIES),
                                          .record_values = reals(IN, games * PLIES, -1, 1),
                                          .record_advantages = reals(OUT, games * PLIES, 0, 0),
                                          .record_returns = reals(OUT, games * PLIES, 0, 0)};
      buffer_of(rollout.record_advantages)->sparse = buffer_of(rollout.record_returns)->sparse = true;
      for (int64_t g = 0; g < games; ++g) {
        int_values(rollout.outcomes)[g] = (int32_t)(BW_OUTCOME_FIRST + random_below(3));
        for (int k = 0; k < PLIES; ++k) {  // alternating, one player only, or any
          const int64_t player = g % 3 == 0 ? k & 1 : g % 3 == 1 ? g & 1 : random_below(2);
          int_values(rollout.record_players)[g * PLIES + k] = (int32_t)player;
        }
      }
      const double draw_reward = games == 7 ? 0 : -0.25;
      COMPARE(gae, .rollout = rollout, .gamma = 0.97, .lambda = 0.9, .draw_reward = draw_reward, .games = games,
              .max_plies = PLIES, .by_player = by_player);
      for (int64_t g = 0; g < games; ++g) {  // the last move's return is the game's result
        const int count = int_values(rollout.counts)[g];
        const int64_t last = g * PLIES + count - 1;
        if (count < PLIES) CHECK(isnan(wanted_real(rollout.record_advantages, last + 1)));
        if (count == 0) continue;
        const int outcome = int_values(rollout.outcomes)[g], player = int_values(rollout.record_players)[last];
        const double reward = outcome == BW_OUTCOME_DRAW ? draw_reward : outcome - 1 == player ? 1 : -1;
        CHECK_NEAR(wanted_real(rollout.record_returns, last), reward, 1e-12);
      }
    }
  }
}

static void case_wdl_targets(void) {
  for (int by_player = 0; by_player <= 1; ++by_player) {
    FOR_SIZES(games, 1, 7, 33, 300) {
      int64_t total;
      const bw_rollout_buffers rollout = {.outcomes = ints(IN, games),
                                          .counts = random_counts(games, &total),
                                          .record_players = ints(IN, games * PLIES),
                                          .record_wdl = reals(INOUT, 3 * games * PLIES, 0, 1)};
      for (int64_t g = 0; g < games; ++g) {
        int_values(rollout.outcomes)[g] = (int32_t)(BW_OUTCOME_FIRST + random_below(3));
        for (int k = 0; k < PLIES; ++k) {
          const int64_t player = g % 3 == 0 ? k & 1 : g % 3 == 1 ? g & 1 : random_below(2);
          int_values(rollout.record_players)[g * PLIES + k] = (int32_t)player;
          double* wdl = &real_values(rollout.record_wdl)[3 * (g * PLIES + k)];
          const double sum = wdl[0] + wdl[1] + wdl[2];
          for (int j = 0; j < 3; ++j) wdl[j] = (double)(float)(wdl[j] / sum);
        }
      }
      COMPARE(wdl_targets, .rollout = rollout, .gamma = 0.97, .lambda = 0.9, .games = games, .max_plies = PLIES,
              .by_player = by_player);
      for (int64_t g = 0; g < games; ++g) {
        const int count = int_values(rollout.counts)[g], outcome = int_values(rollout.outcomes)[g];
        for (int k = 0; k < count; ++k) {  // a distribution; the last one is the outcome
          const int64_t slot = g * PLIES + k;
          const double w = wanted_real(rollout.record_wdl, 3 * slot), d = wanted_real(rollout.record_wdl, 3 * slot + 1);
          const double l = wanted_real(rollout.record_wdl, 3 * slot + 2);
          CHECK(w >= 0 && d >= 0 && l >= 0);
          CHECK_NEAR(w + d + l, 1, 1e-6);
          if (k < count - 1) continue;
          const bool won = outcome - 1 == int_values(rollout.record_players)[slot];
          CHECK((outcome == BW_OUTCOME_DRAW ? d : won ? w : l) == 1);
        }
      }
    }
  }
}

static void case_sample_list(void) {
  FOR_SIZES(games, 1, 7, 33, 700) {
    int64_t total;
    const bw_ref counts = random_counts(games, &total), count = ints(OUT, 1), slots = ints(OUT, games * PLIES);
    buffer_of(slots)->length = count.offset;
    COMPARE(sample_list, .rollout.counts = counts, .slots = slots, .count = count, .games = games, .max_plies = PLIES);
    CHECK_EQ_INT(wanted_int(count, 0), total);
  }
}

static void case_sample_moments(void) {
  FOR_SIZES(samples, 1, 7, 33, 100, 5003) {
    const int64_t records = samples + 10;
    const bw_rollout_buffers rollout = {.record_values = reals(IN, records, -1, 1),
                                        .record_advantages = reals(IN, records, -2, 3),
                                        .record_returns = reals(IN, records, -1, 1)};
    const bw_ref slots = ints(IN, records), moments = reals(OUT, 5, 0, 0);
    random_order(int_values(slots), records);
    COMPARE(sample_moments, .rollout = rollout, .slots = slots, .moments = moments, .samples = samples);
  }
}

static void case_advantage_normalize(void) {
  FOR_SIZES(samples, 1, 7, 33, 100, 10007) {
    const int64_t records = samples + 10;
    const bw_ref slots = ints(IN, records), moments = reals(IN, 5, -1, 1);
    const bw_rollout_buffers rollout = {.record_advantages = reals(INOUT, records, -2, 2)};
    random_order(int_values(slots), records);
    real_values(moments)[1] = samples == 33 ? 1e-4 : 0.8;
    set_scale(rollout.record_advantages, 1 / sqrt(real_values(moments)[1]));
    COMPARE(advantage_normalize, .rollout = rollout, .slots = slots, .moments = moments, .samples = samples);
  }
}

// ---- ppo_loss ----

static void ppo_loss(int64_t samples, int64_t actions, int with_wdl) {
  static const double kIllegal[] = {0, 1e30, (double)INFINITY, (double)NAN, -(double)INFINITY};
  const double clip = 0.2;
  const int64_t width = actions + (with_wdl ? 3 : 1);
  int64_t rows;
  const bw_ref row_ends = random_row_ends(samples, &rows);
  const bw_ref wdl = reals(IN, with_wdl ? 3 * samples : 1, 0, 1);
  const bw_ref policies = reals(IN, with_wdl ? actions * samples : 1, -4, -0.1);
  const bw_ref head = reals(IN, rows * width, -3, 3), masks = ints(IN, rows), taken = ints(IN, samples);
  const bw_ref log_probs = reals(IN, samples, 0, 0), advantages = reals(IN, samples, -2, 2);
  const bw_ref returns = reals(IN, samples, -1, 1);
  const bw_ref dhead = reals(OUT, rows * width, 0, 0), statistics = reals(OUT, samples * BW_STATISTICS, 0, 0);
  for (int64_t row = 0; row < rows; ++row) {
    uint32_t mask;
    do mask = random_word() >> (32 - actions);
    while (mask == 0);
    if (row % 6 == 5) mask &= -mask;  // a forced move
    int_values(masks)[row] = (int32_t)mask;
    for (int64_t a = 0; a < actions; ++a) {
      if (!(mask >> a & 1) && row % 5 > 0) real_values(head)[row * width + a] = kIllegal[row % 5];
    }
  }
  for (int64_t i = 0, row = 0; i < samples; ++i) {
    if (i == int_values(row_ends)[row]) ++row;
    const uint32_t mask = (uint32_t)int_values(masks)[row];
    int64_t action;
    do action = random_below(actions);
    while (!(mask >> action & 1));
    int_values(taken)[i] = (int32_t)action;
    const double* logits = &real_values(head)[row * width];
    double sum = 0;
    for (int64_t a = 0; a < actions; ++a) sum += mask >> a & 1 ? exp(logits[a]) : 0;
    // Ratios on both sides of the clipping range, but not so near its ends that rounding decides.
    const double log_prob = logits[action] - log(sum);
    double ratio;
    do {
      real_values(log_probs)[i] = (double)(float)(log_prob - random_real(-1, 1) * (i % 4 == 0 ? 3 : 0.4));
      ratio = exp(log_prob - real_values(log_probs)[i]);
    } while (fabs(ratio - 1 - clip) < 1e-4 || fabs(ratio - 1 + clip) < 1e-4);
  }
  set_scale(dhead, 20 / (double)samples);  // ratios up to e^3
  set_scale(statistics, 20);
  buffer_of(dhead)->exact_zeros = true;
  COMPARE(ppo_loss, .row_ends = row_ends, .head = head, .masks = masks, .actions_taken = taken, .log_probs = log_probs,
          .advantages = advantages, .returns = returns, .wdl = wdl, .policies = policies, .kl_coef = with_wdl ? 0.3 : 0,
          .dhead = dhead, .statistics = statistics, .rows = rows, .samples = samples, .actions = actions,
          .with_wdl = with_wdl, .clip = clip, .value_coef = 0.5, .entropy_coef = 0.02);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t a = 0; a < actions; ++a) {
      if (!(int_values(masks)[i] >> a & 1)) CHECK(wanted_real(dhead, i * width + a) == 0);
    }
  }
}

static void case_ppo_loss(void) {
  FOR_SIZES(samples, 1, 7, 33, 100, 301) {
    FOR_SIZES(actions, 1, 7, 9, 31) {
      ppo_loss(samples, actions, 0);
      clear_case();
      ppo_loss(samples, actions, 1);
    }
  }
}

static void case_ppo_statistics(void) {
  FOR_SIZES(samples, 1, 7, 33, 1000) {
    const bw_ref statistics = reals(IN, samples * BW_STATISTICS, 0, 1), totals = reals(INOUT, BW_STATISTICS, 0, 1);
    set_scale(totals, sqrt((double)samples));
    COMPARE(ppo_statistics, .statistics = statistics, .totals = totals, .samples = samples);
  }
}

// ---- optim ----

static void case_square_sum(void) {
  FOR_SIZES(n, 1, 7, 33, 100, 4096, 4097, 20001) {
    const int64_t chunk = n == 100 ? 9 : 4096;
    const bw_ref x = reals(IN, n, -1, 1), partial = reals(OUT, (n + chunk - 1) / chunk, 0, 0);
    COMPARE(square_sum, .x = x, .partial = partial, .n = n, .chunk = chunk);
  }
}

static void case_clip_scale(void) {
  for (int i = 0; i < 3; ++i) {  // off, clipping, not clipping
    FOR_SIZES(chunks, 1, 7, 33, 100) {
      const bw_ref partial = reals(IN, chunks, 1, 4), norm = reals(OUT, 2, 0, 0);
      const double max_norm = i == 0 ? 0 : i == 1 ? 0.5 : 1000;
      COMPARE(clip_scale, .partial = partial, .norm = norm, .chunks = chunks, .max_norm = max_norm);
      CHECK((wanted_real(norm, 1) == 1) == (i != 1));
    }
  }
}

static void case_adamw(void) {
  FOR_SIZES(n, 1, 7, 33, 100, 10007) {
    const bw_ref weights = reals(INOUT, n, -1, 1), gradients = reals(IN, n, -1, 1), first = reals(INOUT, n, -1, 1);
    const bw_ref second = reals(INOUT, n, 0, 1), norm = reals(IN, 2, 0.1, 1);
    const double lr = 0.01, step_size = lr / (1 - 0.9 * 0.9 * 0.9), second_scale = 1 / (1 - 0.999 * 0.999 * 0.999);
    for (int64_t i = 0; i < n; i += 5) real_values(second)[i] = real_values(first)[i] = 0;  // a weight's first step
    COMPARE(adamw, .weights = weights, .gradients = gradients, .first = first, .second = second, .norm = norm, .n = n,
            .lr = lr, .step_size = step_size, .beta1 = 0.9, .beta2 = 0.999, .second_scale = second_scale,
            .epsilon = 1e-8, .weight_decay = n == 33 ? 0 : 0.1);
  }
}

static void case_muon_momentum(void) {
  FOR_SIZES(n, 1, 7, 33, 100, 10007) {
    const bw_ref gradients = reals(IN, n, -1, 1), momentum = reals(INOUT, n, -1, 1), update = reals(OUT, n, 0, 0);
    const bw_ref norm = reals(IN, 2, 0.1, 1);
    COMPARE(muon_momentum, .gradients = gradients, .momentum = momentum, .update = update, .norm = norm, .n = n,
            .beta = 0.95);
  }
}

static void case_muon_normalize(void) {
  FOR_SIZES(n, 1, 7, 33, 100, 20001) {
    const bw_ref x = reals(INOUT, n, -1, 1);
    COMPARE(muon_normalize, .x = x, .n = n);
  }
}

static void case_muon_apply(void) {
  FOR_SIZES(n, 1, 7, 33, 100, 10007) {
    const bw_ref weights = reals(INOUT, n, -1, 1), update = reals(IN, n, -1, 1);
    COMPARE(muon_apply, .weights = weights, .update = update, .n = n, .lr = 0.02, .scale = 1.7, .weight_decay = 0.1);
  }
}

// ---- composites ----

// All three at once: a device packs the weight and runs forward, backward and gradient.
typedef struct linear_case {
  bw_weight weight;
  bw_linear_forward_args forward;
  bw_linear_backward_args backward;
  bw_linear_gradient_args gradient;
} linear_case;

static void run_linear(bw_device* device, int op, const void* args) {
  const linear_case* c = args;
  bw_weight_pack(device, &c->weight, op == OP_LINEAR_BACKWARD);
  if (op == OP_LINEAR_FORWARD) bw_linear_forward(device, &c->forward);
  if (op == OP_LINEAR_BACKWARD) bw_linear_backward(device, &c->backward);
  if (op == OP_LINEAR_GRADIENT) bw_linear_gradient(device, &c->gradient);
}

static void linear(int op, int64_t rows, int64_t out, int64_t in, int activation) {
  clear_case();
  linear_case c = {.weight = {.out = out, .in = in}};
  bw_weight* w = &c.weight;
  w->master = reals(IN, out * in, -1, 1);
  w->packed_forward = packed(out, in, 0);
  const bw_ref x = reals(IN, rows * in, -1, 1), dy = reals(IN, rows * out, -1, 1);
  if (op == OP_LINEAR_FORWARD) {
    const bw_ref bias = reals(IN, out, -1, 1), y = reals(OUT, rows * out, 0, 0);
    set_scale(y, sqrt((double)in));
    c.forward =
        (bw_linear_forward_args){.weight = w, .bias = bias, .x = x, .y = y, .rows = rows, .activation = activation};
  } else if (op == OP_LINEAR_BACKWARD) {
    w->packed_backward = packed(out, in, 1);
    const bw_ref dx = reals(OUT, rows * in, 0, 0);
    set_scale(dx, sqrt((double)out));
    c.backward =
        (bw_linear_backward_args){.weight = w, .dy = dy, .dx = dx, .x = x, .rows = rows, .activation = activation};
  } else {
    w->gradient = reals(OUT, out * in, 0, 0);
    const bw_ref bias_gradient = reals(OUT, out, 0, 0);
    set_scale(w->gradient, sqrt((double)rows));
    set_scale(bias_gradient, sqrt((double)rows));
    c.gradient = (bw_linear_gradient_args){.weight = w, .bias_gradient = bias_gradient, .x = x, .dy = dy, .rows = rows};
  }
  compare_by(op, &c, run_linear);
}

static void test_linear(void) {
  static const int64_t kWidths[] = {1, 7, 8, 10, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100};
  enum { WIDTHS = sizeof kWidths / sizeof kWidths[0] };
  for (int op = OP_LINEAR_FORWARD; op <= OP_LINEAR_GRADIENT; ++op) {
    for (int64_t rows = 1; rows <= 70; ++rows) {
      const int64_t out = kWidths[rows * 5 % WIDTHS], in = kWidths[(rows * 3 + rows / WIDTHS) % WIDTHS];
      linear(op, rows, out, in, rows % 2 ? BW_ACTIVATION_RELU : BW_ACTIVATION_NONE);
    }
    // Large enough to be split over threads, by rows and by columns.
    linear(op, 300, 65, 47, BW_ACTIVATION_RELU);
    linear(op, 70, 200, 129, BW_ACTIVATION_NONE);
  }
}

// y[rows][out] of the first `rows` rows of x[300][in], computed in batches of `batch` rows.
static void forward_in_batches(bw_device* device, const linear_case* c, int64_t rows, int64_t batch, float* y) {
  bw_weight_pack(device, &c->weight, 0);
  for (int64_t first = 0; first < rows; first += batch) {
    bw_linear_forward_args args = c->forward;
    args.x = bw_ref_at(args.x, (uint64_t)(first * c->weight.in) * 4);
    args.y = bw_ref_at(args.y, (uint64_t)(first * c->weight.out) * 4);
    args.rows = rows - first < batch ? rows - first : batch;
    bw_linear_forward(device, &args);
  }
  REQUIRE(bw_download_real(device, y, c->forward.y, rows * c->weight.out, NULL) == BW_OK);
}

// A row's bits do not depend on the rows beside it, nor on the number of threads.
static void test_batch_invariance(void) {
  static const int64_t kShapes[][2] = {{10, 64}, {64, 27}, {129, 65}, {8, 126}, {1, 1}};
  enum { ROWS = 300 };
  for (int s = 0; s < 5; ++s) {
    clear_case();
    const int64_t out = kShapes[s][0], in = kShapes[s][1];
    linear_case c = {.weight = {.out = out, .in = in}};
    c.weight.master = reals(IN, out * in, -1, 1);
    c.weight.packed_forward = packed(out, in, 0);
    const bw_ref bias = reals(IN, out, -1, 1), x = reals(IN, ROWS * in, -1, 1), y_ref = reals(OUT, ROWS * out, 0, 0);
    c.forward = (bw_linear_forward_args){
        .weight = &c.weight, .bias = bias, .x = x, .y = y_ref, .rows = ROWS, .activation = s % 2};
    const size_t bytes = (size_t)(ROWS * out) * sizeof(float);
    float *first = malloc(bytes), *y = malloc(bytes);
    REQUIRE(first && y);
    int bits = 0;
    for (int i = 0; i < device_count; ++i) {
      bw_device* device = devices[i].device;
      static const int64_t kBatches[] = {300, 1, 5, 64, 17};
      for (int b = 0; b < 5; ++b) {
        make_image(&devices[i], bench.before);
        device->backend->upload(device, (bw_ref){0, 0}, bench.before, (size_t)bench.used);
        forward_in_batches(device, &c, ROWS, kBatches[b], y);
        if (b == 0 && (devices[i].bits == 0 || devices[i].bits != bits)) memcpy(first, y, bytes);
        CHECK_MSG(memcmp(first, y, bytes) == 0, "linear_forward %lldx%lld on %s: bits in batches of %lld differ",
                  (long long)out, (long long)in, devices[i].name, (long long)kBatches[b]);
      }
      bits = devices[i].bits;
    }
    free(first);
    free(y);
  }
}

// ---- all ----

// A line in ops.def without a case here does not compile.
static void (*const kCases[BW_OP_COUNT])(void) = {
#define OP(name, items, flops, bytes) [BW_OP_##name] = case_##name,
#define GAME_OP(name, items, flops, bytes) [BW_OP_##name] = case_##name,
#include "../../csrc/device/ops.def"
#undef OP
#undef GAME_OP
};

int main(int argc, char** argv) {
  const bool verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
  unsigned char** const images[] = {&bench.before, &bench.wanted, &bench.got, &bench.previous};
  for (int i = 0; i < 4; ++i) REQUIRE((*images[i] = malloc(ARENA_BYTES)) != NULL);
  create_devices();
  for (int op = 0; op < BW_OP_COUNT; ++op) {
    random_state = (uint64_t)op * 1000003;
    kCases[op]();
  }
  test_linear();
  test_batch_invariance();
  for (int op = 0; op < OP_COUNT; ++op) {
    CHECK_MSG(launches[op] > 0, "%s was never compared", name_of(op));
    if (verbose) {
      printf("%-20s %4d launches, worst error %.3f of its tolerance\n", name_of(op), launches[op], worst_share[op]);
    }
  }
  clear_case();
  destroy_devices();
  for (int i = 0; i < 4; ++i) free(*images[i]);
  return check_summary("parity");
}
