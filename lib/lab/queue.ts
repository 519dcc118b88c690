// Values from callbacks to one reader that waits for them.

export class Queue<T> {
  readonly #values: T[] = [];
  #wake: (() => void) | undefined;

  push(value: T): void {
    this.#values.push(value);
    this.#wake?.();
  }

  /** Ends a wait early. */
  wake(): void {
    this.#wake?.();
  }

  /** All values that have come, as soon as there is one, or none after `milliseconds`. */
  async take(milliseconds: number): Promise<T[]> {
    if (this.#values.length === 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, milliseconds);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = undefined;
    }
    return this.#values.splice(0);
  }
}
