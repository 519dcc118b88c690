// Optimisers: global gradient norm, AdamW, Muon.

KERNEL(square_sum) {
  IN(real, x);
  OUT(real, partial);
  FOR_TILES(chunk, (args->n + args->chunk - 1) / args->chunk) {
    const int64_t begin = chunk * args->chunk;
    const int64_t length = args->n - begin < args->chunk ? args->n - begin : args->chunk;
    const real* part = x + begin;
    SUM_OVER(sum, j, length, part[j] * part[j]);
    FOR_BLOCK(one, 1) partial[chunk] = sum;
  }
}

KERNEL(clip_scale) {
  IN(real, partial);
  OUT(real, norm);
  FOR_TILES(tile, 1) {
    SUM_OVER(sum, j, args->chunks, partial[j]);
    FOR_BLOCK(one, 1) {
      const real length = SQRT(sum);
      norm[0] = length;
      norm[1] = args->max_norm > 0 && length > (real)args->max_norm ? (real)args->max_norm / (length + (real)1e-6) : 1;
    }
  }
}

// Moments of a weight whose gradient stays 0 (behind a dead ReLU) would decay to denormal numbers, with which
// arithmetic is many times slower: below the smallest normal float they are 0.
#define BW_TINY ((real)1.17549435e-38)

KERNEL(adamw) {
  OUT(real, weights);
  IN(real, gradients);
  OUT(real, first);
  OUT(real, second);
  IN(real, norm);
  const real clip = norm[1];
  const real beta1 = (real)args->beta1, beta2 = (real)args->beta2;
  const real keep1 = (real)(1 - args->beta1), keep2 = (real)(1 - args->beta2);
  const real step_size = (real)args->step_size, second_scale = (real)args->second_scale;
  const real epsilon = (real)args->epsilon, decay = (real)(1 - args->lr * args->weight_decay);
  FOR_GRID(i, args->n) {
    const real g = gradients[i] * clip;
    real m = beta1 * first[i] + keep1 * g;
    real v = beta2 * second[i] + keep2 * g * g;
    m = m < BW_TINY && m > -BW_TINY ? 0 : m;
    v = v < BW_TINY ? 0 : v;
    first[i] = m;
    second[i] = v;
    weights[i] = weights[i] * decay - step_size * m / (SQRT(v * second_scale) + epsilon);
  }
}

KERNEL(muon_momentum) {
  IN(real, gradients);
  OUT(real, momentum);
  OUT(real, update);
  IN(real, norm);
  const real clip = norm[1], beta = (real)args->beta;
  FOR_GRID(i, args->n) {
    const real g = gradients[i] * clip;
    const real m = beta * momentum[i] + g;
    momentum[i] = m;
    update[i] = g + beta * m;
  }
}

KERNEL(muon_normalize) {
  OUT(real, x);
  FOR_TILES(tile, 1) {
    SUM_OVER(sum, j, args->n, x[j] * x[j]);
    const real scale = 1 / (SQRT(sum) + (real)1e-7);
    FOR_BLOCK(j, args->n) x[j] *= scale;
  }
}

KERNEL(muon_apply) {
  OUT(real, weights);
  IN(real, update);
  const real decay = (real)(1 - args->lr * args->weight_decay), step = (real)(args->lr * args->scale);
  FOR_GRID(i, args->n) weights[i] = weights[i] * decay - step * update[i];
}
