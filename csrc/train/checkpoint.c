// A run's whole state as safetensors bytes, and back. Tensors: the weights by name, "optimizer.first_moment" and
// "optimizer.second_moment" [parameters], bundled "opponents.weights" [members][parameters], and with pfsp
// "opponents.scores" [members][points, games], with a league [members][3 learners' points, games], and with starts from
// lost games "starts.moves" [positions][plies]. A league has "league.exploiters" [2 exploiters' weights, first and
// second moments][parameters] and "league.scores" [2 exploiters][points, games], against the main agent. Counters are
// metadata, as decimal text. Random numbers need no state: they are functions of seed and counters.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"

static const char kFormat[] = "bellows-selfplay-1";
static const char kPolicyFormat[] = "bellows-policy-1";

// 2^53: what a JavaScript number counts exactly, and far from overflow.
static const int64_t kMaxCounter = (int64_t)1 << 53;

enum { COUNTERS = 5, OWN_METADATA = 6 + COUNTERS };
enum { EXPLOITERS = BW_ROLES - 1, EXPLOITER_ROWS = 3 * EXPLOITERS, LEARNER_COUNTERS = 6 };

static const char* const kCounterNames[COUNTERS] = {"iteration", "games", "samples", "updates", "snapshots"};

static void counters_of(bw_run* run, int64_t* counters[COUNTERS]) {
  counters[0] = &run->iteration;
  counters[1] = &run->games;
  counters[2] = &run->samples;
  counters[3] = &run->updates;
  counters[4] = &run->snapshots;
}

static void learner_counters_of(bw_learner* learner, int64_t* counters[LEARNER_COUNTERS]) {
  counters[0] = &learner->iterations;
  counters[1] = &learner->updates;
  counters[2] = &learner->samples;
  counters[3] = &learner->frozen;
  counters[4] = &learner->resets;
  counters[5] = &learner->kl_doublings;
}

// Learners that have scores.
static int scored_roles(const bw_run* run) { return run->config.league_enabled ? BW_ROLES : 1; }

static bool keeps_scores(const bw_run* run, int member_count) {
  return bw_scores_kept(&run->config) && member_count > 0;
}

// Row `row` of "league.exploiters".
static bw_ref exploiter_row(const bw_run* run, int row) { return bw_league_part(run, 1 + row / 3, row % 3); }

// ---- save ----

typedef struct save_buffers {
  float* first;
  float* second;
  float* pool;
  float* scores;
  float* exploiters;
  float versus_main[2 * EXPLOITERS];
  bw_tensor* tensors;
  bw_metadata* metadata;
  char* members;                                    // comma-separated snapshot numbers
  char* roles;                                      // of the members, a digit each
  char learners[BW_ROLES * LEARNER_COUNTERS * 22];  // comma-separated counters
} save_buffers;

static void free_buffers(save_buffers* b) {
  free(b->first);
  free(b->second);
  free(b->pool);
  free(b->scores);
  free(b->exploiters);
  free(b->tensors);
  free(b->metadata);
  free(b->members);
  free(b->roles);
}

// Returns how many tensors there are.
static int put_weights(const bw_net_layout* layout, const float* weights, bw_tensor* tensors) {
  for (int i = 0; i < layout->tensor_count; ++i) {
    const bw_net_tensor* t = &layout->tensors[i];
    tensors[i] = (bw_tensor){.name = t->name,
                             .dtype = BW_F32,
                             .rank = t->rank,
                             .shape = {t->shape[0], t->shape[1]},
                             .data = weights + t->offset,
                             .bytes = (size_t)(t->shape[0] * t->shape[1]) * sizeof(float)};
  }
  return layout->tensor_count;
}

static bw_tensor floats(const char* name, int64_t rows, int64_t columns, const float* data) {
  return (bw_tensor){.name = name,
                     .dtype = BW_F32,
                     .rank = 2,
                     .shape = {rows, columns},
                     .data = data,
                     .bytes = (size_t)(rows * columns) * sizeof(float)};
}

// What a league adds: tensors, and two entries of metadata.
static bw_status put_league(bw_run* run, save_buffers* b, int* tensors, int* entries, bw_error* error) {
  const int64_t n = run->layout.parameters;
  for (int row = 0; row < EXPLOITER_ROWS; ++row) {
    BW_TRY(bw_run_download_parameters(run, b->exploiters + row * n, exploiter_row(run, row), error));
  }
  for (int k = 0; k < EXPLOITERS; ++k) {
    b->versus_main[2 * k] = run->league.learners[1 + k].versus_main.points;
    b->versus_main[2 * k + 1] = run->league.learners[1 + k].versus_main.games;
  }
  b->tensors[(*tensors)++] = floats("league.exploiters", EXPLOITER_ROWS, n, b->exploiters);
  b->tensors[(*tensors)++] = floats("league.scores", EXPLOITERS, 2, b->versus_main);

  for (int i = 0; i < run->member_count; ++i) b->roles[i] = (char)('0' + run->members[i].role);
  size_t length = 0;
  for (int role = 0; role < BW_ROLES; ++role) {
    int64_t* counters[LEARNER_COUNTERS];
    learner_counters_of(&run->league.learners[role], counters);
    for (int i = 0; i < LEARNER_COUNTERS; ++i) {
      length += (size_t)snprintf(b->learners + length, sizeof b->learners - length, "%s%" PRId64, length ? "," : "",
                                 *counters[i]);
    }
  }
  b->metadata[(*entries)++] = (bw_metadata){.key = "opponentRoles", .value = b->roles};
  b->metadata[(*entries)++] = (bw_metadata){.key = "learners", .value = b->learners};
  return BW_OK;
}

static bw_status save(bw_run* run, bool bundle_pool, const bw_metadata* extra, int extra_count, save_buffers* b,
                      uint8_t** bytes, size_t* size, bw_error* error) {
  const size_t n = (size_t)run->layout.parameters;
  const size_t pool = bundle_pool ? (size_t)run->member_count : 0;
  const size_t members_size = (size_t)run->member_count * 21 + 1;
  b->first = malloc(n * sizeof(float));
  b->second = malloc(n * sizeof(float));
  b->pool = malloc(pool * n * sizeof(float) + 1);
  const size_t league = run->config.league_enabled ? EXPLOITER_ROWS : 0;
  b->scores = malloc(2 * BW_ROLES * (size_t)run->member_count * sizeof(float) + 1);
  b->exploiters = malloc(league * n * sizeof(float) + 1);
  b->tensors = calloc((size_t)run->layout.tensor_count + 7, sizeof *b->tensors);
  b->metadata = calloc((size_t)OWN_METADATA + (size_t)extra_count, sizeof *b->metadata);
  b->members = calloc(1, members_size);
  b->roles = calloc(1, (size_t)run->member_count + 1);
  if (!b->first || !b->second || !b->pool || !b->scores || !b->exploiters || !b->tensors || !b->metadata ||
      !b->members || !b->roles) {
    return bw_fail_memory(error, "save", "the checkpoint", (pool + league + 3) * n * sizeof(float), 0);
  }

  const float* weights = NULL;
  BW_TRY(bw_run_weights(run, &weights, error));
  BW_TRY(bw_run_download_parameters(run, b->first, run->first_moment, error));
  BW_TRY(bw_run_download_parameters(run, b->second, run->second_moment, error));
  int count = put_weights(&run->layout, weights, b->tensors);
  b->tensors[count++] = (bw_tensor){.name = "optimizer.first_moment",
                                    .dtype = BW_F32,
                                    .rank = 1,
                                    .shape = {(int64_t)n},
                                    .data = b->first,
                                    .bytes = n * sizeof(float)};
  b->tensors[count++] = (bw_tensor){.name = "optimizer.second_moment",
                                    .dtype = BW_F32,
                                    .rank = 1,
                                    .shape = {(int64_t)n},
                                    .data = b->second,
                                    .bytes = n * sizeof(float)};
  if (pool > 0) {
    for (size_t i = 0; i < pool; ++i) {
      BW_TRY(bw_run_download_parameters(run, b->pool + i * n, bw_opponents_weights(run, (int)i), error));
    }
    b->tensors[count++] = floats("opponents.weights", (int64_t)pool, (int64_t)n, b->pool);
  }
  if (keeps_scores(run, run->member_count)) {
    const int roles = scored_roles(run);
    for (int i = 0; i < run->member_count; ++i) {
      for (int role = 0; role < roles; ++role) {
        b->scores[2 * (i * roles + role)] = run->members[i].scores[role].points;
        b->scores[2 * (i * roles + role) + 1] = run->members[i].scores[role].games;
      }
    }
    b->tensors[count++] = floats("opponents.scores", run->member_count, 2 * roles, b->scores);
  }

  const int64_t plies = run->game->max_plies;
  if (run->starts.lost.count > 0) {
    b->tensors[count++] = (bw_tensor){.name = "starts.moves",
                                      .dtype = BW_U8,
                                      .rank = 2,
                                      .shape = {run->starts.lost.count, plies},
                                      .data = run->starts.lost.moves,
                                      .bytes = (size_t)(run->starts.lost.count * plies)};
  }

  size_t length = 0;
  for (int i = 0; i < run->member_count; ++i) {
    length += (size_t)snprintf(b->members + length, members_size - length, "%s%" PRId64, i ? "," : "",
                               run->members[i].number);
  }
  int entries = 0;
  char counter_text[COUNTERS][24];
  int64_t* counters[COUNTERS];
  counters_of(run, counters);
  b->metadata[entries++] = (bw_metadata){.key = "format", .value = kFormat};
  b->metadata[entries++] = (bw_metadata){.key = "opponents", .value = b->members};
  for (int i = 0; i < COUNTERS; ++i) {
    snprintf(counter_text[i], sizeof counter_text[i], "%" PRId64, *counters[i]);
    b->metadata[entries++] = (bw_metadata){.key = kCounterNames[i], .value = counter_text[i]};
  }
  char seen[24];
  if (bw_starts_kept(&run->config)) {
    snprintf(seen, sizeof seen, "%" PRId64, run->starts.seen);
    b->metadata[entries++] = (bw_metadata){.key = "startsSeen", .value = seen};
  }
  char doublings[24];
  if (run->config.ppo_kl_target > 0) {
    snprintf(doublings, sizeof doublings, "%" PRId64, run->kl_doublings);
    b->metadata[entries++] = (bw_metadata){.key = "klDoublings", .value = doublings};
  }
  if (run->config.league_enabled) BW_TRY(put_league(run, b, &count, &entries, error));
  for (int i = 0; i < extra_count; ++i) b->metadata[entries++] = extra[i];
  return bw_safetensors_write(b->tensors, count, b->metadata, entries, bytes, size, error);
}

bw_status bw_run_save(bw_run* run, bool bundle_pool, const bw_metadata* extra, int extra_count, uint8_t** bytes,
                      size_t* size, bw_error* error) {
  save_buffers buffers = {0};
  const bw_status status = save(run, bundle_pool, extra, extra_count, &buffers, bytes, size, error);
  free_buffers(&buffers);
  return status;
}

bw_status bw_run_save_policy(bw_run* run, const bw_metadata* extra, int extra_count, uint8_t** bytes, size_t* size,
                             bw_error* error) {
  const float* weights = NULL;
  BW_TRY(bw_run_weights(run, &weights, error));
  const size_t tensor_bytes = (size_t)run->layout.tensor_count * sizeof(bw_tensor);
  bw_tensor* tensors = calloc(1, tensor_bytes);
  bw_metadata* metadata = calloc(2 + (size_t)extra_count, sizeof *metadata);
  bw_status status = BW_OK;
  if (tensors && metadata) {
    char iteration[24];
    snprintf(iteration, sizeof iteration, "%" PRId64, run->iteration);
    metadata[0] = (bw_metadata){.key = "format", .value = kPolicyFormat};
    metadata[1] = (bw_metadata){.key = "iteration", .value = iteration};
    for (int i = 0; i < extra_count; ++i) metadata[2 + i] = extra[i];
    const int count = put_weights(&run->layout, weights, tensors);
    status = bw_safetensors_write(tensors, count, metadata, 2 + extra_count, bytes, size, error);
  } else {
    status = bw_fail_memory(error, "save", "the policy", tensor_bytes, 0);
  }
  free(tensors);
  free(metadata);
  return status;
}

// ---- load ----

static bw_status fail(bw_error* error, const char* path, const char* received, const char* expected) {
  const bw_status status =
      bw_fail(error, BW_CHECKPOINT, "load", "checkpoint field '%s' is %s; expected %s", path, received, expected);
  if (error) {
    snprintf(error->path, sizeof error->path, "%s", path);
    snprintf(error->received, sizeof error->received, "%s", received);
    snprintf(error->expected, sizeof error->expected, "%s", expected);
  }
  return status;
}

static bw_status find_tensor(const bw_safetensors* file, const char* name, int rank, int64_t rows, int64_t columns,
                             bw_tensor* tensor, bw_error* error) {
  char expected[96];
  if (rank == 2) {
    snprintf(expected, sizeof expected, "F32 of shape [%" PRId64 ", %" PRId64 "]", rows, columns);
  } else {
    snprintf(expected, sizeof expected, "F32 of shape [%" PRId64 "]", rows);
  }
  if (!bw_safetensors_find(file, name, tensor)) return fail(error, name, "missing", expected);
  if (tensor->dtype != BW_F32) return fail(error, name, bw_dtype_name(tensor->dtype), expected);
  if (tensor->rank != rank || tensor->shape[0] != rows || (rank == 2 && tensor->shape[1] != columns)) {
    return fail(error, name, "of another shape", expected);
  }
  return BW_OK;
}

// A non-negative decimal counter; *text is moved behind it.
static bool parse_counter(const char** text, int64_t* value) {
  const char* s = *text;
  if (*s < '0' || *s > '9') return false;
  int64_t v = 0;
  for (; *s >= '0' && *s <= '9'; ++s) {
    v = v * 10 + (*s - '0');
    if (v > kMaxCounter) return false;
  }
  *value = v;
  *text = s;
  return true;
}

static bw_status read_counter(const bw_safetensors* file, const char* name, int64_t* value, bw_error* error) {
  const char* text = bw_safetensors_metadata(file, name);
  if (!text) return fail(error, name, "missing", "a counter");
  return parse_counter(&text, value) && !*text ? BW_OK : fail(error, name, "malformed", "a counter");
}

static bw_status read_members(const bw_run* run, const bw_safetensors* file, int64_t snapshots, bw_member* members,
                              int* count, bw_error* error) {
  const char expected[] = "increasing snapshot numbers, no more than the pool holds";
  const char* text = bw_safetensors_metadata(file, "opponents");
  if (!text) return fail(error, "opponents", "missing", expected);
  *count = 0;
  while (*text) {
    int64_t number = 0;
    if (*count > 0 && *text++ != ',') return fail(error, "opponents", "malformed", expected);
    if (!parse_counter(&text, &number)) return fail(error, "opponents", "malformed", expected);
    const int64_t previous = *count > 0 ? members[*count - 1].number : 0;
    if (*count == bw_pool_capacity(&run->config) || number <= previous || number > snapshots) {
      return fail(error, "opponents", "not a possible pool", expected);
    }
    members[*count] = (bw_member){.number = number, .row = *count};
    ++*count;
  }
  return BW_OK;
}

// Finite numbers only, and no negative mean of squares, whose root would be NaN: what enters a run here would be blamed
// on training.
static bw_status check_numbers(const char* name, const bw_tensor* tensor, bool squares, bw_error* error) {
  const uint8_t* data = tensor->data;
  for (size_t i = 0; i + 4 <= tensor->bytes; i += 4) {
    float value;
    memcpy(&value, data + i, 4);
    if (!(value - value == 0)) return fail(error, name, "NaN or infinity", "finite numbers");
    if (squares && value < 0) return fail(error, name, "negative", "numbers that are at least 0");
  }
  return BW_OK;
}

bw_status bw_read_weights(const bw_net_layout* layout, const bw_safetensors* file, float* weights, bw_error* error) {
  bw_tensor tensor;
  for (int i = 0; i < layout->tensor_count; ++i) {
    const bw_net_tensor* t = &layout->tensors[i];
    BW_TRY(find_tensor(file, t->name, t->rank, t->shape[0], t->shape[1], &tensor, error));
    BW_TRY(check_numbers(t->name, &tensor, false, error));
    memcpy(weights + t->offset, tensor.data, tensor.bytes);
  }
  return BW_OK;
}

static bw_status read_doublings(const bw_safetensors* file, int64_t* doublings, bw_error* error) {
  static const char expected[] = "a whole number from -20 to 20";
  const char* text = bw_safetensors_metadata(file, "klDoublings");
  if (!text) return fail(error, "klDoublings", "missing", expected);
  const bool negative = *text == '-';
  text += negative;
  if (!parse_counter(&text, doublings) || *text || *doublings > BW_KL_DOUBLINGS) {
    return fail(error, "klDoublings", "malformed", expected);
  }
  if (negative) *doublings = -*doublings;
  return BW_OK;
}

// scores[rows * columns / 2] of a tensor of points and games.
static bw_status read_scores(const bw_safetensors* file, const char* name, int rows, int columns, bw_score* scores,
                             bw_error* error) {
  bw_tensor tensor;
  BW_TRY(find_tensor(file, name, 2, rows, columns, &tensor, error));
  BW_TRY(check_numbers(name, &tensor, true, error));
  for (int i = 0; i < rows * columns / 2; ++i) {
    memcpy(&scores[i].points, (const uint8_t*)tensor.data + (size_t)i * 8, 4);
    memcpy(&scores[i].games, (const uint8_t*)tensor.data + (size_t)i * 8 + 4, 4);
    // Rounding may leave a little more points than games.
    if (scores[i].points > scores[i].games + 0.25f) {
      return fail(error, name, "more points than games", "points of games, at most one each");
    }
  }
  return BW_OK;
}

static bw_status read_member_scores(const bw_run* run, const bw_safetensors* file, bw_member* members, int count,
                                    bw_error* error) {
  const int roles = scored_roles(run);
  bw_score* scores = calloc((size_t)(count * roles), sizeof *scores);
  if (!scores) return bw_fail_memory(error, "load", "the scores", (uint64_t)(count * roles) * sizeof *scores, 0);
  const bw_status status = read_scores(file, "opponents.scores", count, 2 * roles, scores, error);
  for (int i = 0; status == BW_OK && i < count; ++i) {
    memcpy(members[i].scores, scores + i * roles, (size_t)roles * sizeof *scores);
  }
  free(scores);
  return status;
}

static bw_status read_learners(const bw_safetensors* file, bw_league* league, bw_error* error) {
  static const char name[] = "learners", expected[] = "18 counters, each sixth from -20 to 20";
  const char* text = bw_safetensors_metadata(file, name);
  if (!text) return fail(error, name, "missing", expected);
  for (int role = 0; role < BW_ROLES; ++role) {
    int64_t* counters[LEARNER_COUNTERS];
    learner_counters_of(&league->learners[role], counters);
    for (int i = 0; i < LEARNER_COUNTERS; ++i) {
      const bool doublings = i == LEARNER_COUNTERS - 1;
      if (role + i > 0 && *text++ != ',') return fail(error, name, "malformed", expected);
      const bool negative = doublings && *text == '-';
      text += negative;
      if (!parse_counter(&text, counters[i])) return fail(error, name, "malformed", expected);
      if (doublings && *counters[i] > BW_KL_DOUBLINGS) return fail(error, name, "malformed", expected);
      if (negative) *counters[i] = -*counters[i];
    }
  }
  return *text ? fail(error, name, "malformed", expected) : BW_OK;
}

// What a league has in a file.
typedef struct stored_league {
  bw_league league;
  bw_tensor exploiters;  // [EXPLOITER_ROWS][parameters]
} stored_league;

static bw_status read_league(const bw_run* run, const bw_safetensors* file, bw_member* members, int member_count,
                             stored_league* stored, bw_error* error) {
  static const char tensor[] = "league.exploiters", expected[] = "a digit from 0 to 2 for each opponent, the first 0";
  if (!run->config.league_enabled) return BW_OK;
  BW_TRY(read_learners(file, &stored->league, error));
  const char* roles = bw_safetensors_metadata(file, "opponentRoles");
  if (!roles) return fail(error, "opponentRoles", "missing", expected);
  if (strlen(roles) != (size_t)member_count) return fail(error, "opponentRoles", "of another length", expected);
  // The initial policy never leaves.
  if (member_count == 0 || members[0].number != 1) return fail(error, "opponents", "not a possible league", "1 first");
  for (int i = 0; i < member_count; ++i) {
    members[i].role = roles[i] - '0';
    if (members[i].role < 0 || members[i].role >= (i == 0 ? 1 : BW_ROLES)) {
      return fail(error, "opponentRoles", "malformed", expected);
    }
  }
  bw_score scores[EXPLOITERS];
  BW_TRY(read_scores(file, "league.scores", EXPLOITERS, 2, scores, error));
  for (int k = 0; k < EXPLOITERS; ++k) stored->league.learners[1 + k].versus_main = scores[k];
  const int64_t n = run->layout.parameters;
  BW_TRY(find_tensor(file, tensor, 2, EXPLOITER_ROWS, n, &stored->exploiters, error));
  for (int row = 0; row < EXPLOITER_ROWS; ++row) {
    bw_tensor part = stored->exploiters;
    part.bytes = (size_t)n * sizeof(float);
    part.data = (const uint8_t*)part.data + (size_t)row * part.bytes;
    BW_TRY(check_numbers(tensor, &part, row % 3 == 2, error));
  }
  return BW_OK;
}

// The reservoir of a file; moves lie in its bytes.
typedef struct stored_starts {
  int64_t count, seen;
  const uint8_t* moves;
  uint8_t* states;
} stored_starts;

static bw_status read_starts(bw_run* run, const bw_safetensors* file, stored_starts* starts, bw_error* error) {
  if (!bw_starts_kept(&run->config)) return BW_OK;
  static const char name[] = "starts.moves";
  const int64_t plies = run->game->max_plies, capacity = run->config.starts_capacity;
  BW_TRY(read_counter(file, "startsSeen", &starts->seen, error));
  starts->count = starts->seen < capacity ? starts->seen : capacity;
  if (starts->count == 0) return BW_OK;
  char expected[96];
  snprintf(expected, sizeof expected, "U8 of shape [%" PRId64 ", %" PRId64 "]", starts->count, plies);
  bw_tensor tensor;
  if (!bw_safetensors_find(file, name, &tensor)) return fail(error, name, "missing", expected);
  if (tensor.dtype != BW_U8) return fail(error, name, bw_dtype_name(tensor.dtype), expected);
  if (tensor.rank != 2 || tensor.shape[0] != starts->count || tensor.shape[1] != plies) {
    return fail(error, name, "of another shape", expected);
  }
  starts->moves = tensor.data;
  starts->states = calloc((size_t)starts->count, run->game->state_bytes);
  if (!starts->states) {
    return bw_fail_memory(error, "load", "the start positions", (uint64_t)starts->count * run->game->state_bytes, 0);
  }
  if (bw_starts_restore(run, starts->moves, starts->count, starts->states)) return BW_OK;
  return fail(error, name, "not the moves of games", "legal moves after which the game goes on");
}

static bw_status load_policy(bw_run* run, const bw_safetensors* file, float* staging, bw_error* error) {
  int64_t iteration;
  BW_TRY(read_counter(file, "iteration", &iteration, error));
  BW_TRY(bw_read_weights(&run->layout, file, staging, error));
  BW_TRY(bw_run_set_weights(run, staging, error));
  run->iteration = iteration;
  return bw_device_sync(run->device, error);
}

static bw_status load(bw_run* run, const bw_safetensors* file, float* staging, bw_member* members,
                      stored_starts* starts, bw_error* error) {
  const int64_t n = run->layout.parameters;
  const char* format = bw_safetensors_metadata(file, "format");
  if (!format) return fail(error, "format", "missing", kFormat);
  if (strcmp(format, kPolicyFormat) == 0) return load_policy(run, file, staging, error);
  if (strcmp(format, kFormat) != 0) return fail(error, "format", "of another kind", kFormat);

  int64_t values[COUNTERS];
  for (int i = 0; i < COUNTERS; ++i) BW_TRY(read_counter(file, kCounterNames[i], &values[i], error));
  int64_t kl_doublings = 0;
  if (run->config.ppo_kl_target > 0) BW_TRY(read_doublings(file, &kl_doublings, error));
  int member_count = 0;
  BW_TRY(read_members(run, file, values[4], members, &member_count, error));

  bw_tensor first, second, pool;
  BW_TRY(bw_read_weights(&run->layout, file, staging, error));
  BW_TRY(find_tensor(file, "optimizer.first_moment", 1, n, 1, &first, error));
  BW_TRY(find_tensor(file, "optimizer.second_moment", 1, n, 1, &second, error));
  BW_TRY(check_numbers("optimizer.first_moment", &first, false, error));
  BW_TRY(check_numbers("optimizer.second_moment", &second, true, error));
  const bool bundled = bw_safetensors_find(file, "opponents.weights", &pool);
  if (bundled) {
    BW_TRY(find_tensor(file, "opponents.weights", 2, member_count, n, &pool, error));
    BW_TRY(check_numbers("opponents.weights", &pool, false, error));
  }
  BW_TRY(read_starts(run, file, starts, error));
  if (keeps_scores(run, member_count)) BW_TRY(read_member_scores(run, file, members, member_count, error));
  stored_league league = {0};
  BW_TRY(read_league(run, file, members, member_count, &league, error));

  // Everything was checked; from here on the run changes.
  BW_TRY(bw_run_set_weights(run, staging, error));
  memcpy(staging, first.data, first.bytes);
  BW_TRY(bw_run_upload_parameters(run, run->first_moment, staging, error));
  memcpy(staging, second.data, second.bytes);
  BW_TRY(bw_run_upload_parameters(run, run->second_moment, staging, error));
  memcpy(run->members, members, (size_t)member_count * sizeof *members);
  run->member_count = member_count;
  for (int i = 0; bundled && i < member_count; ++i) {
    memcpy(staging, (const uint8_t*)pool.data + (size_t)i * (size_t)n * sizeof(float), (size_t)n * sizeof(float));
    BW_TRY(bw_run_upload_parameters(run, bw_opponents_weights(run, i), staging, error));
  }
  for (int row = 0; run->config.league_enabled && row < EXPLOITER_ROWS; ++row) {
    memcpy(staging, (const uint8_t*)league.exploiters.data + (size_t)row * first.bytes, first.bytes);
    BW_TRY(bw_run_upload_parameters(run, exploiter_row(run, row), staging, error));
  }
  run->league = league.league;
  run->kl_doublings = kl_doublings;
  if (bw_starts_kept(&run->config)) {
    const size_t count = (size_t)starts->count;
    if (count > 0) {
      memcpy(run->starts.lost.moves, starts->moves, count * (size_t)run->game->max_plies);
      memcpy(run->starts.lost.states, starts->states, count * run->game->state_bytes);
    }
    run->starts.lost.count = starts->count;
    run->starts.seen = starts->seen;
  }
  int64_t* counters[COUNTERS];
  counters_of(run, counters);
  for (int i = 0; i < COUNTERS; ++i) *counters[i] = values[i];
  return bw_device_sync(run->device, error);
}

bw_status bw_run_load(bw_run* run, const uint8_t* bytes, size_t size, bw_error* error) {
  bw_safetensors file;
  BW_TRY(bw_safetensors_parse(bytes, size, &file, error));
  float* staging = malloc((size_t)run->layout.parameters * sizeof *staging);
  bw_member* members = calloc((size_t)bw_pool_capacity(&run->config) + 1, sizeof *members);
  stored_starts starts = {0};
  const bw_status status =
      staging && members ? load(run, &file, staging, members, &starts, error)
                         : bw_fail_memory(error, "load", "the checkpoint", (uint64_t)run->layout.parameters * 4, 0);
  free(staging);
  free(members);
  free(starts.states);
  bw_safetensors_free(&file);
  return status;
}
