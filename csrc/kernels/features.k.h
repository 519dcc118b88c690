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

enum { BW_FEATURES_STRIP = 64 };  // sums that stay in registers while a list is walked

KERNEL(features_forward) {
  IN(uint16_t, features);
  IN(real, weight);
  IN(real, base);
  OUT(real, y);
  const int64_t columns = args->columns;
  const int relu = args->activation == BW_ACTIVATION_RELU;
  FOR_TILES(row, args->rows) {
    const uint16_t* list = features + row * (1 + args->max_features);
    const int count = list[0];
    FOR_BLOCK(strip, (columns + BW_FEATURES_STRIP - 1) / BW_FEATURES_STRIP) {
      const int64_t first = strip * BW_FEATURES_STRIP;
      real* to = y + row * columns + first;
      if (columns - first >= BW_FEATURES_STRIP) {
        real sums[BW_FEATURES_STRIP];
        for (int j = 0; j < BW_FEATURES_STRIP; ++j) sums[j] = base[first + j];
        for (int k = 1; k <= count; ++k) {
          const real* from = weight + list[k] * columns + first;
          for (int j = 0; j < BW_FEATURES_STRIP; ++j) sums[j] += from[j];
        }
        for (int j = 0; j < BW_FEATURES_STRIP; ++j) to[j] = relu && sums[j] < 0 ? 0 : sums[j];
      } else {
        for (int64_t j = 0; first + j < columns; ++j) {
          real sum = base[first + j];
          for (int k = 1; k <= count; ++k) sum += weight[list[k] * columns + first + j];
          to[j] = relu && sum < 0 ? 0 : sum;
        }
      }
    }
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
