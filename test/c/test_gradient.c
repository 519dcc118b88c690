// The gradient of the whole PPO loss through the whole net, every parameter, against central differences in float64.
//
// The games are played by a real run on the reference device; then the weights are moved, so that ratios leave 1 and
// some samples are clipped. The loss that is differenced is the test's own, written from the paper's formulas on the
// net's output, not the kernel's. Where equal states share a row of the net, it is still one of single samples.
#include "../../csrc/train/run.h"
#include "check.h"
#include "reference.h"

static const double kEntropyCoef = 0.05;
static const double kAllowed = 1e-6;  // relative to the gradient's size, see check_gradient

// One run and its single minibatch of all samples, on the host.
typedef struct problem {
  bw_device* device;
  bw_run* run;
  int64_t samples, rows, parameters, actions, outputs;
  int32_t* row_of;  // [samples]
  double *weights, *gradients, *head;
  double *log_probs, *advantages, *returns, *wdl, *policies;
  int32_t *masks, *taken;
} problem;

static void* allocate(int64_t count, size_t size) {
  void* memory = calloc((size_t)count, size);
  REQUIRE(memory);
  return memory;
}

static void download(const problem* p, void* to, bw_ref from, int64_t count, size_t size) {
  p->device->backend->download(p->device, to, from, (size_t)count * size);
}

static void upload_weights(const problem* p) {
  p->device->backend->upload(p->device, p->run->agent.parameters, p->weights, (size_t)p->parameters * sizeof(double));
  bw_net_pack(&p->run->agent, p->device);
}

// Shares of the samples whose ratio left the clipping range, and whose clipped branch is the loss.
typedef struct clipping {
  double outside, active;
} clipping;

// mean(policy loss) + value_coef mean(value loss) - entropy_coef mean(entropy), at the present weights
// (Schulman et al. 2017, eq. 7 and 9). clipped may be NULL.
static double loss_of(const problem* p, double entropy_coef, clipping* clipped) {
  const bw_config* c = &p->run->config;
  const int64_t actions = p->actions;
  bw_net_forward(p->device, &p->run->agent, &p->run->activations, p->rows);
  download(p, p->head, p->run->activations.head, p->rows * p->outputs, sizeof(double));
  double policy = 0, value = 0, entropy = 0, kl = 0, outside = 0, active = 0;
  for (int64_t i = 0; i < p->samples; ++i) {
    const double* logits = p->head + p->row_of[i] * p->outputs;
    const uint32_t mask = (uint32_t)p->masks[p->row_of[i]];
    double sum = 0, h = 0;
    for (int64_t a = 0; a < actions; ++a) sum += mask >> a & 1 ? exp(logits[a]) : 0;
    for (int64_t a = 0; a < actions; ++a) {
      const double log_p = logits[a] - log(sum);
      if (mask >> a & 1) h -= exp(log_p) * log_p;
    }
    const double ratio = exp(logits[p->taken[i]] - log(sum) - p->log_probs[i]), advantage = p->advantages[i];
    const double bounded = fmin(fmax(ratio, 1 - c->ppo_clip), 1 + c->ppo_clip);
    policy -= fmin(ratio * advantage, bounded * advantage);
    if (p->outputs == actions + 1) {
      value += pow(logits[actions] - p->returns[i], 2);
    } else {  // cross-entropy of the outcomes
      const double *outcome = logits + actions, all = exp(outcome[0]) + exp(outcome[1]) + exp(outcome[2]);
      for (int k = 0; k < 3; ++k) value -= p->wdl[3 * i + k] * (outcome[k] - log(all));
    }
    entropy += h;
    for (int64_t a = 0; c->ppo_kl_coef > 0 && a < actions; ++a) {
      const double old = p->policies[i * actions + a];
      if (mask >> a & 1) kl += exp(old) * (old - (logits[a] - log(sum)));
    }
    outside += ratio != bounded;
    active += bounded * advantage < ratio * advantage;
  }
  const double n = (double)p->samples;
  if (clipped) *clipped = (clipping){outside / n, active / n};
  return policy / n + c->ppo_value_coef * value / n - entropy_coef * entropy / n + c->ppo_kl_coef * kl / n;
}

// Plays the first iteration's games and gathers all their samples as one minibatch.
static problem create_problem(const char* game, const char* net, const char* games, const char* value, bool shares) {
  const char* const options[][2] = {{"net.kind", net},
                                    {"net.value", value},
                                    {"net.observation", strcmp(value, "wdl") == 0 ? "threats" : "stones"},
                                    {"ppo.klCoef", strcmp(value, "wdl") == 0 ? "0.4" : "0"},
                                    {"ppo.gamma", strcmp(value, "wdl") == 0 ? "1" : "0.99"},
                                    {"net.width", "8"},
                                    {"net.depth", "3"},
                                    {"rollout.games", games},
                                    {"rollout.mirror", "true"},
                                    {"rollout.openings.share", "0.5"},
                                    {"rollout.drawReward", "0.1"},
                                    {"ppo.minibatch", "1000000"},
                                    {"ppo.shareStates", shares ? "true" : "false"},
                                    {"run.seed", "3"}};
  const bw_value_kind kinds[] = {BW_VALUE_STRING, BW_VALUE_STRING, BW_VALUE_STRING, BW_VALUE_NUMBER, BW_VALUE_NUMBER,
                                 BW_VALUE_NUMBER, BW_VALUE_NUMBER, BW_VALUE_NUMBER, BW_VALUE_BOOL,   BW_VALUE_NUMBER,
                                 BW_VALUE_NUMBER, BW_VALUE_NUMBER, BW_VALUE_BOOL,   BW_VALUE_NUMBER};
  problem p = {0};
  bw_config config;
  bw_error error = {0};
  REQUIRE(bw_reference_device_create(&p.device, &error) == BW_OK);
  REQUIRE(bw_config_init(&config, game, &error) == BW_OK);
  for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; ++i) {
    const bw_status status = bw_config_set(&config, options[i][0], kinds[i], options[i][1], &error);
    CHECK_MSG(status == BW_OK, "%s: %s", options[i][0], error.message);
  }
  // A game's recipe may ask for a pool of opponents; the current policy alone will do.
  REQUIRE(bw_config_set(&config, "rollout.opponents.pool", BW_VALUE_NUMBER, "0", &error) == BW_OK);
  REQUIRE(bw_config_set(&config, "rollout.opponents.selfShare", BW_VALUE_NUMBER, "1", &error) == BW_OK);
  REQUIRE(bw_config_check(&config, &error) == BW_OK);
  REQUIRE(bw_run_create(&config, p.device, 0, &p.run, &error) == BW_OK);

  bw_run* run = p.run;
  bw_collect_setups(run);
  const bw_play play = {.games = config.rollout_games, .record = true};
  REQUIRE(bw_collect_play(run, &play, &error) == BW_OK);
  bw_iteration iteration = {0};
  REQUIRE(bw_ppo_prepare(run, &p.samples, &iteration, &error) == BW_OK);
  REQUIRE(p.samples > 50);
  memcpy(run->host_order, run->host_slots, (size_t)p.samples * sizeof(int32_t));
  bw_ppo_arrange(run, p.samples);
  p.rows = run->host_rows[0];
  CHECK(shares ? p.rows < p.samples : p.rows == p.samples);
  p.row_of = allocate(p.samples, sizeof(int32_t));
  for (int32_t i = 0, row = 0; i < p.samples; ++i) {
    p.row_of[i] = row;
    if (i + 1 == run->host_row_ends[row]) ++row;
  }

  p.parameters = run->layout.parameters;
  p.actions = run->game->actions;
  p.weights = allocate(p.parameters, sizeof(double));
  p.gradients = allocate(p.parameters, sizeof(double));
  p.outputs = bw_net_outputs(&run->layout.shape);
  REQUIRE(p.outputs == p.actions + (strcmp(value, "wdl") == 0 ? 3 : 1));
  p.head = allocate(p.samples * p.outputs, sizeof(double));
  p.log_probs = allocate(p.samples, sizeof(double));
  p.advantages = allocate(p.samples, sizeof(double));
  p.returns = allocate(p.samples, sizeof(double));
  p.policies = allocate(p.actions * p.samples, sizeof(double));
  p.wdl = allocate(3 * p.samples, sizeof(double));
  p.masks = allocate(p.rows, sizeof(int32_t));
  p.taken = allocate(p.samples, sizeof(int32_t));
  download(&p, p.weights, run->agent.parameters, p.parameters, sizeof(double));
  return p;
}

static void destroy_problem(problem* p) {
  void* const memory[] = {p->weights, p->gradients, p->head,  p->log_probs, p->advantages, p->returns,
                          p->wdl,     p->policies,  p->masks, p->taken,     p->row_of};
  for (size_t i = 0; i < sizeof memory / sizeof memory[0]; ++i) free(memory[i]);
  bw_run_destroy(p->run);
  bw_device_destroy(p->device);
}

// The gradient at the present weights, by the engine; also its inputs and its sums of statistics.
static void compute_gradient(problem* p, double entropy_coef, double* totals) {
  bw_run* run = p->run;
  p->device->backend->zero(p->device, run->totals, BW_STATISTICS * sizeof(double));
  bw_ppo_gradient(run, 0, p->samples, entropy_coef);
  download(p, p->gradients, run->agent.gradients, p->parameters, sizeof(double));
  download(p, totals, run->totals, BW_STATISTICS, sizeof(double));
  download(p, p->log_probs, run->log_probs, p->samples, sizeof(double));
  download(p, p->advantages, run->advantages, p->samples, sizeof(double));
  download(p, p->returns, run->returns, p->samples, sizeof(double));
  if (run->layout.shape.wdl) download(p, p->wdl, run->wdl, 3 * p->samples, sizeof(double));
  if (run->config.ppo_kl_coef > 0) download(p, p->policies, run->policies, p->actions * p->samples, sizeof(double));
  download(p, p->masks, run->masks, p->rows, sizeof(int32_t));
  download(p, p->taken, run->actions, p->samples, sizeof(int32_t));
}

static double central_difference(problem* p, int64_t index, double step) {
  const double weight = p->weights[index];
  p->weights[index] = weight + step;
  upload_weights(p);
  const double above = loss_of(p, kEntropyCoef, NULL);
  p->weights[index] = weight - step;
  upload_weights(p);
  const double below = loss_of(p, kEntropyCoef, NULL);
  p->weights[index] = weight;
  upload_weights(p);
  return (above - below) / (2 * step);
}

// Every element of every tensor. An error counts relative to the element and to its tensor's root mean square: an
// element that happens to be near 0 is the small difference of large terms.
static void check_gradient(problem* p, const char* what) {
  double worst = 0;
  for (int t = 0; t < p->run->layout.tensor_count; ++t) {
    const bw_net_tensor* tensor = &p->run->layout.tensors[t];
    const int64_t count = tensor->shape[0] * tensor->shape[1];
    double squares = 0;
    for (int64_t i = 0; i < count; ++i) squares += pow(p->gradients[tensor->offset + i], 2);
    const double size = sqrt(squares / (double)count);
    CHECK_MSG(size > 1e-6, "%s: the gradient of %s is about 0, which shows nothing", what, tensor->name);
    for (int64_t i = 0; i < count; ++i) {
      const double gradient = p->gradients[tensor->offset + i];
      // A step may carry a sample over a kink of ReLU or of the clipping; a much smaller one then does not.
      double error = INFINITY, difference = 0;
      for (double step = 2e-6; step > 1e-7 && error > kAllowed; step /= 10) {
        difference = central_difference(p, tensor->offset + i, step);
        error = fabs(gradient - difference) / (fabs(difference) + size);
      }
      if (error > worst) worst = error;
      CHECK_MSG(error <= kAllowed, "%s, %s[%lld]: gradient %.12g, central difference %.12g, error %.3g", what,
                tensor->name, (long long)i, gradient, difference, error);
    }
  }
  printf("%s: %lld samples in %lld rows, %lld parameters, worst relative error %.2g\n", what, (long long)p->samples,
         (long long)p->rows, (long long)p->parameters, worst);
}

static void test_gradient(const char* game, const char* net, const char* games, const char* value, bool shares,
                          double noise) {
  char what[64];
  snprintf(what, sizeof what, "%s %s %s", game, net, value);
  problem p = create_problem(game, net, games, value, shares);
  double totals[BW_STATISTICS];

  // Before anything moved, every ratio is 1.
  compute_gradient(&p, kEntropyCoef, totals);
  CHECK_NEAR(totals[BW_STATISTIC_RATIO_ERROR], 0, 1e-12);

  for (int64_t i = 0; i < p.parameters; ++i) {
    const uint32_t word = bw_philox(11, 0, (uint64_t)i, 0).v[0];
    p.weights[i] += noise * (2 * (double)bw_uniform(word) - 1);
  }
  upload_weights(&p);
  compute_gradient(&p, kEntropyCoef, totals);
  clipping clipped;
  const double loss = loss_of(&p, kEntropyCoef, &clipped), n = (double)p.samples;
  CHECK_MSG(clipped.outside > 0.1 && clipped.outside < 0.9, "%s: %.3f of the samples are clipped", what,
            clipped.outside);
  CHECK_MSG(clipped.active > 0.05, "%s: %.3f of the samples have the clipped loss", what, clipped.active);
  CHECK_NEAR(totals[BW_STATISTIC_CLIPPED], clipped.outside * n, 0.5);
  const double kl_coef = p.run->config.ppo_kl_coef, kl = kl_coef > 0 ? totals[BW_STATISTIC_KL] : 0;
  CHECK(kl_coef == 0 || kl > 0.01 * n);
  CHECK_NEAR(
      (totals[BW_STATISTIC_POLICY_LOSS] + kl_coef * kl +
       p.run->config.ppo_value_coef * totals[BW_STATISTIC_VALUE_LOSS] - kEntropyCoef * totals[BW_STATISTIC_ENTROPY]) /
          n,
      loss, 1e-12);
  check_gradient(&p, what);
  destroy_problem(&p);
}

// No advantage, values that are right already, no entropy bonus: nothing to learn.
static void test_zero_gradient(const char* game, const char* net) {
  problem p = create_problem(game, net, "12", "scalar", true);
  const bw_rollout_buffers* rollout = &p.run->rollout;
  double totals[BW_STATISTICS];
  compute_gradient(&p, 0, totals);
  bool zero = true;
  for (int64_t i = 0; i < p.parameters; ++i) zero = zero && p.gradients[i] == 0;
  CHECK(!zero);

  loss_of(&p, 0, NULL);  // fills p.head
  const double none = 0;
  for (int64_t i = 0; i < p.samples; ++i) {
    const uint64_t at = (uint64_t)p.run->host_order[i] * sizeof(double);
    const double value = p.head[p.row_of[i] * (p.actions + 1) + p.actions];
    p.device->backend->upload(p.device, bw_ref_at(rollout->record_returns, at), &value, sizeof value);
    p.device->backend->upload(p.device, bw_ref_at(rollout->record_advantages, at), &none, sizeof none);
  }
  compute_gradient(&p, 0, totals);
  zero = true;
  for (int64_t i = 0; i < p.parameters; ++i) zero = zero && p.gradients[i] == 0;
  CHECK(zero);
  CHECK(totals[BW_STATISTIC_VALUE_LOSS] == 0 && totals[BW_STATISTIC_POLICY_LOSS] == 0);
  destroy_problem(&p);
}

int main(void) {
  test_gradient("tictactoe", "mlp", "24", "scalar", false, 0.5);
  test_gradient("tictactoe", "resmlp", "24", "scalar", true, 0.2);
  test_gradient("connect4", "mlp", "8", "scalar", true, 0.5);
  test_gradient("connect4", "resmlp", "8", "scalar", false, 0.2);
  test_gradient("tictactoe", "mlp", "24", "wdl", true, 0.5);
  test_gradient("connect4", "resmlp", "8", "wdl", true, 0.2);
  test_zero_gradient("tictactoe", "mlp");
  test_zero_gradient("connect4", "resmlp");
  return check_summary("gradient");
}
