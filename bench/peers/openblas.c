// The update of a self-play PPO iteration and the products that it is made of, in plain C on OpenBLAS: every matrix
// product is one cblas_sgemm on row-major matrices, everything else ordinary loops that the compiler vectorises, shared
// out over OpenMP threads where that pays. Nothing is packed by us and nothing fused into a product.
//
//   native.sh openblas update --game tictactoe|connect4 [--threads T] [--repeats N] [--samples S]
//   native.sh openblas product --product forward|dx|dw|all [--rows M | --rows all] [--threads T] [--seconds S]
//   native.sh openblas check [--threads T]
//
// update: the optimiser steps of one iteration by the recipe of bench/README.md (no game is played: the batch is
// random), so less than an iteration. One line of JSON: name (update/GAME), system, version, threads, precision,
// parameters, samples, steps, median_ms, p10_ms and p90_ms of an update, update_ms_per_step.
//
// product: forward Y[M, 256] = X W^T, dx dX[M, 256] = dY W, dw dW[256, 256] = dY^T X, for M of 64 to 2048. One line of
// JSON a product and size: name (gemm/forward, ...), shape, M, N, K, system, version, threads, precision, median_ms,
// p10_ms and p90_ms of a call (samples are of many calls), gflops of the median.
//
// check: the gradients of both nets against central differences of the loss, which is computed in double by other code,
// and the products against double; the exit status says whether they agree.
//
// Threads 0 (the default) are all of OMP_NUM_THREADS, or every core.
#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WIDTH = 256, MAX_ACTIONS = 9, MAX_DEPTH = 6, MAX_OUTPUTS = MAX_ACTIONS + 1, MAX_SAMPLES = 4096 };

// Loops over fewer numbers than this are not worth a parallel region (about 2 us on bound threads).
enum { SHARED = 1 << 15 };

typedef struct recipe {
  const char* name;
  int inputs, actions, depth, minibatch, epochs, samples;  // samples: of an iteration after the first ones
  bool residual;                                           // resmlp, else mlp
  float clip, entropy, lr;
} recipe;

static const recipe kRecipes[] = {
    {"tictactoe", 27, 9, 4, 64, 4, 1848, false, 0.1f, 0.05f, 3e-3f},
    {"connect4", 126, 7, 6, 256, 4, 19060, true, 0.2f, 0.001f, 3e-4f},
};
static const float kValueCoef = 0.5f, kMaxNorm = 0.5f, kBeta1 = 0.9f, kBeta2 = 0.999f, kEpsilon = 1e-8f;
static const float kNormEpsilon = 1e-5f;

static void* take(size_t count, size_t size) {
  void* memory = NULL;
  if (posix_memalign(&memory, 64, (count * size + 63) / 64 * 64) != 0) {
    fprintf(stderr, "openblas: out of memory\n");
    exit(1);
  }
  memset(memory, 0, count * size);
  return memory;
}

static float* floats(size_t count) { return take(count, sizeof(float)); }

// ---- random numbers (xorshift64) ----

static uint64_t random_state = 88172645463325252u;

static uint64_t random_bits(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

static float uniform(float low, float high) {
  return low + (high - low) * (float)(random_bits() >> 40) * (1.0f / 16777216.0f);
}

static int below(int bound) { return (int)((random_bits() >> 32) * (uint64_t)bound >> 32); }

// ---- the net: weights [out][in] row-major, all parameters in one array ----

typedef struct linear {
  size_t weight, bias;  // offsets
  int in, out;
} linear;

typedef struct norm {
  size_t gain, shift;
} norm;

typedef struct net {
  const recipe* r;
  linear trunk[MAX_DEPTH], head;
  norm norms[MAX_DEPTH];  // of block k (from 1); [0]: the final one
  size_t parameters;
} net;

static linear add_linear(net* n, int in, int out) {
  const linear l = {n->parameters, n->parameters + (size_t)in * (size_t)out, in, out};
  n->parameters = l.bias + (size_t)out;
  return l;
}

static norm add_norm(net* n) {
  const norm added = {n->parameters, n->parameters + WIDTH};
  n->parameters += 2 * WIDTH;
  return added;
}

static net make_net(const recipe* r) {
  net n = {.r = r};
  for (int k = 0; k < r->depth; ++k) {
    if (r->residual && k > 0) n.norms[k] = add_norm(&n);
    n.trunk[k] = add_linear(&n, k ? WIDTH : r->inputs, WIDTH);
  }
  if (r->residual) n.norms[0] = add_norm(&n);
  n.head = add_linear(&n, WIDTH, r->actions + 1);  // logits, then the value
  return n;
}

static void init_linear(const linear* l, float* w) {
  const float bound = 1 / sqrtf((float)l->in);
  for (size_t i = l->weight; i < l->bias + (size_t)l->out; ++i) w[i] = uniform(-bound, bound);
}

static void init_norm(const norm* n, float* w) {
  for (int j = 0; j < WIDTH; ++j) {
    w[n->gain + (size_t)j] = 1;
    w[n->shift + (size_t)j] = 0;
  }
}

static void init_net(const net* n, float* w) {
  for (int k = 0; k < n->r->depth; ++k) {
    init_linear(&n->trunk[k], w);
    if (n->r->residual) init_norm(&n->norms[k], w);
  }
  init_linear(&n->head, w);
}

// ---- buffers of a minibatch, [rows][WIDTH] but for x and the heads ----

typedef struct work {
  float *x, *head, *dhead;
  float* y[MAX_DEPTH + 1];   // mlp: outputs of the layers; resmlp: the residual stream before block k, and at the end
  float* normed[MAX_DEPTH];  // LayerNorm's outputs: inputs of block k (from 1); [0]: of the head
  float* derivative[MAX_DEPTH];  // gelu' of block k
  float *mean[MAX_DEPTH], *rstd[MAX_DEPTH];
  float *dy, *dz;
} work;

static work make_work(const recipe* r, int rows) {
  const size_t n = (size_t)rows;
  work s = {.x = floats(n * (size_t)r->inputs),
            .head = floats(n * MAX_OUTPUTS),
            .dhead = floats(n * MAX_OUTPUTS),
            .dy = floats(n * WIDTH),
            .dz = floats(n * WIDTH)};
  for (int k = 0; k <= r->depth; ++k) s.y[k] = floats(n * WIDTH);
  for (int k = 0; r->residual && k < r->depth; ++k) {
    s.normed[k] = floats(n * WIDTH);
    s.derivative[k] = floats(n * WIDTH);
    s.mean[k] = floats(n);
    s.rstd[k] = floats(n);
  }
  return s;
}

// ---- layers ----

// y = x W^T
static void product_forward(const float* x, const float* weight, float* y, int rows, int in, int out) {
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, out, in, 1, x, in, weight, in, 0, y, out);
}

// dx = dy W
static void product_dx(const float* dy, const float* weight, float* dx, int rows, int in, int out) {
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, in, out, 1, dy, out, weight, in, 0, dx, in);
}

// dW = dy^T x
static void product_dw(const float* dy, const float* x, float* dw, int rows, int in, int out) {
  cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, out, in, rows, 1, dy, out, x, in, 0, dw, in);
}

static void linear_forward(const linear* l, const float* w, const float* x, float* y, int rows) {
  product_forward(x, w + l->weight, y, rows, l->in, l->out);
}

static void add_bias(const float* restrict bias, float* restrict y, int rows, int columns) {
#pragma omp parallel for if (rows * columns >= SHARED)
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < columns; ++j) y[i * columns + j] += bias[j];
  }
}

static void add_bias_relu(const float* restrict bias, float* restrict y, int rows) {
#pragma omp parallel for if (rows * WIDTH >= SHARED)
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < WIDTH; ++j) {
      const float v = y[i * WIDTH + j] + bias[j];
      y[i * WIDTH + j] = v > 0 ? v : 0;
    }
  }
}

static void relu_backward(const float* restrict y, float* restrict dy, int rows) {
#pragma omp parallel for if (rows * WIDTH >= SHARED)
  for (int i = 0; i < rows * WIDTH; ++i) dy[i] = y[i] > 0 ? dy[i] : 0;
}

// Weight and bias gradients.
static void linear_gradient(const linear* l, const float* restrict dy, const float* x, float* restrict g, int rows) {
  product_dw(dy, x, g + l->weight, rows, l->in, l->out);
  float* restrict db = g + l->bias;
  for (int j = 0; j < l->out; ++j) db[j] = 0;
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < l->out; ++j) db[j] += dy[i * l->out + j];
  }
}

static void norm_forward(const norm* n, const float* w, const float* restrict x, float* restrict y,
                         float* restrict mean, float* restrict rstd, int rows) {
  const float* restrict gain = w + n->gain, * restrict shift = w + n->shift;
#pragma omp parallel for if (rows * WIDTH >= SHARED)
  for (int i = 0; i < rows; ++i) {
    const float* row = x + i * WIDTH;
    float sum = 0, squares = 0;
    for (int j = 0; j < WIDTH; ++j) sum += row[j];
    const float m = sum / WIDTH;
    for (int j = 0; j < WIDTH; ++j) squares += (row[j] - m) * (row[j] - m);
    const float r = 1 / sqrtf(squares / WIDTH + kNormEpsilon);
    for (int j = 0; j < WIDTH; ++j) y[i * WIDTH + j] = (row[j] - m) * r * gain[j] + shift[j];
    mean[i] = m;
    rstd[i] = r;
  }
}

// dx (+)= gradient of x; gradients of gain and shift into g.
static void norm_backward(const norm* n, const float* w, const float* restrict x, const float* restrict mean,
                          const float* restrict rstd, const float* restrict dy, float* restrict dx, int accumulate,
                          float* restrict g, int rows) {
  const float* restrict gain = w + n->gain;
#pragma omp parallel for if (rows * WIDTH >= SHARED)
  for (int i = 0; i < rows; ++i) {
    const float m = mean[i], r = rstd[i];
    float sum = 0, dot = 0;
    for (int j = 0; j < WIDTH; ++j) {
      const float d = dy[i * WIDTH + j] * gain[j];
      sum += d;
      dot += d * (x[i * WIDTH + j] - m) * r;
    }
    sum /= WIDTH;
    dot /= WIDTH;
    if (accumulate) {
      for (int j = 0; j < WIDTH; ++j)
        dx[i * WIDTH + j] += r * (dy[i * WIDTH + j] * gain[j] - sum - (x[i * WIDTH + j] - m) * r * dot);
    } else {
      for (int j = 0; j < WIDTH; ++j)
        dx[i * WIDTH + j] = r * (dy[i * WIDTH + j] * gain[j] - sum - (x[i * WIDTH + j] - m) * r * dot);
    }
  }
  enum { STRIP = 64 };  // columns a thread sums up over all rows
#pragma omp parallel for if (rows * WIDTH >= SHARED)
  for (int base = 0; base < WIDTH; base += STRIP) {
    float dgain[STRIP] = {0}, dshift[STRIP] = {0};
    for (int i = 0; i < rows; ++i) {
      const float m = mean[i], r = rstd[i];
      for (int j = 0; j < STRIP; ++j) {
        const int at = i * WIDTH + base + j;
        dgain[j] += dy[at] * (x[at] - m) * r;
        dshift[j] += dy[at];
      }
    }
    memcpy(g + n->gain + base, dgain, sizeof dgain);
    memcpy(g + n->shift + base, dshift, sizeof dshift);
  }
}

// y = x + gelu(z + bias), tanh form; z becomes gelu'(z + bias). tanh(u) = 1 - 2 / (e^2u + 1).
static void gelu_residual(const float* restrict bias, const float* restrict x, float* restrict z, float* restrict y,
                          int rows) {
#pragma omp parallel for if (rows * WIDTH >= SHARED)
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < WIDTH; ++j) {
      const float v = z[i * WIDTH + j] + bias[j];
      const float u = 0.7978845608f * (v + 0.044715f * v * v * v);
      const float t = 1 - 2 / (expf(2 * u) + 1);
      y[i * WIDTH + j] = x[i * WIDTH + j] + 0.5f * v * (1 + t);
      z[i * WIDTH + j] = 0.5f * (1 + t) + 0.5f * v * (1 - t * t) * 0.7978845608f * (1 + 0.134145f * v * v);
    }
  }
}

static void multiply(const float* restrict a, const float* restrict b, float* restrict c, int n) {
#pragma omp parallel for if (n >= SHARED)
  for (int i = 0; i < n; ++i) c[i] = a[i] * b[i];
}

// ---- the net, forward and backward; the head's outputs are in s->head ----

static void forward(const net* n, const float* w, work* s, int rows) {
  const recipe* r = n->r;
  linear_forward(&n->trunk[0], w, s->x, s->y[0], rows);
  if (!r->residual) {
    add_bias_relu(w + n->trunk[0].bias, s->y[0], rows);
    for (int k = 1; k < r->depth; ++k) {
      linear_forward(&n->trunk[k], w, s->y[k - 1], s->y[k], rows);
      add_bias_relu(w + n->trunk[k].bias, s->y[k], rows);
    }
    linear_forward(&n->head, w, s->y[r->depth - 1], s->head, rows);
  } else {
    add_bias(w + n->trunk[0].bias, s->y[0], rows, WIDTH);
    for (int k = 1; k < r->depth; ++k) {
      norm_forward(&n->norms[k], w, s->y[k - 1], s->normed[k], s->mean[k], s->rstd[k], rows);
      linear_forward(&n->trunk[k], w, s->normed[k], s->derivative[k], rows);
      gelu_residual(w + n->trunk[k].bias, s->y[k - 1], s->derivative[k], s->y[k], rows);
    }
    norm_forward(&n->norms[0], w, s->y[r->depth - 1], s->normed[0], s->mean[0], s->rstd[0], rows);
    linear_forward(&n->head, w, s->normed[0], s->head, rows);
  }
  add_bias(w + n->head.bias, s->head, rows, r->actions + 1);
}

// From s->dhead to the gradient of every parameter.
static void backward(const net* n, const float* w, work* s, float* g, int rows) {
  const recipe* r = n->r;
  const int last = r->depth - 1;
  linear_gradient(&n->head, s->dhead, r->residual ? s->normed[0] : s->y[last], g, rows);
  if (!r->residual) {
    product_dx(s->dhead, w + n->head.weight, s->dy, rows, WIDTH, n->head.out);
    for (int k = last; k > 0; --k) {
      relu_backward(s->y[k], s->dy, rows);
      linear_gradient(&n->trunk[k], s->dy, s->y[k - 1], g, rows);
      product_dx(s->dy, w + n->trunk[k].weight, s->dz, rows, WIDTH, WIDTH);
      float* swap = s->dy;
      s->dy = s->dz;
      s->dz = swap;
    }
    relu_backward(s->y[0], s->dy, rows);
  } else {
    product_dx(s->dhead, w + n->head.weight, s->dz, rows, WIDTH, n->head.out);
    norm_backward(&n->norms[0], w, s->y[last], s->mean[0], s->rstd[0], s->dz, s->dy, 0, g, rows);
    for (int k = last; k > 0; --k) {
      multiply(s->derivative[k], s->dy, s->dz, rows * WIDTH);
      linear_gradient(&n->trunk[k], s->dz, s->normed[k], g, rows);
      product_dx(s->dz, w + n->trunk[k].weight, s->derivative[k], rows, WIDTH, WIDTH);
      norm_backward(&n->norms[k], w, s->y[k - 1], s->mean[k], s->rstd[k], s->derivative[k], s->dy, 1, g, rows);
    }
  }
  linear_gradient(&n->trunk[0], s->dy, s->x, g, rows);
}

// ---- the batch and PPO's loss ----

typedef struct batch {
  float* x;         // [samples][inputs], 0 or 1
  uint32_t* masks;  // legal actions
  int* actions;
  float *log_probs, *advantages, *returns;
} batch;

static batch make_batch(const recipe* r, int samples) {
  const size_t n = (size_t)samples;
  batch b = {
      floats(n * (size_t)r->inputs), take(n, sizeof(uint32_t)), take(n, sizeof(int)), floats(n), floats(n), floats(n)};
  for (int i = 0; i < samples; ++i) {
    for (int cell = 0; cell < r->inputs / 3; ++cell) {  // own stone, opponent's stone or none; then a 1
      const int stone = below(3);
      if (stone < 2) b.x[i * r->inputs + 3 * cell + stone] = 1;
      b.x[i * r->inputs + 3 * cell + 2] = 1;
    }
    b.masks[i] = 1 + (uint32_t)below((1 << r->actions) - 1);
    do b.actions[i] = below(r->actions);
    while (!(b.masks[i] >> b.actions[i] & 1));
    b.advantages[i] = 1.7f * uniform(-1, 1);
    b.returns[i] = uniform(-1, 1);
  }
  return b;
}

// Log-probabilities of the legal actions, and the probabilities (0 of the others).
static void softmax(const float* logits, uint32_t mask, int actions, float* log_p, float* p) {
  float top = -INFINITY, sum = 0;
  for (int a = 0; a < actions; ++a) {
    if (mask >> a & 1 && logits[a] > top) top = logits[a];
  }
  for (int a = 0; a < actions; ++a) {
    p[a] = mask >> a & 1 ? expf(logits[a] - top) : 0;
    sum += p[a];
  }
  const float log_sum = logf(sum);
  for (int a = 0; a < actions; ++a) {
    p[a] /= sum;
    log_p[a] = mask >> a & 1 ? logits[a] - top - log_sum : 0;
  }
}

// The policy of the given weights becomes the one that collected the batch, a little off so that ratios are not all 1.
static void set_log_probs(const net* n, const float* w, batch* b, int samples, float off) {
  const recipe* r = n->r;
  work s = make_work(r, r->minibatch);
  for (int first = 0; first < samples; first += r->minibatch) {
    const int rows = samples - first < r->minibatch ? samples - first : r->minibatch;
    memcpy(s.x, b->x + (size_t)first * (size_t)r->inputs, (size_t)(rows * r->inputs) * sizeof(float));
    forward(n, w, &s, rows);
    for (int i = 0; i < rows; ++i) {
      float log_p[MAX_ACTIONS], p[MAX_ACTIONS];
      softmax(s.head + i * (r->actions + 1), b->masks[first + i], r->actions, log_p, p);
      b->log_probs[first + i] = log_p[b->actions[first + i]] + uniform(-off, off);
    }
  }
}

// s->dhead = gradient of the mean loss of the samples in order, by the head's outputs.
static void loss_gradient(const recipe* r, const batch* b, const int* order, work* s, int rows) {
  const int stride = r->actions + 1;
  for (int i = 0; i < rows; ++i) {
    const int at = order[i], taken = b->actions[at];
    const float *head = s->head + i * stride, advantage = b->advantages[at];
    float log_p[MAX_ACTIONS], p[MAX_ACTIONS], entropy = 0;
    softmax(head, b->masks[at], r->actions, log_p, p);
    for (int a = 0; a < r->actions; ++a) entropy -= p[a] * log_p[a];
    const float ratio = expf(log_p[taken] - b->log_probs[at]);
    // min(r A, clip(r) A): no gradient where the clipped one is smaller.
    const bool outside = advantage > 0 ? ratio > 1 + r->clip : ratio < 1 - r->clip;
    const float weight = outside ? 0 : ratio * advantage;
    float* dhead = s->dhead + i * stride;
    for (int a = 0; a < r->actions; ++a) {
      const float policy = weight * (p[a] - (a == taken ? 1.0f : 0.0f));
      dhead[a] = (policy + r->entropy * p[a] * (log_p[a] + entropy)) / (float)rows;
    }
    dhead[r->actions] = 2 * kValueCoef * (head[r->actions] - b->returns[at]) / (float)rows;
  }
}

static void gradient(const net* n, const float* w, const batch* b, const int* order, work* s, float* g, int rows) {
  const int inputs = n->r->inputs;
  for (int i = 0; i < rows; ++i) {
    memcpy(s->x + i * inputs, b->x + (size_t)order[i] * (size_t)inputs, (size_t)inputs * sizeof(float));
  }
  forward(n, w, s, rows);
  loss_gradient(n->r, b, order, s, rows);
  backward(n, w, s, g, rows);
}

// ---- Adam, with the gradient's norm clipped ----

typedef struct adam {
  float *first, *second;
  int step;
} adam;

static void adam_step(adam* a, float* restrict w, const float* restrict g, size_t count, float lr) {
  float squares = 0;
  const int n = (int)count;
#pragma omp parallel for simd reduction(+ : squares)
  for (int i = 0; i < n; ++i) squares += g[i] * g[i];
  const float length = sqrtf(squares);
  const float scale = length > kMaxNorm ? kMaxNorm / length : 1;
  a->step += 1;
  const float step_size = lr / (1 - powf(kBeta1, (float)a->step));
  const float second_scale = 1 / (1 - powf(kBeta2, (float)a->step));
  float* restrict first = a->first, * restrict second = a->second;
#pragma omp parallel for simd
  for (int i = 0; i < n; ++i) {
    const float d = g[i] * scale;
    first[i] = kBeta1 * first[i] + (1 - kBeta1) * d;
    second[i] = kBeta2 * second[i] + (1 - kBeta2) * d * d;
    w[i] -= step_size * first[i] / (sqrtf(second[i] * second_scale) + kEpsilon);
  }
}

// ---- timing and output ----

static double now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static int ascending(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

static double quantile(const double* sorted, int count, double q) {
  const double position = q * (count - 1);
  const int low = (int)position, high = low + 1 < count ? low + 1 : low;
  return sorted[low] + (sorted[high] - sorted[low]) * (position - low);
}

static void print_system(void) {
  printf("\"system\":\"openblas\",\"version\":\"%s\",\"core\":\"%s\",\"threads\":%d,\"precision\":\"fp32\",",
         openblas_get_config(), openblas_get_corename(), omp_get_max_threads());
}

// ---- update ----

static double update(const net* n, float* w, adam* a, const batch* b, int samples, int* order, work* s, float* g,
                     int* steps) {
  const recipe* r = n->r;
  const double start = now_ms();
  *steps = 0;
  for (int epoch = 0; epoch < r->epochs; ++epoch) {
    for (int i = 0; i < samples; ++i) order[i] = i;
    for (int i = samples - 1; i > 0; --i) {
      const int j = below(i + 1), swap = order[i];
      order[i] = order[j];
      order[j] = swap;
    }
    for (int first = 0; first < samples; first += r->minibatch) {
      const int rows = samples - first < r->minibatch ? samples - first : r->minibatch;
      gradient(n, w, b, order + first, s, g, rows);
      adam_step(a, w, g, n->parameters, r->lr);
      *steps += 1;
    }
  }
  return now_ms() - start;
}

static void bench_update(const recipe* r, int repeats, int samples) {
  const net n = make_net(r);
  float *start = floats(n.parameters), *w = floats(n.parameters), *g = floats(n.parameters);
  adam a = {floats(n.parameters), floats(n.parameters), 0};
  init_net(&n, start);
  batch b = make_batch(r, samples);
  set_log_probs(&n, start, &b, samples, 0);
  work s = make_work(r, r->minibatch);
  int* order = take((size_t)samples, sizeof *order);
  double* times = take((size_t)repeats, sizeof *times);
  int steps = 0;
  for (int repeat = -1; repeat < repeats; ++repeat) {  // the first one warms up
    memcpy(w, start, n.parameters * sizeof(float));
    memset(a.first, 0, n.parameters * sizeof(float));
    memset(a.second, 0, n.parameters * sizeof(float));
    a.step = 0;
    const double took = update(&n, w, &a, &b, samples, order, &s, g, &steps);
    if (repeat >= 0) times[repeat] = took;
  }
  qsort(times, (size_t)repeats, sizeof *times, ascending);
  const double median = quantile(times, repeats, 0.5);
  printf("{\"name\":\"update/%s\",", r->name);
  print_system();
  printf("\"parameters\":%zu,\"samples\":%d,\"steps\":%d,\"median_ms\":%.3f,\"p10_ms\":%.3f,\"p90_ms\":%.3f,",
         n.parameters, samples, steps, median, quantile(times, repeats, 0.1), quantile(times, repeats, 0.9));
  printf("\"update_ms_per_step\":%.4f}\n", median / steps);
}

// ---- products ----

typedef struct product {
  const char* name;
  void (*run)(const float* a, const float* b, float* c, int rows, int in, int out);
} product;

static const product kProducts[] = {{"forward", product_forward}, {"dx", product_dx}, {"dw", product_dw}};
static const int kRows[] = {64, 128, 256, 512, 1024, 2048};

static float* noise(size_t count) {
  float* values = floats(count);
  for (size_t i = 0; i < count; ++i) values[i] = uniform(-0.5f, 0.5f);
  return values;
}

// a: [rows][WIDTH]; b: the weight, or for dw [rows][WIDTH].
static void bench_product(const product* of, int rows, double seconds) {
  float *a = noise((size_t)rows * WIDTH), *b = noise((size_t)(rows > WIDTH ? rows : WIDTH) * WIDTH);
  float* c = floats((size_t)(rows > WIDTH ? rows : WIDTH) * WIDTH);
  int calls = 1;
  for (;; calls *= 2) {  // also warms up
    const double start = now_ms();
    for (int i = 0; i < calls; ++i) of->run(a, b, c, rows, WIDTH, WIDTH);
    if (now_ms() - start > 1) break;
  }
  static double times[MAX_SAMPLES];
  int count = 0;
  for (const double begin = now_ms(); count == 0 || (now_ms() - begin < 1e3 * seconds && count < MAX_SAMPLES);) {
    const double start = now_ms();
    for (int i = 0; i < calls; ++i) of->run(a, b, c, rows, WIDTH, WIDTH);
    times[count++] = (now_ms() - start) / calls;
  }
  qsort(times, (size_t)count, sizeof *times, ascending);
  const double median = quantile(times, count, 0.5);
  printf("{\"name\":\"gemm/%s\",\"shape\":\"M=%d N=%d K=%d\",\"M\":%d,\"N\":%d,\"K\":%d,", of->name, rows, WIDTH, WIDTH,
         rows, WIDTH, WIDTH);
  print_system();
  printf("\"median_ms\":%.6f,\"p10_ms\":%.6f,\"p90_ms\":%.6f,\"gflops\":%.2f}\n", median, quantile(times, count, 0.1),
         quantile(times, count, 0.9), 2e-6 * rows * WIDTH * WIDTH / median);
  fflush(stdout);
  free(a);
  free(b);
  free(c);
}

// ---- check: the loss in double, by plain loops ----

static void plain_linear(const linear* l, const double* w, const double* x, double* y) {
  for (int o = 0; o < l->out; ++o) {
    y[o] = w[l->bias + (size_t)o];
    for (int i = 0; i < l->in; ++i) y[o] += w[l->weight + (size_t)(o * l->in + i)] * x[i];
  }
}

static void plain_norm(const norm* n, const double* w, const double* x, double* y) {
  double mean = 0, variance = 0;
  for (int j = 0; j < WIDTH; ++j) mean += x[j] / WIDTH;
  for (int j = 0; j < WIDTH; ++j) variance += (x[j] - mean) * (x[j] - mean) / WIDTH;
  for (int j = 0; j < WIDTH; ++j)
    y[j] = (x[j] - mean) / sqrt(variance + (double)kNormEpsilon) * w[n->gain + (size_t)j] + w[n->shift + (size_t)j];
}

static double plain_loss(const net* n, const double* w, const batch* b, const int* order, int rows) {
  const recipe* r = n->r;
  double loss = 0;
  for (int i = 0; i < rows; ++i) {
    const int at = order[i];
    double x[126], y[WIDTH], z[WIDTH], normed[WIDTH], head[MAX_OUTPUTS];
    for (int j = 0; j < r->inputs; ++j) x[j] = (double)b->x[(size_t)at * (size_t)r->inputs + (size_t)j];
    plain_linear(&n->trunk[0], w, x, y);
    for (int j = 0; !r->residual && j < WIDTH; ++j) y[j] = fmax(y[j], 0);
    for (int k = 1; k < r->depth; ++k) {
      if (r->residual) plain_norm(&n->norms[k], w, y, normed);
      plain_linear(&n->trunk[k], w, r->residual ? normed : y, z);
      for (int j = 0; j < WIDTH; ++j) {
        const double v = z[j];
        y[j] = r->residual ? y[j] + v / 2 * (1 + tanh(sqrt(2 / M_PI) * (v + 0.044715 * v * v * v))) : fmax(v, 0);
      }
    }
    if (r->residual) plain_norm(&n->norms[0], w, y, normed);
    plain_linear(&n->head, w, r->residual ? normed : y, head);
    double sum = 0, entropy = 0;
    for (int a = 0; a < r->actions; ++a) sum += b->masks[at] >> a & 1 ? exp(head[a]) : 0;
    for (int a = 0; a < r->actions; ++a)
      if (b->masks[at] >> a & 1) entropy -= exp(head[a]) / sum * (head[a] - log(sum));
    const double ratio = exp(head[b->actions[at]] - log(sum) - (double)b->log_probs[at]);
    const double clipped = fmin(fmax(ratio, 1 - (double)r->clip), 1 + (double)r->clip);
    const double advantage = (double)b->advantages[at], error = head[r->actions] - (double)b->returns[at];
    loss -= fmin(ratio * advantage, clipped * advantage);
    loss += (double)kValueCoef * error * error - (double)r->entropy * entropy;
  }
  return loss / rows;
}

// Relative error of some derivatives of every tensor against central differences.
static double check_gradient(const recipe* r) {
  enum { ROWS = 13 };
  const net n = make_net(r);
  float *w = floats(n.parameters), *g = floats(n.parameters);
  double* wide = take(n.parameters, sizeof *wide);
  init_net(&n, w);
  for (size_t i = 0; i < n.parameters; ++i) w[i] += uniform(-0.02f, 0.02f);  // gains and shifts too
  batch b = make_batch(r, ROWS);
  set_log_probs(&n, w, &b, ROWS, 0.3f);  // some ratios are clipped
  work s = make_work(r, r->minibatch);
  int order[ROWS];
  for (int i = 0; i < ROWS; ++i) order[i] = ROWS - 1 - i;
  gradient(&n, w, &b, order, &s, g, ROWS);
  for (size_t i = 0; i < n.parameters; ++i) wide[i] = (double)w[i];
  double squares = 0, errors = 0;
  const size_t every = n.parameters / 400;
  for (size_t i = 0; i < n.parameters; i += 1 + (size_t)below(2 * (int)every)) {
    const double h = 1e-6, kept = wide[i];
    wide[i] = kept + h;
    const double above = plain_loss(&n, wide, &b, order, ROWS);
    wide[i] = kept - h;
    const double wanted = (above - plain_loss(&n, wide, &b, order, ROWS)) / (2 * h);
    wide[i] = kept;
    squares += wanted * wanted;
    errors += ((double)g[i] - wanted) * ((double)g[i] - wanted);
  }
  return sqrt(errors / squares);
}

static double check_product(int kind, int rows) {
  const int in = 61, out = 37;
  float *x = noise((size_t)(rows * in)), *w = noise((size_t)(out * in)), *dy = noise((size_t)(rows * out));
  const int height = kind == 2 ? out : rows, columns = kind == 0 ? out : in;
  float* c = floats((size_t)(height * columns));
  const float *a = kind == 0 ? x : dy, *b = kind == 2 ? x : w;
  kProducts[kind].run(a, b, c, rows, in, out);
  double squares = 0, errors = 0;
  for (int i = 0; i < height; ++i) {
    for (int j = 0; j < columns; ++j) {
      double wanted = 0;
      if (kind == 0)
        for (int k = 0; k < in; ++k) wanted += (double)x[i * in + k] * (double)w[j * in + k];
      if (kind == 1)
        for (int k = 0; k < out; ++k) wanted += (double)dy[i * out + k] * (double)w[k * in + j];
      if (kind == 2)
        for (int k = 0; k < rows; ++k) wanted += (double)dy[k * out + i] * (double)x[k * in + j];
      squares += wanted * wanted;
      errors += ((double)c[i * columns + j] - wanted) * ((double)c[i * columns + j] - wanted);
    }
  }
  return sqrt(errors / squares);
}

static int check(void) {
  int failed = 0;
  for (int i = 0; i < 2; ++i) {
    const double error = check_gradient(&kRecipes[i]);
    printf("gradient %s: relative error %.2e\n", kRecipes[i].name, error);
    failed += !(error < 1e-4);
  }
  for (int kind = 0; kind < 3; ++kind) {
    const double error = check_product(kind, 29);
    printf("product %s: relative error %.2e\n", kProducts[kind].name, error);
    failed += !(error < 1e-6);
  }
  return failed ? 1 : 0;
}

// ---- arguments ----

static int usage(const char* problem) {
  fprintf(stderr,
          "openblas: %s\n"
          "usage: openblas update --game tictactoe|connect4 [--threads T] [--repeats N] [--samples S]\n"
          "       openblas product [--product forward|dx|dw|all] [--rows M|all] [--threads T] [--seconds S]\n"
          "       openblas check [--threads T]\n",
          problem);
  return 2;
}

int main(int argc, char** argv) {
  if (argc < 2) return usage("what?");
  const recipe* game = NULL;
  const char* wanted = "all";
  int threads = 0, repeats = 5, samples = 0, rows = 0;
  double seconds = 0.2;
  for (int i = 2; i < argc; i += 2) {
    const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
    const int number = atoi(value);
    if (!strcmp(name, "--game")) {
      for (int k = 0; k < 2; ++k) game = strcmp(value, kRecipes[k].name) == 0 ? &kRecipes[k] : game;
      if (!game) return usage("--game expects tictactoe or connect4");
    } else if (!strcmp(name, "--product")) {
      wanted = value;
    } else if (!strcmp(name, "--seconds")) {
      seconds = atof(value);
    } else if (!strcmp(name, "--rows") && !strcmp(value, "all")) {
      rows = 0;
    } else {
      int* target = !strcmp(name, "--threads")   ? &threads
                    : !strcmp(name, "--repeats") ? &repeats
                    : !strcmp(name, "--samples") ? &samples
                    : !strcmp(name, "--rows")    ? &rows
                                                 : NULL;
      if (!target) return usage("unknown option");
      if (number < (target == &threads ? 0 : 1) || number > 1 << 20)
        return usage("a number is missing or out of range");
      *target = number;
    }
  }
  if (threads > 0) omp_set_num_threads(threads);
  openblas_set_num_threads(omp_get_max_threads());
  if (!strcmp(argv[1], "check")) return check();
  if (!strcmp(argv[1], "update")) {
    if (!game) return usage("update needs --game");
    bench_update(game, repeats, samples ? samples : game->samples);
    return 0;
  }
  if (strcmp(argv[1], "product") != 0) return usage("update, product or check?");
  int found = 0;
  for (int kind = 0; kind < 3; ++kind) {
    if (strcmp(wanted, "all") != 0 && strcmp(wanted, kProducts[kind].name) != 0) continue;
    ++found;
    if (rows) {
      bench_product(&kProducts[kind], rows, seconds);
    } else {
      for (size_t i = 0; i < sizeof kRows / sizeof *kRows; ++i) bench_product(&kProducts[kind], kRows[i], seconds);
    }
  }
  return found ? 0 : usage("--product expects forward, dx, dw or all");
}
