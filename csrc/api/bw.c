// The public interface: devices are chosen here, runs are created on them, judges are given their policy.
#include "bw.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../backends/backends.h"
#include "../device/dialect_cpu.h"
#include "../games/game.h"
#include "../kernels/policy.h"
#include "../train/run.h"

#ifndef BW_VERSION
#define BW_VERSION "0.1.0"
#endif

struct bw_selfplay {
  bw_device* device;
  bw_run* run;
  bw_isa isa;
  bw_roof roof;         // 0 until measured
  double until_glance;  // seconds of training until the roof is looked at again
};

static const double kGlanceShare = 0.004;  // of the training time, for looks at the roof

const char* bw_version(void) { return BW_VERSION; }

// ---- the library ----

static const char kNoCuda[] = "this version has no CUDA backend yet";
static const char kNoMetal[] = "this version has no Metal backend yet";

bw_status bw_library_info(bool measure_peaks, bw_info* info, bw_error* error) {
  memset(info, 0, sizeof *info);
  bw_isa isa = BW_ISA_PORTABLE;
  BW_TRY(bw_isa_choose(&isa, error));
  info->isa = bw_isa_name(isa);
  for (int i = BW_ISA_COUNT - 1; i >= 0; --i) {
    if (!bw_isa_available((bw_isa)i)) continue;
    if (info->isas_available[0]) strcat(info->isas_available, ",");
    strcat(info->isas_available, bw_isa_name((bw_isa)i));
  }
  info->cpu = bw_cpu_name();
  bw_cpu_model(&info->cpu_family, &info->cpu_model);
  info->hardware_threads = bw_hardware_threads();
  info->memory_bytes = bw_memory_available();
  info->devices[0] = (bw_device_info){.name = "cpu", .available = true, .reason = ""};
  info->devices[1] = (bw_device_info){.name = "cuda", .available = false, .reason = kNoCuda};
  info->devices[2] = (bw_device_info){.name = "metal", .available = false, .reason = kNoMetal};
  if (!measure_peaks) return BW_OK;
  bw_pool* pool = NULL;
  bw_roof roof;
  BW_TRY(bw_pool_create(info->hardware_threads, &pool, error));
  const bw_status status = bw_roof_measure(isa, pool, false, &roof, error);
  bw_pool_destroy(pool);
  if (status != BW_OK) return status;
  info->peak_gflops = roof.gflops;
  info->peak_gflops_bf16 = roof.gflops_bf16;
  info->peak_gbytes = roof.gbytes;
  return BW_OK;
}

static bw_status fail_bf16(bw_isa isa, bw_error* error) {
  char expected[96];
  if (bw_bf16_available(BW_ISA_AVX512)) {
    snprintf(expected, sizeof expected, "fp32 (instruction set %s, chosen by BELLOWS_ISA, has no bf16)",
             bw_isa_name(isa));
  } else {
#ifdef BW_HAVE_AVX512BF16
    snprintf(expected, sizeof expected, "fp32 (this CPU has no AVX512-BF16)");
#else
    snprintf(expected, sizeof expected, "fp32 (this build has no bf16 kernels)");
#endif
  }
  return bw_fail_option(error, "device", "run.precision", "\"bf16\"", expected);
}

// The device that was asked for, or an error; never another one.
static bw_status create_device(const bw_config* config, bw_isa* isa, bw_device** device, bw_error* error) {
  if (config->run_device == BW_DEVICE_CUDA || config->run_device == BW_DEVICE_METAL) {
    const bool cuda = config->run_device == BW_DEVICE_CUDA;
    const char* name = cuda ? "cuda" : "metal";
    const bw_status status =
        bw_fail(error, BW_DEVICE, "device", "run.device '%s' is not available: %s; allowed here: auto, cpu", name,
                cuda ? kNoCuda : kNoMetal);
    if (error) {
      strncpy(error->device, name, sizeof error->device - 1);
      strncpy(error->path, "run.device", sizeof error->path - 1);
      strncpy(error->received, name, sizeof error->received - 1);
      strncpy(error->expected, "auto or cpu", sizeof error->expected - 1);
    }
    return status;
  }
  BW_TRY(bw_isa_choose(isa, error));
  const bw_precision precision = (bw_precision)config->run_precision;
  if (precision == BW_PRECISION_BF16 && !bw_bf16_available(*isa)) return fail_bf16(*isa, error);
  const int threads = config->run_threads > 0 ? (int)config->run_threads : bw_hardware_threads();
  return bw_cpu_device_create(*isa, precision, threads, device, error);
}

// ---- games ----

bw_status bw_game_playouts(const char* game, const char* moves, int64_t games, uint64_t seed, int threads,
                           bw_playouts* totals, bw_error* error) {
  int index = 0;
  bw_isa isa = BW_ISA_PORTABLE;
  bw_device* device = NULL;
  uint64_t start[BW_GAME_MAX_STATE_BYTES / sizeof(uint64_t)] = {0};
  BW_TRY(bw_game_find(game, &index, error));
  BW_TRY(bw_game_parse(bw_game_at(index), moves, start, error));
  if (games < 0 || threads < 0) {
    char received[32];
    snprintf(received, sizeof received, "%lld", (long long)(games < 0 ? games : threads));
    return bw_fail_option(error, "playouts", games < 0 ? "games" : "threads", received, "a number from 0");
  }
  BW_TRY(bw_isa_choose(&isa, error));
  BW_TRY(bw_cpu_device_create(isa, BW_PRECISION_FP32, threads ? threads : bw_hardware_threads(), &device, error));
  const bw_status status = bw_random_playouts(device, index, start, seed, 0, games, totals, error);
  bw_device_destroy(device);
  return status;
}

// ---- planning ----

bw_status bw_selfplay_plan(const bw_config* config, bw_plan_row** rows, int* count, bw_error* error) {
  bw_device* device = NULL;
  bw_isa isa = BW_ISA_PORTABLE;
  bw_config one_thread = *config;
  one_thread.run_threads = 1;
  BW_TRY(create_device(&one_thread, &isa, &device, error));
  bw_run* run = calloc(1, sizeof *run);
  bw_status status =
      run ? bw_run_plan(run, config, device, error) : bw_fail_memory(error, "plan", "the plan", sizeof *run, 0);
  if (status == BW_OK) {
    *rows = calloc((size_t)run->plan.count, sizeof **rows);
    *count = run->plan.count;
    if (!*rows) status = bw_fail_memory(error, "plan", "the plan's rows", (size_t)run->plan.count * sizeof **rows, 0);
  }
  for (int i = 0; status == BW_OK && i < run->plan.count; ++i) {
    const bw_plan_entry* entry = &run->plan.entries[i];
    bw_plan_row* row = &(*rows)[i];
    strncpy(row->group, entry->group, sizeof row->group - 1);
    memcpy(row->name, entry->name, sizeof row->name - 1);
    strcpy(row->dtype, entry->element == BW_ELEMENT_REAL ? "f32" : entry->element == BW_ELEMENT_I32 ? "i32" : "u8");
    row->rank = entry->rank;
    memcpy(row->shape, entry->shape, sizeof row->shape);
    row->bytes = entry->bytes;
  }
  if (run) bw_run_destroy(run);
  bw_device_destroy(device);
  return status;
}

// ---- a run ----

bw_status bw_selfplay_create(const bw_config* config, bw_selfplay** out, bw_error* error) {
  bw_selfplay* selfplay = calloc(1, sizeof *selfplay);
  if (!selfplay) return bw_fail_memory(error, "create", "the run", sizeof *selfplay, 0);
  bw_status status = create_device(config, &selfplay->isa, &selfplay->device, error);
  if (status == BW_OK) {
    status = bw_run_create(config, selfplay->device, bw_memory_available(), &selfplay->run, error);
  }
  if (status != BW_OK) {
    bw_selfplay_destroy(selfplay);
    return status;
  }
  *out = selfplay;
  return BW_OK;
}

void bw_selfplay_destroy(bw_selfplay* selfplay) {
  if (!selfplay) return;
  bw_run_destroy(selfplay->run);
  bw_device_destroy(selfplay->device);
  free(selfplay);
}

// The iteration's place under the roof. The roof is probed again now and then, between iterations, and at once where it
// must have been read too low: it would be wrong for the whole run if the machine was busy in the moment it began.
static void place_under_roof(bw_selfplay* selfplay, bw_iteration* it) {
  const double seconds = it->collect_seconds + it->update_seconds;
  const bw_precision precision = (bw_precision)selfplay->run->config.run_precision;
  bw_roof* roof = &selfplay->roof;
  if (bw_roof_gflops(roof, precision) <= 0 || seconds <= 0) return;
  const double gflops = it->flops / seconds * 1e-9;
  selfplay->until_glance -= seconds;
  if (selfplay->until_glance <= 0 || gflops > bw_roof_gflops(roof, precision)) {
    const uint64_t start = bw_now_ns();
    bw_roof_glance(selfplay->isa, bw_cpu_device_pool(selfplay->device), precision, gflops, roof);
    // As long as it took: on a busy machine much more than it was meant to.
    selfplay->until_glance = (double)(bw_now_ns() - start) * 1e-9 / kGlanceShare;
  }
  it->roofline = gflops / bw_roof_gflops(roof, precision);
  it->roof_raised = roof->raised[precision];
}

bw_status bw_selfplay_iterate(bw_selfplay* selfplay, double progress, bw_iteration* out, bw_error* error) {
  BW_TRY(bw_run_iterate(selfplay->run, progress, out, error));
  place_under_roof(selfplay, out);
  return BW_OK;
}

void bw_selfplay_cancel(bw_selfplay* selfplay) { atomic_store(&selfplay->run->cancelled, 1); }
void bw_selfplay_clear_cancel(bw_selfplay* selfplay) { atomic_store(&selfplay->run->cancelled, 0); }

const bw_config* bw_selfplay_config(const bw_selfplay* selfplay) { return &selfplay->run->config; }
const bw_game* bw_selfplay_game(const bw_selfplay* selfplay) { return selfplay->run->game; }

bw_counters bw_selfplay_counters(const bw_selfplay* selfplay) {
  const bw_run* run = selfplay->run;
  return (bw_counters){
      .iteration = run->iteration, .games = run->games, .samples = run->samples, .updates = run->updates};
}

int64_t bw_selfplay_parameter_count(const bw_selfplay* selfplay) { return selfplay->run->layout.parameters; }

bw_status bw_selfplay_weights(bw_selfplay* selfplay, const float** weights, int64_t* count, bw_error* error) {
  *count = selfplay->run->layout.parameters;
  return bw_run_weights(selfplay->run, weights, error);
}

int bw_selfplay_tensor_count(const bw_selfplay* selfplay) { return selfplay->run->layout.tensor_count; }

bw_tensor_info bw_selfplay_tensor(const bw_selfplay* selfplay, int index) {
  const bw_net_tensor* tensor = &selfplay->run->layout.tensors[index];
  bw_tensor_info info = {.rank = tensor->rank, .shape = {tensor->shape[0], tensor->shape[1]}, .offset = tensor->offset};
  memcpy(info.name, tensor->name, sizeof tensor->name);
  return info;
}

// ---- judging ----

// Logits of one row to probabilities by the arithmetic of collection.
static void probabilities_of(const float* logits, uint32_t legal, int actions, float* probabilities) {
  bw_policy_rows rows;
  FOR_LANES(r) {
    rows.masks[r] = legal;
    for (int a = 0; a < actions; ++a) rows.logits[a][r] = logits[a];
  }
  bw_masked_softmax_rows(&rows, actions, 1);
  for (int a = 0; a < actions; ++a) probabilities[a] = rows.probabilities[a][0];
}

bw_status bw_selfplay_policy(bw_selfplay* selfplay, const char* moves, float* logits, float* probabilities,
                             float* value, int* terminal, bw_error* error) {
  bw_run* run = selfplay->run;
  const bw_game* game = run->game;
  _Alignas(16) unsigned char state[BW_GAME_MAX_STATE_BYTES];
  float head[BW_GAME_MAX_ACTIONS + 1];
  BW_TRY(bw_game_parse(game, moves, state, error));
  const int result = game->result(state);
  *terminal = result != BW_ONGOING;
  if (*terminal) {
    for (int a = 0; a < game->actions; ++a) logits[a] = probabilities[a] = 0;
    *value = result == BW_WON ? -1.0f : (float)run->config.rollout_draw_reward;  // the side to move has lost or drawn
    return BW_OK;
  }
  BW_TRY(bw_run_infer(run, state, 1, head, error));
  memcpy(logits, head, (size_t)game->actions * sizeof(float));
  *value = head[game->actions];
  probabilities_of(logits, game->legal(state), game->actions, probabilities);
  return BW_OK;
}

static bw_status judge_policy(void* context, const void* states, int count, float* probabilities, bw_error* error) {
  bw_run* run = context;
  const bw_game* game = run->game;
  const int outputs = game->actions + 1;
  float* head = malloc((size_t)count * (size_t)outputs * sizeof *head);
  if (!head) return bw_fail_memory(error, "certify", "the policy table", (uint64_t)count * (uint64_t)outputs * 4, 0);
  const bw_status status = bw_run_infer(run, states, count, head, error);
  for (int i = 0; status == BW_OK && i < count; ++i) {
    const uint32_t legal = game->legal((const char*)states + (size_t)i * game->state_bytes);
    probabilities_of(head + (size_t)i * (size_t)outputs, legal, game->actions,
                     probabilities + (size_t)i * (size_t)game->actions);
  }
  free(head);
  return status;
}

bw_status bw_selfplay_certify(bw_selfplay* selfplay, bw_certificate* certificate, bw_error* error) {
  const uint64_t start = bw_now_ns();
  const bw_status status = bw_judge_policy(selfplay->run->game, judge_policy, selfplay->run, certificate, error);
  bw_prof_phase(&selfplay->device->prof, "evaluate", start, bw_now_ns());
  return status;
}

bw_status bw_selfplay_versus_random(bw_selfplay* selfplay, int64_t games, bool argmax, bw_shares* first,
                                    bw_shares* second, bw_error* error) {
  int64_t results[2][3];
  if (games < 2) return bw_fail_option(error, "versus_random", "games", "fewer than 2", "at least 2");
  const uint64_t start = bw_now_ns();
  BW_TRY(bw_run_versus_random(selfplay->run, games, argmax, results, error));
  bw_prof_phase(&selfplay->device->prof, "evaluate", start, bw_now_ns());
  bw_shares* shares[2] = {first, second};
  for (int seat = 0; seat < 2; ++seat) {
    const double total = (double)(results[seat][0] + results[seat][1] + results[seat][2]);
    *shares[seat] = (bw_shares){.win = (double)results[seat][0] / total,
                                .draw = (double)results[seat][1] / total,
                                .loss = (double)results[seat][2] / total};
  }
  return BW_OK;
}

// ---- checkpoints ----

bw_status bw_selfplay_save(bw_selfplay* selfplay, bool bundle_pool, const bw_metadata* extra, int extra_count,
                           uint8_t** bytes, size_t* size, bw_error* error) {
  const uint64_t start = bw_now_ns();
  const bw_status status = bw_run_save(selfplay->run, bundle_pool, extra, extra_count, bytes, size, error);
  bw_prof_phase(&selfplay->device->prof, "checkpoint", start, bw_now_ns());
  return status;
}

bw_status bw_selfplay_save_policy(bw_selfplay* selfplay, const bw_metadata* extra, int extra_count, uint8_t** bytes,
                                  size_t* size, bw_error* error) {
  return bw_run_save_policy(selfplay->run, extra, extra_count, bytes, size, error);
}

bw_status bw_selfplay_load(bw_selfplay* selfplay, const uint8_t* bytes, size_t size, bw_error* error) {
  return bw_run_load(selfplay->run, bytes, size, error);
}

int bw_selfplay_pool_count(const bw_selfplay* selfplay) { return selfplay->run->member_count; }

static bw_status check_slot(const bw_run* run, int slot, bw_error* error) {
  if (slot >= 0 && slot < run->member_count) return BW_OK;
  return bw_fail_option(error, "pool", "slot", "out of range", "0 to the number of pool members - 1");
}

bw_status bw_selfplay_pool_get(const bw_selfplay* selfplay, int slot, int64_t* snapshot, const float** weights,
                               bw_error* error) {
  bw_run* run = selfplay->run;
  BW_TRY(check_slot(run, slot, error));
  *snapshot = run->members[slot].number;
  BW_TRY(bw_run_download_parameters(run, run->host_weights, bw_opponents_weights(run, slot), error));
  *weights = run->host_weights;
  return BW_OK;
}

bw_status bw_selfplay_pool_put(bw_selfplay* selfplay, int slot, const float* weights, int64_t count, bw_error* error) {
  bw_run* run = selfplay->run;
  BW_TRY(check_slot(run, slot, error));
  if (count != run->layout.parameters) {
    return bw_fail(error, BW_CHECKPOINT, "pool", "an opponent has %lld weights; this net has %lld", (long long)count,
                   (long long)run->layout.parameters);
  }
  return bw_run_upload_parameters(run, bw_opponents_weights(run, slot), weights, error);
}

// ---- what a run takes from files ----

bw_status bw_selfplay_set_starts(bw_selfplay* selfplay, const char* const* moves, int64_t count, bw_error* error) {
  return bw_run_set_starts(selfplay->run, moves, count, error);
}

bw_status bw_selfplay_pin(bw_selfplay* selfplay, const bw_config* config, const uint8_t* file, size_t size,
                          bw_error* error) {
  bw_safetensors parsed;
  BW_TRY(bw_safetensors_parse(file, size, &parsed, error));
  const bw_status status = bw_run_pin(selfplay->run, config, &parsed, error);
  bw_safetensors_free(&parsed);
  return status;
}

// ---- profile ----

const bw_prof* bw_selfplay_profile(const bw_selfplay* selfplay) { return &selfplay->device->prof; }
void bw_selfplay_profile_reset(bw_selfplay* selfplay) { bw_prof_reset(&selfplay->device->prof); }

bw_status bw_selfplay_timeline_start(bw_selfplay* selfplay, int64_t capacity, bw_error* error) {
  return bw_prof_timeline_start(&selfplay->device->prof, selfplay->device->threads, capacity, error);
}
void bw_selfplay_timeline_stop(bw_selfplay* selfplay) { bw_prof_timeline_stop(&selfplay->device->prof); }
void bw_selfplay_timeline_clear(bw_selfplay* selfplay) { bw_prof_timeline_clear(&selfplay->device->prof); }
const bw_timeline* bw_selfplay_timeline(const bw_selfplay* selfplay) { return selfplay->device->prof.timeline; }

bw_status bw_selfplay_measure_roof(bw_selfplay* selfplay, bool again, bw_error* error) {
  bw_roof roof;
  BW_TRY(bw_roof_measure(selfplay->isa, bw_cpu_device_pool(selfplay->device), again, &roof, error));
  selfplay->roof = roof;
  selfplay->until_glance = 1;
  return BW_OK;
}

const bw_roof* bw_selfplay_roof(const bw_selfplay* selfplay) { return &selfplay->roof; }
