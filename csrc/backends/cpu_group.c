// Groups of launches on the CPU. Each thread takes its share of the rows (or of every launch's items) through the whole
// list by itself; the threads meet once at the end.
//
// Rows go in blocks of BLOCK: what a layer of a 256-wide net reads and writes of a block is 32 KiB each, so that
// activations stay in L1 and L2 while the weights stream past them.
#include <stdbool.h>

#include "cpu_device.h"

enum { BLOCK = 32, WIDE_BLOCK = 128, WIDE = 512 };

typedef struct group_task {
  bw_cpu_device* cpu;
  bw_step* steps;
  int count;
  int64_t rows, block;
  int threads;
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

// Tasks are groups of BW_ROW_GROUP rows.
static void run_rows(void* context, int64_t first, int64_t last, int worker) {
  const group_task* task = context;
  const int64_t last_row = last * BW_ROW_GROUP < task->rows ? last * BW_ROW_GROUP : task->rows;
  uint64_t before = bw_now_ns();
  for (int64_t row = first * BW_ROW_GROUP; row < last_row; row += task->block) {
    const int64_t end = last_row - row < task->block ? last_row : row + task->block;
    for (int i = 0; i < task->count; ++i) {
      bw_step* step = &task->steps[i];
      run_rows_of(task->cpu, step, task->rows, row, end);
      before = finish_part(task, step, worker, (double)(end - row) / (double)task->rows, before);
    }
  }
}

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

// Tasks are shares: one for each thread, or all of them in one call.
static void run_shares(void* context, int64_t first, int64_t last, int worker) {
  const group_task* task = context;
  const int whole = last - first == task->threads;
  uint64_t before = bw_now_ns();
  for (int i = 0; i < task->count; ++i) {
    bw_step* step = &task->steps[i];
    const int64_t items = items_of(task->cpu, step);
    // Launches with fewer items than threads go round, so that they do not all meet the same thread. Otherwise a
    // thread's share is always the same part: it steps the weights whose gradients it has made.
    const int64_t turn = items < task->threads ? i % task->threads : 0;
    const int64_t share = (first + turn) % task->threads;
    const int64_t begin = whole ? 0 : items * share / task->threads;
    const int64_t end = whole ? items : items * (share + 1) / task->threads;
    if (begin >= end) continue;
    switch (step->op) {
      case BW_LINEAR_GRADIENT:
        bw_cpu_run_gradient(task->cpu, &step->args.linear_gradient, begin, end);
        break;
      case BW_LINEAR_UPDATE:
        bw_cpu_run_update(task->cpu, &step->args.linear_update, begin, end);
        break;
      default:
        bw_cpu_run_items(task->cpu, (bw_op)step->op, &step->args, begin, end);
    }
    before = finish_part(task, step, worker, (double)(end - begin) / (double)items, before);
  }
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
    const int64_t tasks = (rows + BW_ROW_GROUP - 1) / BW_ROW_GROUP;
    if (split) {
      bw_pool_run(cpu->pool, tasks, run_rows, &task);
    } else {
      run_rows(&task, 0, tasks, 0);
    }
  } else if (split) {
    bw_pool_run(cpu->pool, device->threads, run_shares, &task);
  } else {
    run_shares(&task, 0, device->threads, 0);
  }
}
