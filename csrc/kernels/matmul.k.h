// Matrix product, the plain reference: one output element an item, the contracted index ascending.

KERNEL(matmul) {
  IN(real, a);
  IN(real, b);
  OUT(real, c);
  const int64_t columns = args->columns;
  FOR_GRID(index, args->rows * columns) {
    const int64_t i = index / columns, j = index % columns;
    const real* a_row = a + i * args->a_row;
    const real* b_column = b + j * args->b_column;
    real sum = 0;
    for (int64_t k = 0; k < args->contract; ++k) sum += a_row[k * args->a_contract] * b_column[k * args->b_contract];
    c[index] = sum;
  }
}
