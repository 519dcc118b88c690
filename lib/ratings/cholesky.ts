// Symmetric positive definite systems.

/** The lower triangle L of a matrix A = L L^T; null where A is not positive definite. */
export function cholesky(matrix: readonly Float64Array[]): Float64Array[] | null {
  const lower = matrix.map((row) => new Float64Array(row.length));
  for (let i = 0; i < matrix.length; ++i) {
    for (let j = 0; j <= i; ++j) {
      let sum = matrix[i]![j]!;
      for (let k = 0; k < j; ++k) sum -= lower[i]![k]! * lower[j]![k]!;
      if (i === j && !(sum > 0)) return null;
      lower[i]![j] = i === j ? Math.sqrt(sum) : sum / lower[j]![j]!;
    }
  }
  return lower;
}

/** x with L L^T x = b. */
export function solve(lower: readonly Float64Array[], b: ArrayLike<number>): Float64Array {
  const x = Float64Array.from(b);
  const n = x.length;
  for (let i = 0; i < n; ++i) {
    for (let k = 0; k < i; ++k) x[i]! -= lower[i]![k]! * x[k]!;
    x[i]! /= lower[i]![i]!;
  }
  for (let i = n - 1; i >= 0; --i) {
    for (let k = i + 1; k < n; ++k) x[i]! -= lower[k]![i]! * x[k]!;
    x[i]! /= lower[i]![i]!;
  }
  return x;
}
