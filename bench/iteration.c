// Benchmark: one self-play PPO iteration of the peer's recipe (see bench/README.md), through the public interface.
//
//   bench_iteration [--game tictactoe|connect4] [--threads T] [--iterations N] [--warmup N] [--seed S]
//                   [--set path=value ...] [--profile] [--json]
//
// Prints one JSON object (--json, one line) or a table. The same keys as bench/peers/ppo_torch.py.
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/bw.h"

typedef struct setting {
  const char* path;
  bw_value_kind kind;
  const char* text;
} setting;

// self-play-ppo's trainer: one opponent an iteration from a pool of past policies, only the agent's moves trained,
// GAE over its own moves.
static const setting shared_recipe[] = {
    {"net.width", BW_VALUE_NUMBER, "256"},
    {"rollout.openings.share", BW_VALUE_NUMBER, "0"},
    {"rollout.mirror", BW_VALUE_BOOL, "false"},
    {"rollout.opponents.selfShare", BW_VALUE_NUMBER, "0"},
    {"rollout.opponents.every", BW_VALUE_NUMBER, "25"},
    {"rollout.opponents.sampling", BW_VALUE_STRING, "uniform"},
    {"rollout.opponents.per", BW_VALUE_STRING, "iteration"},
    {"rollout.opponents.learn", BW_VALUE_STRING, "agent"},
    {"ppo.epochs", BW_VALUE_NUMBER, "4"},
    {"ppo.gamma", BW_VALUE_NUMBER, "0.99"},
    {"ppo.lambda", BW_VALUE_NUMBER, "0.95"},
    {"ppo.chain", BW_VALUE_STRING, "player"},
    {"ppo.valueCoef", BW_VALUE_NUMBER, "0.5"},
    {"ppo.entropySchedule", BW_VALUE_STRING, "constant"},
    {"ppo.lrSchedule", BW_VALUE_STRING, "constant"},
    {"ppo.maxGradNorm", BW_VALUE_NUMBER, "0.5"},
    {"ppo.targetKl", BW_VALUE_NUMBER, "0"},
    {"ppo.normalizeAdvantages", BW_VALUE_BOOL, "true"},
    {"ppo.optimizer", BW_VALUE_STRING, "adamw"},
    {"ppo.beta1", BW_VALUE_NUMBER, "0.9"},
    {"ppo.beta2", BW_VALUE_NUMBER, "0.999"},
    {"ppo.epsilon", BW_VALUE_NUMBER, "1e-8"},
    {"ppo.weightDecay", BW_VALUE_NUMBER, "0"},
    {"run.device", BW_VALUE_STRING, "cpu"},
    {NULL, BW_VALUE_OTHER, NULL},
};

static const setting tictactoe_recipe[] = {
    {"net.kind", BW_VALUE_STRING, "mlp"},
    {"net.depth", BW_VALUE_NUMBER, "4"},
    {"rollout.games", BW_VALUE_NUMBER, "512"},
    {"rollout.drawReward", BW_VALUE_NUMBER, "0.5"},
    {"rollout.opponents.pool", BW_VALUE_NUMBER, "20"},
    {"rollout.opponents.eviction", BW_VALUE_STRING, "keepFirst"},
    {"rollout.opponents.temperature", BW_VALUE_NUMBER, "1"},
    {"ppo.minibatch", BW_VALUE_NUMBER, "64"},
    {"ppo.clip", BW_VALUE_NUMBER, "0.1"},
    {"ppo.entropy", BW_VALUE_NUMBER, "0.05"},
    {"ppo.lr", BW_VALUE_NUMBER, "0.003"},
    {NULL, BW_VALUE_OTHER, NULL},
};

static const setting connect4_recipe[] = {
    {"net.kind", BW_VALUE_STRING, "resmlp"},
    {"net.depth", BW_VALUE_NUMBER, "6"},
    {"rollout.games", BW_VALUE_NUMBER, "2048"},
    {"rollout.drawReward", BW_VALUE_NUMBER, "0"},
    {"rollout.opponents.pool", BW_VALUE_NUMBER, "50"},
    {"rollout.opponents.eviction", BW_VALUE_STRING, "reservoir"},
    {"rollout.opponents.temperature", BW_VALUE_NUMBER, "1.5"},
    {"ppo.minibatch", BW_VALUE_NUMBER, "256"},
    {"ppo.clip", BW_VALUE_NUMBER, "0.2"},
    {"ppo.entropy", BW_VALUE_NUMBER, "0.001"},
    {"ppo.lr", BW_VALUE_NUMBER, "0.0003"},
    {NULL, BW_VALUE_OTHER, NULL},
};

#define MAX_EXTRA_SETTINGS 64

typedef struct arguments {
  const char* game;
  int threads, iterations, warmup, extra_count;  // threads 0: every core
  const char* seed;
  bool profile, json;
  const char* extra[MAX_EXTRA_SETTINGS];  // "path=value"
} arguments;

typedef struct timing {  // one value a measured iteration
  double *total_ms, *collect_ms, *update_ms, *step_ms, *samples, *steps, *gflops;
} timing;

static int usage(const char* problem, const char* text) {
  fprintf(stderr, "bench_iteration: %s%s%s\n", problem, text ? ": " : "", text ? text : "");
  fprintf(stderr,
          "usage: bench_iteration [--game tictactoe|connect4] [--threads T] [--iterations N] [--warmup N] [--seed S] "
          "[--set path=value ...] [--profile] [--json]\n");
  return 2;
}

static int failure(const bw_error* error) {
  fprintf(stderr, "bench_iteration: %s: %s\n", bw_status_name(error->status), error->message);
  return error->status == BW_OPTION ? 2 : 1;
}

// A whole number in [least, 1e6], or -1.
static int parse_count(const char* text, int least) {
  char* end;
  long value = strtol(text, &end, 10);
  return *text && !*end && value >= least && value <= 1000000 ? (int)value : -1;
}

static int parse(int argc, char** argv, arguments* args) {
  *args = (arguments){.game = "tictactoe", .iterations = 20, .warmup = 3, .seed = "0"};
  for (int i = 1; i < argc; ++i) {
    const char* name = argv[i];
    if (!strcmp(name, "--json")) {
      args->json = true;
      continue;
    }
    if (!strcmp(name, "--profile")) {
      args->profile = true;
      continue;
    }
    if (i + 1 == argc) return usage("unknown option or missing value", name);
    const char* value = argv[++i];
    if (!strcmp(name, "--game")) {
      args->game = value;
    } else if (!strcmp(name, "--threads")) {
      if ((args->threads = parse_count(value, 0)) < 0) return usage("--threads expects a number from 0", value);
    } else if (!strcmp(name, "--iterations")) {
      if ((args->iterations = parse_count(value, 1)) < 0) return usage("--iterations expects a number from 1", value);
    } else if (!strcmp(name, "--warmup")) {
      if ((args->warmup = parse_count(value, 0)) < 0) return usage("--warmup expects a number from 0", value);
    } else if (!strcmp(name, "--seed")) {
      args->seed = value;
    } else if (!strcmp(name, "--set")) {
      if (args->extra_count == MAX_EXTRA_SETTINGS) return usage("too many --set", NULL);
      args->extra[args->extra_count++] = value;
    } else {
      return usage("unknown option", name);
    }
  }
  return 0;
}

static bw_status set_all(bw_config* config, const setting* settings, bw_error* error) {
  for (; settings->path; ++settings) {
    BW_TRY(bw_config_set(config, settings->path, settings->kind, settings->text, error));
  }
  return BW_OK;
}

static bw_value_kind kind_of(const char* text) {
  if (!strcmp(text, "true") || !strcmp(text, "false")) return BW_VALUE_BOOL;
  char* end;
  strtod(text, &end);
  return *text && !*end ? BW_VALUE_NUMBER : BW_VALUE_STRING;
}

static bw_status set_extra(bw_config* config, const char* assignment, bw_error* error) {
  char path[96];
  const char* equals = strchr(assignment, '=');
  size_t length = equals ? (size_t)(equals - assignment) : sizeof path;
  if (length >= sizeof path) return bw_fail_option(error, "bench", "--set", assignment, "path=value");
  memcpy(path, assignment, length);
  path[length] = 0;
  return bw_config_set(config, path, kind_of(equals + 1), equals + 1, error);
}

static bw_status configure(const arguments* args, bw_config* config, bw_error* error) {
  BW_TRY(bw_config_init(config, args->game, error));
  BW_TRY(set_all(config, shared_recipe, error));
  BW_TRY(set_all(config, !strcmp(args->game, "connect4") ? connect4_recipe : tictactoe_recipe, error));
  char threads[16];
  snprintf(threads, sizeof threads, "%d", args->threads);
  BW_TRY(bw_config_set(config, "run.threads", BW_VALUE_NUMBER, threads, error));
  BW_TRY(bw_config_set(config, "run.seed", BW_VALUE_NUMBER, args->seed, error));
  for (int i = 0; i < args->extra_count; ++i) BW_TRY(set_extra(config, args->extra[i], error));
  return bw_config_check(config, error);
}

static int compare(const void* a, const void* b) {
  double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

// Linear interpolation between the sorted values. Sorts in place.
static double quantile(double* values, int count, double q) {
  qsort(values, (size_t)count, sizeof *values, compare);
  double position = q * (count - 1);
  int low = (int)position;
  int high = low + 1 < count ? low + 1 : low;
  return values[low] + (values[high] - values[low]) * (position - low);
}

static void print_json_string(const char* text) {
  putchar('"');
  for (; *text; ++text) {
    if (*text == '"' || *text == '\\') putchar('\\');
    if ((unsigned char)*text >= 0x20) putchar(*text);
  }
  putchar('"');
}

static void print_profile(const bw_prof* profile, int iterations, double roof_gflops, double roof_gbytes, bool json) {
  if (!json) {
    printf("\n%-28s %-10s %9s %9s %9s %9s %7s\n", "op", "group", "calls/it", "ms/it", "GFLOP/s", "GB/s", "roof");
  }
  for (int i = 0; i < profile->count; ++i) {
    const bw_span* span = &profile->spans[i];
    double seconds = (double)span->ns * 1e-9;
    double gflops = seconds > 0 ? span->flops / seconds * 1e-9 : 0;
    double gbytes = seconds > 0 ? span->bytes / seconds * 1e-9 : 0;
    double compute = roof_gflops > 0 ? gflops / roof_gflops : 0, memory = roof_gbytes > 0 ? gbytes / roof_gbytes : 0;
    double share = compute > memory ? compute : memory;  // of the roof that binds first
    const char* group = span->group ? span->group : "";
    if (json) {
      printf("%s{\"op\":", i ? "," : "");
      print_json_string(span->name);
      printf(",\"group\":");
      print_json_string(group);
      printf(",\"calls\":%.6g,\"ms\":%.6g,\"gflops\":%.6g,\"gbytes\":%.6g,\"roof_share\":%.6g}",
             (double)span->calls / iterations, seconds * 1e3 / iterations, gflops, gbytes, share);
    } else {
      printf("%-28s %-10s %9.1f %9.3f %9.1f %9.1f %6.1f%%\n", span->name, group, (double)span->calls / iterations,
             seconds * 1e3 / iterations, gflops, gbytes, 100 * share);
    }
  }
}

static bw_status measure(bw_selfplay* run, const arguments* args, timing* t, bw_iteration* last, bw_error* error) {
  for (int i = 0; i < args->warmup; ++i) BW_TRY(bw_selfplay_iterate(run, 0, last, error));
  bw_selfplay_profile_reset(run);
  for (int i = 0; i < args->iterations; ++i) {
    uint64_t start = bw_now_ns();
    BW_TRY(bw_selfplay_iterate(run, 0, last, error));
    double ms = (double)(bw_now_ns() - start) * 1e-6;
    t->total_ms[i] = ms;
    t->collect_ms[i] = last->collect_seconds * 1e3;
    t->update_ms[i] = last->update_seconds * 1e3;
    t->step_ms[i] = last->update_seconds * 1e3 / (double)(last->updates ? last->updates : 1);
    t->samples[i] = (double)last->samples;
    t->steps[i] = (double)last->updates;
    t->gflops[i] = last->flops / ms * 1e-6;
  }
  return BW_OK;
}

static void report(bw_selfplay* run, const arguments* args, timing* t, const bw_iteration* last, const bw_info* info,
                   double roof_gflops, double roof_gbytes) {
  int n = args->iterations;
  int threads = args->threads ? args->threads : info->hardware_threads;
  double median = quantile(t->total_ms, n, 0.5), gflops = quantile(t->gflops, n, 0.5);
  double share = roof_gflops > 0 ? gflops / roof_gflops : 0;
  const bw_prof* profile = bw_selfplay_profile(run);
  if (args->json) {
    printf("{\"name\":\"iteration/%s\",\"system\":\"bellows\",\"version\":\"%s\",\"threads\":%d,", args->game,
           bw_version(), threads);
    printf("\"precision\":\"fp32\",\"isa\":\"%s\",\"cpu\":", info->isa);
    print_json_string(info->cpu);
    printf(",\"parameters\":%" PRId64 ",\"iterations\":%d,", bw_selfplay_parameter_count(run), n);
    printf("\"samples\":%.0f,\"steps\":%.0f,", quantile(t->samples, n, 0.5), quantile(t->steps, n, 0.5));
    printf("\"median_ms\":%.3f,\"p10_ms\":%.3f,\"p90_ms\":%.3f,", median, quantile(t->total_ms, n, 0.1),
           quantile(t->total_ms, n, 0.9));
    printf("\"collect_ms\":%.3f,\"update_ms\":%.3f,\"update_ms_per_step\":%.4f,", quantile(t->collect_ms, n, 0.5),
           quantile(t->update_ms, n, 0.5), quantile(t->step_ms, n, 0.5));
    printf("\"gflops\":%.2f,\"roof_gflops\":%.2f,\"roof_gbytes\":%.2f,\"roof_share\":%.4f,", gflops, roof_gflops,
           roof_gbytes, share);
    printf("\"max_ratio_error\":%.3g,\"profile\":[", isfinite(last->max_ratio_error) ? last->max_ratio_error : -1);
    print_profile(profile, n, roof_gflops, roof_gbytes, true);
    printf("]}\n");
    return;
  }
  printf("iteration/%s  bellows %s  %s  %d threads  %s\n", args->game, bw_version(), info->isa, threads, info->cpu);
  printf("samples %.0f  steps %.0f  parameters %" PRId64 "\n", quantile(t->samples, n, 0.5), quantile(t->steps, n, 0.5),
         bw_selfplay_parameter_count(run));
  printf("ms  median %.3f  p10 %.3f  p90 %.3f  (collect %.3f, update %.3f, %.4f a step)\n", median,
         quantile(t->total_ms, n, 0.1), quantile(t->total_ms, n, 0.9), quantile(t->collect_ms, n, 0.5),
         quantile(t->update_ms, n, 0.5), quantile(t->step_ms, n, 0.5));
  printf("GFLOP/s %.1f of %.1f measured (%.1f%%)\n", gflops, roof_gflops, 100 * share);
  if (args->profile) print_profile(profile, n, roof_gflops, roof_gbytes, false);
}

int main(int argc, char** argv) {
  arguments args;
  int code = parse(argc, argv, &args);
  if (code) return code;

  bw_error error = {0};
  bw_config config;
  bw_info info;
  if (bw_library_info(false, &info, &error) != BW_OK || configure(&args, &config, &error) != BW_OK) {
    return failure(&error);
  }

  double* values = calloc((size_t)args.iterations * 7, sizeof *values);
  if (!values) return usage("out of memory for --iterations", NULL);
  int n = args.iterations;
  timing t = {values, values + n, values + 2 * n, values + 3 * n, values + 4 * n, values + 5 * n, values + 6 * n};

  bw_selfplay* run = NULL;
  bw_iteration last;
  double roof_gflops = 0, roof_gbytes = 0;
  bool ok = bw_selfplay_create(&config, &run, &error) == BW_OK &&
            bw_selfplay_measure_roof(run, &roof_gflops, &roof_gbytes, &error) == BW_OK &&
            measure(run, &args, &t, &last, &error) == BW_OK;
  if (ok) report(run, &args, &t, &last, &info, roof_gflops, roof_gbytes);
  code = ok ? 0 : failure(&error);
  bw_selfplay_destroy(run);
  free(values);
  return code;
}
