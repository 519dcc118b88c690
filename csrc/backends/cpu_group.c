// Groups of launches on the CPU. Each thread takes its share of the rows (or of every launch's items) through the whole
// list by itself; the threads meet once at the end. Who is done with his share goes on with what is left of others', so
// that nobody waits for a core that is slower or taken away; but for products by columns, below.
//
// Rows go in blocks of BLOCK: what a layer of a 256-wide net reads and writes of a block is 32 KiB each, so that
// activations stay in L1 and L2 while the weights stream past them.
//
// A small minibatch that is trained on goes by columns instead: each thread computes its columns of every layer for all
// rows, and the threads meet after every layer. Then it is activations that go from core to core, which are few, and
// not weights, which are new for every minibatch: of what a thread multiplies by, it has stepped and packed itself
// (cpu_linear.c) the forward form, and its share of the backward form.
#include <stdbool.h>

#include "cpu_device.h"

enum { BLOCK = 32, WIDE_BLOCK = 128, WIDE = 512 };

typedef struct group_task {
  bw_cpu_device* cpu;
  bw_step* steps;
  int count;
  int64_t rows, block;
  int threads;
  int first_piece[BW_MAX_STEPS + 1];  // by shares: of each step, in every share; then how many there are
} group_task;

static void run_rows_of(bw_cpu_device* cpu, const bw_step* step, int64_t rows, int64_t first, int64_t last) {
  switch (step->op) {
    case BW_LINEAR_FORWARD:
      bw_cpu_forward_rows(cpu, &step->args.linear_forward, first, last);
      break;
    case BW_LINEAR_BACKWARD:
      bw_cpu_backward_rows(cpu, &step->args.linear_backward, first, last);
      break;
    default: {
      const int64_t items = step->cost.items / rows;  // of a row; 0: an item is a group of rows
      const int64_t begin = items ? first * items : first / BW_ROW_GROUP;
      const int64_t end = items ? last * items : (last + BW_ROW_GROUP - 1) / BW_ROW_GROUP;
      bw_cpu_run_items(cpu, (bw_op)step->op, &step->args, begin, end);
    }
  }
}

// A part of a step is done, its share of all of it, by `worker`, who did the one before at `before`. Returns when.
// Nobody looks at the clock for a worker whose time is neither counted nor recorded.
static uint64_t finish_part(const group_task* task, bw_step* step, int worker, double share, uint64_t before) {
  bw_prof* prof = &task->cpu->host.base.prof;
  if (worker != 0 && !prof->timeline) return before;
  const uint64_t now = bw_now_ns();
  if (worker == 0) step->ns += now - before;
  bw_prof_event(prof, worker, step->name, before, now, share * step->cost.flops, share * step->cost.bytes);
  return now;
}

// ---- by rows ----

// Steps [first_step, last_step) for groups [first, last) of BW_ROW_GROUP rows.
static void run_rows_between(const group_task* task, int first_step, int last_step, int64_t first, int64_t last,
                             int worker) {
  const int64_t last_row = last * BW_ROW_GROUP < task->rows ? last * BW_ROW_GROUP : task->rows;
  uint64_t before = bw_now_ns();
  for (int64_t row = first * BW_ROW_GROUP; row < last_row; row += task->block) {
    const int64_t end = last_row - row < task->block ? last_row : row + task->block;
    for (int i = first_step; i < last_step; ++i) {
      bw_step* step = &task->steps[i];
      run_rows_of(task->cpu, step, task->rows, row, end);
      before = finish_part(task, step, worker, (double)(end - row) / (double)task->rows, before);
    }
  }
}

// The share of thread 0, whose time is what a profile shows for all, is the last one: none is larger at first.
static int share_of(const group_task* task, int64_t thread) { return task->threads - 1 - (int)thread; }

// How many of `left` groups of rows a thread takes at a time: a block, and less towards the end of a share; but where
// matrices are wide, every piece would fetch them again (2,048 wide, 64 rows: 17 ms instead of 11).
static int64_t piece_of(const group_task* task, int64_t left) {
  const int64_t block = task->block / BW_ROW_GROUP, half = (left + 1) / 2;
  const int64_t piece = task->block == WIDE_BLOCK ? left : half;
  return piece < block ? piece : block;
}

// Runs what nobody has taken of `thread`'s share.
static void empty_queue_of_rows(const group_task* task, int thread, int worker) {
  const int64_t groups = (task->rows + BW_ROW_GROUP - 1) / BW_ROW_GROUP;
  const int share = share_of(task, thread);
  const int64_t end = groups * (share + 1) / task->threads;
  int64_t at = groups * share / task->threads;
  for (int pieces = 0;; ++pieces) {
    const int piece = atomic_fetch_add(&task->cpu->queues[thread].next, 1);
    for (; pieces < piece && at < end; ++pieces) at += piece_of(task, end - at);
    if (at >= end) return;
    const int64_t next = at + piece_of(task, end - at);
    run_rows_between(task, 0, task->count, at, next, worker);
    at = next;
  }
}

// Tasks are shares, one for each thread.
static void run_rows(void* context, int64_t first_share, int64_t last_share, int worker) {
  (void)last_share;
  const group_task* task = context;
  for (int i = 0; i < task->threads; ++i) empty_queue_of_rows(task, ((int)first_share + i) % task->threads, worker);
}

// ---- by columns ----

// Steps that the threads do without meeting: one product and what follows it element by element, each thread its
// columns of all rows; or any others, each thread its rows.
typedef struct segment {
  const group_task* group;
  int first, last;
  int64_t columns;  // of the product; 0: by rows
} segment;

static int64_t columns_of(const bw_step* step) {
  if (step->op == BW_LINEAR_FORWARD) return step->args.linear_forward.weight->out;
  if (step->op == BW_LINEAR_BACKWARD) return step->args.linear_backward.weight->in;
  return 0;
}

static int64_t panels_of(const group_task* task, int64_t columns) {
  const int panel = task->cpu->gemm->panel;
  return (columns + panel - 1) / panel;
}

static bool is_elementwise(const bw_step* step) {
  return step->op == BW_OP_gelu_forward || step->op == BW_OP_gelu_backward;
}

static void run_columns_of(bw_cpu_device* cpu, const bw_step* step, int64_t rows, int64_t columns, int64_t first_panel,
                           int64_t last_panel) {
  switch (step->op) {
    case BW_LINEAR_FORWARD:
      bw_cpu_forward_panels(cpu, &step->args.linear_forward, first_panel, last_panel);
      break;
    case BW_LINEAR_BACKWARD:
      bw_cpu_backward_panels(cpu, &step->args.linear_backward, first_panel, last_panel);
      break;
    default: {
      const int64_t begin = first_panel * cpu->gemm->panel, end = last_panel * cpu->gemm->panel;
      for (int64_t row = 0; row < rows; ++row) {
        bw_cpu_run_items(cpu, (bw_op)step->op, &step->args, row * columns + begin,
                         row * columns + (end < columns ? end : columns));
      }
    }
  }
}

static void run_segment(const segment* s, int share, int worker) {
  const group_task* task = s->group;
  bw_cpu_device* cpu = task->cpu;
  const int64_t parts = s->columns ? panels_of(task, s->columns) : (task->rows + BW_ROW_GROUP - 1) / BW_ROW_GROUP;
  const int64_t begin = parts * share / task->threads, end = parts * (share + 1) / task->threads;
  if (begin >= end) return;
  if (!s->columns) {
    run_rows_between(task, s->first, s->last, begin, end, worker);
    return;
  }
  uint64_t before = bw_now_ns();
  for (int i = s->first; i < s->last; ++i) {
    bw_step* step = &task->steps[i];
    run_columns_of(cpu, step, task->rows, s->columns, begin, end);
    before = finish_part(task, step, worker, (double)(end - begin) / (double)parts, before);
  }
}

// Products with fewer panels than threads (those of the head) go with the steps by rows.
static bool goes_by_columns(const group_task* task, const bw_step* step) {
  if (step->op != BW_LINEAR_FORWARD && step->op != BW_LINEAR_BACKWARD) return false;
  const bw_weight* w =
      step->op == BW_LINEAR_FORWARD ? step->args.linear_forward.weight : step->args.linear_backward.weight;
  return panels_of(task, w->out) >= task->threads && panels_of(task, w->in) >= task->threads;
}

// Tasks are shares, one for each thread.
static void run_columns(void* context, int64_t first_share, int64_t last_share, int worker) {
  (void)last_share;
  const group_task* task = context;
  const int share = share_of(task, first_share);
  const bw_step* steps = task->steps;
  for (int first = 0, last; first < task->count; first = last) {
    segment s = {.group = task, .first = first};
    last = first + 1;
    if (goes_by_columns(task, &steps[first])) {
      s.columns = columns_of(&steps[first]);
      while (last < task->count && is_elementwise(&steps[last]) && steps[last].cost.items == task->rows * s.columns)
        ++last;
    } else {
      while (last < task->count && !goes_by_columns(task, &steps[last])) ++last;
    }
    s.last = last;
    run_segment(&s, share, worker);
    if (last < task->count) bw_pool_meet(task->cpu->pool);
  }
}

// Whether that moves fewer bytes between cores than by rows. By rows, a thread reads both packed forms of every weight,
// most of which other threads have written; by columns, the inputs of every product forward and backward, and a part of
// the backward form.
//
// Tried (tic-tac-toe, 256 wide, two threads of a Zen 4 with neighbours; ms an iteration of 7,800 rows, by rows / by
// columns, run in turn; each run, since few: the long ones met a phase in which the cores seem to have been far apart):
//             fp32                                        bf16
//   32 rows   240, 92 / 82, 81                            62, 78 / 57, 116
//   64        73.3, 74.5, 73.0, 82 / 69.1, 66.8, 68.7, 70  39.9, 41.4, 40.0, 85 / 40.3, 39.9, 40.1, 46
//   128       63.3, 61.6 / 60.4, 60.5                     37.3, 35.8 / 37.6, 36.9
//   256       57.6, 97 / 98, 58.4 (97 and 98 disturbed)   32.0, 36.0 / 34.6, 33.4
// Where others keep both cores busy, a thread waits at every layer for one that is not running: 64 rows in fp32 beside
// two processes of the same priority, 177, 190, 207 / 222, 239, 241; four threads there, 326, 486, 521 / 427, 451, 457.
static bool prefers_columns(const group_task* task) {
  const bw_gemm* gemm = task->cpu->gemm;
  const int64_t packed_bytes = gemm->bf16 ? 2 : 4;  // of an element
  bool trains = false;                              // else the weights stay, and cores keep what they have read
  for (int i = 0; i < task->count; ++i) {
    const bw_step* step = &task->steps[i];
    if (!goes_by_columns(task, step)) continue;
    const int64_t columns = columns_of(step);
    if (2 * task->rows * (int64_t)sizeof(float) > columns * packed_bytes) return false;
    if (panels_of(task, columns) % task->threads != 0) return false;            // somebody would wait, at every layer
    if (step->cost.flops + step->cost.bytes < BW_CPU_SPLIT_COST) return false;  // not worth a meeting
    trains = trains || step->op == BW_LINEAR_BACKWARD;
  }
  return trains;
}

// ---- by shares of every launch's items ----

static int64_t items_of(const bw_cpu_device* cpu, const bw_step* step) {
  switch (step->op) {
    case BW_LINEAR_GRADIENT:
      return bw_cpu_gradient_tiles(cpu, &step->args.linear_gradient);
    case BW_LINEAR_UPDATE:
      return bw_cpu_update_groups(cpu, &step->args.linear_update);
    default:
      return step->cost.items;
  }
}

// Into how many pieces every share of a step is cut. A gradient's products convert or copy what they read once a piece,
// so only the last ones are cut, for the threads to end together.
static int pieces_of(const group_task* task, const bw_step* step, bool last_gradient) {
  const int64_t share = items_of(task->cpu, step) / task->threads;
  if (step->op == BW_LINEAR_UPDATE) return share > 1 ? (int)share : 1;
  return step->op == BW_LINEAR_GRADIENT && last_gradient && share > 1 ? 2 : 1;
}

static void cut_into_pieces(group_task* task) {
  int last_gradient = 0;
  for (int i = 0; i < task->count; ++i) {
    if (task->steps[i].op == BW_LINEAR_GRADIENT) last_gradient = i;
  }
  int pieces = 0;
  for (int i = 0; i < task->count; ++i) {
    task->first_piece[i] = pieces;
    pieces += pieces_of(task, &task->steps[i], i == last_gradient);
  }
  task->first_piece[task->count] = pieces;
}

static void run_step_items(bw_cpu_device* cpu, const bw_step* step, int64_t begin, int64_t end) {
  switch (step->op) {
    case BW_LINEAR_GRADIENT:
      bw_cpu_run_gradient(cpu, &step->args.linear_gradient, begin, end);
      break;
    case BW_LINEAR_UPDATE:
      bw_cpu_run_update(cpu, &step->args.linear_update, begin, end);
      break;
    default:
      bw_cpu_run_items(cpu, (bw_op)step->op, &step->args, begin, end);
  }
}

// Runs what nobody has taken of `thread`'s share.
static void empty_queue(const group_task* task, int thread, int worker) {
  bw_cpu_queue* queue = &task->cpu->queues[thread];
  uint64_t before = bw_now_ns();
  for (int i = 0;;) {
    const int piece = atomic_fetch_add(&queue->next, 1);
    while (i < task->count && task->first_piece[i + 1] <= piece) ++i;
    if (i == task->count) return;
    bw_step* step = &task->steps[i];
    const int64_t items = items_of(task->cpu, step);
    // Launches with fewer items than threads go round, so that they do not all meet the same thread. Otherwise a
    // thread's share is always the same part: it steps the weights whose gradients it has made.
    const int64_t turn = items < task->threads ? i % task->threads : 0;
    const int64_t share = (share_of(task, thread) + turn) % task->threads;
    const int64_t first = items * share / task->threads, last = items * (share + 1) / task->threads;
    const int64_t part = piece - task->first_piece[i], parts = task->first_piece[i + 1] - task->first_piece[i];
    const int64_t begin = first + (last - first) * part / parts, end = first + (last - first) * (part + 1) / parts;
    if (begin >= end) continue;
    run_step_items(task->cpu, step, begin, end);
    before = finish_part(task, step, worker, (double)(end - begin) / (double)items, before);
  }
}

// Tasks are shares, one for each thread.
static void run_shares(void* context, int64_t first_share, int64_t last_share, int worker) {
  (void)last_share;
  const group_task* task = context;
  for (int i = 0; i < task->threads; ++i) empty_queue(task, ((int)first_share + i) % task->threads, worker);
}

static void run_whole(const group_task* task) {
  uint64_t before = bw_now_ns();
  for (int i = 0; i < task->count; ++i) {
    bw_step* step = &task->steps[i];
    run_step_items(task->cpu, step, 0, items_of(task->cpu, step));
    before = finish_part(task, step, 0, 1, before);
  }
}

// Before a job: nothing of any share is taken.
static void fill_queues(const group_task* task) {
  for (int i = 0; i < task->threads; ++i) atomic_store(&task->cpu->queues[i].next, 0);
}

static int64_t block_of(const bw_step* steps, int count) {
  for (int i = 0; i < count; ++i) {
    const int op = steps[i].op;
    if (op != BW_LINEAR_FORWARD && op != BW_LINEAR_BACKWARD) continue;
    const bw_weight* w =
        op == BW_LINEAR_FORWARD ? steps[i].args.linear_forward.weight : steps[i].args.linear_backward.weight;
    // Matrices that no L2 holds: fetch them less often.
    if (w->in > WIDE && w->out > WIDE) return WIDE_BLOCK;
  }
  return BLOCK;
}

// A matrix product that cannot be split (gemm.h: whole) is asked for as if nothing had been put off.
static void run_one_by_one(bw_cpu_device* cpu, bw_step* steps, int count) {
  const group_task task = {.cpu = cpu};
  bw_device* device = &cpu->host.base;
  for (int i = 0; i < count; ++i) {
    bw_step* step = &steps[i];
    const uint64_t start = bw_now_ns();
    switch (step->op) {
      case BW_LINEAR_FORWARD:
        bw_cpu_linear_forward(device, &step->args.linear_forward);
        break;
      case BW_LINEAR_BACKWARD:
        bw_cpu_linear_backward(device, &step->args.linear_backward);
        break;
      case BW_LINEAR_GRADIENT:
        bw_cpu_linear_gradient(device, &step->args.linear_gradient);
        break;
      case BW_LINEAR_UPDATE:
        bw_cpu_linear_update(device, &step->args.linear_update);
        break;
      default:
        device->backend->launch(device, (bw_op)step->op, &step->args, step->cost);
    }
    finish_part(&task, step, 0, 1, start);
  }
}

void bw_cpu_run_group(bw_device* device, bw_group group, int64_t rows, bw_step* steps, int count) {
  bw_cpu_device* cpu = (bw_cpu_device*)device;
  if (cpu->gemm->whole) {
    run_one_by_one(cpu, steps, count);
    return;
  }
  double cost = 0;
  for (int i = 0; i < count; ++i) cost += steps[i].cost.flops + steps[i].cost.bytes;
  group_task task = {.cpu = cpu, .steps = steps, .count = count, .rows = rows, .threads = device->threads};
  const bool split = cost >= BW_CPU_SPLIT_COST && device->threads > 1;
  if (group == BW_GROUP_ROWS) {
    task.block = block_of(steps, count);
    if (split && prefers_columns(&task)) {
      bw_pool_run(cpu->pool, device->threads, run_columns, &task);
    } else if (split) {
      fill_queues(&task);
      bw_pool_run(cpu->pool, device->threads, run_rows, &task);
    } else {
      run_rows_between(&task, 0, count, 0, (rows + BW_ROW_GROUP - 1) / BW_ROW_GROUP, 0);
    }
  } else if (split) {
    cut_into_pieces(&task);
    fill_queues(&task);
    bw_pool_run(cpu->pool, device->threads, run_shares, &task);
  } else {
    run_whole(&task);
  }
}
