// A linear layer whose inputs are 0 or 1, given as lists: rows of the weight are added up, nothing is multiplied by 0.

KERNEL(features_base) {
  IN(real, weight);
  IN(real, bias);
  OUT(real, base);
  const int64_t columns = args->columns;
  FOR_GRID(j, columns) base[j] = bias[j];
  for (int64_t input = args->planes - 1; input < args->inputs; input += args->planes) {
    FOR_GRID(j, columns) base[j] += weight[input * columns + j];
  }
}

// Four features at a time: a sum is read and written once for four additions, which are made in order.
KERNEL(features_forward) {
  IN(uint16_t, features);
  IN(real, weight);
  IN(real, base);
  OUT(real, y);
  const int64_t columns = args->columns;
  FOR_TILES(row, args->rows) {
    const uint16_t* list = features + row * (1 + args->max_features);
    const int count = list[0];
    real* sums = y + row * columns;
    FOR_BLOCK(j, columns) sums[j] = base[j];
    int k = 1;
    for (; k + 3 <= count; k += 4) {
      const real *w0 = weight + list[k] * columns, *w1 = weight + list[k + 1] * columns;
      const real *w2 = weight + list[k + 2] * columns, *w3 = weight + list[k + 3] * columns;
      INDEPENDENT FOR_BLOCK(j, columns) sums[j] = sums[j] + w0[j] + w1[j] + w2[j] + w3[j];
    }
    for (; k <= count; ++k) {
      const real* w = weight + list[k] * columns;
      FOR_BLOCK(j, columns) sums[j] += w[j];
    }
    if (args->activation == BW_ACTIVATION_RELU) FOR_BLOCK(j, columns) sums[j] = sums[j] < 0 ? 0 : sums[j];
  }
}

KERNEL(features_gradient) {
  IN(uint16_t, features);
  IN(real, dy);
  OUT(real, weight_gradient);
  OUT(real, bias_gradient);
  const int64_t columns = args->columns;
  for (int64_t input = 0; input < args->inputs; ++input) {
    FOR_GRID(j, columns) weight_gradient[input * columns + j] = 0;
  }
  FOR_GRID(j, columns) bias_gradient[j] = 0;
  for (int64_t i = 0; i < args->rows; ++i) {
    const uint16_t* list = features + i * (1 + args->max_features);
    const real* from = dy + i * columns;
    FOR_GRID(j, columns) bias_gradient[j] += from[j];
    for (int k = 1; k <= list[0]; ++k) {
      real* BW_RESTRICT to = weight_gradient + list[k] * columns;
      FOR_GRID(j, columns) to[j] += from[j];
    }
  }
  for (int64_t input = args->planes - 1; input < args->inputs; input += args->planes) {
    FOR_GRID(j, columns) weight_gradient[input * columns + j] = bias_gradient[j];
  }
}
