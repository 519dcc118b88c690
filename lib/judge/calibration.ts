// How far predicted values can be believed.

/** Positions whose predicted values are alike. */
export interface CalibrationBin {
  /** Bounds of the predicted values. */
  readonly from: number;
  readonly to: number;
  readonly positions: number;
  /** Means; NaN where there are no positions, in JSON null. */
  readonly predicted: number;
  readonly actual: number;
}

/**
 * Predicted values against the results of best play, both for the side to move: 1 it wins, 0 draw, -1 it loses. An
 * agent's value is about games of its own, so that a difference need not be an error of the value head.
 */
export interface Calibration {
  /** Of equal width, from -1 to 1. */
  readonly bins: readonly CalibrationBin[];
  /** Expected calibration error: the mean over positions of |mean actual - mean predicted| in their bin. */
  readonly error: number;
  /** Mean squared difference (a Brier score, on the scale from -1 to 1). */
  readonly squaredError: number;
  /** Pearson's correlation; NaN where either side does not vary, in JSON null. */
  readonly correlation: number;
}

const BINS = 10;

/** Values outside -1 to 1 fall into the outermost bins. */
export function calibrate(points: readonly { readonly predicted: number; readonly actual: number }[]): Calibration {
  const mean = (list: readonly number[]) => list.reduce((sum, each) => sum + each, 0) / list.length;
  const groups: { predicted: number; actual: number }[][] = Array.from({ length: BINS }, () => []);
  for (const point of points) {
    const bin = Math.floor(((point.predicted + 1) / 2) * BINS);
    groups[Math.min(BINS - 1, Math.max(0, bin))]!.push(point);
  }
  const bins = groups.map((group, i) => ({
    from: (2 * i) / BINS - 1,
    to: (2 * (i + 1)) / BINS - 1,
    positions: group.length,
    predicted: mean(group.map(({ predicted }) => predicted)),
    actual: mean(group.map(({ actual }) => actual)),
  }));
  const [x, y] = [mean(points.map(({ predicted }) => predicted)), mean(points.map(({ actual }) => actual))];
  const moment = (figure: (dx: number, dy: number) => number) =>
    mean(points.map(({ predicted, actual }) => figure(predicted - x, actual - y)));
  return {
    bins,
    error:
      bins.reduce(
        (sum, { positions, predicted, actual }) => sum + (positions && positions * Math.abs(actual - predicted)),
        0,
      ) / points.length,
    squaredError: mean(points.map(({ predicted, actual }) => (predicted - actual) ** 2)),
    correlation: moment((dx, dy) => dx * dy) / Math.sqrt(moment((dx) => dx * dx) * moment((_, dy) => dy * dy)),
  };
}
