// The timeline: events of several threads, room that is fixed when it is switched on, drops that are counted. That
// lanes need no locks is for ThreadSanitizer to say, which runs this same program.
#include "../../csrc/api/bw.h"
#include "../../csrc/core/pool.h"
#include "../../csrc/core/prof.h"
#include "train_helpers.h"

enum { THREADS = 4, TASKS = 1000 };

static const char kCollect[] = "collect", kUpdate[] = "update", kForward[] = "forward", kPiece[] = "piece";

static void test_off(void) {
  static bw_prof prof;
  bw_prof_event(&prof, 3, kPiece, 1, 2, 0, 0);  // a thread that does not exist, too: nothing is looked at
  bw_prof_phase(&prof, kCollect, 1, 2);
  bw_prof_add_span(&prof, kForward, 10, 15, 1, 2, 3);
  bw_prof_timeline_clear(&prof);
  bw_prof_timeline_stop(&prof);
  CHECK(prof.timeline == NULL);
  CHECK(prof.count == 1 && prof.spans[0].ns == 5);
}

static void test_events(void) {
  static bw_prof prof;
  REQUIRE(bw_prof_timeline_start(&prof, 2, 8, NULL) == BW_OK);
  CHECK(prof.timeline->threads == 2 && prof.timeline->capacity == 8);
  prof.group = kCollect;
  bw_prof_add_span(&prof, kForward, 100, 130, 7, 60, 90);
  bw_prof_add_amount(&prof, kForward, 5, 1, 1, 1);  // has no beginning: no event
  const uint64_t start = bw_now_ns();
  prof.group = kUpdate;
  bw_prof_add(&prof, kForward, start, 1, 2);
  bw_prof_event(&prof, 1, kPiece, 110, 120, 4, 5);
  bw_prof_phase(&prof, kCollect, 90, 140);

  const bw_thread_events* lane = &prof.timeline->lanes[0];
  CHECK_EQ_INT(lane->count, 3);
  const bw_event* first = &lane->events[0];
  CHECK(first->name == kForward && first->group == kCollect && first->start_ns == 100 && first->end_ns == 130);
  CHECK(first->flops == 60 && first->bytes == 90 && first->threads == 2);
  CHECK(lane->events[1].group == kUpdate && lane->events[1].start_ns == start);
  CHECK(lane->events[1].end_ns >= start && lane->events[1].end_ns <= bw_now_ns());
  const bw_event* phase = &lane->events[2];
  CHECK(phase->name == kCollect && phase->group == NULL && phase->start_ns == 90 && phase->end_ns == 140);
  lane = &prof.timeline->lanes[1];
  CHECK_EQ_INT(lane->count, 1);
  CHECK(lane->events[0].name == kPiece && lane->events[0].group == kUpdate && lane->events[0].flops == 4);
  CHECK(lane->events[0].threads == 1);

  // Resetting the spans leaves events and phase alone; clearing the events leaves the spans.
  bw_prof_reset(&prof);
  CHECK(prof.count == 0 && prof.group == kUpdate && prof.timeline && prof.timeline->lanes[0].count == 3);
  bw_prof_add_span(&prof, kForward, 1, 2, 1, 0, 0);
  bw_prof_timeline_clear(&prof);
  CHECK(prof.timeline->lanes[0].count == 0 && prof.timeline->lanes[1].count == 0 && prof.count == 1);
  bw_prof_timeline_stop(&prof);
  CHECK(prof.timeline == NULL && prof.count == 1);
}

static void test_drops(void) {
  static bw_prof prof;
  REQUIRE(bw_prof_timeline_start(&prof, 2, 3, NULL) == BW_OK);
  for (uint64_t i = 0; i < 5; ++i) bw_prof_event(&prof, 1, kPiece, i, i + 1, 0, 0);
  bw_prof_add_span(&prof, kForward, 1, 2, 1, 0, 0);
  const bw_thread_events* lanes = prof.timeline->lanes;
  CHECK(lanes[0].count == 1 && lanes[0].dropped == 0);
  CHECK(lanes[1].count == 3 && lanes[1].dropped == 2);
  for (uint64_t i = 0; i < 3; ++i) CHECK_EQ_INT(lanes[1].events[i].start_ns, i);  // the first ones are kept
  bw_prof_phase(&prof, kUpdate, 1, 2);
  bw_prof_phase(&prof, kUpdate, 1, 2);
  bw_prof_phase(&prof, kUpdate, 1, 2);
  CHECK(lanes[0].count == 3 && lanes[0].dropped == 1);
  bw_prof_timeline_clear(&prof);
  CHECK(lanes[0].dropped == 0 && lanes[1].dropped == 0);
  bw_prof_event(&prof, 1, kPiece, 7, 8, 0, 0);
  CHECK(lanes[1].count == 1 && lanes[1].events[0].start_ns == 7);

  // Switching it on again starts afresh, with the new room.
  REQUIRE(bw_prof_timeline_start(&prof, 1, 1, NULL) == BW_OK);
  CHECK(prof.timeline->threads == 1 && prof.timeline->capacity == 1 && prof.timeline->lanes[0].count == 0);
  bw_prof_timeline_stop(&prof);
}

static void test_refusals(void) {
  static bw_prof prof;
  REQUIRE(bw_prof_timeline_start(&prof, 1, 4, NULL) == BW_OK);
  bw_prof_event(&prof, 0, kPiece, 1, 2, 0, 0);
  static const struct {
    int threads;
    int64_t capacity;
    const char* path;
  } bad[] = {
      {0, 4, "threads"}, {-1, 4, "threads"}, {1, 0, "capacity"}, {1, -1, "capacity"}, {2, INT64_MAX, "capacity"}};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; ++i) {
    bw_error error;
    CHECK(bw_prof_timeline_start(&prof, bad[i].threads, bad[i].capacity, &error) == BW_OPTION);
    CHECK_EQ_STR(error.path, bad[i].path);
  }
#ifndef BW_SANITIZED  // whose allocators end the program instead
  bw_error error;
  CHECK(bw_prof_timeline_start(&prof, 1, INT64_MAX / (int64_t)sizeof(bw_event), &error) == BW_MEMORY);
  CHECK(error.needed > 0);
#else
  REQUIRE(bw_prof_timeline_start(&prof, 1, 4, NULL) == BW_OK);
#endif
  bw_prof_timeline_stop(&prof);
}

typedef struct work {
  bw_prof* prof;
  uint64_t job;
} work;

static void run_tasks(void* context, int64_t first, int64_t last, int worker) {
  const work* w = context;
  for (int64_t t = first; t < last; ++t) {
    const uint64_t start = bw_now_ns();
    bw_prof_event(w->prof, worker, kPiece, start, bw_now_ns(), (double)t, (double)w->job);
  }
}

static void test_threads(void) {
  static bw_prof prof;
  bw_pool* pool;
  REQUIRE(bw_pool_create(THREADS, &pool, NULL) == BW_OK);
  REQUIRE(bw_prof_timeline_start(&prof, THREADS, 2 * TASKS, NULL) == BW_OK);
  for (uint64_t job = 0; job < 8; ++job) {  // each thread has room for all of it: 8 * 1000 / 4
    prof.group = job % 2 ? kUpdate : kCollect;
    work w = {.prof = &prof, .job = job};
    bw_pool_run(pool, TASKS, run_tasks, &w);
  }
  int64_t events = 0;
  static int seen[8][TASKS];
  bool grouped = true, ordered = true;
  for (int t = 0; t < THREADS; ++t) {
    const bw_thread_events* lane = &prof.timeline->lanes[t];
    CHECK_EQ_INT(lane->dropped, 0);
    events += lane->count;
    for (int64_t i = 0; i < lane->count; ++i) {
      const bw_event* e = &lane->events[i];
      const int job = (int)e->bytes;
      ++seen[job][(int)e->flops];
      grouped = grouped && e->group == (job % 2 ? kUpdate : kCollect);
      ordered = ordered && e->start_ns <= e->end_ns && (i == 0 || e->start_ns >= lane->events[i - 1].end_ns);
    }
  }
  CHECK_EQ_INT(events, 8 * TASKS);
  CHECK(grouped);
  CHECK(ordered);
  bool once = true;
  for (int job = 0; job < 8; ++job) {
    for (int i = 0; i < TASKS; ++i) once = once && seen[job][i] == 1;
  }
  CHECK(once);
  bw_prof_timeline_stop(&prof);
  bw_pool_destroy(pool);
}

// Every op of a run on three threads is recorded inside its phase, by workers of their own, and changes no bit.
static void test_training(const char* game) {
  const test_option options[] = {{"run.threads", "3"}, {"net.width", "64"}, {"rollout.games", "256"}, {NULL, NULL}};
  const bw_config config = test_config(game, options);
  const float* weights[2];
  bw_selfplay* runs[2];
  int64_t count = 0;
  for (int traced = 0; traced < 2; ++traced) {
    REQUIRE(bw_selfplay_create(&config, &runs[traced], NULL) == BW_OK);
    if (traced) REQUIRE(bw_selfplay_timeline_start(runs[1], 100000, NULL) == BW_OK);
    bw_iteration iteration;
    for (int i = 0; i < 2; ++i) REQUIRE(bw_selfplay_iterate(runs[traced], 0, &iteration, NULL) == BW_OK);
    REQUIRE(bw_selfplay_weights(runs[traced], &weights[traced], &count, NULL) == BW_OK);
  }
  CHECK(memcmp(weights[0], weights[1], (size_t)count * sizeof(float)) == 0);
  CHECK(bw_selfplay_timeline(runs[0]) == NULL);
  const bw_timeline* timeline = bw_selfplay_timeline(runs[1]);
  REQUIRE(timeline && timeline->threads == 3);
  const bw_event* phases[4];  // collect, update, collect, update
  int phase_count = 0;
  for (int64_t i = 0; i < timeline->lanes[0].count; ++i) {
    const bw_event* event = &timeline->lanes[0].events[i];
    if (event->group == NULL && phase_count < 4) phases[phase_count++] = event;
  }
  REQUIRE(phase_count == 4);
  bool inside = true, ordered = true;
  for (int t = 0; t < 3; ++t) {
    const bw_thread_events* lane = &timeline->lanes[t];
    CHECK(lane->count > 100 && lane->dropped == 0);
    const bw_event* before = NULL;
    for (int64_t i = 0; i < lane->count; ++i) {
      const bw_event* event = &lane->events[i];
      if (event->group == NULL) continue;
      ordered = ordered && event->start_ns <= event->end_ns && (!before || event->start_ns >= before->end_ns);
      before = event;
      bool found = false;
      for (int p = 0; p < 4; ++p) {
        found = found || (strcmp(event->group, phases[p]->name) == 0 && event->start_ns >= phases[p]->start_ns &&
                          event->end_ns <= phases[p]->end_ns);
      }
      inside = inside && found;
    }
  }
  CHECK(inside);
  CHECK(ordered);
  bw_selfplay_timeline_clear(runs[1]);
  CHECK(timeline->lanes[1].count == 0);
  bw_selfplay_timeline_stop(runs[1]);
  CHECK(bw_selfplay_timeline(runs[1]) == NULL);
  REQUIRE(bw_selfplay_timeline_start(runs[1], 10, NULL) == BW_OK);  // left on: the run frees it
  for (int i = 0; i < 2; ++i) bw_selfplay_destroy(runs[i]);
}

// A roof that was probed while the machine was busy: it is put right after the iteration that shows it, no share is
// above 1, and the run computes what it computes without.
static void test_low_roof(void) {
  const test_option options[] = {{"run.threads", "2"}, {"net.width", "64"}, {"rollout.games", "256"}, {NULL, NULL}};
  const bw_config config = test_config("tictactoe", options);
  bw_selfplay* runs[2];
  const float* weights[2];
  int64_t count = 0;
  for (int probed = 0; probed < 2; ++probed) {
    REQUIRE(bw_selfplay_create(&config, &runs[probed], NULL) == BW_OK);
    double before = 0;
    if (probed) {
      REQUIRE(bw_selfplay_measure_roof(runs[1], false, NULL) == BW_OK);
      bw_roof* roof = (bw_roof*)bw_selfplay_roof(runs[1]);
      before = roof->gflops;
      roof->gflops = 1e-6;
    }
    for (int i = 0; i < 3; ++i) {
      bw_iteration it;
      REQUIRE(bw_selfplay_iterate(runs[probed], 0, &it, NULL) == BW_OK);
      CHECK_MSG(probed ? it.roofline > 0 && it.roofline <= 1 : it.roofline == 0, "iteration %d: %g", i, it.roofline);
      const bw_roof* now = bw_selfplay_roof(runs[probed]);
      CHECK_MSG(now->gflops >= before, "iteration %d: roof %g after %g", i, now->gflops, before);
      CHECK(it.roof_raised == now->raised[BW_PRECISION_FP32]);
    }
    REQUIRE(bw_selfplay_weights(runs[probed], &weights[probed], &count, NULL) == BW_OK);
  }
  CHECK(memcmp(weights[0], weights[1], (size_t)count * sizeof(float)) == 0);
  for (int i = 0; i < 2; ++i) bw_selfplay_destroy(runs[i]);
}

int main(void) {
  test_off();
  test_events();
  test_drops();
  test_refusals();
  test_threads();
  test_training("tictactoe");
  test_training("connect4");
  test_low_roof();
  return check_summary("prof");
}
