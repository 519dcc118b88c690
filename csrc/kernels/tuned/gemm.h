// The CPU's matrix product: three shapes that training a network needs, one micro-kernel an instruction set.
//
// Exactness: every output element is one chain of multiply-adds over the contracted index in ascending order,
// whatever the number of rows, the tile or the thread. So a row's result does not depend on the batch that it is
// computed in, nor on the number of threads, and collection and update give equal bits.
//
// Weights are row-major [out][in] (as in PyTorch). They are packed once an update in two forms, into panels of
// `panel` columns of the output: forward (Y = X W^T contracts `in`) and backward (dX = dY W contracts `out`).
// A table with `bf16` set rounds the factors to bf16 (nearest, ties to even; what is below the normal numbers becomes
// 0), and only them: matrices in memory, sums, bias and activation stay fp32. The contracted index goes in pairs (2k,
// 2k+1), the odd one added first, each rounded; an odd end is filled with zeros. Where a contracted index is cut, for
// packing a range of it or for an outer product in several calls, every cut but the end must be even.
//
// Pure functions on host memory, no threads inside: the CPU backend splits outputs over its pool.
#ifndef BW_KERNELS_GEMM_H
#define BW_KERNELS_GEMM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum bw_activation { BW_ACT_NONE = 0, BW_ACT_RELU = 1 } bw_activation;

typedef struct bw_gemm {
  const char* name;  // "portable", "neon", "avx2", "avx512", "avx512bf16"
  int panel;         // output columns in a packed panel (e.g. 32)
  int row_tile;      // output rows of the micro-kernel (e.g. 8): split work at multiples of it
  int bf16;          // 1: factors are rounded to bf16 and contracted in pairs, see above; 0: fp32
  int whole;         // 1: a product must be asked for in one call (see gemm_cblas.c); 0: any split gives equal bits

  // Packs a matrix B[contract][columns], given as element (c, n) = b[c*stride_c + n*stride_n], into
  // ceil(columns/panel) panels of [contract][panel], zero-filled beyond `columns`. Packs panels
  // first_panel <= p < last_panel and of them first_contract <= c < last_contract, so that what depends on a few rows
  // of a weight matrix can be renewed alone: whole panels of its forward form, a range of c in all panels of its
  // backward form. packed: 64-byte aligned, bw_gemm_packed_floats; bf16 panels are [ceil(contract/2)][panel]
  // pairs of bf16.
  void (*pack)(const float* b, int64_t stride_c, int64_t stride_n, int contract, int columns, int first_panel,
               int last_panel, int first_contract, int last_contract, float* packed);

  // C[m][n] = act(bias[n] + sum_c A[m][c] B[c][n]) for rows [0, rows) and panels [first_panel, last_panel).
  // a: row stride lda >= contract. c: row stride ldc. bias may be NULL. The sum starts at 0, ascends in c, and
  // bias is added last. gate: NULL, or numbers that lie as C's do: C is 0 where they are not above 0, the gradient of
  // ReLU (then bias and activation must be none).
  void (*multiply)(const float* a, int64_t lda, const float* packed, int rows, int contract, int columns,
                   int first_panel, int last_panel, const float* bias, bw_activation activation, const float* gate,
                   float* c, int64_t ldc);

  // Weight gradient: G[i][j] (+)= sum_m P[m][i] Q[m][j] for i in [first_row, last_row), all j < columns.
  // p: [rows][*] row stride ldp, q: [rows][*] row stride ldq, g: row stride ldg. Ascends in m. accumulate != 0 goes on
  // with the chain from G, so that rows in several calls give the same bits as in one.
  void (*outer)(const float* p, int64_t ldp, const float* q, int64_t ldq, int rows, int first_row, int last_row,
                int columns, int accumulate, float* g, int64_t ldg);
} bw_gemm;

extern const bw_gemm bw_gemm_portable;
extern const bw_gemm bw_gemm_neon;  // these four are declared always, defined where the build has them
extern const bw_gemm bw_gemm_avx2;  // (see core/cpu.h)
extern const bw_gemm bw_gemm_avx512;
extern const bw_gemm bw_gemm_avx512bf16;

// Size of a packed matrix in units of 4 bytes: a float, or a pair of bf16.
static inline int64_t bw_gemm_packed_floats(const bw_gemm* gemm, int64_t contract, int64_t columns) {
  return (columns + gemm->panel - 1) / gemm->panel * gemm->panel * (gemm->bf16 ? (contract + 1) / 2 : contract);
}

// The signature of cblas_sgemm (order, transposes, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc).
typedef void (*bw_sgemm)(int, int, int, int, int, int, float, const float*, int, const float*, int, float, float*, int);
const bw_gemm* bw_gemm_cblas(bw_sgemm function);  // products by that function; one a process
const bw_gemm* bw_gemm_accelerate(void);          // Apple's, or NULL where there is none

#ifdef __cplusplus
}
#endif
#endif
