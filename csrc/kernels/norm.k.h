// LayerNorm over the columns of a row. A tile is a row.

#define BW_LAYERNORM_EPSILON ((real)1e-5)

KERNEL(layernorm_forward) {
  IN(real, x);
  IN(real, gain);
  IN(real, shift);
  OUT(real, y);
  OUT(real, mean);
  OUT(real, rstd);
  const int64_t columns = args->columns;
  FOR_TILES(row, args->rows) {
    const real* x_row = x + row * columns;
    real* y_row = y + row * columns;
    SUM_OVER(sum, j, columns, x_row[j]);
    const real m = sum / (real)columns;
    SUM_OVER(squares, j, columns, (x_row[j] - m) * (x_row[j] - m));
    const real r = 1 / SQRT(squares / (real)columns + BW_LAYERNORM_EPSILON);
    FOR_BLOCK(j, columns) y_row[j] = MULTIPLY_ADD((x_row[j] - m) * r, gain[j], shift[j]);
    FOR_BLOCK(one, 1) {
      mean[row] = m;
      rstd[row] = r;
    }
  }
}

// With z = (x - mean) rstd and g = dy gain: dx = rstd (g - mean(g) - z mean(g z)). A tile is a group of rows, whose
// dy z and dy are added up while they are in cache.
KERNEL(layernorm_backward) {
  IN(real, x);
  IN(real, gain);
  IN(real, mean);
  IN(real, rstd);
  IN(real, dy);
  OUT(real, dx);
  OUT(real, partials);
  const int64_t columns = args->columns;
  const int accumulate = args->accumulate;
  FOR_TILES(group, (args->rows + BW_ROW_GROUP - 1) / BW_ROW_GROUP) {
    const int64_t first = group * BW_ROW_GROUP;
    const int64_t last = args->rows - first < BW_ROW_GROUP ? args->rows : first + BW_ROW_GROUP;
    real* dgain = partials + group * 2 * columns;
    real* dshift = dgain + columns;
    FOR_BLOCK(j, 2 * columns) dgain[j] = 0;
    SYNC;
    for (int64_t row = first; row < last; ++row) {
      const real* x_row = x + row * columns;
      const real* dy_row = dy + row * columns;
      real* dx_row = dx + row * columns;
      const real m = mean[row], r = rstd[row];
      SUM_OVER(g_sum, j, columns, dy_row[j] * gain[j]);
      SUM_OVER(gz_sum, j, columns, dy_row[j] * gain[j] * ((x_row[j] - m) * r));
      const real g_mean = g_sum / (real)columns, gz_mean = gz_sum / (real)columns;
      INDEPENDENT FOR_BLOCK(j, columns) {
        const real z = (x_row[j] - m) * r, d = dy_row[j];
        const real gradient = r * (d * gain[j] - MULTIPLY_ADD(z, gz_mean, g_mean));
        dx_row[j] = accumulate ? dx_row[j] + gradient : gradient;
        dgain[j] = MULTIPLY_ADD(d, z, dgain[j]);
        dshift[j] += d;
      }
    }
  }
}

KERNEL(layernorm_gradient) {
  IN(real, partials);
  OUT(real, dgain);
  OUT(real, dshift);
  const int64_t columns = args->columns;
  FOR_GRID(j, columns) {
    dgain[j] = 0;
    dshift[j] = 0;
  }
  for (int64_t group = 0; group * BW_ROW_GROUP < args->rows; ++group) {
    const real* from = partials + group * 2 * columns;
    FOR_GRID(j, columns) dgain[j] += from[j];
    FOR_GRID(j, columns) dshift[j] += from[columns + j];
  }
}
