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
    FOR_BLOCK(j, columns) y_row[j] = (x_row[j] - m) * r * gain[j] + shift[j];
    FOR_BLOCK(one, 1) {
      mean[row] = m;
      rstd[row] = r;
    }
  }
}

// With z = (x - mean) rstd and g = dy gain: dx = rstd (g - mean(g) - z mean(g z)).
KERNEL(layernorm_backward) {
  IN(real, x);
  IN(real, gain);
  IN(real, mean);
  IN(real, rstd);
  IN(real, dy);
  OUT(real, dx);
  const int64_t columns = args->columns;
  const int accumulate = args->accumulate;
  FOR_TILES(row, args->rows) {
    const real* x_row = x + row * columns;
    const real* dy_row = dy + row * columns;
    real* dx_row = dx + row * columns;
    const real m = mean[row], r = rstd[row];
    SUM_OVER(g_sum, j, columns, dy_row[j] * gain[j]);
    SUM_OVER(gz_sum, j, columns, dy_row[j] * gain[j] * ((x_row[j] - m) * r));
    const real g_mean = g_sum / (real)columns, gz_mean = gz_sum / (real)columns;
    if (accumulate) {
      FOR_BLOCK(j, columns) dx_row[j] += r * (dy_row[j] * gain[j] - g_mean - (x_row[j] - m) * r * gz_mean);
    } else {
      FOR_BLOCK(j, columns) dx_row[j] = r * (dy_row[j] * gain[j] - g_mean - (x_row[j] - m) * r * gz_mean);
    }
  }
}

KERNEL(layernorm_gradient) {
  IN(real, x);
  IN(real, mean);
  IN(real, rstd);
  IN(real, dy);
  OUT(real, dgain);
  OUT(real, dshift);
  const int64_t columns = args->columns;
  FOR_GRID(j, columns) {
    dgain[j] = 0;
    dshift[j] = 0;
  }
  for (int64_t i = 0; i < args->rows; ++i) {
    FOR_GRID(j, columns) {
      const real g = dy[i * columns + j];
      dgain[j] += g * ((x[i * columns + j] - mean[i]) * rstd[i]);
      dshift[j] += g;
    }
  }
}
