// Elementwise ops and their gradients, and the bias of a linear layer.

KERNEL(scale_add) {
  IN(real, x);
  OUT(real, y);
  const real alpha = (real)args->alpha, beta = (real)args->beta;
  FOR_GRID(i, args->n) y[i] = alpha * x[i] + beta * y[i];
}

KERNEL(relu_backward) {
  IN(real, y);
  OUT(real, dy);
  FOR_GRID(i, args->n) {
    const real d = dy[i];  // read whatever y is: a read under a condition becomes a branch that is mispredicted
    dy[i] = y[i] > 0 ? d : 0;
  }
}

// gelu(x) = x/2 (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3)
#define BW_GELU_SCALE ((real)0.7978845608028654)
#define BW_GELU_CUBIC ((real)0.044715)

KERNEL(gelu_forward) {
  IN(real, x);
  IN(real, residual);
  OUT(real, y);
  FOR_GRID(i, args->n) {
    real v = x[i];
    real u = BW_GELU_SCALE * (v + BW_GELU_CUBIC * v * v * v);
    y[i] = residual[i] + (real)0.5 * v * (1 + TANH(u));
  }
}

KERNEL(gelu_backward) {
  IN(real, x);
  IN(real, dy);
  OUT(real, dx);
  FOR_GRID(i, args->n) {
    real v = x[i];
    real t = TANH(BW_GELU_SCALE * (v + BW_GELU_CUBIC * v * v * v));
    real du = BW_GELU_SCALE * (1 + 3 * BW_GELU_CUBIC * v * v);
    dx[i] = dy[i] * (real)0.5 * (1 + t + v * (1 - t * t) * du);
  }
}

KERNEL(bias_activation) {
  IN(real, bias);
  OUT(real, y);
  const int64_t columns = args->columns;
  const int relu = args->activation == BW_ACTIVATION_RELU;
  FOR_GRID(i, args->rows * columns) {
    real v = y[i] + bias[i % columns];
    y[i] = relu && v < 0 ? 0 : v;
  }
}

// Rows ascend in the outer loop, so that memory is read in order; every column is its own sum.
KERNEL(column_sum) {
  IN(real, x);
  OUT(real, sum);
  const int64_t columns = args->columns;
  FOR_GRID(j, columns) sum[j] = 0;
  for (int64_t i = 0; i < args->rows; ++i) {
    FOR_GRID(j, columns) sum[j] += x[i * columns + j];
  }
}
