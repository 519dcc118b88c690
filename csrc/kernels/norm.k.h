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
    const real g_mean = g_sum / (real)columns, slope = -r * (gz_sum / (real)columns);
    if (accumulate) {
      FOR_BLOCK(j, columns) {
        const real g = dy_row[j] * gain[j] - g_mean;
        dx_row[j] = MULTIPLY_ADD(r, MULTIPLY_ADD(x_row[j] - m, slope, g), dx_row[j]);
      }
    } else {
      FOR_BLOCK(j, columns) dx_row[j] = r * MULTIPLY_ADD(x_row[j] - m, slope, dy_row[j] * gain[j] - g_mean);
    }
  }
}

// Four rows at a time: a sum is read and written once for four additions, which are made in order.
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
  int64_t i = 0;
  for (; i + 4 <= args->rows; i += 4) {
    const real *x0 = x + i * columns, *x1 = x0 + columns, *x2 = x1 + columns, *x3 = x2 + columns;
    const real *g0 = dy + i * columns, *g1 = g0 + columns, *g2 = g1 + columns, *g3 = g2 + columns;
    const real m0 = mean[i], m1 = mean[i + 1], m2 = mean[i + 2], m3 = mean[i + 3];
    const real r0 = rstd[i], r1 = rstd[i + 1], r2 = rstd[i + 2], r3 = rstd[i + 3];
    INDEPENDENT FOR_GRID(j, columns) {
      const real sum0 = MULTIPLY_ADD(g0[j], (x0[j] - m0) * r0, dgain[j]);
      const real sum1 = MULTIPLY_ADD(g1[j], (x1[j] - m1) * r1, sum0);
      const real sum2 = MULTIPLY_ADD(g2[j], (x2[j] - m2) * r2, sum1);
      dgain[j] = MULTIPLY_ADD(g3[j], (x3[j] - m3) * r3, sum2);
      dshift[j] = dshift[j] + g0[j] + g1[j] + g2[j] + g3[j];
    }
  }
  for (; i < args->rows; ++i) {
    FOR_GRID(j, columns) {
      const real g = dy[i * columns + j];
      dgain[j] = MULTIPLY_ADD(g, (x[i * columns + j] - mean[i]) * rstd[i], dgain[j]);
      dshift[j] += g;
    }
  }
}
