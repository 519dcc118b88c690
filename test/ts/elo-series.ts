// Published Elo series of github keirp/self-play-ppo: its own evaluations, each of one unseeded run.

import type { Series } from "../../lib/lab/stats/index.js";

const every = (step: number, values: readonly number[]): Series => ({
  iterations: values.map((_, i) => (i + 1) * step),
  values,
});

/** "exp18": every 250 iterations to 9,250. Its report gives the peak, 1,943, as the result. */
export const long = every(
  250,
  [
    1546, 1627, 1692, 1699, 1789, 1862, 1793, 1853, 1805, 1821, 1878, 1799, 1893, 1834, 1833, 1828, 1868, 1938, 1931,
    1826, 1805, 1766, 1766, 1818, 1880, 1770, 1892, 1778, 1864, 1892, 1797, 1943, 1854, 1830, 1894, 1839, 1942,
  ],
);

/** "exp16a": opponents at temperature 1.5, every 500 iterations to 5,000. */
export const temperature15 = every(500, [1628, 1681, 1781, 1780, 1765, 1867, 1970, 1923, 1957, 1857]);

/** "exp16b": temperature 2.0, stopped at 2,500 as "too random". */
export const temperature20 = every(500, [1675, 1710, 1738, 1760, 1702]);
