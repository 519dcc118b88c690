// The cblas variant's arguments and layouts, on machines without Accelerate: a plain sgemm stands in for the library.
#include "../../csrc/kernels/tuned/gemm.h"
#include "check.h"

static int calls;

static void plain_sgemm(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha, const float* a,
                        int lda, const float* b, int ldb, float beta, float* c, int ldc) {
  REQUIRE(order == 101 && (transpose_a == 111 || transpose_a == 112) && transpose_b == 111);
  ++calls;
  for (int i = 0; i < m; ++i) {
    for (int j = 0; j < n; ++j) {
      double sum = 0;
      for (int l = 0; l < k; ++l)
        sum += (double)(transpose_a == 112 ? a[l * lda + i] : a[i * lda + l]) * (double)b[l * ldb + j];
      // As BLAS has it: with beta 0 the old value is not read.
      c[i * ldc + j] = (float)((double)alpha * sum + (beta == 0 ? 0 : (double)beta * (double)c[i * ldc + j]));
    }
  }
}

static float noise(void) {
  static uint32_t state = 1;
  state = state * 1664525u + 1013904223u;
  return (float)(state >> 8) / 8388608.0f - 1;
}

static void test_multiply(const bw_gemm* gemm, int rows, int contract, int columns, int odd) {
  enum { MAX = 100 };
  static float a[MAX * MAX], b[MAX * MAX], packed[MAX * 128], c[MAX * MAX], gate[MAX * MAX], bias[MAX];
  for (int i = 0; i < rows * contract; ++i) a[i] = noise();
  for (int i = 0; i < contract * columns; ++i) b[i] = noise();
  for (int i = 0; i < columns; ++i) bias[i] = noise();
  for (int i = 0; i < rows * columns; ++i) gate[i] = i % 5 == 0 ? 0 : noise();
  for (int i = 0; i < MAX * MAX; ++i) c[i] = NAN;
  const int panels = (columns + gemm->panel - 1) / gemm->panel;
  for (int p = 0; p < panels; ++p)
    gemm->pack(b, 1, contract, contract, columns, p, p + 1, 0, contract, packed);  // b is [columns][contract]
  gemm->multiply(a, contract, packed, rows, contract, columns, 0, panels, odd ? NULL : bias,
                 odd ? BW_ACT_NONE : BW_ACT_RELU, odd ? gate : NULL, c, columns);
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < columns; ++j) {
      double wanted = odd ? 0 : (double)bias[j];
      for (int k = 0; k < contract; ++k) wanted += (double)a[i * contract + k] * (double)b[j * contract + k];
      if (!odd && wanted < 0) wanted = 0;
      if (odd && !(gate[i * columns + j] > 0)) wanted = 0;
      CHECK_NEAR(c[i * columns + j], wanted, 1e-5);
    }
  }
  float* g = c;
  for (int i = 0; i < MAX * MAX; ++i) g[i] = odd ? 0.5f : NAN;
  // a: [contract rows][rows], here as p; b as q [contract][columns]
  gemm->outer(a, rows, b, columns, contract, 1, rows, columns, odd, g, columns);
  for (int i = 1; i < rows; ++i) {
    for (int j = 0; j < columns; ++j) {
      double wanted = odd ? 0.5 : 0;
      for (int m = 0; m < contract; ++m) wanted += (double)a[m * rows + i] * (double)b[m * columns + j];
      CHECK_NEAR(g[i * columns + j], wanted, 1e-5);
    }
  }
}

int main(void) {
  const bw_gemm* gemm = bw_gemm_cblas(plain_sgemm);
  const int sizes[] = {1, 2, 9, 31, 32, 33, 64, 100};
  for (int i = 0; i < 8; ++i) {
    for (int j = 0; j < 8; ++j) test_multiply(gemm, sizes[i], sizes[(i + j) % 8], sizes[j], j % 2);
  }
  CHECK(calls > 64);
#ifndef __APPLE__
  CHECK(bw_gemm_accelerate() == NULL);
#endif
  return check_summary("gemm_cblas");
}
