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

// gelu(x) = x/2 (1 + tanh(u)) = x s, s = 1 / (1 + e^-2u), u = sqrt(2/pi) (x + 0.044715 x^3);
// gelu'(x) = s + x s (1 - s) 2u'
#define BW_GELU_SCALE ((real)1.5957691216057308)   // 2 sqrt(2/pi)
#define BW_GELU_CUBIC ((real)0.07135481627159785)  // 0.044715 of it

KERNEL(gelu_forward) {
  OUT(real, x);
  IN(real, residual);
  OUT(real, y);
  FOR_GRID(i, args->n) {
    const real v = x[i];
    const real square = v * v;
    const real s = 1 / (1 + EXP(-v * MULTIPLY_ADD(BW_GELU_CUBIC, square, BW_GELU_SCALE)));
    const real g = v * s;
    y[i] = residual[i] + g;
    x[i] = MULTIPLY_ADD(g * (1 - s), MULTIPLY_ADD(3 * BW_GELU_CUBIC, square, BW_GELU_SCALE), s);
  }
}

KERNEL(gelu_backward) {
  IN(real, dy);
  OUT(real, dx);
  FOR_GRID(i, args->n) dx[i] *= dy[i];
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

// Four rows at a time: a sum is read and written once for four additions, which are made in order.
KERNEL(column_sum) {
  IN(real, x);
  OUT(real, sum);
  const int64_t columns = args->columns;
  FOR_GRID(j, columns) sum[j] = 0;
  int64_t i = 0;
  for (; i + 4 <= args->rows; i += 4) {
    const real *x0 = x + i * columns, *x1 = x0 + columns, *x2 = x1 + columns, *x3 = x2 + columns;
    INDEPENDENT FOR_GRID(j, columns) sum[j] = sum[j] + x0[j] + x1[j] + x2[j] + x3[j];
  }
  for (; i < args->rows; ++i) {
    FOR_GRID(j, columns) sum[j] += x[i * columns + j];
  }
}
