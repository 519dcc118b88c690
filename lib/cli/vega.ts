// Pictures as SVG, drawn by vega, which is installed by those who want it.

import type { Spec } from "vega";
import { BellowsError } from "../errors.js";

/** A letter's width in em, that of wide sans-serif fonts. */
const LETTER = 0.6;
/** Pixels, where a text does not say its size. */
const FONT = 11;

/** Texts without letters, which stand where labels must not. */
const OBSTACLE = /<text [^>]*\/>/g;

/** How vega measures, which its types leave out. */
interface TextMetrics {
  width: (item: { readonly fontSize?: number; readonly text?: unknown }, text?: unknown) => number;
}

/**
 * A function that draws.
 *
 * @param op - the command whose --svg it is
 * @throws BellowsError where vega is not installed
 */
export async function svgRenderer(op: string): Promise<(spec: Spec) => Promise<string>> {
  let vega: typeof import("vega");
  try {
    vega = await import("vega");
  } catch (error) {
    throw new BellowsError("USAGE", "--svg needs the package vega; install it with: npm install vega", {
      op,
      path: "--svg",
      received: "no package vega",
      expected: "npm install vega",
      cause: error,
    });
  }
  return async (spec) => {
    // Without a canvas, vega takes a letter to be 0.8 em wide, and finds no place for many labels.
    const { textMetrics } = vega as unknown as { textMetrics: TextMetrics };
    textMetrics.width = (item, text) => LETTER * (item.fontSize ?? FONT) * String(text ?? item.text ?? "").length;
    const view = new vega.View(vega.parse(spec), { renderer: "none", logLevel: vega.Error });
    const svg = await view.toSVG();
    view.finalize();
    return `${svg.replace(OBSTACLE, "")}\n`;
  };
}
