// Matrix products through a cblas_sgemm that the system ships: Accelerate on Apple, whose matrix units no public
// instruction reaches. Opened at run time, so that nothing is linked.
//
// The library chooses the order of its sums, so `whole` asks the backend for one call a product: bits then don't
// depend on our threads. They may depend on the batch: on such a device ratios start within 1e-5 of 1, not at 1.
#include <string.h>

#include "gemm.h"
#ifdef __APPLE__
#include <dlfcn.h>
#endif

enum { PANEL = 32, ROW_MAJOR = 101, NO_TRANSPOSE = 111, TRANSPOSE = 112 };

static bw_sgemm sgemm;

// The packed form is plain row-major [contract][padded columns], so that a range of panels is one product.
static int64_t padded(int columns) { return (int64_t)(columns + PANEL - 1) / PANEL * PANEL; }

static void pack(const float* b, int64_t stride_c, int64_t stride_n, int contract, int columns, int first_panel,
                 int last_panel, int first_contract, int last_contract, float* packed) {
  (void)contract;
  const int64_t ld = padded(columns);
  for (int c = first_contract; c < last_contract; ++c) {
    for (int64_t n = (int64_t)first_panel * PANEL; n < (int64_t)last_panel * PANEL; ++n) {
      packed[c * ld + n] = n < columns ? b[c * stride_c + n * stride_n] : 0;
    }
  }
}

static void multiply(const float* a, int64_t lda, const float* packed, int rows, int contract, int columns,
                     int first_panel, int last_panel, const float* bias, bw_activation activation, const float* gate,
                     float* c, int64_t ldc) {
  const int first = first_panel * PANEL;
  const int last = last_panel * PANEL < columns ? last_panel * PANEL : columns;
  if (rows <= 0 || first >= last) return;
  sgemm(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, rows, last - first, contract, 1.0f, a, (int)lda, packed + first,
        (int)padded(columns), 0.0f, c + first, (int)ldc);
  if (!bias && activation == BW_ACT_NONE && !gate) return;
  for (int i = 0; i < rows; ++i) {
    for (int n = first; n < last; ++n) {
      const float v = c[i * ldc + n] + (bias ? bias[n] : 0.0f);
      const int cleared = (activation == BW_ACT_RELU && v < 0) || (gate && !(gate[i * ldc + n] > 0));
      c[i * ldc + n] = cleared ? 0.0f : v;
    }
  }
}

static void outer(const float* p, int64_t ldp, const float* q, int64_t ldq, int rows, int first_row, int last_row,
                  int columns, int accumulate, float* g, int64_t ldg) {
  if (first_row >= last_row || columns <= 0) return;
  sgemm(ROW_MAJOR, TRANSPOSE, NO_TRANSPOSE, last_row - first_row, columns, rows, 1.0f, p + first_row, (int)ldp, q,
        (int)ldq, accumulate ? 1.0f : 0.0f, g + first_row * ldg, (int)ldg);
}

static const bw_gemm kCblas = {
    .name = "cblas", .panel = PANEL, .row_tile = 8, .whole = 1, .pack = pack, .multiply = multiply, .outer = outer};

const bw_gemm* bw_gemm_cblas(bw_sgemm function) {
  sgemm = function;
  return &kCblas;
}

const bw_gemm* bw_gemm_accelerate(void) {
#ifdef __APPLE__
  void* library = dlopen("/System/Library/Frameworks/Accelerate.framework/Accelerate", RTLD_LAZY | RTLD_LOCAL);
  void* symbol = library ? dlsym(library, "cblas_sgemm") : NULL;
  bw_sgemm function = NULL;
  memcpy(&function, &symbol, sizeof function);  // ISO C has no cast from an object pointer to a function
  return function ? bw_gemm_cblas(function) : NULL;
#else
  return NULL;
#endif
}
